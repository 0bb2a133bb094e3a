//! What recorders of the `metrics` crate are told.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit, with_local_recorder,
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshot};
use mimalloc_runtime::cell::Cell;
use mimalloc_runtime::{Budget, Finalize, Metrics, Mutator, Ref, Runtime, Trials, Watch, export};

const NONE: &[(&str, &str)] = &[];

/// Each series by name and the labels' values.
fn series(snapshot: Snapshot) -> HashMap<(String, Vec<String>), f64> {
    let series = snapshot.into_vec().into_iter().map(|(key, _, _, value)| {
        let key = key.key();
        let labels = key.labels().map(|label| label.value().to_owned()).collect();
        let value = match value {
            DebugValue::Counter(value) => value as f64,
            DebugValue::Gauge(value) => value.into_inner(),
            DebugValue::Histogram(_) => panic!("{key}"),
        };
        ((key.name().to_owned(), labels), value)
    });
    series.collect()
}

fn find(series: &HashMap<(String, Vec<String>), f64>, name: &str, labels: &[&str]) -> f64 {
    let key = (format!("mimalloc_runtime_{name}"), labels.iter().map(|label| (*label).to_owned()).collect());
    *series.get(&key).unwrap_or_else(|| panic!("{key:?} in {series:#?}"))
}

fn work(mutator: &Mutator) -> Vec<Ref<u64>> {
    let kept = (0..10_000).map(|value| mutator.alloc(value).unwrap()).collect();
    let chain = (0..10_000).fold(None, |next: Option<Ref<_>>, _| Some(mutator.alloc(Link(next)).unwrap()));
    drop(chain);
    mutator.collect(Budget::Units(1_000));
    kept
}

#[derive(mimalloc_runtime::Trace)]
struct Link(Option<Ref<Link>>);

#[test]
fn what_is_recorded_is_what_was_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime = Runtime::new().unwrap();
    let mutators = [(); 2].map(|()| runtime.attaching().limit(Some(100 << 20)).attach().unwrap());
    let kept = mutators.each_ref().map(work);
    let [first, second] = mutators.each_ref().map(Mutator::metrics);
    with_local_recorder(&recorder, || {
        export::runtime(&runtime, &[("runtime", "one")]);
        for (mutator, name) in mutators.iter().zip(["first", "second"]) {
            export::mutator(&mutator.watch(), vec![Label::new("vm", name)]);
        }
        export::engine(NONE);
    });
    let seen = series(snapshotter.snapshot());
    assert_eq!(find(&seen, "mutators_attached", &["one"]), 2.0);
    assert_eq!(find(&seen, "live_objects", &["one"]), (first.live.now.objects + second.live.now.objects) as f64);
    assert_eq!(find(&seen, "freed_bytes_total", &["one"]), (first.freed.bytes + second.freed.bytes) as f64);
    for (name, metrics) in [("first", first), ("second", second)] {
        assert_eq!(find(&seen, "mutator_attached", &[name]), 1.0);
        assert_eq!(find(&seen, "mutator_beats_total", &[name]), metrics.beats as f64);
        assert_eq!(find(&seen, "mutator_pending_objects", &[name]), metrics.pending.now.objects as f64);
        assert_eq!(find(&seen, "mutator_limit_bytes", &[name]), (100 << 20) as f64);
        let requested = metrics.steps.by_cause[mimalloc_runtime::Cause::Request as usize];
        assert_eq!(find(&seen, "mutator_steps_total", &[name, "request"]), requested as f64);
        assert_eq!(requested, 1);
    }
    let stats = mimalloc_runtime::engine::stats();
    assert_eq!(find(&seen, "engine_arenas_total", &[]), stats.arenas as f64);

    // Recorded again, counters have gone up and gauges have changed.
    drop(kept);
    let watches = mutators.each_ref().map(Mutator::watch);
    drop(mutators);
    with_local_recorder(&recorder, || {
        export::runtime(&runtime, &[("runtime", "one")]);
        export::mutator(&watches[0], &[("vm", "first")]);
    });
    let seen = series(snapshotter.snapshot());
    assert_eq!(find(&seen, "mutators_attached", &["one"]), 0.0);
    assert_eq!(find(&seen, "mutators_ended_total", &["one"]), 2.0);
    assert_eq!(find(&seen, "freed_objects_total", &["one"]), 40_000.0);
    assert_eq!(find(&seen, "live_objects", &["one"]), 0.0);
    assert_eq!(find(&seen, "mutator_attached", &["first"]), 0.0);
    assert_eq!(find(&seen, "mutator_freed_objects_total", &["first"]), 20_000.0);
}

/// An object that refers to itself, with a finalizer.
#[derive(mimalloc_runtime::Trace, Default)]
struct Ring(Cell<Option<Ref<Ring>>>);

impl Finalize for Ring {
    fn finalize(&self, _: &Mutator) {}
}

#[test]
fn searches_and_finalizers_are_recorded() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime = Runtime::new().unwrap();
    let mutators = [(); 2].map(|()| runtime.attach().unwrap());
    let kept = mutators.each_ref().map(|mutator| {
        let rings = [(); 3].map(|()| {
            let ring = mutator.alloc_finalized(Ring::default()).unwrap();
            ring.0.set(Some(ring.clone()));
            ring
        });
        mutator.set_finalizers_per_safepoint(0);
        let [kept, rings @ ..] = rings;
        drop(rings);
        while mutator.metrics().finalizers.due < 2 {
            mutator.collect(Budget::Unbounded);
        }
        assert_eq!(mutator.run_finalizers(1), 1);
        while mutator.metrics().trials.garbage < 1 {
            mutator.collect(Budget::Unbounded);
        }
        kept
    });
    let [first, second] = mutators.each_ref().map(Mutator::metrics);
    assert!(first.trials.begun > 0 && first.trials.members > first.trials.garbage, "{first:?}");
    let record = |watches: [Watch; 2]| {
        with_local_recorder(&recorder, || {
            export::runtime(&runtime, NONE);
            for (watch, name) in watches.iter().zip(["first", "second"]) {
                export::mutator(watch, &[("vm", name)]);
            }
        });
        series(snapshotter.snapshot())
    };
    let watches = mutators.each_ref().map(Mutator::watch);
    let seen = record(watches.clone());
    let names = [
        "trials_begun_total",
        "trial_probes_total",
        "trials_given_up_total",
        "trial_members_total",
        "trial_garbage_objects_total",
        "forgotten_candidates_total",
    ];
    let trials = |Metrics { trials, .. }: Metrics| {
        let Trials { begun, probes, given_up, members, garbage, forgotten } = trials;
        [begun, probes, given_up, members, garbage, forgotten]
    };
    for ((name, first), second) in names.into_iter().zip(trials(first)).zip(trials(second)) {
        assert_eq!(find(&seen, &format!("mutator_{name}"), &["first"]), first as f64, "{name}");
        assert_eq!(find(&seen, name, &[]), (first + second) as f64, "{name}");
    }
    let finalizers = ["finalizers_registered", "finalizers_due", "finalizers_run_total"];
    let all = |seen: &_| finalizers.map(|name| find(seen, name, &[]));
    let of_first = |seen: &_| finalizers.map(|name| find(seen, &format!("mutator_{name}"), &["first"]));
    assert_eq!((of_first(&seen), all(&seen)), ([1.0; 3], [2.0; 3]));

    // When they have gone, those that have run count on.
    drop((kept, mutators));
    let seen = record(watches);
    assert_eq!((of_first(&seen), all(&seen)), ([0.0, 0.0, 3.0], [0.0, 0.0, 6.0]));
}

/// A gauge that was recorded stays until it is recorded anew.
#[test]
fn a_limit_that_was_taken_away_is_infinite() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let mutator = Runtime::new().unwrap().attaching().limit(Some(1 << 20)).attach().unwrap();
    let mut seen = Vec::new();
    for limit in [mutator.limit(), None, Some(2 << 20)] {
        mutator.set_limit(limit);
        // Shown by it.
        mutator.metrics();
        with_local_recorder(&recorder, || export::mutator(&mutator.watch(), NONE));
        seen.push(find(&series(snapshotter.snapshot()), "mutator_limit_bytes", &[]));
    }
    assert_eq!(seen, [(1 << 20) as f64, f64::INFINITY, (2 << 20) as f64]);
}

#[test]
fn everything_that_is_recorded_is_described() {
    let recorder = DebuggingRecorder::new();
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attaching().limit(Some(1 << 20)).attach().unwrap();
    with_local_recorder(&recorder, || {
        export::describe();
        export::runtime(&runtime, NONE);
        export::mutator(&mutator.watch(), NONE);
        export::engine(NONE);
    });
    let all = recorder.snapshotter().snapshot().into_vec();
    assert!(all.len() > 60);
    for (key, unit, help, _) in all {
        let name = key.key().name();
        let bytes = name.contains("_bytes");
        assert_eq!(unit, Some(if bytes { Unit::Bytes } else { Unit::Count }), "{name}");
        assert!(help.is_some_and(|help| help.ends_with('.')), "{name}");
    }
}

/// A recorder that uses what it is told about, and may panic.
struct Meddling<'a> {
    runtime: &'a Runtime,
    mutator: &'a Mutator,
    kept: Mutex<Vec<Ref<u64>>>,
    panics: bool,
}

impl Meddling<'_> {
    fn meddle(&self) {
        let another = self.runtime.attach().unwrap();
        drop(another.alloc(1).unwrap());
        self.kept.lock().unwrap().push(self.mutator.alloc(2).unwrap());
        self.mutator.collect(Budget::Unbounded);
        assert!(self.runtime.metrics().attached >= 2);
        assert!(!self.panics, "a recorder's panic");
    }
}

impl Recorder for Meddling<'_> {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        self.meddle();
        Counter::noop()
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        self.meddle();
        Gauge::noop()
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn a_recorder_is_called_with_nothing_held() {
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attach().unwrap();
    for panics in [false, true] {
        let recorder = Meddling { runtime: &runtime, mutator: &mutator, kept: Mutex::default(), panics };
        let record = || {
            with_local_recorder(&recorder, || {
                export::runtime(&runtime, NONE);
                export::mutator(&mutator.watch(), NONE);
                export::engine(NONE);
            });
        };
        assert_eq!(catch_unwind(AssertUnwindSafe(record)).is_err(), panics);
    }
    assert_eq!(mutator.collect(Budget::Unbounded).pending.objects, 0);
    assert_eq!(runtime.metrics().attached, 1);
}
