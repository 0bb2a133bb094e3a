//! The command line: what it says, and what it must not say.

mod error;
mod quantity;

pub(crate) use error::UsageError;

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::*;
use lox_vm::machine::{HeapLimit, Limits};
use mimalloc_runtime::{Budget, Pacing, Stress};

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Runs Lox programs: a script, or without one what is typed at the prompt.

Usage: lox [options] [script [arguments...]]

What to do:
  --disassemble         Show the code of the script instead of running it.
  --help, -h            Show this text.
  --version, -V         Show the version.

What to report when the program has ended:
  --metrics[=FORMAT]    What memory management did, on standard error: `text`,
                        the default, or `json`, one object on the last line.
  --pauses FILE.svg     A drawing of how long steps took and of memory in use.
  --census              What lives before the globals go, by type and size, on
                        standard error.
  --heap-snapshot FILE  The same, each object and what it refers to, for the
                        Memory panel of Chromium's developer tools. They want
                        a name that ends in .heapsnapshot.
  --leaks               What lives when all that can be is freed, and what
                        keeps it alive, on standard error: normally nothing.

How dead objects are freed:
  --pause-cap CAP       The most that one step may do: a time (100us), an amount
                        of work (500units), or `none`. 10000units if not given.
  --ratio R             Bytes freed for each byte allocated, at least 1. 1.5 if
                        not given.
  --installment SIZE    Bytes allocated between two steps. 4KiB if not given.
  --beat-bytes SIZE     Bytes allocated in a heartbeat. 64KiB if not given.
  --eager               Free everything the moment it dies, without a limit.
  --stress              Do one unit of work at each allocation, call and round
                        of a loop, and overwrite what is freed: finds mistakes.

Where a program ends with a run-time error at the latest. At the prompt each
line is a program of its own.
  --fuel N              After N calls and rounds of loops (two for a round of a
                        `for` with an increment). Natives and printing count
                        too, 1 for 64 bytes. At the same place in every run.
  --beats N             At its N-th heartbeat, so by what it allocates. At the
                        same place in every run.
  --timeout TIME        After so long by the clock.
  --heap-limit SIZE[:walled]
                        Where it would use more memory, together with what is
                        left of earlier lines at the prompt and some 10KiB for
                        the machine itself. With `:walled` the heap also gets
                        memory of its own, which it cannot leave.
  Ctrl-C                At its next call or jump back, or as soon as a native is
                        done; at the prompt the next line can be typed. A
                        program that does not end by it, as it waits for input,
                        ends with the command when it is pressed again.

A SIZE is a whole number of B, KiB, MiB or GiB, a time one of ns, us, ms, s or
min.

Exit codes: 0, or 64 wrong use, 65 error in the source, 70 run-time error, also
by a limit or Ctrl-C, 74 a file that could not be read or written, 130 Ctrl-C
when no program runs, or pressed again.
";

/// Bytes of a heartbeat if not given.
const BEAT_BYTES: u64 = 64 << 10;

/// What the command is to do.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    /// Show [`HELP`].
    Help,
    /// Show the version.
    Version,
    /// Show the code of a script.
    Disassemble(PathBuf),
    /// Run a program.
    Run(Box<Options>),
}

/// How to run which program.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    /// The program.
    pub(crate) program: Program,
    /// How dead objects are freed.
    pub(crate) pacing: Pacing,
    /// Whether the runtime is under stress.
    pub(crate) stress: Option<Stress>,
    /// Bytes of a heartbeat.
    pub(crate) beat_bytes: u64,
    /// How long each script may run.
    pub(crate) limits: Limits,
    /// How much memory the machine may use.
    pub(crate) heap_limit: Option<HeapLimit>,
    /// Whether and how to report the metrics.
    pub(crate) metrics: Option<MetricsFormat>,
    /// Where to draw the pauses.
    pub(crate) pauses: Option<PathBuf>,
    /// What to look at in the heap.
    pub(crate) looks: Looks,
}

/// What to look at in the heap when the program has ended.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Looks {
    /// Whether to count what lives.
    pub(crate) census: bool,
    /// Where to write a heap snapshot.
    pub(crate) snapshot: Option<PathBuf>,
    /// Whether to report what is left at the end.
    pub(crate) leaks: bool,
}

/// Where the program comes from.
#[derive(Debug, PartialEq)]
pub(crate) enum Program {
    /// Line by line from standard input.
    Prompt,
    /// From a file.
    Script {
        /// The file.
        path: PathBuf,
        /// What stands behind it on the command line.
        arguments: Vec<String>,
    },
}

/// The form of the metrics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum MetricsFormat {
    /// A table.
    Text,
    /// One JSON object on one line.
    Json,
}

impl Command {
    /// Reads a command line, without the command's own name.
    ///
    /// # Errors
    ///
    /// Anything that is not understood, and options that contradict each other.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
        let mut parser = lexopt::Parser::from_args(arguments);
        let mut disassemble = false;
        let mut freeing = Freeing::default();
        let mut beat_bytes = BEAT_BYTES;
        let mut limits = Limits::default();
        let mut heap_limit = None;
        let mut metrics = None;
        let mut pauses = None;
        let mut looks = Looks::default();
        let mut program = Program::Prompt;

        while let Some(argument) = parser.next()? {
            match argument {
                Short('h') | Long("help") => return Ok(Command::Help),
                Short('V') | Long("version") => return Ok(Command::Version),
                Long("disassemble") => disassemble = true,
                Long("metrics") => metrics = Some(metrics_format(parser.optional_value())?),
                Long("pauses") => pauses = Some(path(parser.value()?)?),
                Long("census") => looks.census = true,
                Long("heap-snapshot") => looks.snapshot = Some(path(parser.value()?)?),
                Long("leaks") => looks.leaks = true,
                Long("pause-cap") => freeing.pause_cap = Some(quantity::pause_cap(&parser.value()?.string()?)?),
                Long("ratio") => freeing.ratio = Some(quantity::ratio(&parser.value()?.string()?)?),
                Long("installment") => freeing.installment = Some(quantity::size(&parser.value()?.string()?)?),
                Long("beat-bytes") => beat_bytes = quantity::size(&parser.value()?.string()?)?,
                Long("eager") => freeing.choose(Preset::Eager)?,
                Long("stress") => freeing.choose(Preset::Stress)?,
                Long("fuel") => limits.fuel = Some(quantity::count(&parser.value()?.string()?)?),
                Long("beats") => limits.beats = Some(quantity::count(&parser.value()?.string()?)?),
                Long("heap-limit") => heap_limit = Some(quantity::heap_limit(&parser.value()?.string()?)?),
                Long("timeout") => limits.time = Some(quantity::time(&parser.value()?.string()?)?),
                Value(script) => {
                    // What follows is the script's, whatever it looks like.
                    let arguments = parser.raw_args()?.map(ValueExt::string).collect::<Result<_, _>>()?;
                    program = Program::Script { path: path(script)?, arguments };
                }
                unknown => return Err(unknown.unexpected().into()),
            }
        }

        if disassemble {
            return match program {
                Program::Script { .. } if metrics.is_some() || pauses.is_some() => {
                    Err(UsageError::new("--disassemble runs nothing that --metrics or --pauses could report"))
                }
                Program::Script { .. } if looks != Looks::default() => Err(UsageError::new(
                    "--disassemble runs nothing that --census, --heap-snapshot or --leaks could look at",
                )),
                Program::Script { path, .. } => Ok(Command::Disassemble(path)),
                Program::Prompt => Err(UsageError::new("--disassemble needs a script")),
            };
        }
        if pauses.is_some() && pauses == looks.snapshot {
            return Err(UsageError::new("--pauses and --heap-snapshot name the same file"));
        }
        let (pacing, stress) = (freeing.pacing()?, freeing.stress());
        Ok(Command::Run(Box::new(Options {
            program,
            pacing,
            stress,
            beat_bytes,
            limits,
            heap_limit,
            metrics,
            pauses,
            looks,
        })))
    }
}

fn metrics_format(name: Option<OsString>) -> Result<MetricsFormat, UsageError> {
    match name.map(ValueExt::string).transpose()?.as_deref() {
        None | Some("text") => Ok(MetricsFormat::Text),
        Some("json") => Ok(MetricsFormat::Json),
        Some(other) => Err(UsageError::new(format!("--metrics takes text or json, not '{other}'"))),
    }
}

fn path(value: OsString) -> Result<PathBuf, UsageError> {
    if value.is_empty() {
        return Err(UsageError::new("the name of a file is empty"));
    }
    Ok(PathBuf::from(value))
}

/// What the options say about freeing, before it is known whether they go together.
#[derive(Debug, Default)]
struct Freeing {
    preset: Option<Preset>,
    pause_cap: Option<Budget>,
    ratio: Option<f64>,
    installment: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Preset {
    Eager,
    Stress,
}

impl Freeing {
    fn choose(&mut self, preset: Preset) -> Result<(), UsageError> {
        match self.preset.replace(preset) {
            Some(other) if other != preset => Err(UsageError::new("--eager and --stress exclude each other")),
            _ => Ok(()),
        }
    }

    fn stress(&self) -> Option<Stress> {
        (self.preset == Some(Preset::Stress)).then(Stress::new)
    }

    fn pacing(&self) -> Result<Pacing, UsageError> {
        let paced = self.pause_cap.is_some() || self.ratio.is_some() || self.installment.is_some();
        if self.preset == Some(Preset::Eager) && paced {
            return Err(UsageError::new(
                "--eager frees everything at once; --pause-cap, --ratio and --installment would do nothing",
            ));
        }
        let mut pacing = match self.preset {
            None => Pacing::default(),
            Some(Preset::Eager) => Pacing::eager(),
            Some(Preset::Stress) => Pacing::stress(),
        };
        if let Some(cap) = self.pause_cap {
            pacing = pacing.with_pause_cap(cap)?;
        }
        if let Some(ratio) = self.ratio {
            pacing = pacing.with_ratio(ratio)?;
        }
        if let Some(bytes) = self.installment {
            // More than an address can hold is outside the range in any case.
            pacing = pacing.with_installment(usize::try_from(bytes).unwrap_or(usize::MAX))?;
        }
        Ok(pacing)
    }
}

#[cfg(test)]
mod tests;
