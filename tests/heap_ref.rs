//! Containers of Rust in a mutator's heap: charged, counted, paced, and allowed to outlive the mutator.

use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::hash::BuildHasherDefault;
use std::mem;
use std::ptr::NonNull;
use std::rc::Rc;
use std::thread;

use allocator_api2::alloc::Allocator;
use allocator_api2::vec::Vec as HeapVec;
use bump_scope::Bump;
use bump_scope::alloc::compat::AllocatorApi2V02Compat;
use mimalloc_runtime::{
    Budget, Cause, ErrorKind, HeapRef, Interrupted, Mutator, Pacing, Ref, Residues, Runtime, SLACK_UNITS, Trace, When,
    counted_bytes,
};

/// With a hasher that has no seed: the same map in every run.
type Map<K, V> = hashbrown::HashMap<K, V, BuildHasherDefault<std::hash::DefaultHasher>, HeapRef>;

fn attach() -> Mutator {
    Runtime::new().unwrap().attach().unwrap()
}

fn map<K, V>(mutator: &Mutator) -> Map<K, V> {
    Map::with_hasher_in(BuildHasherDefault::default(), mutator.heap())
}

fn block_bytes(mutator: &Mutator) -> usize {
    mutator.metrics().block_bytes as usize
}

/// How many heaps wait in the pool once so many were given back: on version 2 none, since they are bound to their thread.
fn pooled(heaps: usize) -> usize {
    if cfg!(feature = "v2") { 0 } else { heaps }
}

#[derive(Trace)]
struct Link {
    _next: Option<Ref<Link>>,
}

/// What a container's memory of so many bytes counts for; one of no bytes has none.
fn counted(bytes: usize, align: usize) -> usize {
    count(Layout::from_size_align(bytes, align).unwrap())
}

fn count(layout: Layout) -> usize {
    if layout.size() == 0 { 0 } else { counted_bytes(layout) as usize }
}

fn chain(mutator: &Mutator, links: usize) -> Option<Ref<Link>> {
    (0..links).fold(None, |next, _| Some(mutator.alloc(Link { _next: next }).unwrap()))
}

#[test]
fn a_map_grows_and_shrinks_in_the_heap() {
    let mutator = attach();
    let mut map = map(&mutator);
    assert_eq!(block_bytes(&mutator), 0, "an empty map allocates nothing");
    for key in 0..10_000u64 {
        map.insert(key, key.to_string());
        assert_eq!(block_bytes(&mutator), counted(map.allocation_size(), 16));
    }
    let full = block_bytes(&mutator);
    map.retain(|key, _| key % 100 == 0);
    map.shrink_to_fit();
    assert_eq!(block_bytes(&mutator), counted(map.allocation_size(), 16));
    assert!(block_bytes(&mutator) < full);
    assert_eq!(map.len(), 100);
    assert!(map.iter().all(|(key, text)| key % 100 == 0 && *text == key.to_string()));
    let copy = map.clone();
    assert_eq!(copy, map);
    drop(map);
    assert_eq!(block_bytes(&mutator), counted(copy.allocation_size(), 16));
    drop(copy);
    assert_eq!(block_bytes(&mutator), 0);
}

#[test]
fn an_arena_takes_its_chunks_from_the_heap() {
    let mutator = attach();
    let bump: Bump<_> = Bump::new_in(AllocatorApi2V02Compat(mutator.heap()));
    let numbers: Vec<&mut u64> = (0..10_000).map(|number| bump.alloc(number).into_mut()).collect();
    assert!(numbers.iter().enumerate().all(|(index, number)| index as u64 == **number));
    assert!(block_bytes(&mutator) >= bump.stats().size() && bump.stats().size() >= 80_000);
    drop(bump);
    assert_eq!(block_bytes(&mutator), 0);
}

/// Every request of the trait, in sizes on both sides of the bounds between the heap's ways to allocate.
#[test]
fn blocks_keep_their_contents_however_they_are_resized() {
    let mutator = attach();
    let heap = mutator.heap();
    let sizes = [0, 1, 15, 16, 17, 100, 1_023, 1_024, 1_025, 5_000, 100_000];
    let layouts: Vec<Layout> = sizes
        .iter()
        .flat_map(|size| [1, 8, 16, 64, 4096].map(|align| Layout::from_size_align(*size, align).unwrap()))
        .collect();
    let check = |block: NonNull<[u8]>, layout: Layout, kept: usize, byte: u8| {
        assert_eq!(block.len(), layout.size());
        assert_eq!(block.cast::<u8>().as_ptr() as usize % layout.align(), 0);
        // SAFETY: `kept` bytes of the block have been written.
        let bytes = unsafe { std::slice::from_raw_parts(block.cast::<u8>().as_ptr(), kept) };
        assert!(bytes.iter().all(|found| *found == byte), "{layout:?}");
    };
    for old in &layouts {
        for new in &layouts {
            let block = heap.allocate_zeroed(*old).unwrap();
            check(block, *old, old.size(), 0);
            // SAFETY: within the block.
            unsafe { block.cast::<u8>().write_bytes(7, old.size()) };
            assert_eq!(block_bytes(&mutator), count(*old));
            let smaller = new.size() <= old.size();
            let moved = if smaller {
                // SAFETY: allocated with this layout, and not used again.
                unsafe { heap.shrink(block.cast(), *old, *new) }
            } else if new.size() % 2 == 0 {
                // SAFETY: as above.
                unsafe { heap.grow_zeroed(block.cast(), *old, *new) }
            } else {
                // SAFETY: as above.
                unsafe { heap.grow(block.cast(), *old, *new) }
            };
            let moved = moved.unwrap();
            check(moved, *new, old.size().min(new.size()), 7);
            assert_eq!(block_bytes(&mutator), count(*new));
            // SAFETY: allocated with this layout, and not used again.
            unsafe { heap.deallocate(moved.cast(), *new) };
            assert_eq!(block_bytes(&mutator), 0);
        }
    }
}

#[test]
fn nothing_is_charged_for_requests_of_nothing_and_for_absurd_ones() {
    let mutator = Runtime::new().unwrap().attaching().beat_bytes(16).unwrap().attach().unwrap();
    let heap = mutator.heap();
    let nothing = Layout::from_size_align(0, 32).unwrap();
    let absurd = Layout::from_size_align(isize::MAX as usize - 63, 64).unwrap();
    for _ in 0..100 {
        let block = heap.allocate(nothing).unwrap();
        assert_eq!((block.len(), block.cast::<u8>().as_ptr() as usize % 32), (0, 0));
        assert!(heap.allocate(absurd).is_err() && heap.allocate_zeroed(absurd).is_err());
        // SAFETY: allocated above; a refused request leaves it alone.
        assert!(unsafe { heap.grow(block.cast(), nothing, absurd) }.is_err());
        // SAFETY: as above, not used again.
        unsafe { heap.deallocate(block.cast(), nothing) };
    }
    assert_eq!((mutator.metrics().beats, mutator.metrics().block_bytes), (0, 0));
}

/// P4: the handle is charged what the mutator would be.
#[test]
fn beats_are_a_function_of_the_layouts() {
    let sizes = || (1..2_000usize).map(|step| step * 7919 % 3_000 + 1);
    let layout = |size| Layout::from_size_align(size, 8).unwrap();
    let run = |allocate: &dyn Fn(&Mutator, Layout)| {
        let mutator = Runtime::new().unwrap().attaching().beat_bytes(1024).unwrap().attach().unwrap();
        let beats = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::clone(&beats);
        mutator.on_beat(When::Every(1), move |_, beat| seen.borrow_mut().push(beat)).unwrap();
        sizes().for_each(|size| allocate(&mutator, layout(size)));
        assert_eq!(mutator.metrics().block_bytes, 0);
        drop(mutator);
        beats.take()
    };
    let through_handle = run(&|mutator, layout| {
        let block = mutator.heap().allocate(layout).unwrap();
        // SAFETY: allocated above with this layout.
        unsafe { mutator.heap().deallocate(block.cast(), layout) };
    });
    let through_mutator = run(&|mutator, layout| {
        let block = mutator.allocate(layout).unwrap();
        // SAFETY: allocated above with this layout.
        unsafe { mutator.deallocate(block, layout) };
    });
    assert_eq!(through_handle, through_mutator);
    let bytes: usize = sizes().map(|size| counted(size, 8)).sum();
    assert_eq!(through_handle.last().unwrap().number, bytes as u64 / 1024);
}

#[test]
fn a_container_pays_for_freeing() {
    let pacing = Pacing::default().with_installment(1024).unwrap();
    let mutator = Runtime::new().unwrap().attaching().pacing(pacing).attach().unwrap();
    drop(chain(&mutator, 10_000));
    let mut vec = HeapVec::new_in(mutator.heap());
    let mut pushed = 0u64;
    while mutator.metrics().pending.now.objects > 0 {
        vec.push(pushed);
        pushed += 1;
        // A vector that doubles asks for about twice what it holds, and its bytes are paid for at a ratio of 1.5.
        assert!(pushed < 40_000, "{:?}", mutator.metrics());
    }
    let steps = mutator.metrics().steps;
    assert_eq!(steps.count, steps.by_cause[Cause::Installment as usize] + steps.by_cause[Cause::Beat as usize]);
    assert!(vec.iter().copied().eq(0..pushed));
}

#[derive(Trace)]
struct Instance {
    #[trace(skip)]
    fields: Map<u32, Ref<Link>>,
    _next: Option<Ref<Instance>>,
}

#[test]
fn a_map_in_a_field_dies_with_its_object_in_bounded_steps() {
    let mutator = attach();
    let mut root = None;
    for _ in 0..500 {
        let mut fields = map(&mutator);
        fields.extend((0..10).map(|key| (key, mutator.alloc(Link { _next: None }).unwrap())));
        root = Some(mutator.alloc(Instance { fields, _next: root }).unwrap());
    }
    assert!(block_bytes(&mutator) > 0);
    drop(root);
    let mut steps = 0;
    loop {
        let progress = mutator.collect(Budget::Units(1));
        assert!(progress.units <= 1 + SLACK_UNITS);
        steps += 1;
        if progress.is_done() {
            break;
        }
    }
    assert!(steps >= 500, "{steps}");
    assert_eq!((block_bytes(&mutator), mutator.metrics().live.now.objects), (0, 0));
}

#[derive(Trace)]
struct Wide {
    slots: RefCell<HeapVec<Option<Ref<Link>>, HeapRef>>,
}

/// The vector's slots are visited a budget at a time, as those of any vector.
#[test]
fn a_vector_in_the_heap_is_traced() {
    let mutator = attach();
    let mut slots = HeapVec::new_in(mutator.heap());
    slots.extend((0..10_000).map(|index| (index % 2 == 0).then(|| mutator.alloc(Link { _next: None }).unwrap())));
    let shared = slots[0].clone();
    let wide = mutator.alloc(Wide { slots: RefCell::new(slots) }).unwrap();
    assert_eq!(mutator.metrics().live.now.objects, 5_001);
    assert_eq!(block_bytes(&mutator), counted(wide.slots.borrow().capacity() * size_of::<usize>(), 8));
    drop(wide);
    let progress = mutator.collect(Budget::Units(100));
    assert!(progress.units <= 100 + SLACK_UNITS && !progress.is_done());
    assert!(block_bytes(&mutator) > 0, "the buffer goes last");
    while !mutator.collect(Budget::Units(100)).is_done() {}
    assert_eq!((block_bytes(&mutator), mutator.metrics().live.now.objects), (0, 1));
    drop(shared);
}

/// Items that have something of their own to drop, and one of them panics: all go once, and so does the buffer.
#[test]
fn a_traced_vector_drops_what_is_not_a_reference() {
    struct Counts(Rc<Cell<u32>>, bool);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            assert!(!self.1, "a drop that panics");
        }
    }
    #[derive(Trace)]
    struct Item {
        #[trace(skip)]
        _counts: Counts,
        _link: Ref<Link>,
    }
    let mutator = attach();
    let dropped = Rc::new(Cell::new(0));
    let mut items = HeapVec::new_in(mutator.heap());
    items.extend((0..10).map(|index| Item {
        _counts: Counts(Rc::clone(&dropped), index == 3),
        _link: mutator.alloc(Link { _next: None }).unwrap(),
    }));
    drop(mutator.alloc(items).unwrap());
    let collect = || mutator.collect(Budget::Unbounded);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(collect)).is_err());
    assert_eq!((dropped.get(), block_bytes(&mutator), mutator.metrics().live.now.objects), (10, 0, 0));
}

#[test]
fn a_container_may_outlive_its_mutator_and_the_runtime() {
    for first_the_runtime in [false, true] {
        let runtime = Runtime::new().unwrap();
        let mutator = runtime.attach().unwrap();
        let mut map = map(&mutator);
        map.extend((0..1_000u64).map(|key| (key, key * key)));
        let mut list = HeapVec::new_in(mutator.heap());
        list.extend(0..1_000u64);
        list.truncate(10);
        mutator.detach();
        assert_eq!(runtime.idle_heaps(), 0, "in use by the containers");
        // Another mutator has another heap.
        let other = runtime.attach().unwrap();
        drop(chain(&other, 1_000));
        assert!((0..1_000).all(|key| map[&key] == key * key));
        assert!(map.try_reserve(1_000_000).is_err());
        map.remove(&1);
        map.insert(1, 2);
        list.shrink_to_fit();
        assert!(list.iter().copied().eq(0..10) && list.capacity() == 10);
        assert!(list.try_reserve(1).is_err());
        drop(other);
        assert_eq!(runtime.idle_heaps(), pooled(1));
        if first_the_runtime {
            drop((runtime, map));
            drop(list);
        } else {
            drop((map, list));
            assert_eq!(runtime.idle_heaps(), pooled(2));
        }
    }
}

#[test]
fn after_the_detach_every_new_request_is_refused() {
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attach().unwrap();
    let heap = mutator.heap();
    let layout = |size| Layout::from_size_align(size, 8).unwrap();
    let block = heap.allocate(layout(3_000)).unwrap();
    // SAFETY: within the block.
    unsafe { block.cast::<u8>().write_bytes(9, 3_000) };
    let empty = heap.allocate(layout(0)).unwrap();
    drop(mutator);
    assert!(heap.allocate(layout(8)).is_err() && heap.allocate_zeroed(layout(8)).is_err());
    // SAFETY: allocated above with this layout; refused, so it stays.
    assert!(unsafe { heap.grow(block.cast(), layout(3_000), layout(4_000)) }.is_err());
    // SAFETY: as above.
    assert!(unsafe { heap.grow_zeroed(empty.cast(), layout(0), layout(8)) }.is_err());
    // SAFETY: allocated above with this layout, and not used again.
    let shrunk = unsafe { heap.shrink(block.cast(), layout(3_000), layout(40)) }.unwrap();
    // SAFETY: 40 bytes that were written.
    assert_eq!(unsafe { shrunk.cast::<[u8; 40]>().read() }, [9; 40]);
    assert_eq!(runtime.idle_heaps(), 0);
    let copy = heap.clone();
    drop(heap);
    // SAFETY: as above; every handle of the heap may free it.
    unsafe { copy.deallocate(shrunk.cast(), layout(40)) };
    drop(copy);
    assert_eq!(runtime.idle_heaps(), pooled(1));
}

/// What is leaked stays: for the thread, after it, and on other threads.
#[test]
fn a_container_that_is_leaked_keeps_its_memory() {
    let runtime = Runtime::new().unwrap();
    let leaked: &'static [u64] = thread::spawn({
        let runtime = runtime.clone();
        move || {
            let mutator = runtime.attach().unwrap();
            let mut numbers = HeapVec::new_in(mutator.heap());
            numbers.extend(0..10_000u64);
            let mut small = HeapVec::new_in(mutator.heap());
            small.push(1u8);
            mem::forget(small);
            let leaked = HeapVec::leak(numbers);
            mutator.detach();
            assert_eq!(runtime.idle_heaps(), 0, "never given back");
            &*leaked
        }
    })
    .join()
    .unwrap();
    let mutator = runtime.attach().unwrap();
    let mut other = HeapVec::new_in(mutator.heap());
    other.extend((0..10_000u64).map(|number| !number));
    assert!(leaked.iter().copied().eq(0..10_000));
    drop((other, mutator, runtime));
    assert!(leaked.iter().copied().eq(0..10_000));
}

#[test]
fn a_container_may_die_with_its_thread() {
    thread_local! {
        static MAP: RefCell<Option<Map<u32, u32>>> = const { RefCell::new(None) };
    }
    let runtime = Runtime::new().unwrap();
    thread::spawn({
        let runtime = runtime.clone();
        move || {
            let mutator = runtime.attach().unwrap();
            let mut map = map(&mutator);
            map.extend((0..100).map(|key| (key, key)));
            MAP.set(Some(map));
        }
    })
    .join()
    .unwrap();
    assert_eq!(runtime.idle_heaps(), pooled(1));
}

#[test]
fn several_mutators_on_one_thread_each_have_their_heap() {
    let runtime = Runtime::new().unwrap();
    let (first, second) = (runtime.attach().unwrap(), runtime.attach().unwrap());
    let mut map = map(&first);
    map.extend((0..1_000u64).map(|key| (key, second.alloc(Link { _next: None }).unwrap())));
    assert_eq!((block_bytes(&second), first.metrics().allocated.objects), (0, 0));
    assert_eq!(block_bytes(&first), counted(map.allocation_size(), 16));
    drop(first);
    drop(chain(&second, 100));
    second.collect(Budget::Unbounded);
    assert_eq!(second.metrics().live.now.objects, 1_000);
    drop(map);
    second.collect(Budget::Unbounded);
    assert_eq!(second.metrics().live.now.objects, 0);
}

/// A handler that comes in the middle of a push finds the cell borrowed; its panic waits for the safepoint.
#[test]
fn a_handler_within_a_push_finds_the_vector_borrowed() {
    let mutator = Runtime::new().unwrap().attaching().beat_bytes(1024).unwrap().attach().unwrap();
    let vec = Rc::new(RefCell::new(HeapVec::new_in(mutator.heap())));
    let (inner, refused) = (Rc::downgrade(&vec), Rc::new(Cell::new(0)));
    let seen = Rc::clone(&refused);
    let subscribed = mutator.on_beat(When::Every(1), move |_, _| {
        let Some(vec) = inner.upgrade() else { return };
        if vec.try_borrow().is_err() {
            seen.set(seen.get() + 1);
            vec.borrow_mut().push(0u64);
        }
    });
    subscribed.unwrap();
    for number in 0..1_000 {
        vec.borrow_mut().push(number);
    }
    assert!(refused.get() > 0);
    assert!(vec.borrow().iter().copied().eq(0..1_000));
    let safepoint = || mutator.safepoint();
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(safepoint)).is_err());
    assert_eq!(mutator.metrics().panics, refused.get());
}

/// The container does not borrow the mutator, so what an allocation calls may detach it, with work pending.
#[test]
fn the_mutator_may_be_detached_within_a_push() {
    struct Detaches(Rc<RefCell<Option<Mutator>>>);
    impl Drop for Detaches {
        fn drop(&mut self) {
            drop(self.0.take());
        }
    }
    for from_a_drop in [false, true] {
        let runtime = Runtime::new().unwrap();
        // A step frees next to nothing, so that work is left when the mutator goes.
        let pacing = Pacing::default().with_pause_cap(Budget::Units(1)).unwrap();
        let attaching = runtime.attaching().pacing(pacing).beat_bytes(1024).unwrap();
        let place = Rc::new(RefCell::new(Some(attaching.attach().unwrap())));
        let held = Rc::new(());
        let dropped = Rc::new(Cell::new(0));
        let mut vec = {
            let place_again = Rc::clone(&place);
            let mutator = place.borrow();
            let mutator = mutator.as_ref().unwrap();
            let (held, heap) = (Rc::clone(&held), mutator.heap());
            let subscribed = mutator.on_beat(When::Every(1), move |lent, _| {
                let _held = (&held, &heap);
                // Not while the mutator itself is in use below.
                if let (false, Ok(mut place)) = (from_a_drop, place_again.try_borrow_mut()) {
                    drop(place.take());
                    // What was lent still works, for as long as it is lent.
                    assert_eq!(*lent.alloc(7u64).unwrap(), 7);
                    assert!(lent.heap().allocate(Layout::new::<u64>()).is_err());
                    lent.on_beat(When::Every(1), |_, _| unreachable!("no beat after this one")).unwrap();
                    lent.set_fuel(Some(1));
                    assert_eq!([lent.poll(1), lent.poll(1)], [Ok(()), Err(Interrupted::OutOfFuel)]);
                    assert!(lent.interrupter().run_at_safepoint(|_| unreachable!("it has gone")).is_err());
                }
            });
            subscribed.unwrap();
            struct Counts(Rc<Cell<u32>>);
            impl Drop for Counts {
                fn drop(&mut self) {
                    self.0.set(self.0.get() + 1);
                }
            }
            #[derive(Trace)]
            struct Item {
                #[trace(skip)]
                _counts: (Counts, Option<Detaches>),
                _next: Option<Ref<Item>>,
            }
            let mut items = None;
            for index in 0..100 {
                let detaches = (from_a_drop && index == 50).then(|| Detaches(Rc::clone(&place)));
                items = Some(
                    mutator.alloc(Item { _counts: (Counts(Rc::clone(&dropped)), detaches), _next: items }).unwrap(),
                );
            }
            drop(items);
            HeapVec::new_in(mutator.heap())
        };
        let mut pushes = 0u32;
        while place.borrow().is_some() {
            assert!(vec.try_reserve_exact(vec.len() + 1).is_ok());
            vec.push(pushes);
            pushes += 1;
        }
        assert!(vec.iter().copied().eq(0..pushes));
        assert!(vec.try_reserve(1 << 20).is_err());
        assert_eq!(dropped.get(), 100, "nothing stays pending without a mutator");
        assert_eq!(Rc::strong_count(&held), 1, "the handlers are gone");
        assert_eq!(runtime.idle_heaps(), 0);
        drop(vec);
        assert_eq!(runtime.idle_heaps(), pooled(1));
    }
}

/// A cell is borrowed while the mutator goes within an allocation, so the search that this brings about cannot look into its object, which may be garbage: it is sought
/// again with the release that makes it so.
#[test]
fn a_candidate_that_is_borrowed_while_the_mutator_is_detached_within_a_reserve_is_not_lost() {
    thread_local! {
        static MUTATOR: RefCell<Option<Mutator>> = const { RefCell::new(None) };
    }
    struct Detaches;
    impl Drop for Detaches {
        fn drop(&mut self) {
            drop(MUTATOR.take());
        }
    }
    #[derive(Trace)]
    struct Bomb(#[trace(skip)] Detaches);
    #[derive(Trace, Default)]
    struct Knot(mimalloc_runtime::cell::RefCell<Option<Ref<Knot>>>);

    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attach().unwrap();
    let knot = mutator.alloc(Knot::default()).unwrap();
    knot.0.replace(Some(knot.clone()));
    drop(knot.clone());
    let bomb = mutator.alloc(Bomb(Detaches)).unwrap_or_else(|_| panic!("no memory"));
    let mut vec: HeapVec<u8, HeapRef> = HeapVec::new_in(mutator.heap());
    MUTATOR.set(Some(mutator));
    let borrowed = knot.0.borrow_mut();
    drop(bomb);
    vec.reserve(1 << 20);
    assert!(MUTATOR.with_borrow(Option::is_none));
    drop(borrowed);
    drop((knot, vec));
    assert_eq!(runtime.metrics().lingering, 0);
}

/// Few objects in cycles, each with a container of much memory, beside many that live and are suspected all the time: what they come to does not grow from
/// trial to trial.
#[test]
fn garbage_with_large_containers_does_not_come_together() {
    #[derive(Trace)]
    struct Holder {
        next: mimalloc_runtime::cell::Cell<Option<Ref<Holder>>>,
        _bytes: HeapVec<u64, HeapRef>,
    }
    let mutator = attach();
    let mut queue = std::collections::VecDeque::new();
    let mut most = 0;
    for _ in 0..if cfg!(small_tests) { 1_000 } else { 5_000 } {
        for _ in 0..100 {
            let new = chain(&mutator, 1);
            drop(new.clone());
            queue.push_back(new);
            if queue.len() > 6_000 {
                queue.pop_front();
            }
        }
        let bytes = HeapVec::with_capacity_in(16 << 10, mutator.heap());
        let holder = mutator.alloc(Holder { next: Default::default(), _bytes: bytes }).unwrap_or_else(|_| panic!());
        holder.next.set(Some(holder.clone()));
        drop(holder);
        mutator.poll(1).unwrap();
        most = most.max(mutator.metrics().in_use_bytes);
    }
    assert!(most < 16 << 20, "{most} {:?}", mutator.metrics().trials);
}

/// A container that an object has keeps a handle, and so does one outside. Unchecked the first may go with the object.
#[test]
fn containers_in_the_heap_keep_it_from_being_destroyed() {
    let mutator = attach();
    let layout = Layout::new::<[u64; 4]>();
    let outside: HeapVec<u64, HeapRef> = HeapVec::with_capacity_in(4, mutator.heap());
    let refused = mutator.destroy(0).unwrap_err();
    assert_eq!(refused.error.kind(), ErrorKind::InUse);
    drop(outside);
    let mutator = refused.mutator;
    let fields: HeapVec<Ref<u64>, HeapRef> = HeapVec::with_capacity_in(4, mutator.heap());
    let object = mutator.alloc(fields).unwrap();
    drop(mutator.alloc((object, 1)).unwrap());
    let refused = mutator.destroy(0).unwrap_err();
    assert!(refused.error.to_string().contains("objects have"), "{}", refused.error);
    assert_eq!(block_bytes(&refused.mutator), count(layout));
    for residues in [Residues::Drop, Residues::Leak] {
        let mutator = attach();
        let mut fields: HeapVec<Ref<u64>, HeapRef> = HeapVec::with_capacity_in(4, mutator.heap());
        fields.push(mutator.alloc(5).unwrap());
        drop(mutator.alloc(fields).unwrap());
        let watch = mutator.watch();
        // SAFETY: nothing of it is used again.
        let gone = unsafe { mutator.destroy_unchecked(residues) }.unwrap();
        assert_eq!((gone.block_bytes as usize, gone.residues), (count(layout), u64::from(residues == Residues::Drop)));
        assert_eq!((watch.metrics().block_bytes, watch.is_attached()), (0, false));
    }
    drop(refused.mutator);
}
