//! All reports of a made-up program.

use std::time::Duration;

use mimalloc_runtime::{
    Budget, Cause, EngineCalls, Finalizers, Ladder, Live, Metrics, Pacing, Progress, Step, Steps, Stop, Tally, Trials,
};
use serde_json::Value;

use super::recording::Recording;
use super::{Figures, draw};

/// `live` and `pending` in bytes.
fn step(at: u64, elapsed: Duration, live: u64, pending: u64) -> Step {
    Step {
        cause: Cause::Installment,
        budget: Budget::Units(1000),
        progress: Progress {
            stop: Stop::Done,
            units: 7,
            search_units: 0,
            freed: Tally::default(),
            large_freed: 0,
            pending: Tally { objects: 1, bytes: pending },
            large: Tally::default(),
        },
        elapsed,
        debt: 0,
        allocated_bytes: at,
        live: Tally { objects: 1, bytes: live },
    }
}

fn figures(steps: Recording) -> Figures {
    let live = Live { now: Tally { objects: 2, bytes: 64 }, peak_bytes: 40 << 20 };
    let end = Metrics {
        beats: 9,
        allocated: Tally { objects: 1_000_000, bytes: 64_000_064 },
        freed: Tally { objects: 999_998, bytes: 64_000_000 },
        live,
        pending: Live { now: Tally::default(), peak_bytes: 1 << 20 },
        large: Tally::default(),
        abandoned: Tally::default(),
        block_bytes: 0,
        in_use_bytes: 64,
        peak_in_use_bytes: 41 << 20,
        limit: None,
        ladder: Ladder::default(),
        debt: 0,
        steps: Steps::default(),
        trials: Trials::default(),
        finalizers: Finalizers::default(),
        panics: 0,
        engine_calls: EngineCalls::default(),
    };
    let pacing = Pacing::default().with_pause_cap(Budget::Units(1000)).expect("a cap in range");
    Figures { name: "a <program> & co".to_owned(), pacing, steps, end }
}

fn busy() -> Recording {
    let mut steps = Recording::new();
    for round in 0..10_000 {
        let elapsed = Duration::from_nanos(if round == 5_000 { 250_000 } else { 1_000 + round % 100 });
        steps.record(&step(round * 4096, elapsed, 40 << 20, 1 << 20));
    }
    steps
}

#[test]
fn json_is_one_line_with_every_figure() {
    let text = figures(busy()).json();
    assert!(!text.contains('\n'));
    let json: Value = serde_json::from_str(&text).expect("JSON");
    let number = |path: &str| json.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path} in {text}"));
    assert_eq!(number("/leaked_objects"), 2);
    assert_eq!(number("/allocated/objects"), number("/freed/objects") + number("/live/objects"));
    assert_eq!((number("/live/peak_bytes"), number("/pending/bytes")), (40 << 20, 0));
    assert_eq!((number("/steps/count"), number("/steps/by_cause/installment")), (10_000, 10_000));
    assert_eq!((number("/steps/max_units"), number("/steps/budget_units")), (7, 1000));
    assert_eq!(number("/steps/slack_units"), mimalloc_runtime::SLACK_UNITS);
    assert_eq!(number("/steps/max_ns"), 250_000);
    // The histogram keeps three digits.
    assert!(number("/steps/p50_ns").abs_diff(1_050) < 5 && number("/steps/p9999_ns") < 1_110);
}

#[test]
fn a_budget_of_time_is_not_one_of_units() {
    let mut figures = figures(Recording::new());
    figures.pacing = figures.pacing.with_pause_cap(Budget::Time(Duration::from_micros(100))).expect("a cap in range");
    assert!(figures.json().contains("\"budget_units\":null"));
    assert_eq!(figures.limit(), "limit 100 us");
}

#[test]
fn text_sums_the_pauses_up_on_a_line() {
    let text = figures(busy()).to_string();
    let pauses = text.lines().last().expect("a line");
    assert!(pauses.starts_with("pauses: half up to 1.05 us, "), "{text}");
    assert!(pauses.contains("longest 250 us; most units 7; in all "), "{text}");
    assert!(text.contains("steps: 10,000 (10,000 installment); limit 1,000 units and 8 more\n"), "{text}");
    assert!(text.lines().all(|line| line == line.trim_end()), "{text}");
    assert!(figures(Recording::new()).to_string().ends_with("\npauses: none\n"));
}

#[test]
fn the_drawing_is_well_formed_and_labelled() {
    for (steps, says) in [(busy(), "number of steps (logarithmic)"), (Recording::new(), "No step was needed")] {
        let svg = draw(&figures(steps)).expect("drawn");
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
        for text in ["a &lt;program&gt; &amp; co", says, "Memory in use", "allocated so far (", "in use ("] {
            assert!(svg.contains(text), "{text}");
        }
    }
}

#[test]
fn a_limit_is_reported_when_there_is_one() {
    let mut figures = figures(busy());
    assert!(!figures.to_string().contains("heap limit") && figures.json().contains("\"heap_limit\":null"));
    figures.end.limit = Some(42 << 20);
    figures.end.ladder = Ladder { climbed: [5, 4, 3], helped: [2, 0, 1], refused: 2 };
    let text = figures.to_string();
    let line = "heap limit: 42.0 MiB; at most 41.0 MiB in use; allocations refused: 2; \
                room made: drain 2 of 5, cycles 0 of 4, pressure 1 of 3\n";
    assert!(text.contains(line), "{text}");
    let json: Value = serde_json::from_str(&figures.json()).expect("JSON");
    assert_eq!((&json["heap_limit"]["bytes"], &json["heap_limit"]["refused"]), (&(42 << 20).into(), &2.into()));
    assert_eq!(json["heap_limit"]["rungs"]["drain"], serde_json::json!({ "climbed": 5, "helped": 2 }));
}

#[test]
fn searches_and_finalizers_are_reported_when_there_were_any() {
    let mut figures = figures(busy());
    let text = figures.to_string();
    assert!(!text.contains("garbage cycles") && !text.contains("finalizers"), "{text}");
    figures.end.trials =
        Trials { begun: 12, probes: 3, given_up: 2, members: 12_345, garbage: 6_789, ..Trials::default() };
    figures.end.finalizers = Finalizers { registered: 1, due: 2, run: 3_000 };
    let text = figures.to_string();
    let cycles = "garbage cycles: 12 trials, 3 probes, 2 given up; 12,345 objects looked at, 6,789 of them garbage";
    let finalizers = "finalizers: 3,000 run, 2 due, 1 of objects that live";
    for line in [cycles, finalizers] {
        assert!(text.lines().any(|said| said == line), "{line}: {text}");
    }
    let json: Value = serde_json::from_str(&figures.json()).expect("JSON");
    let trials = serde_json::json!({
        "begun": 12, "probes": 3, "given_up": 2, "members": 12_345, "garbage": 6_789, "forgotten": 0
    });
    assert_eq!(json["trials"], trials);
    assert_eq!(json["finalizers"], serde_json::json!({ "registered": 1, "due": 2, "run": 3_000 }));

    // What was forgotten is told also if nothing was tried.
    figures.end.trials = Trials { forgotten: 4, ..Trials::default() };
    assert!(figures.to_string().contains("0 of them garbage; 4 candidates forgotten\n"));
}
