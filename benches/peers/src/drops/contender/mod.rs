//! Who builds structures and lets them die.

mod arena;
mod dumpster_sync;
mod dumpster_unsync;
mod ours;
mod rc;

use std::error::Error;

use super::graph::{Scene, Shape};
use crate::cost::{Named, Sample, TURN, Trial};
use crate::word::Word;

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

impl Word for Contender {
    const KIND: &'static str = "contender";
    const ALL: &'static [Contender] = &[
        Contender::OursLazy,
        Contender::OursPaced,
        Contender::OursEager,
        Contender::Rc,
        Contender::DumpsterUnsync,
        Contender::DumpsterSync,
        Contender::ArenaPaced,
        Contender::ArenaCycle,
    ];

    fn word(self) -> &'static str {
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
}

impl Named for Contender {
    fn name(self) -> &'static str {
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
}

/// The drop, which frees everything.
fn at_once<N>(root: N) -> Sample {
    let mut trial = Trial::begin();
    trial.watch.step(|| drop(root));
    trial.end()
}
