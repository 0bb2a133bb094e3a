//! Limits: a heap in an arena of its own, what its end looks like, and the engine's settings.

use core::ffi::{c_ulonglong, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};

use crate::engine::{self, ArenaId, Heap, NO_ARENA, V2, malloc_in};
use crate::process::alone;

const MIB: usize = 1 << 20;

/// Builds that put something behind each block, as those for tools do too.
const HARDENED: bool = cfg!(any(feature = "secure", feature = "debug", small_tests));

/// An arena that only heaps made in it use. `None` with the id that the engine left behind if there is none.
pub(crate) fn arena(bytes: usize) -> Result<ArenaId, ArenaId> {
    let mut id = NO_ARENA;
    // SAFETY: the id is written to.
    match unsafe { engine::mi_reserve_os_memory_ex(bytes, false, false, true, &raw mut id) } {
        0 => Ok(id),
        _ => Err(id),
    }
}

fn heap_in(arena: ArenaId) -> *mut Heap {
    // SAFETY: an arena, or none.
    let heap = unsafe { engine::mi_heap_new_in_arena(arena) };
    assert!(!heap.is_null());
    heap
}

/// A heap in an arena that can be destroyed. Version 2 has a function of its own for that.
fn heap_in_destroyable(arena: ArenaId) -> *mut Heap {
    #[cfg(not(feature = "v2"))]
    return heap_in(arena);
    #[cfg(feature = "v2")]
    // SAFETY: an arena; heaps without a tag of their own have 0.
    return unsafe { engine::mi_heap_new_ex(0, true, arena) };
}

/// Allocates blocks of `size` until there are no more, and returns the bytes.
fn fill(heap: *mut Heap, size: usize) -> usize {
    let mut bytes = 0;
    while !malloc_in(heap, size).is_null() {
        bytes += size;
        assert!(bytes < 1 << 30, "no limit");
    }
    bytes
}

/// The engine says each time that there is no memory.
fn without_messages() {
    // Also makes it ready on this thread: see the last test.
    engine::malloc(16);
    // SAFETY: an option of the engine.
    unsafe { engine::mi_option_set(engine::SHOW_ERRORS, 0) };
}

static FORCED: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" fn count_forced(force: bool, _: c_ulonglong, _: *mut c_void) {
    FORCED.fetch_add(u64::from(force), Relaxed);
}

#[test]
fn a_heap_in_an_arena_ends_with_it_after_one_forced_call() {
    alone(|| {
        without_messages();
        engine::register(count_forced);
        let (small, large) = (heap_in(arena(64 * MIB).unwrap()), heap_in(arena(64 * MIB).unwrap()));
        for (heap, size, least) in
            [(small, 64, if HARDENED { 50 } else { 95 }), (large, MIB, if HARDENED { 50 } else { 80 })]
        {
            FORCED.store(0, Relaxed);
            let bytes = fill(heap, size);
            assert_eq!(FORCED.load(Relaxed), 1);
            assert!(bytes <= 64 * MIB && bytes * 100 >= 64 * MIB * least, "{bytes} in blocks of {size}");
        }
    });
}

static TO_FREE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

unsafe extern "C" fn free_one(force: bool, _: c_ulonglong, _: *mut c_void) {
    if force {
        // SAFETY: a block of the test's, freed once; or null.
        unsafe { engine::free(TO_FREE.swap(null_mut(), Relaxed)) };
    }
}

/// What the callback frees serves the allocation that had found nothing.
#[test]
fn memory_freed_in_the_forced_call_is_found_by_the_allocation() {
    alone(|| {
        without_messages();
        let heap = heap_in(arena(64 * MIB).unwrap());
        let mut last = null_mut();
        loop {
            match malloc_in(heap, MIB) {
                block if block.is_null() => break,
                block => last = block,
            }
        }
        engine::register(free_one);
        TO_FREE.store(last, Relaxed);
        assert!(!malloc_in(heap, MIB).is_null());
        assert!(malloc_in(heap, MIB).is_null());
    });
}

/// Sizes of arenas are rounded to 32 MiB: down by version 3, which refuses less; up by version 2.
#[test]
fn a_limit_is_rounded_to_32_mib() {
    alone(|| {
        without_messages();
        assert_eq!(arena(31 * MIB).is_ok(), V2);
        let bytes = fill(heap_in(arena(60 * MIB).unwrap()), 1000);
        let (least, most) = if V2 { (60 * MIB, 64 * MIB) } else { (28 * MIB, 32 * MIB) };
        assert!((least..=most).contains(&bytes), "{bytes}");
    });
}

/// What is left in the id after a failure names no arena: a heap made with it has no limit.
#[test]
fn a_failed_reservation_leaves_an_id_without_limit() {
    alone(|| {
        without_messages();
        let id = arena(1 << 50).unwrap_err();
        let heap = heap_in(id);
        let mut bytes = 0;
        while bytes < 100 * MIB {
            assert!(!malloc_in(heap, MIB).is_null());
            bytes += MIB;
        }
    });
}

/// Arenas cannot be given back, and there are only so many: 160, of which the engine takes some for itself.
#[test]
fn arenas_run_out() {
    alone(|| {
        without_messages();
        let mut arenas = 0;
        while arena(32 * MIB).is_ok() {
            arenas += 1;
            assert!(arenas < 10_000, "no end of them");
        }
        assert!((100..=160).contains(&arenas), "{arenas}");
    });
}

/// Destroying the heap makes its arena whole again: so arenas can be pooled. (Not where tools watch: the engine tells them
/// nothing of the blocks that go with a heap, and they take the next ones for impossible.)
#[cfg(not(small_tests))]
#[test]
fn an_arena_is_whole_again_when_its_heap_was_destroyed() {
    alone(|| {
        without_messages();
        let id = arena(64 * MIB).unwrap();
        let mut bytes = Vec::new();
        for _ in 0..3 {
            let heap = heap_in_destroyable(id);
            bytes.push(fill(heap, 1000));
            // SAFETY: this thread's, not used again.
            unsafe { engine::mi_heap_destroy(heap) };
        }
        assert!(bytes[2] >= bytes[0] / 100 * 98, "{bytes:?}");
    });
}

/// A thread that comes to a full arena finds not even room for its part of the heap, and the hook is not called. (Hardened
/// builds abort.)
#[cfg(not(any(feature = "v2", feature = "secure", feature = "debug")))]
#[test]
fn a_thread_new_to_a_full_arena_gets_nothing_and_no_call() {
    alone(|| {
        without_messages();
        engine::register(count_forced);
        let heap = heap_in(arena(32 * MIB).unwrap());
        for size in [MIB, 64 << 10, 1000, 16] {
            fill(heap, size);
        }
        FORCED.store(0, Relaxed);
        let address = heap.expose_provenance();
        let thread = std::thread::spawn(move || {
            engine::malloc(16);
            let heap = std::ptr::with_exposed_provenance_mut(address);
            (malloc_in(heap, 16).is_null(), FORCED.load(Relaxed))
        });
        assert_eq!(thread.join().unwrap(), (true, 0));
    });
}

/// Version 3 refuses alignments above 64 KiB in an exclusive arena.
#[test]
fn large_alignments_are_refused_in_an_arena() {
    alone(|| {
        without_messages();
        let heap = heap_in(arena(64 * MIB).unwrap());
        for log in 4..=22 {
            // SAFETY: this thread's heap.
            let block = unsafe { engine::mi_heap_malloc_aligned(heap, 1000, 1 << log) };
            assert_eq!(block.is_null(), log > 16 && !V2, "{log}");
        }
    });
}
