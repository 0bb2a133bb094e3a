//! How long a walk over a heap's objects takes: for a block, and in the longest of its steps. Time, not instructions: most of it is
//! waiting for memory.

use std::error::Error;
use std::time::{Duration, Instant};

use mimalloc_runtime::{Budget, Mutator, Ref, Runtime, Stop, Tail, sys};

/// Bytes of objects, headers included.
const SIZES: [usize; 6] = [16, 64, 256, 1024, 8192, 65536];

/// Bytes of all objects of a scene, before some are dropped.
const BYTES: usize = 64 << 20;

/// Each walk is done so often. A step does the same in each, so the shortest of its times is what it takes when nothing interferes.
const REPEATS: usize = 9;

/// What lies in the heap.
#[derive(Clone, Copy)]
enum State {
    /// Nothing is free.
    Full,
    /// Every second object was dropped.
    Half,
}

/// Allocates the objects of a scene. A tail without items has 24 bytes, so the smallest have a value of their own.
fn fill(mutator: &Mutator, bytes: usize, state: State) -> Vec<Box<dyn std::any::Any>> {
    let objects = (0..BYTES / bytes).map(|_| -> Box<dyn std::any::Any> {
        if bytes == 16 {
            Box::new(mutator.alloc(1u64).expect("memory"))
        } else {
            let tail: Ref<Tail<(), u8>> = mutator.alloc_tail((), bytes - 16, |_| 0).expect("memory");
            Box::new(tail)
        }
    });
    let mut kept: Vec<_> = objects.collect();
    if let State::Half = state {
        let mut index = 0;
        kept.retain(|_| {
            index += 1;
            index % 2 == 0
        });
    }
    mutator.collect(Budget::Unbounded);
    kept
}

/// The times of a walk's steps.
fn steps(mutator: &Mutator, budget: Budget) -> Result<Vec<Duration>, Box<dyn Error>> {
    let mut census = mutator.census();
    let mut times = Vec::new();
    loop {
        let start = Instant::now();
        let stop = census.step(budget)?;
        times.push(start.elapsed());
        if stop == Stop::Done {
            return Ok(times);
        }
    }
}

/// The shortest time of each step.
fn shortest(mutator: &Mutator, budget: Budget) -> Result<Vec<Duration>, Box<dyn Error>> {
    let mut shortest = steps(mutator, budget)?;
    for _ in 1..REPEATS {
        for (shortest, time) in shortest.iter_mut().zip(steps(mutator, budget)?) {
            *shortest = time.min(*shortest);
        }
    }
    Ok(shortest)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

pub(crate) fn print() -> Result<(), Box<dyn Error>> {
    println!(
        "A census of {} MiB of objects, shortest of {REPEATS} times; mimalloc {}.\n\n\
         bytes         objects  ns an object     steps  longest, us  first, us",
        BYTES >> 20,
        mimalloc_runtime::engine::version()
    );
    for (state, name) in [(State::Full, "full"), (State::Half, "half")] {
        for bytes in SIZES {
            let mutator = Runtime::new()?.attach()?;
            let kept = fill(&mutator, bytes, state);
            // Blocks that were kept at hand go back in the first step of all, and only there.
            let first = steps(&mutator, Budget::Units(1))?[0];
            let whole: Duration = shortest(&mutator, Budget::Unbounded)?.iter().sum();
            let pages = shortest(&mutator, Budget::Units(1))?;
            let longest = pages.iter().max().expect("a step");
            println!(
                "{bytes:>6} {name:>4} {:>10} {:>13.1} {:>9} {:>12.1} {:>10.1}",
                kept.len(),
                whole.as_secs_f64() * 1e9 / kept.len() as f64,
                pages.len(),
                micros(*longest),
                micros(first),
            );
        }
    }
    println!("\nFree blocks of all sizes that are kept at hand go back first: {:.1} us.", micros(kept_at_hand()?));
    // For good: nothing comes from arenas any more.
    // SAFETY: an option of the engine.
    unsafe { sys::mi_option_set(sys::mi_option_disallow_arena_alloc, 1) };
    for (state, name) in [(State::Full, "full"), (State::Half, "half")] {
        let (pages, nanos) = list_of_pages(state)?;
        println!("With {pages} pages outside of arenas, {name}, a step takes {nanos:.1} ns for each.");
    }
    Ok(())
}

/// How long a step takes to look through the list of pages that lie in no arena (version 2: of all pages), for each of them: all but
/// nothing of the step is the one page that it passes.
fn list_of_pages(state: State) -> Result<(usize, f64), Box<dyn Error>> {
    let mutator = Runtime::new()?.attach()?;
    let kept = fill(&mutator, 8192, state);
    let pages = mutator.areas()?.len();
    let mut times = shortest(&mutator, Budget::Units(1))?;
    times.sort();
    drop(kept);
    Ok((pages, times[times.len() / 2].as_secs_f64() * 1e9 / pages as f64))
}

/// How long it takes from the first step until the first object is found, when all is kept at hand that can be.
fn kept_at_hand() -> Result<Duration, Box<dyn Error>> {
    let mut shortest = Duration::MAX;
    for _ in 0..REPEATS {
        let mutator = Runtime::new()?.attach()?;
        let lens = (0..=1008).step_by(16).flat_map(|len| [len; 128]);
        let tails: Vec<Ref<Tail<(), u8>>> =
            lens.map(|len| mutator.alloc_tail((), len, |_| 0)).collect::<Result<_, _>>().map_err(|_| "no memory")?;
        let kept = mutator.alloc(1u64).map_err(|_| "no memory")?;
        drop(tails);
        mutator.collect(Budget::Unbounded);
        let mut census = mutator.census();
        let start = Instant::now();
        while census.total().objects == 0 && census.step(Budget::Units(1))? != Stop::Done {}
        shortest = shortest.min(start.elapsed());
        drop(census);
        drop(kept);
    }
    Ok(shortest)
}
