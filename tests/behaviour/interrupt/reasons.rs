//! Several reasons at once to end a program.

use std::time::Duration;

use mimalloc_runtime::{Interrupted, Runtime};

use super::HOUR;

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
