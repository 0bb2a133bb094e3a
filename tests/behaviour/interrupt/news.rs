//! A poll is a safepoint: it tells what there is to tell.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use mimalloc_runtime::{HookCall, Interrupted, Runtime, When, sys};

use crate::orders::in_the_hook;

#[test]
fn a_panic_that_was_kept_comes_out_of_the_next_poll() {
    let mutator = Runtime::new().unwrap().attaching().beat_bytes(1024).unwrap().attach().unwrap();
    mutator.on_beat(When::At(1), |_, _| panic!("a handler's panic")).unwrap();
    assert_eq!(mutator.poll(1), Ok(()));
    mutator.set_fuel(Some(1));
    mutator.charge(1024);
    let result = catch_unwind(AssertUnwindSafe(|| mutator.poll(1)));
    assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), "a handler's panic");
    // It has used up its fuel all the same.
    assert_eq!([mutator.poll(0), mutator.poll(1)], [Ok(()), Err(Interrupted::OutOfFuel)]);
}

/// A forced call that was not ours is told at the first poll after a beat, or when a safepoint is asked for.
#[test]
fn polls_tell_of_the_engines_calls_after_a_beat_or_on_request() {
    let mutator = Runtime::new().unwrap().attaching().beat_bytes(1024).unwrap().attach().unwrap();
    let told: Rc<RefCell<Vec<HookCall>>> = Rc::default();
    let seen = Rc::clone(&told);
    let force = || {
        // SAFETY: may be called by anyone at any time.
        unsafe { sys::mi_collect(true) }
    };
    in_the_hook(
        move |call| seen.borrow_mut().push(call),
        || {
            force();
            mutator.poll(1).unwrap();
            assert!(told.borrow().is_empty());
            mutator.charge(1024);
            assert!(told.borrow().is_empty(), "an allocation tells nothing");
            mutator.poll(1).unwrap();
            assert_eq!(told.take(), [HookCall::ForcedElsewhere]);
            force();
            mutator.interrupter().request_safepoint();
            mutator.poll(1).unwrap();
            assert_eq!(told.take(), [HookCall::ForcedElsewhere]);
        },
    );
}
