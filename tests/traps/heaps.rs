//! Heaps: who may use them, how they end, what a walk sees.

use core::ffi::c_void;
use std::collections::HashSet;
#[cfg(feature = "v2")]
use std::sync::{Arc, Barrier};
use std::thread;

use crate::engine::{self, Area, Heap, malloc_in};
#[cfg(feature = "v2")]
use crate::process::alone;

/// Blocks that a walk is expected to see.
const BLOCKS: usize = if cfg!(small_tests) { 10_000 } else { 100_000 };

unsafe extern "C" fn gather(_: *const Heap, _: *const Area, block: *mut c_void, _: usize, seen: *mut c_void) -> bool {
    // The engine tells of each area first, without a block.
    if !block.is_null() {
        // SAFETY: the set that the walk was given.
        unsafe { &mut *seen.cast::<HashSet<usize>>() }.insert(block as usize);
    }
    true
}

/// The blocks of `heap`, of which no other thread makes use.
pub(crate) fn walk(heap: *mut Heap) -> HashSet<usize> {
    let mut seen = HashSet::new();
    // SAFETY: a heap of the test's.
    let done = unsafe { engine::mi_heap_visit_blocks(heap, true, gather, (&raw mut seen).cast()) };
    assert!(done);
    seen
}

#[test]
fn a_walk_of_a_heap_sees_every_block() {
    let heap = engine::heap();
    let blocks: HashSet<usize> = (0..BLOCKS).map(|_| malloc_in(heap, 64) as usize).collect();
    assert_eq!(walk(heap), blocks);
}

/// Full pages are not among those that a theap looks at.
#[cfg(not(feature = "v2"))]
#[test]
fn a_walk_of_a_theap_misses_full_pages() {
    let heap = engine::heap();
    for _ in 0..BLOCKS {
        malloc_in(heap, 64);
    }
    let mut seen = HashSet::<usize>::new();
    // SAFETY: this thread's heap.
    let theap = unsafe { engine::mi_heap_theap(heap) };
    // SAFETY: this thread's theap; nothing else is done with it meanwhile.
    unsafe { engine::mi_theap_visit_blocks(theap, true, gather, (&raw mut seen).cast()) };
    assert!(seen.len() < BLOCKS / 2, "{}", seen.len());
    assert_eq!(walk(heap).len(), BLOCKS);
}

/// In version 3 any thread may use a heap, and what it allocated there stays when it ends.
#[cfg(not(feature = "v2"))]
#[test]
fn a_heap_belongs_to_no_thread_and_a_walk_sees_the_blocks_of_dead_threads() {
    let heap = engine::heap();
    malloc_in(heap, 64);
    let address = heap.expose_provenance();
    for _ in 0..3 {
        let thread = thread::spawn(move || {
            for _ in 0..1_000 {
                malloc_in(std::ptr::with_exposed_provenance_mut(address), 64);
            }
        });
        thread.join().unwrap();
    }
    assert_eq!(walk(heap).len(), 3_001);
}

/// In version 2 a heap goes with its thread. Its blocks stay, and belong to no heap of that thread any more.
#[cfg(feature = "v2")]
#[test]
fn the_blocks_of_a_heap_outlive_it_and_its_thread() {
    let thread = thread::spawn(|| malloc_in(engine::heap(), 64).cast::<[u8; 64]>().expose_provenance());
    let block: *mut [u8; 64] = std::ptr::with_exposed_provenance_mut(thread.join().unwrap());
    // SAFETY: allocated above, of this size, and not freed.
    unsafe { block.write([7; 64]) };
    // SAFETY: as above.
    assert_eq!(unsafe { block.read() }, [7; 64]);
    // SAFETY: as above.
    unsafe { engine::free(block.cast()) };
}

/// In version 2 only a heap that was made to be destroyed can be: one in an arena is deleted instead, and its blocks stay.
#[cfg(feature = "v2")]
#[test]
fn destroying_a_heap_in_an_arena_leaves_its_blocks() {
    // SAFETY: no arena in particular.
    let heap = unsafe { engine::mi_heap_new_in_arena(engine::NO_ARENA) };
    let block = malloc_in(heap, 64).cast::<[u8; 64]>();
    // SAFETY: allocated above.
    unsafe { block.write([7; 64]) };
    // SAFETY: this thread's heap, not used again.
    unsafe { engine::mi_heap_destroy(heap) };
    let others = engine::heap();
    for _ in 0..BLOCKS {
        assert_ne!(malloc_in(others, 64), block.cast());
    }
    // SAFETY: still a block, now of the default heap.
    assert_eq!(unsafe { block.read() }, [7; 64]);
    // SAFETY: as above.
    unsafe { engine::free(block.cast()) };
}

/// In version 2, also one that was made so as not to; not one with a tag that what they have left has not. On its own: others look at their heaps too.
#[cfg(feature = "v2")]
#[test]
fn a_heap_takes_in_what_threads_have_left() {
    alone(|| {
        // SAFETY: no arena in particular.
        let tagged = || unsafe { engine::mi_heap_new_ex(7, true, engine::NO_ARENA) };
        for (make, takes) in [(&tagged as &dyn Fn() -> *mut Heap, false), (&engine::heap, true)] {
            let all = Arc::new(Barrier::new(10));
            let leave = || {
                let all = Arc::clone(&all);
                thread::spawn(move || {
                    let left: Vec<_> = (0..100).map(|_| malloc_in(engine::heap(), 64).expose_provenance()).collect();
                    // Each has segments of its own.
                    all.wait();
                    left
                })
            };
            let threads: Vec<_> = (0..10).map(|_| leave()).collect();
            let left: HashSet<usize> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
            let heap = make();
            // More than there is room for in a segment or two.
            (0..70).for_each(|_| assert!(!malloc_in(heap, 1 << 20).is_null()));
            let found = walk(heap);
            assert!(found.len() >= 70);
            assert_eq!(!found.is_disjoint(&left), takes);
        }
    });
}

/// With an alignment above 16 the engine may hand out a place within a block; a walk tells where the block begins.
#[test]
fn a_walk_tells_of_blocks_and_not_of_the_pointers_handed_out() {
    let heap = engine::heap();
    // SAFETY: this thread's heap.
    let aligned = |size, align| unsafe { engine::mi_heap_malloc_aligned(heap, size, align) as usize };
    let pairs = (0..1_000).flat_map(|index| [aligned(752, 512), aligned(100 + index % 7 * 16, 4096)]);
    let handed_out: HashSet<usize> = pairs.collect();
    let seen = walk(heap);
    assert_eq!(seen.len(), 2_000);
    assert!(handed_out.difference(&seen).count() > 100);
}

/// What the engine counts as allocated in `heap`, in bytes.
#[cfg(not(feature = "v2"))]
fn counted_by_the_engine(heap: *mut Heap) -> i64 {
    /// `allocated.current` in `mi_stats_t`, in words.
    const CURRENT: usize = 24;
    let mut stats = [0i64; 4096];
    // The structure begins with its size and a version, which the engine compares with its own: so they can be found.
    for size in 100..4096 {
        for version in 1..10 {
            (stats[0], stats[1]) = (size * 8, version);
            // SAFETY: room for the size that it says.
            if unsafe { engine::mi_heap_stats_get(heap, stats.as_mut_ptr().cast()) } {
                return stats[CURRENT];
            }
        }
    }
    panic!("the engine's statistics have another form");
}

/// Statistics of a heap lag behind until it is collected.
#[cfg(not(feature = "v2"))]
#[test]
fn live_bytes_of_a_heap_are_exact_only_after_a_collection() {
    let heap = engine::heap();
    // What a block of 64 bytes counts: more in a hardened build.
    let mut each = None;
    let mut inexact = 0;
    for hundreds in 1..=100 {
        for _ in 0..100 {
            malloc_in(heap, 64);
        }
        let before = counted_by_the_engine(heap);
        // SAFETY: this thread's heap.
        unsafe { engine::mi_heap_collect(heap, true) };
        let exact = counted_by_the_engine(heap);
        assert_eq!(exact, hundreds * 100 * *each.get_or_insert(exact / 100));
        inexact += u32::from(before != exact);
    }
    assert!(each >= Some(64) && inexact > 50, "{each:?}, {inexact}");
}
