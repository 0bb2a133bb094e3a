//! The metrics for people to read.

use std::fmt;

use mimalloc_runtime::{Budget, Cause, Finalizers, Rung, SLACK_UNITS, Schedule, Tally, Trials};

use super::amount::{Bytes, Count, Nanoseconds};
use super::figures::Figures;
use super::recording::nanoseconds;

/// A table of the metrics and a summary of the pauses.
impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = &self.end;
        writeln!(f, "{:<12}{:>16}{:>14}{:>14}", "memory", "objects", "size", "peak")?;
        row(f, "allocated", end.allocated, None)?;
        row(f, "freed", end.freed, None)?;
        if end.abandoned.objects > 0 {
            row(f, "abandoned", end.abandoned, None)?;
        }
        row(f, "pending", end.pending.now, Some(end.pending.peak_bytes))?;
        row(f, "live", end.live.now, Some(end.live.peak_bytes))?;
        if self.leaked_objects() > 0 {
            writeln!(f, "leaked: {} objects, in cycles", Count(self.leaked_objects()))?;
        }
        if let Some(limit) = end.limit {
            self.heap_limit(f, limit)?;
        }
        self.cycles(f)?;
        self.finalizers(f)?;
        writeln!(f, "heartbeats: {}", Count(end.beats))?;
        write!(f, "steps: {}", Count(self.steps.times.len()))?;
        let mut separator = " (";
        for (cause, count) in Cause::ALL.iter().zip(self.steps.by_cause).filter(|(_, count)| *count > 0) {
            write!(f, "{separator}{} {}", Count(count), cause.name().replace('_', " "))?;
            separator = ", ";
        }
        writeln!(f, "{}; {}", if separator == ", " { ")" } else { "" }, self.limit())?;
        writeln!(f, "pauses: {}", self.pauses())
    }
}

impl Figures {
    /// How near the heap came to its limit, on one line.
    fn heap_limit(&self, f: &mut fmt::Formatter<'_>, limit: u64) -> fmt::Result {
        let (end, ladder) = (&self.end, &self.end.ladder);
        write!(f, "heap limit: {}; at most {} in use; ", Bytes(limit), Bytes(end.peak_in_use_bytes))?;
        write!(f, "allocations refused: {}; room made:", Count(ladder.refused))?;
        let mut separator = " ";
        for ((rung, climbed), helped) in Rung::ALL.iter().zip(ladder.climbed).zip(ladder.helped) {
            write!(f, "{separator}{} {} of {}", rung.name(), Count(helped), Count(climbed))?;
            separator = ", ";
        }
        writeln!(f)
    }

    /// What the search for garbage cycles came to, on one line, if there was one.
    fn cycles(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Trials { begun, probes, given_up, members, garbage, forgotten } = self.end.trials;
        if begun + probes + forgotten == 0 {
            return Ok(());
        }
        write!(f, "garbage cycles: {} trials, {} probes, {} given up; ", Count(begun), Count(probes), Count(given_up))?;
        write!(f, "{} objects looked at, {} of them garbage", Count(members), Count(garbage))?;
        if forgotten > 0 {
            write!(f, "; {} candidates forgotten", Count(forgotten))?;
        }
        writeln!(f)
    }

    /// How many finalizers there were, on one line, if there were any.
    fn finalizers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finalizers { registered, due, run } = self.end.finalizers;
        if registered + due + run == 0 {
            return Ok(());
        }
        writeln!(f, "finalizers: {} run, {} due, {} of objects that live", Count(run), Count(due), Count(registered))
    }

    /// How long the steps took, on one line.
    fn pauses(&self) -> String {
        let steps = &self.steps;
        if steps.times.is_empty() {
            return "none".to_owned();
        }
        format!(
            "{}; most units {}; in all {} of {}",
            self.quantiles(),
            Count(steps.max_units),
            Nanoseconds(nanoseconds(steps.total)),
            Nanoseconds(nanoseconds(steps.run_time)),
        )
    }

    /// How long the typical and the worst steps took.
    pub(super) fn quantiles(&self) -> String {
        let quantile = |quantile| Nanoseconds(self.steps.times.value_at_quantile(quantile));
        format!(
            "half up to {}, 99 % up to {}, 99.9 % up to {}, longest {}",
            quantile(0.5),
            quantile(0.99),
            quantile(0.999),
            Nanoseconds(nanoseconds(self.steps.longest)),
        )
    }

    /// What held the steps back.
    pub(super) fn limit(&self) -> String {
        if self.pacing.schedule() == Schedule::Eager {
            return "eager, without limit".to_owned();
        }
        match self.pacing.pause_cap() {
            Budget::Units(units) => format!("limit {} units and {SLACK_UNITS} more", Count(units)),
            Budget::Time(time) => format!("limit {}", Nanoseconds(nanoseconds(time))),
            Budget::Bytes(bytes) => format!("limit {}", Bytes(bytes)),
            Budget::Unbounded => "without limit".to_owned(),
        }
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, tally: Tally, peak: Option<u64>) -> fmt::Result {
    let peak = peak.map(|bytes| Bytes(bytes).to_string()).unwrap_or_default();
    let row = format!("{name:<12}{:>16}{:>14}{peak:>14}", Count(tally.objects), Bytes(tally.bytes));
    writeln!(f, "{}", row.trim_end())
}
