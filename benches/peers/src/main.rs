//! `mimalloc-runtime` side by side with its peers: what a pair of allocation and free costs, and how long the program
//! stands still when a large structure dies, or garbage in cycles is reclaimed.
//!
//! The program only measures. It prints what it found and whether that meets the crate's targets, and it succeeds either
//! way: a timing is a property of the machine too.

mod arena;
mod arguments;
mod clock;
mod cost;
mod cycles;
mod drops;
mod machine;
mod memory;
mod pairs;
mod process;
mod report;
mod stopwatch;
mod summary;
mod table;
mod verdict;
mod word;

use std::error::Error;
use std::process::ExitCode;

use arguments::{Command, Options, Part};
use report::Report;

/// `Rc`, dumpster and gc-arena allocate here, so that all contenders run on the same allocator.
#[global_allocator]
static GLOBAL: mimalloc3::MiMalloc = mimalloc3::MiMalloc;

fn main() -> ExitCode {
    match Command::from_environment().map_err(Into::into).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Help => {
            print!("{}", arguments::HELP);
            Ok(())
        }
        Command::Child(scene, contender) => {
            let sample = drops::measure(scene, contender)?;
            println!("{}", serde_json::to_string(&sample)?);
            Ok(())
        }
        Command::CycleChild(scene, contender) => {
            let sample = cycles::measure(scene, contender)?;
            println!("{}", serde_json::to_string(&sample)?);
            Ok(())
        }
        Command::Compare(options) => compare(&options),
    }
}

fn compare(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut report = Report::new(options.form);
    report.machine(&machine::Machine::of_this_process())?;
    let mut verdicts = Vec::new();
    if options.includes(Part::Pairs) {
        let results = pairs::compare(options.rounds)?;
        report.pairs(&results, options.rounds)?;
        verdicts.extend(verdict::of_pairs(&results));
    }
    if options.includes(Part::Drop) {
        let results = drops::compare(options.nodes, options.repeats)?;
        report.drops(&results, options.nodes, options.repeats)?;
        verdicts.extend(verdict::of_drops(&results));
    }
    if options.includes(Part::Cycles) {
        let results = cycles::compare(options.objects, options.repeats)?;
        report.cycles(&results, options.objects, options.repeats)?;
    }
    report.verdicts(&verdicts)?;
    Ok(())
}
