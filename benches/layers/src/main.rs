//! What each layer of `mimalloc-runtime` adds to an allocation and its free, in instructions.
//!
//! Instructions, because they can be counted exactly: the same program counts the same on every run, so a claim like "a
//! deadline costs nothing" is checked as an equation. They are not time; for that there is `benches/peers`.

mod arguments;
mod claims;
mod count;
mod destroy;
mod layer;
mod overhead;
mod pair;
mod program;
mod report;
mod survey;
mod walk;

use std::error::Error;
use std::process::ExitCode;

use arguments::Command;
use count::NoValgrind;
use layer::SIZES;

/// The status of this program when there is no valgrind, as of a check in `ci/` that is skipped.
const SKIPPED: u8 = 77;

fn main() -> ExitCode {
    match Command::from_environment().map_err(Into::into).and_then(run) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("layers: {error}");
            if error.is::<NoValgrind>() { ExitCode::from(SKIPPED) } else { ExitCode::FAILURE }
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Box<dyn Error>> {
    match command {
        Command::Help => print!("{}", arguments::HELP),
        Command::Walk => walk::print()?,
        Command::Programs(rounds) => overhead::print(rounds)?,
        Command::Destroy => destroy::print()?,
        Command::Survey => survey::print()?,
        Command::Child(scene, pairs) => pair::run(scene, pairs)?,
        Command::Program(program, types, rounds) => program.run(types, rounds)?,
        Command::Count { beats, json } => {
            let valgrind = count::valgrind_version()?;
            let mut counts = Vec::new();
            for bytes in SIZES {
                counts.extend(count::of_size(bytes, beats)?);
            }
            match json {
                true => report::json(&counts)?,
                false => report::table(&counts, beats, &valgrind)?,
            }
        }
        Command::Check => {
            count::valgrind_version()?;
            if !claims::check()? {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
