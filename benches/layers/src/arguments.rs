//! The command line.

use lexopt::{Arg, Parser, ValueExt};

use crate::pair::Scene;
use crate::program::{Program, Types};

pub(crate) const HELP: &str = "\
What each layer of mimalloc-runtime adds to an allocation and its free, in instructions

Usage: layers [OPTIONS]

  --beats N     heartbeats of 64 KiB allocated in each run, at least 1 [1000]
  --check       check what must hold to the instruction, instead of printing the table
  --json        one JSON object a line, instead of the table
  --walk        how long a walk over the objects of a heap takes, instead of the table
  --programs    what the search for garbage cycles costs programs that make none, instead of the table
  --rounds N    rounds of each of these programs that are counted, at least 1 [100000]
  --destroy     how long the end of a full heap takes, instead of the table
  --survey      how long a look at all objects of a heap takes, instead of the table
  --help        this text
";

/// What to do.
pub(crate) enum Command {
    Help,
    /// Print what each layer costs.
    Count {
        beats: u64,
        json: bool,
    },
    /// Check the claims.
    Check,
    /// Print how long a walk takes.
    Walk,
    /// Print what the search for garbage cycles costs programs, counting so many rounds of each.
    Programs(u64),
    /// Print how long the end of a heap takes.
    Destroy,
    /// Print how long a survey takes.
    Survey,
    /// So many pairs, in this process: how the program calls itself under valgrind.
    Child(Scene, u64),
    /// So many rounds of a program, likewise.
    Program(Program, Types, u64),
}

impl Command {
    pub(crate) fn from_environment() -> Result<Command, lexopt::Error> {
        let mut parser = Parser::from_env();
        let (mut beats, mut json, mut check, mut walk) = (1000, false, false, false);
        let (mut destroy, mut survey) = (false, false);
        let (mut programs, mut rounds) = (false, 100_000);
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("beats") => beats = parser.value()?.parse_with(at_least_one)?,
                Arg::Long("check") => check = true,
                Arg::Long("json") => json = true,
                Arg::Long("walk") => walk = true,
                Arg::Long("programs") => programs = true,
                Arg::Long("rounds") => rounds = parser.value()?.parse_with(at_least_one)?,
                Arg::Long("destroy") => destroy = true,
                Arg::Long("survey") => survey = true,
                Arg::Long("child") => return child(&mut parser),
                Arg::Long("program") => return program(&mut parser),
                Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
                // What `cargo bench` would add.
                Arg::Long("bench") => {}
                _ => return Err(argument.unexpected()),
            }
        }
        Ok(match () {
            () if check => Command::Check,
            () if walk => Command::Walk,
            () if destroy => Command::Destroy,
            () if survey => Command::Survey,
            () if programs => Command::Programs(rounds),
            _ => Command::Count { beats, json },
        })
    }
}

fn at_least_one(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err(format!("'{text}' is not a number, or not at least 1")),
    }
}

/// The words that `child_words` makes.
fn child(parser: &mut Parser) -> Result<Command, lexopt::Error> {
    let layer = parser.value()?.parse()?;
    let bytes = parser.value()?.parse()?;
    let beat_bytes = parser.value()?.parse()?;
    Ok(Command::Child(Scene { layer, bytes, beat_bytes }, parser.value()?.parse()?))
}

/// The command line that makes a child of this program do so many pairs. Equally long for every number, so that reading it takes
/// equally many instructions.
pub(crate) fn child_words(scene: Scene, pairs: u64) -> [String; 5] {
    let Scene { layer, bytes, beat_bytes } = scene;
    ["--child".to_owned(), layer.word().to_owned(), bytes.to_string(), beat_bytes.to_string(), format!("{pairs:020}")]
}

/// The words that `program_words` makes.
fn program(parser: &mut Parser) -> Result<Command, lexopt::Error> {
    let program = parser.value()?.parse()?;
    let types = parser.value()?.parse()?;
    Ok(Command::Program(program, types, parser.value()?.parse()?))
}

/// The command line that makes a child of this program run one of the programs.
pub(crate) fn program_words(program: Program, types: Types, rounds: u64) -> [String; 4] {
    ["--program".to_owned(), program.word().to_owned(), types.word().to_owned(), format!("{rounds:020}")]
}
