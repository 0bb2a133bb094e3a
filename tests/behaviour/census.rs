//! The census: what lives, found by a walk through the heap's pages, is what the counts say, whatever else lies there, however
//! short the steps are, and whatever the program does between them.

use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use std::thread;

use mimalloc_runtime::{Budget, Census, Mutator, Pacing, Ref, RemoteFree, Runtime, Stop, Tail, Tally, Trace};

use crate::SCALE;
use crate::graph::{Node, node};

/// An object whose alignment is larger than that of blocks.
#[derive(Trace)]
#[repr(align(64))]
struct Wide(#[trace(skip)] [u8; 64], Option<Ref<Node>>);

#[derive(Trace)]
#[repr(align(4096))]
struct Aligned(#[trace(skip)] u8);

fn mutator() -> Mutator {
    Runtime::new().unwrap().attach().unwrap()
}

/// The whole census, in steps of this budget.
fn census(mutator: &Mutator, budget: Budget) -> Census<'_> {
    let mut census = mutator.census();
    while census.step(budget).unwrap() != Stop::Done {}
    census
}

/// What the census finds is what the counts say, in steps of any length.
fn check(mutator: &Mutator) {
    for budget in [Budget::Unbounded, Budget::Units(1), Budget::Units(1000), Budget::Bytes(1)] {
        let census = census(mutator, budget);
        assert_eq!(census.total(), mutator.metrics().live.now, "{budget:?}");
        let sum = |all: Vec<(u64, u64)>| Tally {
            objects: all.iter().map(|(objects, _)| objects).sum(),
            bytes: all.iter().map(|(_, bytes)| bytes).sum(),
        };
        assert_eq!(sum(census.types().map(|found| (found.live.objects, found.live.bytes)).collect()), census.total());
        let sizes = census.sizes().map(|found| (found.objects, found.objects * found.bytes_each));
        assert_eq!(sum(sizes.collect()), census.total());
    }
}

fn objects_of<T>(census: &Census<'_>) -> u64 {
    census.types().filter(|found| found.name == std::any::type_name::<T>()).map(|found| found.live.objects).sum()
}

/// The same numbers in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[test]
fn a_census_says_how_many_there_are_of_each_type_and_size() {
    let mutator = mutator();
    assert_eq!(census(&mutator, Budget::Unbounded).total(), Tally::default());
    let nodes: Vec<_> = (0..300).map(|_| node(&mutator, None, None)).collect();
    let texts: Vec<Ref<Tail<(), u8>>> = (0..50)
        .map(|index| mutator.alloc_tail_copy((), &vec![7; if index < 20 { 100 } else { 5000 }]).unwrap())
        .collect();
    let aligned: Vec<_> = (0..10).map(|_| mutator.alloc(Aligned(1)).unwrap()).collect();
    check(&mutator);
    let census = census(&mutator, Budget::Units(7));
    let of = |name: &str| census.types().find(|found| found.name == name).unwrap();
    assert_eq!(of(std::any::type_name::<Node>()).live, Tally { objects: 300, bytes: 300 * 32 });
    let name = std::any::type_name::<Tail<(), u8>>();
    let sizes: Vec<_> =
        census.sizes().filter(|found| found.name == name).map(|found| (found.objects, found.bytes_each)).collect();
    assert_eq!(sizes, [(20, 128), (30, 5120)]);
    assert_eq!(of(name).live, Tally { objects: 50, bytes: 20 * 128 + 30 * 5120 });
    assert_eq!(of(std::any::type_name::<Aligned>()).live.objects, 10);
    drop((nodes, texts, aligned));
}

/// Full pages, half-empty ones, blocks of every size up to those with a page of their own, tails that grow, and free blocks kept at hand.
#[test]
fn what_is_found_is_what_is_counted() {
    for pacing in [Pacing::default(), Pacing::stress(), Pacing::eager()] {
        let mutator = Runtime::new().unwrap().attaching().pacing(pacing).attach().unwrap();
        let mut random = Random(9);
        let mut kept: Vec<Box<dyn std::any::Any>> = Vec::new();
        for round in 0..4 {
            for _ in 0..20_000 / SCALE {
                kept.push(match random.below(8) {
                    0 => Box::new(mutator.alloc(random.below(100) as u8).unwrap()),
                    1 => Box::new(mutator.alloc(String::from("text")).unwrap()),
                    2 => Box::new(mutator.alloc(Wide([1; 64], Some(node(&mutator, None, None)))).unwrap()),
                    3 => {
                        let most = 1 << (3 + random.below(10));
                        let len = random.below(most) as usize;
                        let tail: Ref<Tail<u64, u16>> = mutator.alloc_tail(7, len, |_| 3).unwrap();
                        Box::new(if len % 2 == 0 { mutator.grow_tail(tail, len * 2, |_| 4).unwrap() } else { tail })
                    }
                    _ => Box::new(node(&mutator, Some(node(&mutator, None, None)), None)),
                });
            }
            for megabytes in [1usize, 3, 20] {
                kept.push(Box::new(mutator.alloc_tail((), megabytes << 20, |_| 0u8).unwrap()));
            }
            check(&mutator);
            let keep = random.below(5);
            kept.retain(|_| random.below(5) >= keep);
            check(&mutator);
            if round == 2 {
                mutator.release_memory();
                check(&mutator);
            }
        }
        drop(kept);
        mutator.collect(Budget::Unbounded);
        check(&mutator);
        assert_eq!(census(&mutator, Budget::Unbounded).total(), Tally::default());
    }
}

/// A page with objects alone does not say so: raw blocks that hold copies of whole objects lie somewhere else.
#[test]
fn raw_blocks_that_look_like_objects_are_not_counted() {
    let mutator = mutator();
    let mut objects = Vec::new();
    let mut blocks = Vec::new();
    for index in 0..5_000 / SCALE {
        let object = node(&mutator, None, None);
        let size = [24, 24, 100, 2_000][index % 4];
        let layout = Layout::from_size_align(size, [8, 64][index % 2]).unwrap();
        let block = mutator.allocate(layout).unwrap();
        // SAFETY: both have as many bytes as a node with its header.
        unsafe { ptr::copy_nonoverlapping(Ref::as_raw(&object).as_ptr().cast::<u8>(), block.as_ptr(), 24) };
        if index % 3 == 0 {
            // SAFETY: of this layout, and not used again. It may be kept at hand, and the next object must not be given it.
            unsafe { mutator.deallocate(block, layout) };
        } else {
            blocks.push((block, layout));
        }
        objects.push(object);
    }
    check(&mutator);
    objects.truncate(10);
    check(&mutator);
    for (block, layout) in blocks {
        // SAFETY: of this layout, and not used again.
        unsafe { mutator.deallocate(block, layout) };
    }
    check(&mutator);
}

/// What lives all the time is counted once, though each step is as short as can be, and pages are emptied, given back and used anew
/// for other sizes between the steps.
#[test]
fn what_lives_throughout_is_counted_once_while_the_program_runs() {
    #[derive(Trace)]
    struct Keeper<const WORDS: usize>(#[trace(skip)] [u64; WORDS]);
    fn keeper(mutator: &Mutator, index: u64) -> Box<dyn std::any::Any> {
        match index % 4 {
            0 => Box::new(mutator.alloc(Keeper([index; 1])).unwrap()),
            1 => Box::new(mutator.alloc(Keeper([index; 12])).unwrap()),
            2 => Box::new(mutator.alloc(Keeper([index; 200])).unwrap()),
            _ => Box::new(mutator.alloc(Keeper([index; 3_000])).unwrap()),
        }
    }
    let mutator = mutator();
    let mut random = Random(77);
    for round in 0..3 {
        let mut kept = Vec::new();
        let mut others: Vec<Box<dyn std::any::Any>> = Vec::new();
        for index in 0..4_000 / SCALE as u64 {
            for _ in 0..random.below(30) {
                others.push(Box::new(mutator.alloc_tail((), random.below(3_000) as usize, |_| 1u8).unwrap()));
            }
            kept.push(keeper(&mutator, index));
        }
        let mut census = mutator.census();
        let mut steps = 0u64;
        while census.step(Budget::Units(1)).unwrap() != Stop::Done {
            steps += 1;
            for _ in 0..30 {
                if random.below(3) == 0 && !others.is_empty() {
                    others.swap_remove(random.below(others.len() as u64) as usize);
                } else {
                    let most = 1 << (4 + random.below(14));
                    let len = random.below(most) as usize;
                    others.push(Box::new(mutator.alloc_tail((), len, |_| 2u8).unwrap()));
                }
            }
            match steps % 64 {
                20 => others.truncate(others.len() / 8),
                21 => drop(mutator.collect(Budget::Unbounded)),
                22 if round == 1 => drop(mutator.release_memory()),
                _ => {}
            }
        }
        assert!(steps > 3);
        let counts = [
            objects_of::<Keeper<1>>(&census),
            objects_of::<Keeper<12>>(&census),
            objects_of::<Keeper<200>>(&census),
            objects_of::<Keeper<3_000>>(&census),
        ];
        assert_eq!(counts, [kept.len() as u64 / 4; 4], "round {round}");
        drop((kept, others));
        mutator.collect(Budget::Unbounded);
    }
}

/// A unit is a block or a page; a page is not divided.
#[test]
fn a_step_keeps_to_its_budget_save_for_one_page() {
    let mutator = mutator();
    let kept: Vec<_> = (0..100_000 / SCALE as u64).map(|value| mutator.alloc(value).unwrap()).collect();
    for budget in [1, 100, 10_000] {
        let mut census = mutator.census();
        let mut before = 0;
        while census.step(Budget::Units(budget)).unwrap() != Stop::Done {
            let now = census.total().objects;
            assert!(now - before <= budget + 4_097, "{} in a step of {budget}", now - before);
            before = now;
        }
        assert_eq!(census.total().objects, kept.len() as u64);
        assert_eq!(census.step(Budget::Units(1)).unwrap(), Stop::Done);
        assert_eq!(census.total().objects, kept.len() as u64, "nothing is counted again");
    }
}

/// What is dead and waits is not counted; what only the dead refer to still is, as in the counts.
#[test]
fn the_dead_are_not_counted() {
    let mutator = mutator();
    let mut list = None;
    for _ in 0..10_000 / SCALE {
        list = Some(node(&mutator, list, None));
    }
    let large: Vec<Ref<Tail<(), u8>>> = (0..3).map(|_| mutator.alloc_tail((), 20 << 20, |_| 1).unwrap()).collect();
    let wide: Vec<_> = (0..100).map(|_| mutator.alloc(Wide([0; 64], None)).unwrap()).collect();
    check(&mutator);
    drop((list, large, wide));
    let mut seen = Vec::new();
    while !mutator.collect(Budget::Units(200)).is_done() {
        check(&mutator);
        seen.push(mutator.metrics().pending.now.objects);
    }
    assert!(seen.iter().any(|pending| *pending > 0));
    check(&mutator);
    assert_eq!(mutator.metrics().large.objects, 3);
    mutator.release_memory();
    check(&mutator);
}

/// A tail that is being filled is no object yet, one that grows is none meanwhile, and neither is one whose items are being dropped as
/// the next one could not be made.
#[test]
fn what_is_being_made_is_not_counted() {
    #[derive(Trace)]
    struct Item(#[trace(skip)] Rc<RefCell<Vec<u64>>>, #[trace(skip)] Rc<Mutator>);
    impl Item {
        fn look(&self) {
            let total = census(&self.1, Budget::Units(1)).total();
            self.0.borrow_mut().push(total.objects);
        }
    }
    struct Looks(Item);
    impl Drop for Looks {
        fn drop(&mut self) {
            self.0.look();
        }
    }
    #[derive(Trace)]
    struct Entry(#[trace(skip)] Looks);

    let mutator = Rc::new(mutator());
    let seen = Rc::new(RefCell::new(Vec::new()));
    let item = || Item(Rc::clone(&seen), Rc::clone(&mutator));
    let other = mutator.alloc(1).unwrap();
    let entry = |_| {
        item().look();
        Entry(Looks(item()))
    };
    let tail: Ref<Tail<u128, Entry>> = mutator.alloc_tail(5, 3, entry).unwrap();
    assert_eq!(seen.take(), [1; 3]);
    check(&mutator);
    let tail = mutator.grow_tail(tail, 300, entry).unwrap();
    assert_eq!(seen.take(), [1; 297]);
    check(&mutator);
    let grown = catch_unwind(AssertUnwindSafe(|| {
        mutator.grow_tail(tail, 2_000, |index| if index < 310 { entry(index) } else { panic!("no more") })
    }));
    assert!(grown.is_err());
    // Ten were made, then all 310 dropped.
    assert_eq!(seen.take(), [1; 320]);
    check(&mutator);
    assert_eq!(mutator.metrics().live.now.objects, 1);
    drop(other);
}

/// Within a collection an object may be half taken apart.
#[test]
fn a_census_waits_while_a_collection_runs() {
    struct Asks(Rc<Mutator>, Rc<Cell<u32>>);
    impl Drop for Asks {
        fn drop(&mut self) {
            let mut census = self.0.census();
            assert_eq!(census.step(Budget::Unbounded).unwrap(), Stop::Busy);
            assert_eq!(census.total(), Tally::default());
            self.1.set(self.1.get() + 1);
        }
    }
    #[derive(Trace)]
    struct Asking(#[trace(skip)] Asks);
    let mutator = Rc::new(mutator());
    let asked = Rc::new(Cell::new(0));
    let kept = mutator.alloc(5).unwrap();
    for _ in 0..3 {
        drop(mutator.alloc(Asking(Asks(Rc::clone(&mutator), Rc::clone(&asked)))).unwrap());
    }
    mutator.collect(Budget::Unbounded);
    assert_eq!(asked.get(), 3);
    check(&mutator);
    drop(kept);
}

#[test]
fn mutators_of_a_thread_count_their_own() {
    let runtime = Runtime::new().unwrap();
    let mutators: Vec<_> = (0..3).map(|_| runtime.attach().unwrap()).collect();
    let mut kept = Vec::new();
    for index in 0..3_000 / SCALE {
        kept.push(node(&mutators[index % 3], kept.last().cloned(), None));
        for _ in 0..index % 3 {
            kept.push(node(&mutators[1], None, None));
        }
    }
    for mutator in &mutators {
        check(mutator);
        assert!(mutator.metrics().live.now.objects > 0);
    }
    drop(kept);
    for mutator in &mutators {
        mutator.collect(Budget::Unbounded);
        check(mutator);
    }
}

/// Raw blocks are freed by another thread, in the middle of the steps; objects lie apart from them.
#[test]
fn other_threads_may_free_raw_blocks_meanwhile() {
    struct Block(NonNull<u8>, Layout);
    // SAFETY: raw memory, which is handed over.
    unsafe impl Send for Block {}
    fn free(remote: &RemoteFree, Block(block, layout): Block) {
        // SAFETY: of the mutator that made `remote`, of this layout, and not used again.
        unsafe { remote.free(block, layout) };
    }
    /// Where a block lies until the other thread has taken it.
    #[derive(Default)]
    struct Place {
        block: AtomicPtr<Block>,
        taken: AtomicU32,
        is_over: AtomicBool,
    }
    let mutator = mutator();
    let remote = mutator.remote_free();
    let place = Arc::new(Place::default());
    let theirs = Arc::clone(&place);
    let other = thread::spawn(move || {
        loop {
            // Before the last block is looked for.
            let is_over = theirs.is_over.load(Ordering::Acquire);
            let block = theirs.block.swap(ptr::null_mut(), Ordering::Acquire);
            if !block.is_null() {
                // SAFETY: from a box, which was handed over with this pointer.
                free(&remote, *unsafe { Box::from_raw(block) });
                theirs.taken.fetch_add(1, Ordering::Relaxed);
            } else if is_over {
                break;
            } else {
                thread::yield_now();
            }
        }
    });
    let mut kept = Vec::new();
    for round in 0..20_000 / SCALE {
        let layout = Layout::from_size_align(16 << (round % 8), 16).unwrap();
        let block = Box::into_raw(Box::new(Block(mutator.allocate(layout).unwrap(), layout)));
        while place.block.compare_exchange(ptr::null_mut(), block, Ordering::Release, Ordering::Relaxed).is_err() {
            thread::yield_now();
        }
        kept.push(node(&mutator, None, None));
        if round % (2_000 / SCALE) == 0 {
            assert_eq!(census(&mutator, Budget::Units(50)).total(), mutator.metrics().live.now);
        }
    }
    check(&mutator);
    place.is_over.store(true, Ordering::Release);
    other.join().unwrap();
    assert_eq!(place.taken.load(Ordering::Relaxed) as usize, 20_000 / SCALE);
    check(&mutator);
    drop(kept);
    check(&mutator);
}

/// What earlier mutators have left in a heap that is handed down is not the next one's: raw blocks, and objects that were given up.
#[test]
fn what_earlier_mutators_left_is_not_counted() {
    /// Panics each time.
    struct Refuses;
    // SAFETY: 1, 2: no slots. 3, 4: nothing to drop. 5: panics.
    unsafe impl Trace for Refuses {
        const SLOTS: mimalloc_runtime::Slots = mimalloc_runtime::Slots::Varying;
        const RESIDUE: bool = false;
        fn trace(&self, _: &mut mimalloc_runtime::Tracer<'_>) {
            panic!("refused");
        }
        unsafe fn drop_residue(&mut self) {}
    }
    let runtime = Runtime::new().unwrap();
    let layout = Layout::new::<[u64; 3]>();
    for generation in 0..4 {
        let mutator = runtime.attach().unwrap();
        check(&mutator);
        let kept = node(&mutator, None, None);
        for _ in 0..10 {
            let block = mutator.allocate(layout).unwrap();
            // SAFETY: as many bytes as a node with its header. Left for good.
            unsafe { ptr::copy_nonoverlapping(Ref::as_raw(&kept).as_ptr().cast::<u8>(), block.as_ptr(), 24) };
        }
        drop(mutator.alloc(Refuses).unwrap());
        while catch_unwind(AssertUnwindSafe(|| mutator.collect(Budget::Unbounded))).is_err() {}
        assert_eq!(mutator.metrics().abandoned.objects, 1, "generation {generation}");
        assert_eq!(mutator.metrics().live.now.objects, 1);
        check(&mutator);
        drop(kept);
    }
}

#[test]
fn a_walled_heap_is_walked_like_any_other() {
    let mutator = Runtime::new().unwrap().attaching().wall(Some(32 << 20)).unwrap().attach().unwrap();
    let mut kept = Vec::new();
    while let Ok(tail) = mutator.alloc_tail::<u64, u8>(1, 100 << (kept.len() % 12), |_| 1) {
        kept.push(tail);
        if kept.len() == 20_000 / SCALE {
            break;
        }
    }
    check(&mutator);
    let wide = mutator.alloc(Aligned(1)).ok();
    kept.retain(|tail| tail.items().len() > 500);
    check(&mutator);
    drop((kept, wide));
    mutator.release_memory();
    check(&mutator);
}

/// Objects of a large alignment: in blocks of every size, with everything that may become of them.
#[test]
fn objects_of_a_large_alignment_lie_right_and_are_found() {
    #[derive(Trace, Clone, Copy)]
    #[repr(align(256))]
    struct Item(#[trace(skip)] u64);
    let mutator = mutator();
    let mut kept = Vec::new();
    let mut aligned = Vec::new();
    for len in (0..60).chain([1_000, 40_000]) {
        let tail: Ref<Tail<u8, Item>> = mutator.alloc_tail(1, len, |index| Item(index as u64)).unwrap();
        assert_eq!(tail.items().as_ptr() as usize % 256, 0);
        let tail = mutator.grow_tail(tail, len + 3, |index| Item(index as u64)).unwrap();
        assert!(tail.items().iter().enumerate().all(|(index, item)| item.0 == index as u64));
        assert_eq!(tail.items().as_ptr() as usize % 256, 0);
        kept.push(tail);
        let object = mutator.alloc(Aligned(len as u8)).unwrap();
        assert_eq!(&raw const *object as usize % 4096, 0);
        aligned.push(object);
        check(&mutator);
    }
    assert!(aligned.iter().zip((0..60).chain([1_000, 40_000])).all(|(object, len)| object.0 == len as u8));
    kept.truncate(20);
    aligned.truncate(7);
    check(&mutator);
    drop((kept, aligned));
    mutator.collect(Budget::Unbounded);
    check(&mutator);
    assert_eq!(mutator.in_use(), 0);
}

/// Two at a time, and one that is left in the middle.
#[test]
fn several_may_be_taken_at_a_time() {
    let mutator = mutator();
    let kept: Vec<_> = (0..20_000 / SCALE as u64).map(|value| mutator.alloc(value).unwrap()).collect();
    let (mut first, mut second) = (mutator.census(), mutator.census());
    let mut left = mutator.census();
    left.step(Budget::Units(3)).unwrap();
    drop(left);
    loop {
        let done = (first.step(Budget::Units(2)).unwrap(), second.step(Budget::Units(500)).unwrap());
        if done == (Stop::Done, Stop::Done) {
            break;
        }
    }
    assert_eq!(first.total(), second.total());
    assert_eq!(first.total(), mutator.metrics().live.now);
    drop(kept);
}

/// Wherever a search for garbage cycles stands, and what it has found: that is pending, and no longer counted.
#[test]
fn garbage_cycles_are_counted_until_they_are_found() {
    #[derive(Trace, Default)]
    struct Knot {
        to: mimalloc_runtime::cell::RefCell<Option<Ref<Knot>>>,
    }
    let mutator = mutator();
    let kept: Vec<_> = (0..10).map(|_| mutator.alloc(Knot::default()).unwrap()).collect();
    for knot in &kept {
        let garbage = mutator.alloc(Knot::default()).unwrap();
        *garbage.to.borrow_mut() = Some(garbage.clone());
        *knot.to.borrow_mut() = Some(knot.clone());
    }
    let mut counts = Vec::new();
    loop {
        let done = mutator.collect(Budget::Units(1)).is_done();
        let mut census = mutator.census();
        assert_eq!(census.step(Budget::Unbounded).unwrap(), Stop::Done);
        assert_eq!(census.total(), mutator.metrics().live.now);
        counts.push(census.total().objects);
        if done {
            break;
        }
    }
    assert_eq!((counts[0], counts.last()), (20, Some(&10)));
}
