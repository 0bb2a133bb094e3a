//! Polls: fuel, time limits, and what other threads ask for. Deadlines in beats are in `beats.rs`.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, ThreadId};
use std::time::Duration;

use mimalloc_runtime::{
    Budget, ErrorKind, HookCall, Interrupted, Mutator, Pressure, PressureLevel, Runtime, Trace, When, sys,
};

use crate::graph::node;
use crate::orders::in_the_hook;

const FAR: Option<Duration> = Some(Duration::MAX);
const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

fn attach() -> Mutator {
    Runtime::new().unwrap().attach().unwrap()
}

/// How often the program may go on, and why it may not then. At most so often.
fn rounds(mutator: &Mutator, cost: u32, most: u64) -> (u64, Result<(), Interrupted>) {
    for round in 0..most {
        if let Err(why) = mutator.poll(cost) {
            return (round, Err(why));
        }
    }
    (most, Ok(()))
}

// ---- fuel ----

/// Whatever else is set, at every poll.
#[test]
fn fuel_is_exact() {
    let others: [fn(&Mutator); 5] = [
        |_| (),
        |mutator| mutator.set_deadline(Some(1 << 40)),
        |mutator| mutator.set_time_limit(HOUR),
        |mutator| mutator.set_time_limit(FAR),
        |mutator| mutator.interrupter().request_safepoint(),
    ];
    for other in others {
        let mutator = attach();
        for fuel in [0, 1, 2, 99, 100_003] {
            for cost in [1, 7, 1_000_000, u32::MAX] {
                mutator.set_fuel(Some(fuel));
                other(&mutator);
                let mut left = fuel;
                while let Some(less) = left.checked_sub(cost.into()) {
                    assert_eq!((mutator.poll(cost), mutator.fuel()), (Ok(()), Some(less)));
                    assert_eq!((mutator.poll(0), mutator.fuel()), (Ok(()), Some(less)));
                    left = less;
                    // A slice ends here, and elsewhere as it may.
                    if left % 1_000 < 3 {
                        other(&mutator);
                    }
                }
                for again in [cost, 1, 0, u32::MAX] {
                    assert_eq!((mutator.poll(again), mutator.fuel()), (Err(Interrupted::OutOfFuel), Some(0)));
                }
            }
        }
        mutator.set_fuel(None);
        assert_eq!((rounds(&mutator, u32::MAX, 100_000), mutator.fuel()), ((100_000, Ok(())), None));
    }
}

/// Slices of a time limit come and go meanwhile, at moments that nobody knows.
#[test]
fn ten_runs_on_the_same_fuel_end_at_the_same_poll() {
    let ends: Vec<_> = (0..10)
        .map(|run| {
            let mutator = attach();
            mutator.set_fuel(Some(3_000_000 / crate::SCALE as u64));
            if run % 2 == 1 {
                mutator.set_time_limit(HOUR);
            }
            let (mut polls, mut random) = (0u64, 1u32);
            while mutator.poll(random >> 26) == Ok(()) {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if polls % 64 == 0 {
                    drop(node(&mutator, None, None));
                }
                if run > 5 && polls % 1_000 == 0 {
                    mutator.interrupter().request_safepoint();
                }
                polls += 1;
            }
            (polls, random, mutator.charged())
        })
        .collect();
    assert!(ends.iter().all(|end| *end == ends[0] && end.0 > 0), "{ends:?}");
}

#[test]
fn very_large_amounts_of_fuel_are_counted_too() {
    for fuel in [u64::MAX, u64::MAX - 1, i64::MAX as u64, i64::MAX as u64 + 1, 1 << 40] {
        let mutator = Runtime::new().unwrap().attaching().fuel(Some(fuel)).attach().unwrap();
        assert_eq!(mutator.fuel(), Some(fuel));
        assert_eq!((mutator.poll(5), mutator.fuel()), (Ok(()), Some(fuel - 5)));
        mutator.set_time_limit(HOUR);
        assert_eq!(mutator.fuel(), Some(fuel - 5));
        assert_eq!(rounds(&mutator, u32::MAX, 100), (100, Ok(())));
        assert_eq!(mutator.fuel(), Some(fuel - 5 - 100 * u64::from(u32::MAX)));
        mutator.set_time_limit(None);
        assert_eq!(mutator.fuel(), Some(fuel - 5 - 100 * u64::from(u32::MAX)));
    }
}

#[test]
fn a_child_inherits_the_fuel_that_is_left() {
    let mutator = Runtime::new().unwrap().attaching().fuel(Some(10)).attach().unwrap();
    assert_eq!(rounds(&mutator, 1, 7), (7, Ok(())));
    let settings = mutator.child();
    let child = thread::spawn(move || {
        let child = settings.attach().unwrap();
        (child.fuel(), rounds(&child, 1, 100))
    });
    assert_eq!(child.join().unwrap(), (Some(3), (3, Err(Interrupted::OutOfFuel))));
    assert_eq!(mutator.fuel(), Some(3), "the child's is its own");
    assert_eq!(rounds(&mutator, 1, 100), (3, Err(Interrupted::OutOfFuel)));
    let child = mutator.child().attach().unwrap();
    assert_eq!((child.poll(0), child.poll(1)), (Ok(()), Err(Interrupted::OutOfFuel)));
    mutator.set_fuel(None);
    assert_eq!(mutator.child().attach().unwrap().fuel(), None);
}

// ---- several reasons ----

#[test]
fn of_several_reasons_the_first_in_order_is_given_and_the_others_stay() {
    let mutator = Runtime::new().unwrap().attaching().beat_bytes(1024).unwrap().attach().unwrap();
    mutator.interrupter().stop();
    mutator.set_time_limit(Some(Duration::ZERO));
    mutator.set_deadline(Some(1));
    mutator.set_fuel(Some(3));
    mutator.charge(2048);
    let deadline = Interrupted::Deadline { deadline: 1, beats: 2 };
    assert_eq!(mutator.poll(4), Err(Interrupted::OutOfFuel));
    assert_eq!(mutator.poll(0), Err(Interrupted::OutOfFuel));
    mutator.set_fuel(Some(5));
    assert_eq!([mutator.poll(1), mutator.poll(0)], [Err(deadline); 2]);
    mutator.set_deadline(Some(3));
    assert_eq!(mutator.poll(1), Err(Interrupted::Stopped), "once");
    assert_eq!([mutator.poll(1), mutator.poll(0)], [Err(Interrupted::TimedOut); 2]);
    mutator.set_time_limit(HOUR);
    assert_eq!([mutator.poll(1), mutator.poll(0)], [Ok(()); 2]);
    assert_eq!(mutator.fuel(), Some(1));
    assert_eq!(
        [Interrupted::OutOfFuel, deadline, Interrupted::Stopped, Interrupted::TimedOut].map(|why| why.to_string()),
        [
            "out of fuel",
            "the deadline of 1 heartbeats has passed: it is beat 2",
            "stopped on request",
            "the time limit has passed"
        ]
    );
}

/// The deadline is seen by the first poll after the allocation that completes the beat, also by one that costs nothing.
#[test]
fn a_deadline_of_the_attaching_or_set_late_has_passed_at_once() {
    let passed = |deadline, beats| Err(Interrupted::Deadline { deadline, beats });
    let mutator = Runtime::new().unwrap().attaching().beat_bytes(1024).unwrap().deadline(Some(0)).attach().unwrap();
    assert_eq!(mutator.poll(0), passed(0, 0));
    mutator.set_deadline(Some(5));
    assert_eq!(mutator.poll(0), Ok(()));
    mutator.charge(7 * 1024);
    assert_eq!([mutator.poll(0), mutator.poll(1)], [passed(5, 7); 2]);
    mutator.set_deadline(Some(7));
    assert_eq!(mutator.poll(0), passed(7, 7));
    mutator.set_deadline(None);
    assert_eq!(mutator.poll(0), Ok(()));
}

// ---- time ----

/// To make room may take as long as all that lives is large, whatever fuel it is worth.
#[test]
fn the_clock_is_read_after_an_allocation_at_a_limit() {
    let mutator = Runtime::new().unwrap().attaching().limit(Some(1 << 20)).attach().unwrap();
    mutator.set_fuel(Some(100));
    mutator.set_time_limit(Some(Duration::ZERO));
    // Neither reads it.
    drop(mutator.alloc(1u64).unwrap());
    assert_eq!(mutator.poll(0), Ok(()));
    mutator.alloc_tail((), 2 << 20, |_| 0u8).unwrap_err();
    assert_eq!(mutator.poll(0), Err(Interrupted::TimedOut));
    assert_eq!(mutator.fuel(), Some(100));
}

#[test]
fn a_time_limit_that_has_passed_is_seen_when_the_clock_is_read() {
    let mutator = attach();
    mutator.set_time_limit(Some(Duration::ZERO));
    assert_eq!(mutator.poll(0), Ok(()), "what costs nothing reads no clock");
    assert_eq!([mutator.poll(1), mutator.poll(0)], [Err(Interrupted::TimedOut); 2]);
    mutator.set_time_limit(None);
    assert_eq!(rounds(&mutator, 1, 1_000), (1_000, Ok(())));
    mutator.set_time_limit(FAR);
    assert_eq!(rounds(&mutator, 1, 1_000), (1_000, Ok(())));
}

/// However long it takes, it ends; and however little fuel is set at a time.
#[test]
fn a_loop_without_end_times_out() {
    for refuelled in [false, true] {
        let mutator = attach();
        mutator.set_time_limit(Some(Duration::from_micros(500)));
        let why = loop {
            if refuelled {
                mutator.set_fuel(Some(1_000));
            }
            if let (_, Err(why)) = rounds(&mutator, 1, 100) {
                break why;
            }
        };
        assert_eq!(why, Interrupted::TimedOut);
    }
}

// ---- other threads ----

#[test]
fn a_loop_without_end_is_stopped_from_another_thread() {
    let mutator = attach();
    let shared = Arc::new((AtomicBool::new(false), AtomicU32::new(0)));
    let (interrupter, theirs) = (mutator.interrupter(), Arc::clone(&shared));
    let other = thread::spawn(move || {
        while !theirs.0.load(Ordering::Acquire) {
            thread::yield_now();
        }
        theirs.1.store(7, Ordering::Relaxed);
        interrupter.stop();
    });
    let why = loop {
        if let Err(why) = mutator.poll(1) {
            break why;
        }
        shared.0.store(true, Ordering::Release);
    };
    assert_eq!((why, shared.1.load(Ordering::Relaxed)), (Interrupted::Stopped, 7), "what came before the stop is seen");
    assert_eq!(rounds(&mutator, 1, 1_000), (1_000, Ok(())), "once");
    other.join().unwrap();
}

#[test]
fn a_stop_can_be_taken_back() {
    let mutator = attach();
    assert!(!mutator.clear_stop());
    mutator.interrupter().stop();
    mutator.interrupter().stop();
    assert!(mutator.clear_stop() && !mutator.clear_stop());
    assert_eq!(mutator.poll(1), Ok(()));
    mutator.interrupter().stop();
    mutator.safepoint();
    mutator.collect(Budget::Unbounded);
    assert_eq!([mutator.poll(1), mutator.poll(1)], [Err(Interrupted::Stopped), Ok(())], "a safepoint returns nothing");
}

/// From several threads while the mutator polls: each once, and those of one thread in its order, on the mutator's thread.
#[test]
fn requests_run_once_and_in_order() {
    const THREADS: usize = 4;
    let each = 2_000 / crate::SCALE;
    let mutator = attach();
    let ran: Arc<Mutex<Vec<(usize, usize, ThreadId)>>> = Arc::default();
    let asks = |thread| {
        let (interrupter, ran) = (mutator.interrupter(), Arc::clone(&ran));
        move || {
            for number in 0..each {
                let ran = Arc::clone(&ran);
                assert!(
                    interrupter
                        .run_at_safepoint(move |mutator| {
                            drop(node(mutator, None, None));
                            ran.lock().unwrap().push((thread, number, thread::current().id()));
                        })
                        .is_ok()
                );
                if number % 16 == 0 {
                    interrupter.request_safepoint();
                }
            }
        }
    };
    let others: Vec<_> = (0..THREADS).map(|thread| thread::spawn(asks(thread))).collect();
    let mut polls = 0u64;
    while ran.lock().unwrap().len() < THREADS * each {
        polls += 1;
        match polls % 3 {
            0 => mutator.safepoint(),
            1 => _ = mutator.collect(Budget::Units(1)),
            _ => mutator.poll(1).unwrap(),
        }
    }
    others.into_iter().for_each(|other| other.join().unwrap());
    mutator.safepoint();
    let ran = ran.lock().unwrap();
    assert!(ran.iter().all(|(_, _, on)| *on == thread::current().id()));
    for thread in 0..THREADS {
        let numbers = ran.iter().filter(|(of, ..)| *of == thread).map(|(_, number, _)| *number);
        assert!(numbers.eq(0..each), "thread {thread}");
    }
    assert_eq!(mutator.metrics().allocated.objects, (THREADS * each) as u64);
}

#[test]
fn requests_that_panic_keep_nobody_else_from_running() {
    let mutator = attach();
    let ran = Arc::new(AtomicU32::new(0));
    let ask = |panics: bool| {
        let ran = Arc::clone(&ran);
        assert!(
            mutator
                .interrupter()
                .run_at_safepoint(move |_| {
                    assert!(!panics, "request {}", ran.load(Ordering::Relaxed));
                    ran.fetch_add(1, Ordering::Relaxed);
                })
                .is_ok()
        );
    };
    for polls in [true, false] {
        [false, true, false, true, false].into_iter().for_each(ask);
        let tells = || if polls { mutator.poll(1).unwrap() } else { mutator.safepoint() };
        let payload = catch_unwind(AssertUnwindSafe(tells)).unwrap_err();
        assert_eq!(
            *payload.downcast::<String>().unwrap(),
            format!("request {}", if polls { 1 } else { 4 }),
            "the first"
        );
        assert_eq!(mutator.poll(1), Ok(()));
    }
    assert_eq!((ran.load(Ordering::Relaxed), mutator.metrics().panics), (6, 4));
}

/// What a request does that polls, and asks for more.
#[test]
fn a_request_may_poll_ask_and_stop() {
    let mutator = attach();
    mutator.set_fuel(Some(10));
    let order: Arc<Mutex<Vec<&str>>> = Arc::default();
    let (seen, interrupter) = (Arc::clone(&order), mutator.interrupter());
    let first = move |mutator: &Mutator| {
        seen.lock().unwrap().push("first");
        let again = Arc::clone(&seen);
        assert!(interrupter.run_at_safepoint(move |_| again.lock().unwrap().push("third")).is_ok());
        // Neither the second, which waits for its turn, nor the third.
        assert_eq!(mutator.poll(2), Ok(()));
        mutator.safepoint();
        mutator.collect(Budget::Unbounded);
        assert_eq!(*seen.lock().unwrap(), ["first"]);
        interrupter.stop();
        // It is told here, and left for the program.
        assert_eq!([mutator.poll(1), mutator.poll(1)], [Err(Interrupted::Stopped); 2]);
    };
    assert!(mutator.interrupter().run_at_safepoint(first).is_ok());
    let seen = Arc::clone(&order);
    assert!(mutator.interrupter().run_at_safepoint(move |_| seen.lock().unwrap().push("second")).is_ok());
    assert_eq!(mutator.poll(1), Err(Interrupted::Stopped));
    assert_eq!((order.lock().unwrap().as_slice(), mutator.fuel()), (&["first", "second"][..], Some(5)));
    assert_eq!(mutator.poll(1), Ok(()));
    assert_eq!(*order.lock().unwrap(), ["first", "second", "third"]);
}

/// A request may set the limits that the poll is about to look at.
#[test]
fn limits_set_by_a_request_count_for_the_poll_that_ran_it() {
    let mutator = attach();
    mutator.set_fuel(Some(0));
    assert!(mutator.interrupter().run_at_safepoint(|mutator| mutator.set_fuel(Some(1))).is_ok());
    assert_eq!([mutator.poll(1), mutator.poll(1), mutator.poll(1)], [Ok(()), Ok(()), Err(Interrupted::OutOfFuel)]);
    assert!(
        mutator
            .interrupter()
            .run_at_safepoint(|mutator| {
                mutator.set_fuel(None);
                mutator.set_deadline(Some(0));
            })
            .is_ok()
    );
    assert_eq!(mutator.poll(1), Err(Interrupted::Deadline { deadline: 0, beats: 0 }));
}

/// Says on which thread it was dropped, and panics if it is to.
struct Dropped(Arc<Mutex<Vec<ThreadId>>>, bool);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(thread::current().id());
        assert!(!self.1, "a capture's panic");
    }
}

#[test]
fn handles_outlive_the_mutator_and_what_they_ask_for_is_dropped() {
    let mutator = attach();
    let interrupter = mutator.interrupter();
    let dropped: Arc<Mutex<Vec<ThreadId>>> = Arc::default();
    let seen = Arc::clone(&dropped);
    let (asked, has_asked) = mpsc::channel();
    let (gone, has_gone) = mpsc::channel();
    let other = thread::spawn(move || {
        for panics in [true, false, true] {
            let capture = Dropped(Arc::clone(&seen), panics);
            assert!(interrupter.run_at_safepoint(move |_| drop(capture)).is_ok());
        }
        // One that holds what its own queue is in.
        let (capture, circle) = (Dropped(Arc::clone(&seen), false), interrupter.clone());
        assert!(interrupter.run_at_safepoint(move |_| drop((capture, circle))).is_ok());
        asked.send(()).unwrap();
        // Refused from some moment of the detaching on.
        while interrupter.run_at_safepoint(|_| ()).is_ok() {
            thread::yield_now();
        }
        has_gone.recv().unwrap();
        let capture = Dropped(seen, false);
        let gone = interrupter.run_at_safepoint(move |_| drop(capture)).unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::Detached);
        interrupter.stop();
        interrupter.request_safepoint();
        thread::current().id()
    });
    has_asked.recv().unwrap();
    let payload = catch_unwind(AssertUnwindSafe(|| mutator.detach())).unwrap_err();
    assert_eq!(*payload.downcast::<&str>().unwrap(), "a capture's panic");
    gone.send(()).unwrap();
    let (here, other) = (thread::current().id(), other.join().unwrap());
    assert_eq!(*dropped.lock().unwrap(), [here, here, here, here, other]);
}

// ---- polls within ----

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

// ---- a poll is a safepoint ----

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
