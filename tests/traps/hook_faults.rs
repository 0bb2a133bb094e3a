//! What goes wrong with the hook. Each in a process of its own, which crashes, or does not get on. Not for tools that look for
//! faults: they would find these.

use core::ffi::{c_ulonglong, c_void};
use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};
use std::thread;

use crate::engine::{self, V2, malloc, malloc_in, mi_register_deferred_free};
#[cfg(feature = "v2")]
use crate::process::resident;
use crate::process::{alive, alone, end_of};

static FIRST: u8 = 1;
static SECOND: u8 = 2;
static CROSSED: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" fn with_first(_: bool, _: c_ulonglong, arg: *mut c_void) {
    CROSSED.fetch_add(u64::from(arg.cast_const() != (&raw const FIRST).cast()), Relaxed);
}

unsafe extern "C" fn with_second(_: bool, _: c_ulonglong, arg: *mut c_void) {
    CROSSED.fetch_add(u64::from(arg.cast_const() != (&raw const SECOND).cast()), Relaxed);
}

/// Function and argument are two atomics: whoever registers again hands one function the other's argument now and then.
/// (Tools that run one thread at a time would not come between the two.)
#[test]
fn a_call_may_see_the_function_of_one_registration_and_the_argument_of_another() {
    alone(|| {
        thread::spawn(|| {
            loop {
                // SAFETY: functions of the program.
                unsafe { mi_register_deferred_free(Some(with_first), (&raw const FIRST).cast_mut().cast()) };
                // SAFETY: as above.
                unsafe { mi_register_deferred_free(Some(with_second), (&raw const SECOND).cast_mut().cast()) };
            }
        });
        malloc(16);
        // Ended by the process's limit if it never happens.
        while CROSSED.load(Relaxed) == 0 {
            engine::collect_forced();
        }
    });
}

thread_local! {
    /// Whether the thread has finished its first call of the engine.
    static STARTED: Cell<bool> = const { Cell::new(false) };
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}
static EARLY: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" fn note_early(_: bool, _: c_ulonglong, _: *mut c_void) {
    if WATCHED.get() && !STARTED.get() {
        EARLY.fetch_add(1, Relaxed);
    }
}

/// Starts threads, each of which makes its first call of the engine, until one of them was in the hook within it.
fn start_threads_until(enough: &AtomicU64) {
    for _ in 0..20_000 {
        let thread = thread::spawn(|| {
            WATCHED.set(true);
            let block = malloc(16);
            STARTED.set(true);
            // SAFETY: allocated above.
            unsafe { engine::free(block) };
        });
        thread.join().unwrap();
        alive();
        if enough.load(Relaxed) > 0 {
            break;
        }
    }
}

/// Version 3 calls the hook while it makes a thread ready: its data comes from a heap too, and that heap's 1000th slow
/// allocation may be this one.
#[test]
fn the_hook_comes_on_threads_that_are_not_initialised() {
    alone(|| {
        engine::register(note_early);
        start_threads_until(&EARLY);
        assert_eq!(EARLY.load(Relaxed) > 0, !V2);
    });
}

unsafe extern "C" fn allocate_early(_: bool, _: c_ulonglong, _: *mut c_void) {
    if WATCHED.get() && !STARTED.get() {
        EARLY.fetch_add(1, Relaxed);
        malloc(16);
    }
}

#[test]
fn allocating_on_a_thread_that_is_not_initialised_deadlocks() {
    let end = end_of(|| {
        engine::register(allocate_early);
        start_threads_until(&EARLY);
    });
    assert_eq!(end.hung, !V2, "{end:?}");
}

static OTHER: AtomicPtr<engine::Heap> = AtomicPtr::new(null_mut());

unsafe extern "C" fn use_another_heap(_: bool, _: c_ulonglong, _: *mut c_void) {
    let heap = OTHER.load(Relaxed);
    if !heap.is_null() {
        malloc_in(heap, 16);
    }
}

/// The engine notices that it is in the hook on this thread, but not when the call is that of the heap which its own data
/// come from. Every thousandth first use of a heap makes that call, with a lock held that the next first use needs.
#[test]
fn the_first_use_of_a_heap_inside_a_callback_may_deadlock() {
    let end = end_of(|| {
        engine::register(use_another_heap);
        malloc(16);
        for _ in 0..20_000 {
            OTHER.store(engine::heap(), Relaxed);
            engine::collect_forced();
            alive();
        }
    });
    assert_eq!(end.hung, !V2, "{end:?}");
}

static CALLED: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" fn use_the_heap_again(_: bool, _: c_ulonglong, _: *mut c_void) {
    CALLED.fetch_add(1, Relaxed);
    let heap = OTHER.load(Relaxed);
    if !heap.is_null() {
        malloc_in(heap, 8 << 20);
    }
}

/// When a heap takes its first page of an arena, what the engine notes about that comes from the default heap, and a lock of the heap is
/// held: the default heap's thousandth slow allocation may be this one.
#[test]
fn the_hook_comes_with_a_lock_of_the_heap_held_that_is_being_used() {
    let end = end_of(|| {
        // SAFETY: an option of this engine; no other thread is about.
        unsafe { engine::mi_option_set(engine::ARENA_RESERVE, 64 << 10) };
        engine::register(use_the_heap_again);
        let slow = || {
            let block = malloc(100_000);
            // SAFETY: allocated above.
            unsafe { engine::free(block) };
        };
        let heap = engine::heap();
        for _ in 0..30 {
            OTHER.store(null_mut(), Relaxed);
            let before = CALLED.load(Relaxed);
            while CALLED.load(Relaxed) == before {
                slow();
            }
            (0..999).for_each(|_| slow());
            OTHER.store(heap, Relaxed);
            malloc_in(heap, 8 << 20);
            alive();
        }
    });
    assert_eq!(end.hung, !V2, "{end:?}");
}

unsafe extern "C" fn say_forced(force: bool, _: c_ulonglong, _: *mut c_void) {
    if force {
        let text = b"forced at the end\n";
        // SAFETY: within the text.
        unsafe { libc::write(1, text.as_ptr().cast(), text.len()) };
    }
}

/// The end of a process is told too, after `main`, when little of Rust is left.
#[test]
fn a_forced_call_comes_at_the_end_of_the_process() {
    let end = end_of(|| {
        malloc(16);
        engine::register(say_forced);
    });
    assert_eq!(end.code, Some(0), "{end:?}");
    assert!(end.output.contains("forced at the end"), "{end:?}");
}

unsafe extern "C" fn panic_inside(_: bool, _: c_ulonglong, _: *mut c_void) {
    panic!("a panic inside the engine");
}

#[test]
fn a_panic_out_of_the_callback_aborts() {
    let end = end_of(|| {
        malloc(16);
        engine::register(panic_inside);
        let _ = std::panic::catch_unwind(engine::collect_forced);
    });
    assert_eq!(end.signal, Some(libc::SIGABRT), "{end:?}");
}

static CALLS: AtomicU64 = AtomicU64::new(0);

/// Leaves once, by unwinding through the engine's frames, as `longjmp` or an exception of C++ would.
unsafe extern "C-unwind" fn leave_once(_: bool, _: c_ulonglong, _: *mut c_void) {
    if CALLS.fetch_add(1, Relaxed) == 0 {
        std::panic::resume_unwind(Box::new(()));
    }
}

/// Whoever leaves the callback otherwise than by returning is never called again on that thread.
#[test]
fn after_leaving_the_callback_the_hook_is_dead_on_the_thread() {
    alone(|| {
        malloc(16);
        type Leaving = unsafe extern "C-unwind" fn(bool, c_ulonglong, *mut c_void);
        // SAFETY: the two differ in what may come out; the one call that unwinds comes from `mi_collect`, declared so.
        engine::register(unsafe { std::mem::transmute::<Leaving, engine::DeferredFree>(leave_once) });
        assert!(std::panic::catch_unwind(engine::collect_forced).is_err());
        engine::collect_forced();
        assert_eq!(CALLS.load(Relaxed), 1, "not called again here");
        let other = thread::spawn(|| {
            malloc(16);
            engine::collect_forced();
        });
        other.join().unwrap();
        assert!(CALLS.load(Relaxed) >= 2, "but on another thread");
    });
}

unsafe extern "C" fn delete_the_caller(_: bool, _: c_ulonglong, _: *mut c_void) {
    let heap = OTHER.swap(null_mut(), Relaxed);
    if !heap.is_null() {
        // SAFETY: none. The heap is the one that the engine is working on.
        unsafe { engine::mi_heap_delete(heap) };
    }
}

/// The callback is not told for which heap it is called, so it cannot know which one it must not delete.
#[test]
fn deleting_the_heap_that_is_being_used_crashes() {
    let end = end_of(|| {
        engine::register(delete_the_caller);
        let heap = engine::heap();
        malloc_in(heap, 16);
        OTHER.store(heap, Relaxed);
        for _ in 0..100_000 {
            malloc_in(heap, 100_000);
            alive();
            if OTHER.load(Relaxed).is_null() {
                break;
            }
        }
        for _ in 0..100_000 {
            malloc(64);
            alive();
        }
    });
    assert!(end.signal.is_some() || end.hung, "{end:?}");
}

#[cfg(feature = "v2")]
unsafe extern "C" fn do_nothing(_: bool, _: c_ulonglong, _: *mut c_void) {}

#[cfg(feature = "v2")]
unsafe extern "C" fn allocate_at_the_end(force: bool, _: c_ulonglong, _: *mut c_void) {
    if force && WATCHED.get() {
        malloc(1000);
    }
}

/// Version 2 calls at the end of a thread too. A callback that allocates then makes the engine start anew on the dying
/// thread, whose memory nobody gives back.
#[cfg(feature = "v2")]
#[test]
fn allocating_at_the_end_of_a_thread_leaks() {
    let grown = |threads: usize| {
        let before = resident();
        for _ in 0..threads {
            let thread = thread::spawn(|| {
                malloc(16);
                WATCHED.set(true);
            });
            thread.join().unwrap();
        }
        resident().saturating_sub(before)
    };
    alone(move || {
        engine::register(do_nothing);
        let without = grown(300);
        engine::register(allocate_at_the_end);
        let with = grown(300);
        assert!(with > without + 300 * 16_384, "{with} against {without}");
    });
}
