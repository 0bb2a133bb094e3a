//! Polls: fuel, time limits, and what other threads ask for. Deadlines in beats are in `beats.rs`.

mod fuel;
mod news;
mod reasons;
mod requests;
mod time;
mod within;

use std::time::Duration;

use mimalloc_runtime::{Interrupted, Mutator, Runtime};

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
