//! Polls within code that the crate has called.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use mimalloc_runtime::{Budget, HookCall, Interrupted, Mutator, Pressure, PressureLevel, Runtime, Trace, When, sys};

use super::attach;
use crate::orders::in_the_hook;

/// Runs on beats: what it polls is the program's fuel, and a stop stays for the program.
#[test]
fn a_handler_may_poll() {
    let mutator = Runtime::new().unwrap().attaching().beat_bytes(1024).unwrap().attach().unwrap();
    mutator.set_fuel(Some(100));
    let (polled, ran) = (Rc::new(RefCell::new(Vec::new())), Arc::new(AtomicU32::new(0)));
    let seen = Rc::clone(&polled);
    mutator.on_beat(When::Every(1), move |mutator, _| seen.borrow_mut().push(mutator.poll(10))).unwrap();
    mutator.charge(1024);
    assert_eq!((polled.borrow().as_slice(), mutator.fuel()), (&[Ok(())][..], Some(90)));
    let requested = Arc::clone(&ran);
    mutator.interrupter().stop();
    assert!(mutator.interrupter().run_at_safepoint(move |_| _ = requested.fetch_add(1, Ordering::Relaxed)).is_ok());
    mutator.charge(2 * 1024);
    assert_eq!(polled.borrow()[1..], [Err(Interrupted::Stopped)]);
    assert_eq!(ran.load(Ordering::Relaxed), 0, "a handler is no place for a request");
    assert_eq!((mutator.poll(1), ran.load(Ordering::Relaxed)), (Err(Interrupted::Stopped), 1));
    // The handler uses the rest up, within the poll or before it.
    mutator.set_deadline(Some(4));
    mutator.set_fuel(Some(5));
    mutator.charge(1024);
    assert_eq!(polled.borrow()[2..], [Err(Interrupted::OutOfFuel)]);
    assert_eq!(mutator.poll(1), Err(Interrupted::OutOfFuel));
    mutator.set_fuel(None);
    assert_eq!(mutator.poll(1), Err(Interrupted::Deadline { deadline: 4, beats: 4 }));
}

/// Where the engine has no memory a handler is called outside of a poll.
#[test]
fn a_pressure_handler_may_poll_when_the_engine_has_no_memory() {
    let mutator = Runtime::new().unwrap().attaching().wall(Some(32 << 20)).unwrap().attach().unwrap();
    let (polled, ran) = (Rc::new(RefCell::new(Vec::new())), Arc::new(AtomicU32::new(0)));
    let seen = Rc::clone(&polled);
    let handler = move |mutator: &Mutator, pressure: Pressure| {
        if pressure.level == PressureLevel::Full {
            mutator.safepoint();
            seen.borrow_mut().push(mutator.poll(1));
        }
    };
    mutator.on_pressure(handler).unwrap();
    let requested = Arc::clone(&ran);
    mutator.interrupter().stop();
    assert!(mutator.interrupter().run_at_safepoint(move |_| _ = requested.fetch_add(1, Ordering::Relaxed)).is_ok());
    assert!(mutator.alloc_tail((), 40 << 20, |_| 0u8).is_err());
    assert_eq!(*polled.borrow(), [Err(Interrupted::Stopped)]);
    assert_eq!(ran.load(Ordering::Relaxed), 0, "nor is this a place for a request");
    assert_eq!((mutator.poll(1), ran.load(Ordering::Relaxed)), (Err(Interrupted::Stopped), 1));
    assert_eq!(mutator.poll(1), Ok(()));
}

/// The program of another mutator of the thread stands where it stood before the handler was called.
#[test]
fn a_handler_may_poll_another_mutator() {
    let mutator = Runtime::new().unwrap().attaching().beat_bytes(1024).unwrap().attach().unwrap();
    let (another, ran) = (Rc::new(attach()), Arc::new(AtomicU32::new(0)));
    let (polled, polls) = (Rc::new(RefCell::new(Vec::new())), Rc::clone(&another));
    let seen = Rc::clone(&polled);
    let handler = move |_: &Mutator, _| {
        polls.safepoint();
        polls.collect(Budget::Unbounded);
        seen.borrow_mut().push(polls.poll(1));
    };
    mutator.on_beat(When::Every(1), handler).unwrap();
    let requested = Arc::clone(&ran);
    another.interrupter().stop();
    assert!(another.interrupter().run_at_safepoint(move |_| _ = requested.fetch_add(1, Ordering::Relaxed)).is_ok());
    mutator.charge(1024);
    assert_eq!((polled.borrow().as_slice(), ran.load(Ordering::Relaxed)), (&[Err(Interrupted::Stopped)][..], 0));
    assert_eq!((another.poll(1), ran.load(Ordering::Relaxed)), (Err(Interrupted::Stopped), 1));
    mutator.charge(1024);
    assert_eq!(polled.borrow()[1..], [Ok(())]);
}

/// A step is no place for what a safepoint does: it waits.
#[test]
fn a_drop_within_a_step_may_poll() {
    struct Polls {
        own: Rc<Mutator>,
        polled: Rc<Cell<Option<Result<(), Interrupted>>>>,
    }
    impl Drop for Polls {
        fn drop(&mut self) {
            self.own.safepoint();
            self.polled.set(Some(self.own.poll(3)));
        }
    }
    #[derive(Trace)]
    struct Object(#[trace(skip)] Polls);
    let mutator = Rc::new(attach());
    let (polled, ran) = (Rc::default(), Arc::new(AtomicU32::new(0)));
    let object = || mutator.alloc(Object(Polls { own: Rc::clone(&mutator), polled: Rc::clone(&polled) })).unwrap();
    mutator.set_fuel(Some(10));
    drop(object());
    mutator.interrupter().stop();
    let requested = Arc::clone(&ran);
    assert!(mutator.interrupter().run_at_safepoint(move |_| _ = requested.fetch_add(1, Ordering::Relaxed)).is_ok());
    mutator.charge(1 << 20);
    assert_eq!((polled.get(), mutator.fuel()), (Some(Err(Interrupted::Stopped)), Some(7)));
    assert_eq!(ran.load(Ordering::Relaxed), 0);
    assert_eq!((mutator.poll(0), ran.load(Ordering::Relaxed)), (Err(Interrupted::Stopped), 1));
    drop(object());
    mutator.collect(Budget::Unbounded);
    assert_eq!(polled.get(), Some(Ok(())));
}

/// What is told at safepoints, and a panic that waits, is for the program: not for a handler that happens to reach one.
#[test]
fn nothing_is_told_within_a_handler() {
    let mutator = Runtime::new().unwrap().attaching().beat_bytes(1024).unwrap().attach().unwrap();
    mutator.on_beat(When::At(1), |_, _| panic!("the first handler's panic")).unwrap();
    let told = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&told);
    let innocent = move |mutator: &Mutator, _| {
        // SAFETY: may be called by anyone at any time.
        unsafe { sys::mi_collect(true) };
        mutator.safepoint();
        mutator.collect(Budget::Unbounded);
        seen.borrow_mut().push(mutator.poll(1));
    };
    mutator.on_beat(When::Every(1), innocent).unwrap();
    let calls = Rc::new(Cell::new(0));
    let called = Rc::clone(&calls);
    let counts = move |call| called.set(called.get() + u32::from(call == HookCall::ForcedElsewhere));
    in_the_hook(counts, || {
        mutator.charge(1024);
        assert_eq!((told.borrow().as_slice(), calls.get()), (&[Ok(())][..], 0));
        assert_eq!(mutator.metrics().panics, 1, "it was caught once");
        let result = catch_unwind(AssertUnwindSafe(|| mutator.poll(1)));
        assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), "the first handler's panic");
        assert_eq!((calls.get(), mutator.metrics().panics), (0, 1));
        assert_eq!((mutator.poll(1), calls.get()), (Ok(()), 1), "what was left to tell comes next");
    });
}
