//! What the search for garbage cycles costs programs that make none: instructions, and time.

use std::error::Error;
use std::time::{Duration, Instant};

use crate::count;
use crate::program::{Program, Types};

/// So many times as many rounds as are counted are timed at once: trials become rarer while they find nothing, and it is the program
/// that goes on whose cost is asked for.
const TIMED: u64 = 4;

/// How often each program is timed with each kind of types, in turn.
const REPEATS: usize = 21;

/// A program's cost with types that may be part of cycles, beside that with the same types marked acyclic.
struct Overhead {
    program: Program,
    /// Instructions of a round, of both kinds.
    instructions: [f64; 2],
    /// Nanoseconds of a round, of both kinds: medians.
    nanos: [f64; 2],
    /// Of the times of two runs that followed each other: lowest, median, highest quarter.
    ratios: [f64; 3],
}

/// Prints it for each program.
pub(crate) fn print(rounds: u64) -> Result<(), Box<dyn Error>> {
    let valgrind = count::valgrind_version()?;
    let mut overheads = Vec::new();
    for program in Program::ALL {
        eprintln!("{}", program.name());
        overheads.push(of_program(program, rounds)?);
    }
    println!(
        "Programs that make no garbage cycles, with types that may be part of some (a) and with the same types marked acyclic (b).\n\
         A round in instructions, counted by {valgrind} over {rounds} rounds; and in ns, median of {REPEATS} runs, in turn;\n\
         ratios of the times of runs that followed each other: median, and the quarters.\n"
    );
    println!(
        "{:<44}{:>8}{:>8}{:>9}   {:>8}{:>8}{:>8}   {:>15}",
        "", "a", "b", "a/b", "a ns", "b ns", "a/b", "quarters"
    );
    for Overhead { program, instructions: [a, b], nanos: [ns_a, ns_b], ratios: [low, median, high] } in overheads {
        println!(
            "{:<44}{a:>8.1}{b:>8.1}{:>9.3}   {ns_a:>8.1}{ns_b:>8.1}{median:>8.3}   {low:>7.3}{high:>8.3}",
            program.name(),
            a / b,
        );
    }
    Ok(())
}

fn of_program(program: Program, rounds: u64) -> Result<Overhead, Box<dyn Error>> {
    let mut instructions = [0.0; 2];
    for (types, instructions) in Types::BOTH.into_iter().zip(&mut instructions) {
        *instructions = count::of_rounds(program, types, rounds)? as f64 / rounds as f64;
    }
    let mut times: [Vec<Duration>; 2] = [Vec::new(), Vec::new()];
    let mut ratios = Vec::new();
    for repeat in 0..=REPEATS {
        let mut pair = [Duration::ZERO; 2];
        // Each is the first of the two as often as the other.
        for kind in [repeat % 2, (repeat + 1) % 2] {
            let start = Instant::now();
            program.run(Types::BOTH[kind], TIMED * rounds)?;
            pair[kind] = start.elapsed();
        }
        // The first for nothing: pages are touched.
        if repeat > 0 {
            ratios.push(pair[0].as_secs_f64() / pair[1].as_secs_f64());
            times[0].push(pair[0]);
            times[1].push(pair[1]);
        }
    }
    ratios.sort_by(f64::total_cmp);
    let nanos = times.map(|mut times| {
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1e9 / (TIMED * rounds) as f64
    });
    let quarter = |number: usize| ratios[ratios.len() * number / 4];
    Ok(Overhead { program, instructions, nanos, ratios: [quarter(1), quarter(2), quarter(3)] })
}
