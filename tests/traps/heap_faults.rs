//! What goes wrong with heaps, or takes too many of them for tools that look for faults. Each in a process of its own.

use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::thread;

use crate::engine::{self, Heap, V2, malloc_in};
use crate::heaps::walk;
#[cfg(feature = "v2")]
use crate::limits::arena;
use crate::process::{alive, alone, end_of, resident};

/// There are at most 64,512 heaps in version 3, as each takes a place in a table of the threads'.
#[cfg(not(feature = "v2"))]
#[test]
fn heaps_run_out() {
    alone(|| {
        // The engine says each time that there are none.
        // SAFETY: an option of the engine.
        unsafe { engine::mi_option_set(engine::SHOW_ERRORS, 0) };
        let mut heaps = 0;
        // SAFETY: callable at any time.
        while !unsafe { engine::mi_heap_new() }.is_null() {
            heaps += 1;
            assert!(heaps < 1 << 20, "no end of them");
        }
        assert!((60_000..70_000).contains(&heaps), "{heaps}");
    });
}

/// A heap with little in it takes a quarter of a megabyte.
#[test]
fn a_used_heap_is_not_small() {
    alone(|| {
        malloc_in(engine::heap(), 16);
        let before = resident();
        const HEAPS: usize = 200;
        for _ in 0..HEAPS {
            let heap = engine::heap();
            for size in (16..=1024).step_by(16) {
                malloc_in(heap, size);
            }
        }
        let each = (resident() - before) / HEAPS;
        assert!((50_000..2_000_000).contains(&each), "{each}");
    });
}

/// Rounds after which nothing is expected to go wrong any more. On version 3 something does in the first hundred or so.
const ROUNDS: usize = if V2 { 300 } else { 10_000 };

/// What one thread frees while another does something to their heap.
static BLOCKS_TO_FREE: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// Rounds of blocks handed to the thread that frees, those that it has begun, and those that it has done.
static HANDED: AtomicUsize = AtomicUsize::new(0);
static STARTED: AtomicUsize = AtomicUsize::new(0);
static FREED: AtomicUsize = AtomicUsize::new(0);

/// Has the blocks of a heap freed by another thread, and does `to_the_heap` with it at the same time; over and over.
fn while_another_thread_frees(to_the_heap: fn(*mut Heap)) {
    thread::spawn(|| {
        for round in 1.. {
            while HANDED.load(Acquire) < round {
                thread::yield_now();
            }
            for (index, block) in BLOCKS_TO_FREE.lock().unwrap().drain(..).enumerate() {
                if index == 100 {
                    STARTED.store(round, Release);
                }
                // SAFETY: allocated below, freed once. What happens to the heap meanwhile is the fault.
                unsafe { engine::free(std::ptr::with_exposed_provenance_mut(block)) };
            }
            FREED.store(round, Release);
        }
    });
    for round in 1..=ROUNDS {
        let heap = engine::heap();
        let blocks = (0..20_000).map(|index| malloc_in(heap, 64 + index % 3 * 500).expose_provenance());
        BLOCKS_TO_FREE.lock().unwrap().extend(blocks);
        HANDED.store(round, Release);
        while STARTED.load(Acquire) < round {
            std::hint::spin_loop();
        }
        to_the_heap(heap);
        while FREED.load(Acquire) < round {
            thread::yield_now();
        }
        alive();
    }
}

#[test]
fn deleting_a_heap_while_another_thread_frees_into_it_crashes_or_hangs() {
    let end = end_of(|| {
        // SAFETY: none: another thread frees into it.
        while_another_thread_frees(|heap| unsafe { engine::mi_heap_delete(heap) });
    });
    assert_eq!(end.hung || end.signal.is_some(), !V2, "{end:?}");
}

#[test]
fn walking_a_heap_while_another_thread_frees_into_it_crashes_or_hangs() {
    let end = end_of(|| {
        while_another_thread_frees(|heap| {
            while FREED.load(Acquire) < HANDED.load(Acquire) {
                walk(heap);
            }
        });
    });
    assert_eq!(end.hung || end.signal.is_some(), !V2, "{end:?}");
}

/// Version 2 does not make a thread ready before it takes memory for an arena: this must not be its first call.
#[cfg(feature = "v2")]
#[test]
fn reserving_an_arena_on_a_thread_that_is_not_initialised_crashes() {
    let end = end_of(|| {
        let _ = thread::spawn(|| arena(64 << 20).is_ok()).join();
    });
    assert!(end.signal.is_some(), "{end:?}");
}
