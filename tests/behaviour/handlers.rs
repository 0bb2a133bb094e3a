//! The process-wide hook. One test, as handlers see every attached thread of the process: other tests of this binary count
//! no calls.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::Mutex;
use std::thread::{self, ThreadId};

use mimalloc_runtime::{Budget, HookCall, Mutator, Runtime, register_deferred_free};

use crate::graph;
use crate::orders::allocate_until_called;

type Seen = Arc<Mutex<Vec<HookCall>>>;

/// A handler that notes the calls on this thread.
fn note(seen: &Seen, also: impl Fn(HookCall) + Send + Sync + 'static) -> mimalloc_runtime::Registration {
    let (seen, here): (_, ThreadId) = (Arc::clone(seen), thread::current().id());
    register_deferred_free(move |call| {
        if thread::current().id() == here {
            seen.lock().unwrap().push(call);
            also(call);
        }
    })
    .unwrap()
}

#[test]
fn routine_and_forced_calls_are_told_apart_at_the_next_safepoint() {
    let seen = Seen::default();
    let registration = note(&seen, |_| ());
    let mutator = Runtime::new().unwrap().attach().unwrap();
    allocate_until_called(&mutator);
    assert!(seen.lock().unwrap().is_empty(), "nothing runs inside the engine");
    mutator.safepoint();
    assert_eq!(*seen.lock().unwrap(), [HookCall::Routine]);
    seen.lock().unwrap().clear();
    mutator.release_memory();
    assert_eq!(seen.lock().unwrap().last(), Some(&HookCall::Forced));
    assert_eq!(mutator.metrics().engine_calls.forced_elsewhere, 0);
    drop(registration);
    seen.lock().unwrap().clear();
    mutator.release_memory();
    allocate_until_called(&mutator);
    mutator.safepoint();
    assert!(seen.lock().unwrap().is_empty(), "a handler that was removed is not called");
}

/// The counts are the thread's, from the attaching of the mutator on.
#[test]
fn calls_before_a_mutator_was_attached_are_not_counted_as_its_own() {
    let runtime = Runtime::new().unwrap();
    let first = runtime.attach().unwrap();
    allocate_until_called(&first);
    first.release_memory();
    // SAFETY: may be called by anyone at any time.
    unsafe { mimalloc_runtime::sys::mi_collect(true) };
    first.safepoint();
    let before = first.metrics().engine_calls;
    assert!(before.routine > 0 && before.forced > 0 && before.forced_elsewhere > 0);
    let second = runtime.attach().unwrap();
    let [own, others] = [&second, &first].map(|mutator| mutator.metrics().engine_calls);
    assert_eq!((own.forced, own.forced_elsewhere), (0, 0));
    assert!(own.routine <= others.routine - before.routine);
    second.release_memory();
    assert_eq!(second.metrics().engine_calls.forced, first.metrics().engine_calls.forced - others.forced);
}

/// However many there were, each kind is told once, and counted as often as it came; and no count ever falls.
#[test]
fn a_forced_call_from_elsewhere_is_told_apart_from_our_own() {
    let force = || {
        // SAFETY: may be called by anyone at any time.
        unsafe { mimalloc_runtime::sys::mi_collect(true) }
    };
    let seen = Seen::default();
    let _registration = note(&seen, |_| ());
    let mutator = Runtime::new().unwrap().attaching().wall(Some(32 << 20)).unwrap().attach().unwrap();
    mutator.safepoint();
    seen.lock().unwrap().clear();
    let calls = || mutator.metrics().engine_calls;
    let before = calls();
    force();
    force();
    assert!(mutator.alloc_tail((), 40 << 20, |_| 0u8).is_err(), "the engine's call before it says so is ours");
    assert!(calls().forced > before.forced);
    assert_eq!(calls().forced_elsewhere, before.forced_elsewhere, "one may yet turn out to be ours");
    mutator.safepoint();
    assert_eq!(*seen.lock().unwrap(), [HookCall::Forced, HookCall::ForcedElsewhere]);
    assert_eq!(calls().forced_elsewhere, before.forced_elsewhere + 2);
    mutator.safepoint();
    assert_eq!(seen.lock().unwrap().len(), 2, "told once");
}

#[test]
fn a_panic_in_a_handler_comes_out_of_the_next_safepoint() {
    let seen = Seen::default();
    let (first, second) = (note(&seen, |_| panic!("a handler's panic")), note(&seen, |_| ()));
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let result = catch_unwind(AssertUnwindSafe(|| mutator.release_memory()));
    assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), "a handler's panic");
    assert!(seen.lock().unwrap().len() >= 2, "the other handler was called all the same");
    mutator.safepoint();
    drop((first, second));
}

#[test]
fn a_handler_may_attach_and_register_and_remove_others() {
    let seen = Seen::default();
    let runtime = Runtime::new().unwrap();
    let attached = Arc::new(Mutex::new(0));
    let (inner, counts) = (runtime.clone(), Arc::clone(&attached));
    let registration = note(&seen, move |_| {
        let mutator = inner.attach().unwrap();
        drop(graph::chain(&mutator, 10));
        drop(register_deferred_free(|_| ()).unwrap());
        *counts.lock().unwrap() += 1;
    });
    let mutator = runtime.attach().unwrap();
    mutator.release_memory();
    drop(registration);
    assert!(*attached.lock().unwrap() > 0);
}

/// The handler's last share goes when all have been told, and its captures panic when they are dropped.
#[test]
fn a_handler_that_removes_itself_may_panic_in_its_drop() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a capture's panic");
        }
    }
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let own = Arc::new(Mutex::new(None));
    let (bomb, inner) = (Bomb, Arc::clone(&own));
    let seen = Seen::default();
    let registration = note(&seen, move |_| {
        let _bomb = &bomb;
        drop(inner.lock().unwrap().take());
    });
    *own.lock().unwrap() = Some(registration);
    let result = catch_unwind(AssertUnwindSafe(|| mutator.release_memory()));
    assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), "a capture's panic");
    mutator.safepoint();
    assert_eq!(seen.lock().unwrap().len(), 1);
}

thread_local! {
    /// What a handler takes and drops.
    static GIVEN_UP: RefCell<Option<(Mutator, Runtime)>> = const { RefCell::new(None) };
}

/// The handler lets go of another mutator, and of a runtime, with `last` the last share of it, with heaps in its pool.
#[test]
fn a_handler_may_detach_another_mutator_and_drop_a_runtime() {
    for last in [false, true] {
        let seen = Seen::default();
        let registration = note(&seen, |_| drop(GIVEN_UP.take()));
        let runtime = Runtime::new().unwrap();
        let other = Runtime::new().unwrap();
        let victim = runtime.attach().unwrap();
        let kept = graph::chain(&victim, 1_000);
        drop(graph::chain(&victim, 1_000));
        let pooled: Vec<Mutator> = (0..3).map(|_| runtime.attach().unwrap()).collect();
        drop(pooled);
        let mutator = other.attach().unwrap();
        let watched = (!last).then(|| runtime.clone());
        GIVEN_UP.set(Some((victim, runtime)));
        allocate_until_called(&mutator);
        mutator.safepoint();
        assert!(GIVEN_UP.take().is_none(), "the handler was called");
        drop(kept);
        allocate_until_called(&mutator);
        drop(registration);
        if let Some(watched) = watched {
            assert_eq!(watched.idle_heaps(), if cfg!(feature = "v2") { 0 } else { 4 });
        }
        assert!(mutator.collect(Budget::Unbounded).is_done());
    }
}
