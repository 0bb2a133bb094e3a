//! The hook: when the engine calls it, what it says, and what may be done in it.

use core::ffi::{c_ulonglong, c_void};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use crate::engine::{self, V2, malloc, malloc_in};
use crate::process::alone;

static ROUTINE: AtomicU64 = AtomicU64::new(0);
static FORCED: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" fn count(force: bool, _: c_ulonglong, _: *mut c_void) {
    if force { &FORCED } else { &ROUTINE }.fetch_add(1, Relaxed);
}

fn calls() -> (u64, u64) {
    (ROUTINE.load(Relaxed), FORCED.load(Relaxed))
}

/// No clock: hundreds of thousands of small allocations, or any number of frees, may pass between two calls.
#[test]
fn calls_are_far_apart_and_frees_make_none() {
    const ALLOCATIONS: u64 = if V2 { 300_000 } else { 2_500_000 } / if cfg!(small_tests) { 10 } else { 1 };
    const FAR: u64 = if V2 { 50_000 } else { 500_000 } / if cfg!(small_tests) { 10 } else { 1 };
    alone(|| {
        engine::register(count);
        let heap = engine::heap();
        // The longest way from one call to the next, in allocations.
        let (mut gap, mut longest) = (0, 0);
        // The second time every page has one block in use, and one slow allocation takes all the others.
        for _ in 0..2 {
            let mut blocks = Vec::new();
            for _ in 0..ALLOCATIONS {
                let before = calls();
                blocks.push(malloc_in(heap, 64));
                gap += 1;
                if calls() != before {
                    longest = longest.max(gap);
                    gap = 0;
                }
            }
            let before = calls();
            for block in blocks.into_iter().enumerate().filter(|(index, _)| index % 500 > 0).map(|(_, block)| block) {
                // SAFETY: allocated above.
                unsafe { engine::free(block) };
            }
            assert_eq!(calls(), before);
        }
        assert!(calls().0 > 0, "it is called at all");
        assert!(longest.max(gap) > FAR, "{longest}, {gap}");
    });
}

/// The most that the numbers passed to the callback have gone back from one call to the next.
static LAST: AtomicU64 = AtomicU64::new(0);
static BACKWARDS: AtomicBool = AtomicBool::new(false);

unsafe extern "C" fn compare(_: bool, number: c_ulonglong, _: *mut c_void) {
    if number <= LAST.swap(number, Relaxed) {
        BACKWARDS.store(true, Relaxed);
    }
}

/// The number that the engine passes is the theap's in version 3: with two heaps in turn it runs backwards.
#[test]
fn the_number_passed_is_the_theaps() {
    alone(|| {
        engine::register(compare);
        let (first, second) = (engine::heap(), engine::heap());
        for heap in [first, first, first, second] {
            malloc_in(heap, 16);
            // SAFETY: this thread's heap.
            unsafe { engine::mi_heap_collect(heap, true) };
        }
        assert_eq!(BACKWARDS.load(Relaxed), !V2);
    });
}

/// Forced calls come with `mi_collect(true)`, and at a thread's end on version 2 only.
#[test]
fn forced_calls_come_with_a_forced_collection_and_on_version_2_at_the_end_of_a_thread() {
    alone(|| {
        engine::register(count);
        malloc(16);
        engine::collect_forced();
        assert_eq!(FORCED.swap(0, Relaxed), 1);
        thread::spawn(|| malloc(16).expose_provenance()).join().unwrap();
        assert_eq!(FORCED.load(Relaxed) > 0, V2);
    });
}
