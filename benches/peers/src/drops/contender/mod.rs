//! Who builds structures and lets them die.

mod arena;
mod dumpster_sync;
mod dumpster_unsync;
mod ours;
mod rc;

use std::error::Error;
use std::str::FromStr;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::Sample;
use super::graph::{Scene, Shape};
use super::memory::{self, Forgotten};
use super::stopwatch::Stopwatch;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Contender {
    /// Collected by the program, a thousand units at a time.
    OursLazy,
    /// Collected by the allocations that the program goes on to make, with the default pacing.
    OursPaced,
    /// Collected at once.
    OursEager,
    /// `Rc`, with a `Drop` that keeps what is to be dropped on a stack of its own.
    Rc,
    /// dumpster, for one thread.
    DumpsterUnsync,
    /// dumpster, for several threads.
    DumpsterSync,
    /// gc-arena, collected as the program allocates, with its default pacing.
    ArenaPaced,
    /// gc-arena, one whole cycle at once.
    ArenaCycle,
}

/// How a contender gets to the bottom of a structure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Descent {
    Iterates,
    Recurses,
}

impl Contender {
    pub(crate) const ALL: [Contender; 8] = [
        Contender::OursLazy,
        Contender::OursPaced,
        Contender::OursEager,
        Contender::Rc,
        Contender::DumpsterUnsync,
        Contender::DumpsterSync,
        Contender::ArenaPaced,
        Contender::ArenaCycle,
    ];

    /// The name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Contender::OursLazy => "ours: collect(Units(1000))",
            Contender::OursPaced => "ours: paced by allocation",
            Contender::OursEager => "ours: eager",
            Contender::Rc => "Rc, iterative drop",
            Contender::DumpsterUnsync => "dumpster unsync",
            Contender::DumpsterSync => "dumpster sync",
            Contender::ArenaPaced => "gc-arena: collect_debt",
            Contender::ArenaCycle => "gc-arena: finish_cycle",
        }
    }

    /// The name on the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Contender::OursLazy => "ours-lazy",
            Contender::OursPaced => "ours-paced",
            Contender::OursEager => "ours-eager",
            Contender::Rc => "rc",
            Contender::DumpsterUnsync => "dumpster-unsync",
            Contender::DumpsterSync => "dumpster-sync",
            Contender::ArenaPaced => "arena-paced",
            Contender::ArenaCycle => "arena-cycle",
        }
    }

    pub(super) fn descent(self) -> Descent {
        match self {
            Contender::DumpsterUnsync | Contender::DumpsterSync => Descent::Recurses,
            _ => Descent::Iterates,
        }
    }

    /// Builds the structure and lets it die.
    pub(super) fn measure(self, scene: Scene) -> Result<Sample, Box<dyn Error>> {
        match scene.shape {
            Shape::List => self.measure_slots::<1>(scene),
            Shape::Tree => self.measure_slots::<2>(scene),
        }
    }

    /// `SLOTS` is the number of slots of each node.
    fn measure_slots<const SLOTS: usize>(self, scene: Scene) -> Result<Sample, Box<dyn Error>> {
        match self {
            Contender::OursLazy => ours::lazy::<SLOTS>(scene),
            Contender::OursPaced => ours::paced::<SLOTS>(scene),
            Contender::OursEager => ours::eager::<SLOTS>(scene),
            Contender::Rc => Ok(rc::eager::<SLOTS>(scene)),
            Contender::DumpsterUnsync => Ok(dumpster_unsync::eager::<SLOTS>(scene)),
            Contender::DumpsterSync => Ok(dumpster_sync::eager::<SLOTS>(scene)),
            Contender::ArenaPaced => Ok(arena::paced::<SLOTS>(scene)),
            Contender::ArenaCycle => Ok(arena::cycle::<SLOTS>(scene)),
        }
    }
}

impl FromStr for Contender {
    type Err = String;

    fn from_str(text: &str) -> Result<Contender, String> {
        let found = Contender::ALL.into_iter().find(|contender| contender.word() == text);
        found.ok_or_else(|| format!("'{text}' is not a contender"))
    }
}

impl Serialize for Contender {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// Short-lived objects that a paced program allocates in one turn: of 32 bytes, header included, 4 KiB of them. That is the
/// installment of our default pacing, so both paced contenders collect equally often.
const TURN: usize = 128;

/// A measurement that has begun: the structure is built.
struct Trial {
    watch: Stopwatch,
    resident: Option<f64>,
    forgotten: Forgotten,
}

impl Trial {
    fn begin() -> Trial {
        memory::settle();
        let forgotten = memory::forget_peak();
        Trial { watch: Stopwatch::new(), resident: memory::resident_mib(), forgotten }
    }

    fn end(self) -> Sample {
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
