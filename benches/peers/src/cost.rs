//! What was measured of a contender in a process of its own.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use crate::memory::{self, Forgotten};
use crate::stopwatch::Stopwatch;
use crate::summary::Summary;
use crate::word::{self, Word};

/// One measurement, as a child reports it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// The longest step on the monotonic clock. Another program's turn on the processor counts.
    pub(crate) longest_ms: f64,
    /// The longest step on the thread's processor clock.
    pub(crate) longest_cpu_ms: f64,
    /// The longest step in units, for contenders that count them.
    pub(crate) longest_units: Option<u64>,
    /// All of the collector's work.
    pub(crate) total_ms: f64,
    /// The same on the thread's processor clock, where it can be told from the program's other work.
    pub(crate) total_cpu_ms: Option<f64>,
    pub(crate) steps: u64,
    /// Resident memory when it begins, and its peak from there on.
    pub(crate) resident_mib: f64,
    pub(crate) peak_resident_mib: Option<f64>,
    /// What the contender itself counts, at the beginning and at its peak, for contenders that count bytes.
    pub(crate) counted_mib: Option<f64>,
    pub(crate) peak_counted_mib: Option<f64>,
}

/// Why there is no sample.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The child died of a signal, with so much stack.
    Crashed { signal: i32, stack_mib: Option<u64> },
    /// The child gave up.
    GaveUp(String),
    /// What it needs is not there.
    Skipped(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Crashed { signal, stack_mib: Some(stack) } => {
                write!(f, "crashed (signal {signal}, on a stack of {stack} MiB)")
            }
            Failure::Crashed { signal, stack_mib: None } => write!(f, "crashed (signal {signal})"),
            Failure::GaveUp(why) => write!(f, "failed: {why}"),
            Failure::Skipped(why) => write!(f, "was skipped: {why}"),
        }
    }
}

impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What came of one repeat.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Repeat {
    Measured(Sample),
    Failed(Failure),
}

/// Who is measured.
pub(crate) trait Named: Word {
    /// The name in tables.
    fn name(self) -> &'static str;
}

/// A contender's repeats in one scene.
#[derive(Serialize)]
#[serde(bound(serialize = "S: Serialize, C: Named"))]
pub(crate) struct Cost<S, C> {
    #[serde(flatten)]
    pub(crate) scene: S,
    #[serde(serialize_with = "word::serialize")]
    pub(crate) contender: C,
    /// One for each repeat, in order, so that repeats of different contenders can be compared pair by pair.
    pub(crate) repeats: Vec<Repeat>,
}

impl<S: Copy, C: Named> Cost<S, C> {
    /// One for each contender, before it is measured.
    pub(crate) fn of_all(scene: S) -> impl Iterator<Item = Cost<S, C>> {
        C::ALL.iter().map(move |&contender| Cost { scene, contender, repeats: Vec::new() })
    }
}

impl<S, C> Cost<S, C> {
    pub(crate) fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.repeats.iter().filter_map(|repeat| match repeat {
            Repeat::Measured(sample) => Some(sample),
            Repeat::Failed(_) => None,
        })
    }

    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.repeats.iter().find_map(|repeat| match repeat {
            Repeat::Measured(_) => None,
            Repeat::Failed(failure) => Some(failure),
        })
    }

    /// Of the repeats that have the figure, if there are any.
    pub(crate) fn summary(&self, figure: impl Fn(&Sample) -> Option<f64>) -> Option<Summary> {
        Summary::of(self.samples().filter_map(figure))
    }

    /// A figure of this contender to that of `other` in the same repeat.
    pub(crate) fn ratio(&self, other: &Cost<S, C>, figure: impl Fn(&Sample) -> Option<f64>) -> Option<Summary> {
        let pairs = self.repeats.iter().zip(&other.repeats);
        Summary::of(pairs.filter_map(|(ours, theirs)| match (ours, theirs) {
            (Repeat::Measured(ours), Repeat::Measured(theirs)) => Some(figure(ours)? / figure(theirs)?),
            _ => None,
        }))
    }
}

/// Short-lived objects that a paced program allocates in one turn: of 32 bytes, header included, 4 KiB of them. That is the
/// installment of our default pacing, so all paced contenders collect equally often.
pub(crate) const TURN: usize = 128;

/// A measurement that has begun: the structure is built.
pub(crate) struct Trial {
    pub(crate) watch: Stopwatch,
    resident: Option<f64>,
    forgotten: Forgotten,
}

impl Trial {
    pub(crate) fn begin() -> Trial {
        memory::settle();
        let forgotten = memory::forget_peak();
        Trial { watch: Stopwatch::new(), resident: memory::resident_mib(), forgotten }
    }

    pub(crate) fn end(self) -> Sample {
        let peak = match self.forgotten {
            Forgotten::Yes => memory::peak_resident_mib(),
            Forgotten::No => None,
        };
        let milliseconds = |duration: Duration| duration.as_secs_f64() * 1e3;
        Sample {
            longest_ms: milliseconds(self.watch.longest),
            longest_cpu_ms: milliseconds(self.watch.longest_cpu),
            longest_units: None,
            total_ms: milliseconds(self.watch.total),
            total_cpu_ms: self.watch.total_cpu.map(milliseconds),
            steps: self.watch.steps,
            resident_mib: self.resident.unwrap_or(f64::NAN),
            peak_resident_mib: peak,
            counted_mib: None,
            peak_counted_mib: None,
        }
    }
}
