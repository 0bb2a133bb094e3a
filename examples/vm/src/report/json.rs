//! The metrics for programs to read.

use mimalloc_runtime::{Cause, Finalizers, Live, Rung, SLACK_UNITS, Tally, Trials};
use serde_json::{Map, Value, json};

use super::figures::Figures;
use super::recording::nanoseconds;

impl Figures {
    /// One JSON object, without line breaks. Times are in nanoseconds.
    pub(crate) fn json(&self) -> String {
        let end = &self.end;
        json!({
            "beats": end.beats,
            "allocated": tally(end.allocated),
            "freed": tally(end.freed),
            "live": live(end.live),
            "pending": live(end.pending),
            "abandoned": tally(end.abandoned),
            "leaked_objects": self.leaked_objects(),
            "peak_in_use_bytes": end.peak_in_use_bytes,
            "trials": trials(end.trials),
            "finalizers": finalizers(end.finalizers),
            "heap_limit": end.limit.map(|bytes| self.limit_json(bytes)),
            "panics": end.panics,
            "engine_calls": {
                "routine": end.engine_calls.routine,
                "forced": end.engine_calls.forced,
                "forced_elsewhere": end.engine_calls.forced_elsewhere,
            },
            "run_ns": nanoseconds(self.steps.run_time),
            "steps": self.steps_json(),
        })
        .to_string()
    }

    fn limit_json(&self, bytes: u64) -> Value {
        let ladder = &self.end.ladder;
        let rungs: Map<String, Value> = Rung::ALL
            .iter()
            .zip(ladder.climbed.iter().zip(ladder.helped))
            .map(|(rung, (climbed, helped))| (rung.name().to_owned(), json!({ "climbed": climbed, "helped": helped })))
            .collect();
        json!({ "bytes": bytes, "refused": ladder.refused, "rungs": rungs })
    }

    fn steps_json(&self) -> Value {
        let steps = &self.steps;
        let by_cause: Map<String, Value> = Cause::ALL
            .iter()
            .zip(steps.by_cause)
            .map(|(cause, count)| (cause.name().to_owned(), count.into()))
            .collect();
        json!({
            "count": steps.times.len(),
            "by_cause": by_cause,
            "budget_units": self.budget_units(),
            "slack_units": SLACK_UNITS,
            "max_units": steps.max_units,
            "p50_units": steps.units.value_at_quantile(0.5),
            "p99_units": steps.units.value_at_quantile(0.99),
            "total_ns": nanoseconds(steps.total),
            "max_ns": nanoseconds(steps.longest),
            "p50_ns": steps.times.value_at_quantile(0.5),
            "p99_ns": steps.times.value_at_quantile(0.99),
            "p999_ns": steps.times.value_at_quantile(0.999),
            "p9999_ns": steps.times.value_at_quantile(0.9999),
        })
    }
}

fn tally(tally: Tally) -> Value {
    json!({ "objects": tally.objects, "bytes": tally.bytes })
}

fn trials(trials: Trials) -> Value {
    let Trials { begun, probes, given_up, members, garbage, forgotten } = trials;
    json!({
        "begun": begun,
        "probes": probes,
        "given_up": given_up,
        "members": members,
        "garbage": garbage,
        "forgotten": forgotten,
    })
}

fn finalizers(finalizers: Finalizers) -> Value {
    let Finalizers { registered, due, run } = finalizers;
    json!({ "registered": registered, "due": due, "run": run })
}

fn live(live: Live) -> Value {
    json!({ "objects": live.now.objects, "bytes": live.now.bytes, "peak_bytes": live.peak_bytes })
}
