//! Mutators on threads: heaps handed down, blocks freed elsewhere, several runtimes and mutators at once.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;

use mimalloc_runtime::{Budget, Latency, Mutator, Ref, RemoteFree, Residues, Runtime, counted_bytes, sys};

use crate::graph::{self, node};

#[test]
fn heaps_of_detached_mutators_are_taken_up_again() {
    let runtime = Runtime::new().unwrap();
    for _ in 0..200 {
        let runtime = runtime.clone();
        let thread = thread::spawn(move || {
            let mutator = runtime.attach().unwrap();
            drop(graph::chain(&mutator, 1_000).root);
        });
        thread.join().unwrap();
    }
    assert!(runtime.idle_heaps() <= 1, "{}", runtime.idle_heaps());
}

#[test]
fn the_pool_keeps_no_more_heaps_than_it_was_told() {
    let runtime = Runtime::builder().idle_heaps(2).build().unwrap();
    let mutators: Vec<Mutator> = (0..5).map(|_| runtime.attach().unwrap()).collect();
    drop(mutators);
    assert!(runtime.idle_heaps() <= 2);
}

#[test]
fn blocks_may_be_freed_on_another_thread_also_after_the_mutator_is_gone() {
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attach().unwrap();
    let layout = Layout::from_size_align(200, 64).unwrap();
    let blocks: Vec<usize> =
        (0..1_000).map(|_| mutator.allocate(layout).unwrap().as_ptr().expose_provenance()).collect();
    let remote = mutator.remote_free();
    let (now, later) = blocks.split_at(500);
    let free = |blocks: &[usize]| {
        let (blocks, remote) = (blocks.to_vec(), remote.clone());
        let thread = thread::spawn(move || {
            for block in blocks {
                let block = NonNull::new(std::ptr::with_exposed_provenance_mut(block)).unwrap();
                // SAFETY: allocated with this layout by the mutator that made `remote`; freed once.
                unsafe { remote.free(block, layout) };
            }
        });
        thread.join().unwrap();
    };
    free(now);
    assert_eq!(mutator.metrics().block_bytes, 500 * counted_bytes(layout));
    drop(mutator);
    free(later);
    let mutator = runtime.attach().unwrap();
    assert_eq!(mutator.metrics().block_bytes, 0);
}

#[test]
fn raw_blocks_keep_their_contents_and_alignment_when_resized() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    for align in [1, 8, 16, 32, 4096] {
        let mut layout = Layout::from_size_align(40, align).unwrap();
        let mut block = mutator.allocate_zeroed(layout).unwrap();
        // SAFETY: 40 bytes, zeroed.
        assert_eq!(unsafe { block.cast::<[u8; 40]>().read() }, [0; 40]);
        // SAFETY: within the block.
        unsafe { block.cast::<[u8; 40]>().write([7; 40]) };
        for size in [100, 1_000, 2_000, 1_000_000, 1_100, 900, 40] {
            // SAFETY: allocated with this layout; the old pointer is not used again.
            block = unsafe { mutator.reallocate(block, layout, size) }.unwrap();
            layout = Layout::from_size_align(size, align).unwrap();
            assert_eq!(block.as_ptr() as usize % align, 0);
            // SAFETY: never smaller than 40 bytes.
            assert_eq!(unsafe { block.cast::<[u8; 40]>().read() }, [7; 40]);
        }
        // SAFETY: allocated above; an impossible size leaves it alone.
        let error = unsafe { mutator.reallocate(block, layout, usize::MAX) }.unwrap_err();
        assert_eq!(error.bytes, usize::MAX);
        // SAFETY: allocated with this layout.
        unsafe { mutator.deallocate(block, layout) };
    }
    assert_eq!(mutator.metrics().block_bytes, 0);
}

#[test]
fn raw_blocks_of_no_size_are_blocks_too() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let layout = Layout::from_size_align(0, 1).unwrap();
    let blocks: Vec<_> = (0..100).map(|_| mutator.allocate(layout).unwrap()).collect();
    assert_eq!(mutator.metrics().block_bytes, 1_600);
    let mut distinct: Vec<_> = blocks.iter().map(|block| block.as_ptr() as usize).collect();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 100);
    for block in blocks {
        // SAFETY: allocated with this layout; the old pointer is not used again.
        let grown = unsafe { mutator.reallocate(block, layout, 10) }.unwrap();
        // SAFETY: allocated with this layout.
        unsafe { mutator.deallocate(grown, Layout::from_size_align(10, 1).unwrap()) };
    }
    assert_eq!(mutator.metrics().block_bytes, 0);
}

#[test]
fn several_mutators_on_one_thread_each_own_their_objects() {
    let runtime = Runtime::new().unwrap();
    let mutators: Vec<Mutator> = (0..3).map(|_| runtime.attach().unwrap()).collect();
    let built: Vec<_> = mutators.iter().map(|mutator| graph::tree(mutator, 1_000).root).collect();
    for (index, root) in built.into_iter().enumerate() {
        drop(root);
        let pending: Vec<u64> = mutators.iter().map(|mutator| mutator.metrics().pending.now.objects).collect();
        // The root itself is gone, and its two children wait.
        let expected: Vec<u64> = (0..3).map(|at| if at == index { 2 } else { 0 }).collect();
        assert_eq!(pending, expected);
        assert!(mutators[index].collect(Budget::Unbounded).is_done());
        assert_eq!(mutators[index].metrics().live.now.objects, 0);
    }
    // Detached in no particular order.
    let [first, second, third] = <[Mutator; 3]>::try_from(mutators).unwrap();
    let kept = node(&first, None, None);
    drop(second);
    drop(first);
    drop(kept);
    drop(graph::tree(&third, 100).root);
    assert!(third.collect(Budget::Unbounded).is_done());
}

/// An object of one mutator in an object of another: each is freed by its own.
#[test]
fn references_between_mutators_of_one_thread_keep_their_owner() {
    let runtime = Runtime::new().unwrap();
    let (first, second) = (runtime.attach().unwrap(), runtime.attach().unwrap());
    let child = node(&first, None, None);
    let parent = node(&second, Some(child), None);
    drop(parent);
    second.collect(Budget::Unbounded);
    first.collect(Budget::Unbounded);
    for mutator in [&first, &second] {
        let metrics = mutator.metrics();
        assert_eq!((metrics.freed.objects, metrics.live.now.objects), (1, 0));
    }
}

#[test]
fn runtimes_that_agree_live_together() {
    let runtimes: Vec<Runtime> = (0..10).map(|_| Runtime::new().unwrap()).collect();
    let other = Runtime::builder().latency(Latency::Engine).build().unwrap();
    let mutators: Vec<Mutator> = runtimes.iter().chain([&other]).map(|runtime| runtime.attach().unwrap()).collect();
    for mutator in &mutators {
        drop(graph::chain(mutator, 10).root);
    }
}

/// A handle that is dropped while the thread's own destructors run.
#[test]
fn a_handle_may_be_let_go_of_in_a_thread_local_destructor() {
    struct Late(Option<Ref<graph::Node>>, mpsc::Sender<()>);
    impl Drop for Late {
        fn drop(&mut self) {
            drop(self.0.take());
            self.1.send(()).unwrap();
        }
    }
    thread_local! {
        static LATE: std::cell::RefCell<Option<Late>> = const { std::cell::RefCell::new(None) };
    }
    let runtime = Runtime::new().unwrap();
    let (sender, receiver) = mpsc::channel();
    let inner = runtime.clone();
    let thread = thread::spawn(move || {
        let mutator = inner.attach().unwrap();
        let head = node(&mutator, None, None);
        LATE.set(Some(Late(Some(head), sender)));
        assert_eq!(mutator.detach().live.objects, 1);
    });
    thread.join().unwrap();
    receiver.recv().unwrap();
    assert_eq!(runtime.idle_heaps(), usize::from(!cfg!(feature = "v2")));
}

/// A block that outlives its mutator keeps the heap from being given back, however many mutators have had it since.
#[test]
fn a_heap_with_a_block_in_use_is_never_destroyed() {
    let runtime = Runtime::builder().idle_heaps(0).build().unwrap();
    let layout = Layout::from_size_align(64, 8).unwrap();
    let mutator = runtime.attach().unwrap();
    let block = mutator.allocate(layout).unwrap();
    let remote = mutator.remote_free();
    drop(mutator);
    // SAFETY: 64 bytes, in use.
    unsafe { block.cast::<[u8; 64]>().write([7; 64]) };
    for _ in 0..3 {
        let mutator = runtime.attach().unwrap();
        let others: Vec<_> = (0..1_000).map(|_| mutator.allocate(layout).unwrap()).collect();
        assert!(!others.contains(&block));
        for other in others {
            // SAFETY: allocated with this layout.
            unsafe { mutator.deallocate(other, layout) };
        }
    }
    // SAFETY: as above.
    assert_eq!(unsafe { block.cast::<[u8; 64]>().read() }, [7; 64]);
    // SAFETY: allocated with this layout by the mutator that made `remote`.
    unsafe { remote.free(block, layout) };
    assert_eq!(pool(&runtime), pooled([1, 0, 1]));
}

/// Heaps that wait in the pool, those of them that can never be given back, and those that are given back now.
fn pool(runtime: &Runtime) -> [usize; 3] {
    [runtime.idle_heaps(), runtime.lost_heaps(), runtime.release_idle_heaps()]
}

/// What the pool holds on version 3. On version 2 it holds nothing: a heap is bound to its thread.
fn pooled(heaps: [usize; 3]) -> [usize; 3] {
    if cfg!(feature = "v2") { [0; 3] } else { heaps }
}

/// Detaches a mutator that leaves a block.
fn leave(mutator: Mutator) -> (NonNull<u8>, RemoteFree) {
    let left = (mutator.allocate(LEFT).unwrap(), mutator.remote_free());
    drop(mutator);
    left
}

const LEFT: Layout = Layout::new::<[u8; 64]>();

/// Frees what was left, on a thread of its own.
fn free_elsewhere((block, remote): (NonNull<u8>, RemoteFree)) {
    let address = block.as_ptr().expose_provenance();
    let thread = thread::spawn(move || {
        let block = NonNull::new(std::ptr::with_exposed_provenance_mut(address)).unwrap();
        // SAFETY: allocated with this layout by the mutator that made `remote`; freed once.
        unsafe { remote.free(block, LEFT) };
    });
    thread.join().unwrap();
}

#[test]
fn a_heap_is_given_back_once_what_was_left_in_it_has_been_freed() {
    let runtime = Runtime::new().unwrap();
    let left = leave(runtime.attach().unwrap());
    assert_eq!(pool(&runtime), pooled([1, 0, 0]));
    // Two more mutators of the heap leave something.
    let more = [leave(runtime.attach().unwrap()), leave(runtime.attach().unwrap())];
    assert_eq!(pool(&runtime), pooled([1, 0, 0]));
    more.into_iter().for_each(free_elsewhere);
    assert_eq!(pool(&runtime), pooled([1, 0, 0]));
    free_elsewhere(left);
    assert_eq!(pool(&runtime), pooled([1, 0, 1]));
    assert_eq!(pool(&runtime), [0; 3]);
}

#[test]
fn a_heap_that_became_empty_counts_when_the_next_mutator_goes() {
    let runtime = Runtime::builder().idle_heaps(0).build().unwrap();
    let mutators = [runtime.attach().unwrap(), runtime.attach().unwrap(), runtime.attach().unwrap()];
    let [first, second, third] = mutators;
    let left = [leave(first), leave(second)];
    assert_eq!(runtime.idle_heaps(), pooled([2, 0, 0])[0], "kept beyond the bound");
    left.into_iter().for_each(free_elsewhere);
    drop(third);
    assert_eq!(runtime.idle_heaps(), 0);
    // It is also taken up again, and goes with its next mutator.
    let left = leave(runtime.attach().unwrap());
    let next = runtime.attach().unwrap();
    assert_eq!(runtime.idle_heaps(), 0);
    free_elsewhere(left);
    drop(next);
    assert_eq!(runtime.idle_heaps(), 0);
}

#[test]
fn a_heap_stays_for_good_when_nobody_can_free_what_was_left_in_it() {
    let runtime = Runtime::new().unwrap();
    let (_lost, remote) = leave(runtime.attach().unwrap());
    let another = remote.clone();
    drop(remote);
    assert_eq!(pool(&runtime), pooled([1, 0, 0]));
    drop(another);
    assert_eq!(pool(&runtime), pooled([1, 1, 0]));
    // The next mutators can use what is left of it.
    free_elsewhere(leave(runtime.attach().unwrap()));
    assert_eq!(pool(&runtime), pooled([1, 1, 0]));
}

/// Blocks that several threads free at any moment, while the pool is asked again and again whether the heap is empty.
#[test]
fn a_heap_is_not_given_back_before_the_last_free_is_done() {
    let runtime = Runtime::new().unwrap();
    for _ in 0..50 {
        let mutator = runtime.attach().unwrap();
        let remote = mutator.remote_free();
        let addresses: Vec<usize> =
            (0..400).map(|_| mutator.allocate(LEFT).unwrap().as_ptr().expose_provenance()).collect();
        drop(mutator);
        let threads = [0, 200].map(|from| {
            let (some, remote) = (addresses[from..from + 200].to_vec(), remote.clone());
            thread::spawn(move || {
                for address in some {
                    let block = NonNull::new(std::ptr::with_exposed_provenance_mut(address)).unwrap();
                    // SAFETY: allocated with this layout by the mutator that made `remote`; freed once.
                    unsafe { remote.free(block, LEFT) };
                }
            })
        });
        while runtime.release_idle_heaps() < pooled([1, 0, 0])[0] {
            thread::yield_now();
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(runtime.idle_heaps(), 0);
    }
}

/// When the clock stands still, nobody knows any more how much of the heap is in use: then it is never given back.
#[test]
fn a_heap_whose_clock_stands_still_is_never_destroyed() {
    let runtime = Runtime::builder().idle_heaps(0).build().unwrap();
    let layout = Layout::from_size_align(64, 8).unwrap();
    let mutator = runtime.attach().unwrap();
    let block = mutator.allocate(layout).unwrap();
    let remote = mutator.remote_free();
    while mutator.charged() < u64::MAX {
        mutator.charge(u64::MAX);
    }
    drop(mutator);
    assert_eq!(runtime.idle_heaps(), usize::from(!cfg!(feature = "v2")), "kept beyond the bound: it may be in use");
    assert_eq!(runtime.release_idle_heaps(), 0);
    // Nor by whoever has it next.
    let next = runtime.attach().unwrap();
    let _left = next.allocate(layout).unwrap();
    drop(next);
    assert_eq!(runtime.release_idle_heaps(), 0);
    // SAFETY: 64 bytes, in use, whatever was charged.
    unsafe { block.cast::<[u8; 64]>().write([7; 64]) };
    // SAFETY: allocated with this layout by the mutator that made `remote`.
    unsafe { remote.free(block, layout) };
    assert_eq!(pool(&runtime), pooled([1, 1, 0]));
}

/// Heaps in walls are destroyed by whichever thread finds them empty, and their walls used by others at once. (What can be
/// counted of that is counted in `tests/walls`, where no other test has a wall.)
#[test]
fn walls_go_from_thread_to_thread() {
    let runtime = Runtime::new().unwrap();
    let left = Arc::new(Mutex::new(None));
    let free = |(address, remote): (usize, RemoteFree)| {
        let block = NonNull::new(std::ptr::with_exposed_provenance_mut(address)).unwrap();
        // SAFETY: allocated with this layout by the mutator that made `remote`; freed once.
        unsafe { remote.free(block, LEFT) };
    };
    let threads = [0, 1].map(|_| {
        let (runtime, left) = (runtime.clone(), Arc::clone(&left));
        thread::spawn(move || {
            for round in 0..50 {
                let mutator = runtime.attaching().wall(Some(1)).unwrap().attach().unwrap();
                drop(graph::tree(&mutator, 100).root);
                // On version 2 the wall would be lost with the block.
                if round % 2 == 0 && !cfg!(feature = "v2") {
                    let (block, remote) = leave(mutator);
                    let own = (block.as_ptr().expose_provenance(), remote);
                    let other = left.lock().unwrap().replace(own);
                    other.into_iter().for_each(free);
                }
            }
        })
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    left.lock().unwrap().take().into_iter().for_each(free);
    assert_eq!(Runtime::walls().lost, 0);
}

#[test]
fn blocks_of_every_small_size_have_the_alignment_that_was_asked_for() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    for size in 0..40 {
        for align in [1, 2, 4, 8, 16, 32, 64] {
            let layout = Layout::from_size_align(size, align).unwrap();
            let blocks: Vec<_> = (0..20)
                .flat_map(|_| [mutator.allocate(layout).unwrap(), mutator.allocate_zeroed(layout).unwrap()])
                .collect();
            for block in blocks {
                assert_eq!(block.as_ptr() as usize % align, 0, "{layout:?}");
                // SAFETY: allocated with this layout.
                unsafe { mutator.deallocate(block, layout) };
            }
        }
    }
}

/// More heaps than the engine has at one time: 64,512.
#[test]
fn a_runtime_that_goes_gives_its_heaps_back() {
    for _ in 0..if cfg!(small_tests) { 700 } else { 70_000 } {
        let runtime = Runtime::new().unwrap();
        let mutator = runtime.attach().unwrap();
        if cfg!(feature = "v2") {
            // A heap that is left with a block stays with its thread.
            continue;
        }
        let (block, remote) = leave(mutator);
        // SAFETY: allocated with this layout by the mutator that made `remote`; freed once.
        unsafe { remote.free(block, LEFT) };
    }
}

/// Blocks, all their bytes 7, and how each is freed.
type Left = (Vec<usize>, fn(*mut u8, Option<&RemoteFree>), Option<RemoteFree>);

/// Version 2 has what was left by threads that have ended taken over by those that allocate, a page at a time. None of it may come into the heaps of a
/// mutator, which are walked, and freed as a whole.
#[test]
fn what_dead_threads_left_comes_into_no_heap_of_a_mutator() {
    const SIZES: [usize; 3] = [16, 64, 4096];
    const EACH: usize = 100;
    static ONES: [u8; 1 << 20] = [1; 1 << 20];
    fn filled(block: *mut u8, size: usize) -> usize {
        // SAFETY: a block of this size, just allocated.
        unsafe { block.write_bytes(7, size) };
        block.expose_provenance()
    }
    fn by_the_engine(_: &Runtime) -> Left {
        // SAFETY: any size may be asked for.
        let malloc = |size| filled(unsafe { sys::mi_malloc(size) }.cast(), size);
        // SAFETY: a block of the engine's, freed once.
        let free = |block: *mut u8, _: Option<&RemoteFree>| unsafe { sys::mi_free(block.cast()) };
        (SIZES.iter().flat_map(|&size| (0..EACH).map(move |_| malloc(size))).collect(), free, None)
    }
    const LAYOUT: Layout = Layout::new::<[u8; 64]>();
    fn by_a_mutator(runtime: &Runtime) -> Left {
        let mutator = runtime.attach().unwrap();
        let blocks = (0..EACH).map(|_| filled(mutator.allocate(LAYOUT).unwrap().as_ptr(), 64)).collect();
        let free = |block, remote: Option<&RemoteFree>| {
            // SAFETY: allocated with this layout by the mutator that made `remote`; freed once.
            unsafe { remote.unwrap().free(NonNull::new(block).unwrap(), LAYOUT) }
        };
        let remote = mutator.remote_free();
        (blocks, free, Some(remote))
    }
    fn objects(mutator: &Mutator) {
        for size in SIZES {
            (0..EACH).for_each(|_| core::mem::forget(mutator.alloc_tail((), size, |_| 7u8).unwrap()));
        }
    }
    fn as_objects(runtime: &Runtime) -> Left {
        let mutator = runtime.attach().unwrap();
        objects(&mutator);
        assert!(mutator.detach().live.objects > 0);
        (Vec::new(), |_, _| {}, None)
    }
    fn as_objects_of_one_that_was_not_detached(runtime: &Runtime) -> Left {
        let mutator = runtime.attach().unwrap();
        objects(&mutator);
        core::mem::forget(mutator);
        (Vec::new(), |_, _| {}, None)
    }
    for leave in [by_the_engine, by_a_mutator, as_objects, as_objects_of_one_that_was_not_detached] {
        let runtime = Runtime::new().unwrap();
        // All at a time, so that each has segments of its own.
        let all = Arc::new(Barrier::new(10));
        let threads: Vec<_> = (0..10)
            .map(|_| {
                let (runtime, all) = (runtime.clone(), all.clone());
                thread::spawn(move || {
                    let left = leave(&runtime);
                    all.wait();
                    left
                })
            })
            .collect();
        let left: Vec<Left> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        for _ in 0..3 {
            let runtime = Runtime::new().unwrap();
            let thread = thread::spawn(move || {
                let mutator = runtime.attach().unwrap();
                // More than there is room for in a segment or two.
                let sizes = SIZES.iter().flat_map(|&size| (0..EACH).map(move |_| size)).chain([1 << 20; 70]);
                let kept: Vec<_> = sizes.map(|size| mutator.alloc_tail_copy((), &ONES[..size]).unwrap()).collect();
                let block = mutator.allocate(LAYOUT).unwrap();
                let survey = kept.iter().fold(mutator.survey(), |survey, object| survey.root(object));
                let found = survey.complete().verify().unwrap();
                assert_eq!((found.objects, found.problems), (kept.len() as u64, vec![]));
                // SAFETY: allocated with this layout.
                unsafe { mutator.deallocate(block, LAYOUT) };
                kept.into_iter().for_each(core::mem::forget);
                // SAFETY: what was forgotten is not used again.
                unsafe { mutator.destroy_unchecked(Residues::Drop) }.unwrap();
            });
            thread.join().unwrap();
        }
        for (blocks, free, remote) in left {
            for block in blocks {
                let block = std::ptr::with_exposed_provenance_mut::<u8>(block);
                // SAFETY: of at least so many bytes, and in use.
                assert_eq!(unsafe { block.cast::<[u8; 16]>().read() }, [7; 16]);
                free(block, remote.as_ref());
            }
        }
    }
}
