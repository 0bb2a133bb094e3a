//! Time limits.

use std::time::Duration;

use mimalloc_runtime::{Interrupted, Runtime};

use super::{FAR, attach, rounds};

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
