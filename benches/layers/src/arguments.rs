//! The command line.

use lexopt::{Arg, Parser, ValueExt};

use crate::pair::Scene;

pub(crate) const HELP: &str = "\
What each layer of mimalloc-runtime adds to an allocation and its free, in instructions

Usage: layers [OPTIONS]

  --beats N     heartbeats of 64 KiB allocated in each run, at least 1 [1000]
  --check       check what must hold to the instruction, instead of printing the table
  --json        one JSON object a line, instead of the table
  --walk        how long a walk over the objects of a heap takes, instead of the table
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
    /// Print how long a survey takes.
    Survey,
    /// So many pairs, in this process: how the program calls itself under valgrind.
    Child(Scene, u64),
}

impl Command {
    pub(crate) fn from_environment() -> Result<Command, lexopt::Error> {
        let mut parser = Parser::from_env();
        let (mut beats, mut json, mut check, mut walk, mut survey) = (1000, false, false, false, false);
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("beats") => beats = parser.value()?.parse_with(at_least_one)?,
                Arg::Long("check") => check = true,
                Arg::Long("json") => json = true,
                Arg::Long("walk") => walk = true,
                Arg::Long("survey") => survey = true,
                Arg::Long("child") => return child(&mut parser),
                Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
                // What `cargo bench` would add.
                Arg::Long("bench") => {}
                _ => return Err(argument.unexpected()),
            }
        }
        Ok(match (check, walk, survey) {
            (true, ..) => Command::Check,
            (_, true, _) => Command::Walk,
            (.., true) => Command::Survey,
            _ => Command::Count { beats, json },
        })
    }
}

fn at_least_one(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err(format!("'{text}' is not a number of beats: at least 1")),
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
