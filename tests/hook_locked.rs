//! The engine may call its hook with a lock of the very heap held that is being used: whoever allocated from it there would wait for
//! himself. A process of its own, as the size of arenas is the process's.

use std::alloc::Layout;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use mimalloc_runtime::{Mutator, Runtime, register_deferred_free, sys};

thread_local! {
    /// The mutator that the handler uses.
    static OWN: RefCell<Option<Rc<Mutator>>> = const { RefCell::new(None) };
}

/// Of blocks that nobody writes to or frees. Some fit into an arena.
const LARGE: Layout = Layout::new::<[u8; 8 << 20]>();

const ROUNDS: u64 = 20;

/// A slow allocation of the thread's default heap.
fn slow() {
    // SAFETY: any size may be asked for.
    let block = unsafe { sys::mi_malloc(100_000) };
    // SAFETY: allocated above, or null.
    unsafe { sys::mi_free(block) };
}

/// When a heap takes its first page of an arena, what the engine notes about that comes from the default heap, and every 1,000th slow
/// allocation of that one makes a call.
fn allocate_where_the_engine_calls() -> u64 {
    let mutator = Rc::new(Runtime::new().unwrap().attach().unwrap());
    OWN.set(Some(Rc::clone(&mutator)));
    let calls = || mutator.metrics().engine_calls.routine;
    for _ in 0..ROUNDS {
        let before = calls();
        while calls() == before {
            slow();
        }
        (0..999).for_each(|_| slow());
        mutator.allocate(LARGE).unwrap();
        mutator.safepoint();
    }
    OWN.take();
    mutator.metrics().block_bytes / LARGE.size() as u64
}

#[test]
fn a_handler_that_allocates_does_not_wait_for_its_own_heap() {
    // SAFETY: an option of this engine, in KiB; no other thread sets options here.
    unsafe { sys::mi_option_set(sys::mi_option_arena_reserve, 64 << 10) };
    let _registration = register_deferred_free(|_| {
        if let Some(own) = OWN.with_borrow(Option::clone) {
            own.allocate(LARGE).unwrap();
        }
    })
    .unwrap();
    let (sends, ended) = mpsc::channel();
    thread::spawn(move || sends.send(allocate_where_the_engine_calls()).unwrap());
    let allocated = ended.recv_timeout(Duration::from_secs(240)).expect("it waits for itself");
    assert!(allocated > ROUNDS, "the handler was called: {allocated}");
}
