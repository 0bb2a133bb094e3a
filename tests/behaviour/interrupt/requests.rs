//! What other threads ask for: stops and requests.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, ThreadId};

use mimalloc_runtime::{Budget, ErrorKind, Interrupted, Mutator};

use super::{attach, rounds};
use crate::graph::node;

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
