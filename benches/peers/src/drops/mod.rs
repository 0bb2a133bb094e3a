//! How long a program stands still when a large structure dies.
//!
//! Each drop happens in a child process of its own: what one contender leaves behind in the allocator does not help or
//! hinder the next, the resident memory is one contender's alone, and one that overflows its stack takes nobody with it.

mod contender;
mod graph;
mod memory;
mod process;
mod stopwatch;

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

pub(crate) use contender::Contender;
pub(crate) use graph::{Layout, Scene, Shape};

use crate::summary::Summary;

/// One drop, as a child reports it.
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
    /// Resident memory when the drop begins, and its peak from there on.
    pub(crate) resident_mib: f64,
    pub(crate) peak_resident_mib: Option<f64>,
    /// What the contender itself counts, before the drop and at its peak, for contenders that count bytes.
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
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Crashed { signal, stack_mib: Some(stack) } => {
                write!(f, "crashed (signal {signal}, on a stack of {stack} MiB)")
            }
            Failure::Crashed { signal, stack_mib: None } => write!(f, "crashed (signal {signal})"),
            Failure::GaveUp(why) => write!(f, "failed: {why}"),
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

/// A contender's repeats in one scene.
#[derive(Serialize)]
pub(crate) struct DropCost {
    #[serde(flatten)]
    pub(crate) scene: Scene,
    pub(crate) contender: Contender,
    /// One for each repeat, in order, so that repeats of different contenders can be compared pair by pair.
    pub(crate) repeats: Vec<Repeat>,
}

impl DropCost {
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
    pub(crate) fn ratio(&self, other: &DropCost, figure: impl Fn(&Sample) -> Option<f64>) -> Option<Summary> {
        let pairs = self.repeats.iter().zip(&other.repeats);
        Summary::of(pairs.filter_map(|(ours, theirs)| match (ours, theirs) {
            (Repeat::Measured(ours), Repeat::Measured(theirs)) => Some(figure(ours)? / figure(theirs)?),
            _ => None,
        }))
    }
}

/// All contenders in all scenes, in turn.
pub(crate) fn compare(nodes: u32, repeats: usize) -> Result<Vec<DropCost>, Box<dyn Error>> {
    let mut costs: Vec<DropCost> = Scene::all(nodes)
        .flat_map(|scene| Contender::ALL.map(|contender| DropCost { scene, contender, repeats: Vec::new() }))
        .collect();
    for repeat in 1..=repeats {
        for cost in &mut costs {
            eprintln!("drop: {}, {}, {repeat} of {repeats}", cost.scene, cost.contender.name());
            cost.repeats.push(process::measure(cost.scene, cost.contender)?);
        }
    }
    Ok(costs)
}

/// One drop in this process.
pub(crate) fn measure(scene: Scene, contender: Contender) -> Result<Sample, Box<dyn Error>> {
    let Some(stack) = process::stack(scene, contender) else { return contender.measure(scene) };
    let run = move || contender.measure(scene).map_err(|error| error.to_string());
    let thread = std::thread::Builder::new().stack_size(stack).spawn(run)?;
    thread.join().map_err(|_| "panicked")?.map_err(Into::into)
}
