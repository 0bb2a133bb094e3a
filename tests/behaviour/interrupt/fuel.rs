//! Fuel is exact.

use std::thread;

use mimalloc_runtime::{Interrupted, Mutator, Runtime};

use super::{FAR, HOUR, attach, rounds};
use crate::graph::node;

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
