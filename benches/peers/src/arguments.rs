//! The command line.

use std::str::FromStr;

use lexopt::{Arg, Parser, ValueExt};

use crate::cycles;
use crate::drops::{Contender, Scene};
use crate::report::Form;
use crate::word::{self, Word as _};

pub(crate) const HELP: &str = "\
mimalloc-runtime side by side with its peers

Usage: peers [OPTIONS]

  --nodes N     nodes of each structure that is dropped [10000000]
  --objects N   objects in cycles that die, and as many that live [500000]
  --repeats N   how often each drop and each collection of cycles is measured, in turn [3]
  --rounds N    rounds of the allocation pairs, at least 15 [51]
  --only PART   pairs, drop or cycles
  --json        one JSON object a line, instead of tables
  --help        this text
";

/// Fewer give no median worth the name.
const LEAST_ROUNDS: usize = 15;

/// What to do.
pub(crate) enum Command {
    Help,
    Compare(Options),
    /// One drop, measured in this process and printed as JSON: how the program calls itself.
    Child(Scene, Contender),
    /// One collection of cycles, likewise.
    CycleChild(cycles::Scene, cycles::Contender),
}

/// A part of the comparison.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Pairs,
    Drop,
    Cycles,
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Part, String> {
        match text {
            "pairs" => Ok(Part::Pairs),
            "drop" => Ok(Part::Drop),
            "cycles" => Ok(Part::Cycles),
            _ => Err(format!("'{text}' is not a part: pairs, drop, cycles")),
        }
    }
}

pub(crate) struct Options {
    pub(crate) nodes: u32,
    pub(crate) objects: u32,
    pub(crate) repeats: usize,
    pub(crate) rounds: usize,
    pub(crate) only: Option<Part>,
    pub(crate) form: Form,
}

impl Options {
    pub(crate) fn includes(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }
}

impl Command {
    pub(crate) fn from_environment() -> Result<Command, lexopt::Error> {
        let mut parser = Parser::from_env();
        let mut options =
            Options { nodes: 10_000_000, objects: 500_000, repeats: 3, rounds: 51, only: None, form: Form::Tables };
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("nodes") => options.nodes = at_least(1, parser.value()?.parse()?)?,
                Arg::Long("objects") => options.objects = at_least(2, parser.value()?.parse()?)?,
                Arg::Long("repeats") => options.repeats = at_least(1, parser.value()?.parse()?)?,
                Arg::Long("rounds") => options.rounds = at_least(LEAST_ROUNDS, parser.value()?.parse()?)?,
                Arg::Long("only") => options.only = Some(parser.value()?.parse()?),
                Arg::Long("json") => options.form = Form::Json,
                Arg::Long("child") => return child(&mut parser),
                Arg::Long("cycle-child") => return cycle_child(&mut parser),
                Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
                // What `cargo bench` would add.
                Arg::Long("bench") => {}
                _ => return Err(argument.unexpected()),
            }
        }
        Ok(Command::Compare(options))
    }
}

fn at_least<T: PartialOrd + std::fmt::Display>(least: T, number: T) -> Result<T, lexopt::Error> {
    if number >= least {
        Ok(number)
    } else {
        Err(lexopt::Error::Custom(format!("{number} is too few: at least {least}").into()))
    }
}

/// The words that `child_words` makes.
fn child(parser: &mut Parser) -> Result<Command, lexopt::Error> {
    let contender = word::next(parser)?;
    let shape = word::next(parser)?;
    let layout = word::next(parser)?;
    let nodes = at_least(1, parser.value()?.parse()?)?;
    Ok(Command::Child(Scene { shape, layout, nodes }, contender))
}

/// The command line that makes a child of this program measure one drop.
pub(crate) fn child_words(scene: Scene, contender: Contender) -> [String; 5] {
    [
        "--child".to_owned(),
        contender.word().to_owned(),
        scene.shape.word().to_owned(),
        scene.layout.word().to_owned(),
        scene.nodes.to_string(),
    ]
}

/// The words that `cycle_words` makes.
fn cycle_child(parser: &mut Parser) -> Result<Command, lexopt::Error> {
    let contender = word::next(parser)?;
    let shape = word::next(parser)?;
    let objects = at_least(2, parser.value()?.parse()?)?;
    Ok(Command::CycleChild(cycles::Scene { shape, objects }, contender))
}

/// The command line that makes a child of this program measure one collection of cycles.
pub(crate) fn cycle_words(scene: cycles::Scene, contender: cycles::Contender) -> [String; 4] {
    let cycles::Scene { shape, objects } = scene;
    ["--cycle-child".to_owned(), contender.word().to_owned(), shape.word().to_owned(), objects.to_string()]
}
