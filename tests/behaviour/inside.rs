//! What code may do that the crate calls: a test for each row of the table "What a handler may do" in the crate's documentation.
//! The row of the engine's messages is in `tests/engine.rs`.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use mimalloc_runtime::{Budget, HookCall, Mutator, Pacing, Pressure, PressureLevel, Runtime, Stop, Trace, When, sys};

use crate::everything::{ALL, Did, do_everything};
use crate::graph;
use crate::orders::{allocate_until_called, in_the_hook};

/// What was done inside, once.
type Done = Rc<Cell<Option<Did>>>;

fn attach() -> Mutator {
    Runtime::new().unwrap().attach().unwrap()
}

#[test]
fn a_beat_handler_may_do_everything() {
    let mutator = Runtime::new().unwrap().attaching().beat_bytes(1024).unwrap().attach().unwrap();
    let (done, mut another) = (Done::default(), Some(attach()));
    let does = Rc::clone(&done);
    let subscribed = mutator.on_beat(When::Every(1), move |own, _| {
        if let Some(another) = another.take() {
            does.set(Some(do_everything(own, another)));
        }
    });
    subscribed.unwrap();
    mutator.charge(1024);
    assert_eq!(done.get(), Some(ALL));
}

#[test]
fn a_pressure_handler_may_do_everything() {
    // At a threshold, where an allocation would pass the limit, and where the engine has no memory for it.
    const WALL: u64 = 32 << 20;
    for (limit, level) in [(60 << 10, PressureLevel::High), (1000, PressureLevel::Full), (WALL, PressureLevel::Full)] {
        let attaching = Runtime::new().unwrap().attaching();
        let is_wall = limit == WALL;
        let mutator = if is_wall { attaching.wall(Some(limit)).unwrap() } else { attaching.limit(Some(limit)) };
        let mutator = mutator.attach().unwrap();
        let (done, mut another) = (Done::default(), Some(attach()));
        let does = Rc::clone(&done);
        let handler = move |own: &Mutator, pressure: Pressure| {
            if let Some(another) = another.take_if(|_| pressure.level == level) {
                own.set_limit(None);
                does.set(Some(do_everything(own, another)));
            }
        };
        mutator.on_pressure(handler).unwrap();
        if is_wall {
            assert!(mutator.alloc_tail((), 40 << 20, |_| 0u8).is_err());
        } else {
            drop(mutator.alloc([0u8; 40 << 10]).unwrap());
        }
        assert_eq!(done.get(), Some(ALL), "{level:?} of {limit}");
    }
}

#[test]
fn a_request_may_do_everything() {
    thread_local! {
        /// For a request, which must be `Send`.
        static ANOTHER: RefCell<Option<Mutator>> = const { RefCell::new(None) };
    }
    for polls in [true, false] {
        let mutator = attach();
        ANOTHER.set(Some(attach()));
        let (sends, did) = std::sync::mpsc::channel();
        let request = move |own: &Mutator| sends.send(do_everything(own, ANOTHER.take().unwrap())).unwrap();
        assert!(mutator.interrupter().run_at_safepoint(request).is_ok());
        if polls {
            mutator.poll(1).unwrap();
        } else {
            mutator.safepoint();
        }
        assert_eq!(did.try_iter().collect::<Vec<_>>(), [ALL]);
    }
}

#[test]
fn a_step_observer_may_do_everything_and_its_own_steps_are_not_told() {
    for paced in [false, true] {
        let pacing = Pacing::default().with_installment(1024).unwrap();
        let mutator = Rc::new(Runtime::new().unwrap().attaching().pacing(pacing).attach().unwrap());
        let (done, mut another) = (Done::default(), Some(attach()));
        let (does, own, told) = (Rc::clone(&done), Rc::downgrade(&mutator), Rc::new(Cell::new(0)));
        let seen = Rc::clone(&told);
        mutator
            .observe_steps(move |_| {
                seen.set(seen.get() + 1);
                if let Some(another) = another.take() {
                    does.set(Some(do_everything(&own.upgrade().unwrap(), another)));
                }
            })
            .unwrap();
        drop(graph::chain(&mutator, 100));
        if paced {
            mutator.charge(4096);
        } else {
            mutator.collect(Budget::Units(10));
        }
        assert_eq!((done.get(), told.get()), (Some(ALL), 1));
    }
}

/// Under eager freeing a step can run in the drop of a reference, which borrows no mutator.
#[test]
fn a_step_observer_may_take_its_own_mutator_away_where_nobody_has_it_borrowed() {
    let runtime = Runtime::new().unwrap();
    let own = Rc::new(RefCell::new(Some(runtime.attaching().pacing(Pacing::eager()).attach().unwrap())));
    let chain = {
        let mutator = own.borrow();
        let mutator = mutator.as_ref().unwrap();
        let (takes, held) = (Rc::clone(&own), graph::chain(mutator, 100).root);
        mutator
            .observe_steps(move |_| {
                let _held = &held;
                drop(takes.take());
            })
            .unwrap();
        graph::chain(mutator, 100).root
    };
    drop(chain);
    assert!(own.borrow().is_none());
    assert_eq!(Rc::strong_count(&own), 1, "the observer is gone");
    assert_eq!(runtime.idle_heaps(), usize::from(!cfg!(feature = "v2")), "and so is all that it held");
}

#[test]
fn a_step_observer_that_panics_stays_and_its_panic_waits() {
    let mutator = attach();
    let calls = Rc::new(Cell::new(0));
    let seen = Rc::clone(&calls);
    mutator
        .observe_steps(move |_| {
            seen.set(seen.get() + 1);
            panic!("an observer's panic");
        })
        .unwrap();
    for call in 1..3 {
        let result = catch_unwind(AssertUnwindSafe(|| mutator.collect(Budget::Unbounded)));
        assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), "an observer's panic");
        assert_eq!((calls.get(), mutator.metrics().panics), (call, call));
    }
    // Detaching takes steps too.
    mutator.observe_steps(|_| ()).unwrap();
}

/// What is done in the first call of this kind while `work` runs on a mutator, which is the one that is used.
fn in_a_call(kind: HookCall, work: impl FnOnce(&Mutator)) -> Option<Did> {
    let mutator = Rc::new(attach());
    let (done, mut another) = (Done::default(), Some(attach()));
    let (does, own) = (Rc::clone(&done), Rc::clone(&mutator));
    let everything = move |call| {
        if call == kind {
            if let Some(another) = another.take() {
                does.set(Some(do_everything(&own, another)));
            }
        }
    };
    in_the_hook(everything, || work(&mutator));
    assert!(mutator.collect(Budget::Unbounded).is_done());
    done.get()
}

#[test]
fn a_deferred_free_handler_may_do_everything() {
    let routine = |mutator: &Mutator| {
        allocate_until_called(mutator);
        mutator.safepoint();
    };
    assert_eq!(in_a_call(HookCall::Routine, routine), Some(ALL));
    assert_eq!(in_a_call(HookCall::Forced, |mutator| _ = mutator.release_memory()), Some(ALL));
    let force = |mutator: &Mutator| {
        // SAFETY: may be called by anyone at any time.
        unsafe { sys::mi_collect(true) };
        mutator.safepoint();
    };
    assert_eq!(in_a_call(HookCall::ForcedElsewhere, force), Some(ALL));
}

/// The safepoint that tells of the call is the next one.
#[test]
fn a_panic_about_a_call_comes_out_of_the_safepoint_that_told_of_it() {
    let mutator = attach();
    let calls = in_the_hook(
        |call| assert_ne!(call, HookCall::ForcedElsewhere, "a handler's panic"),
        || {
            // SAFETY: may be called by anyone at any time.
            unsafe { sys::mi_collect(true) };
            assert!(catch_unwind(AssertUnwindSafe(|| mutator.safepoint())).is_err());
            mutator.safepoint();
        },
    );
    assert_eq!(calls, 1);
}

/// Does everything when it is dropped.
struct Does {
    own: Rc<Mutator>,
    another: Option<Mutator>,
    done: Done,
}

impl Drop for Does {
    fn drop(&mut self) {
        self.done.set(Some(do_everything(&self.own, self.another.take().unwrap())));
    }
}

#[derive(Trace)]
struct Holder(#[trace(skip)] Does);

#[test]
fn a_drop_within_a_step_may_do_everything_but_take_another_step() {
    let mutator = Rc::new(attach());
    let done = Done::default();
    let does = Does { own: Rc::clone(&mutator), another: Some(attach()), done: Rc::clone(&done) };
    drop(mutator.alloc(Holder(does)).unwrap());
    assert!(mutator.collect(Budget::Unbounded).is_done());
    assert_eq!(done.get(), Some([Stop::Busy, Stop::Done]));
    assert_eq!(mutator.metrics().live.now.objects, 0);
}

/// A drop that allocates can make a beat fall due: its handler then runs within the step too.
#[test]
fn a_beat_handler_within_a_step_may_not_take_another_step() {
    struct Charges(Rc<Mutator>);
    impl Drop for Charges {
        fn drop(&mut self) {
            self.0.charge(1024);
        }
    }
    #[derive(Trace)]
    struct Object(#[trace(skip)] Charges);
    let mutator = Rc::new(Runtime::new().unwrap().attaching().beat_bytes(1024).unwrap().attach().unwrap());
    let stops = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&stops);
    let collects = move |own: &Mutator, _| seen.borrow_mut().push(own.collect(Budget::Unbounded).stop);
    mutator.on_beat(When::Every(1), collects).unwrap();
    drop(mutator.alloc(Object(Charges(Rc::clone(&mutator)))).unwrap());
    assert!(mutator.collect(Budget::Unbounded).is_done());
    assert_eq!(*stops.borrow(), [Stop::Busy]);
}
