//! The figures that all reports are made of.

use mimalloc_runtime::{Budget, Metrics, Pacing};

use super::recording::Recording;

/// What a program that has ended did.
#[derive(Debug)]
pub(crate) struct Figures {
    /// What it was run as, for titles.
    pub(crate) name: String,
    /// How freeing was paced.
    pub(crate) pacing: Pacing,
    /// The program's own steps.
    pub(crate) steps: Recording,
    /// The counters after all that could be freed was freed: what lives on then has leaked.
    pub(crate) end: Metrics,
}

impl Figures {
    /// The most units of a step, if that is how steps were limited.
    pub(super) fn budget_units(&self) -> Option<u64> {
        match self.pacing.pause_cap() {
            Budget::Units(units) => Some(units),
            Budget::Bytes(_) | Budget::Time(_) | Budget::Unbounded => None,
        }
    }

    /// Objects that are left, in cycles.
    pub(super) fn leaked_objects(&self) -> u64 {
        self.end.live.now.objects
    }
}
