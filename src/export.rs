//! Figures for the recorders of the [`metrics`] crate, such as an exporter for Prometheus. With the feature of that name.
//!
//! Nothing is recorded by itself: call [`runtime`], [`mutator`] and [`engine`] as often as figures are wanted, on any
//! thread, and [`describe`] once when a recorder has been installed. They record what there is at that moment, counters as absolute
//! values, under the labels that they are given.
//!
//! ```
//! use mimalloc_runtime::{Runtime, export};
//! # let recorder = metrics_util::debugging::DebuggingRecorder::new();
//! # metrics::with_local_recorder(&recorder, || {
//! export::describe();
//! let vms = Runtime::new()?;
//! let mutator = vms.attach()?;
//! let watch = mutator.watch(); // to be sent to the thread that records
//!
//! export::runtime(&vms, &[("runtime", "scripts")]);
//! export::mutator(&watch, &[("vm", "7")]);
//! export::engine(&[] as &[(&str, &str)]);
//! # Ok::<(), mimalloc_runtime::Error>(())
//! # }).unwrap();
//! # assert!(recorder.snapshotter().snapshot().into_vec().len() > 60);
//! # Ok::<(), mimalloc_runtime::Error>(())
//! ```
//!
//! # Names
//!
//! Of a runtime they begin with `mimalloc_runtime_`, of one mutator with `mimalloc_runtime_mutator_`, so that a sum over all series of a
//! name counts nothing twice (save for calls of the engine's hook, which are a thread's: each of its mutators counts them). What ends in `_total` is a counter, all else a gauge; what counts bytes says so, all else
//! is a count.
//!
//! | after both | label | |
//! |---|---|---|
//! | `beats_total` | | heartbeats |
//! | `allocated_objects_total`, `allocated_bytes_total` | | objects allocated |
//! | `freed_objects_total`, `freed_bytes_total` | | objects freed |
//! | `live_objects`, `live_bytes` | | objects that have a reference |
//! | `pending_objects`, `pending_bytes` | | objects known to be dead and not yet freed |
//! | `large_objects`, `large_bytes` | | of these, large ones that wait for `release_memory` |
//! | `abandoned_objects_total`, `abandoned_bytes_total` | | objects given up |
//! | `block_bytes` | | raw blocks in use |
//! | `in_use_bytes` | | all blocks in use |
//! | `debt_bytes` | | what the pause cap carries over |
//! | `rungs_climbed_total`, `rungs_helped_total` | `rung` | what was tried when an allocation found no room, and how often it found room then: [`Rung::name`] |
//! | `refused_allocations_total` | | allocations that were refused |
//! | `steps_total` | `cause` | collection steps: [`Cause::name`] |
//! | `step_units_total` | | units of work in steps |
//! | `step_max_units` | | the longest step |
//! | `trials_begun_total`, `trial_probes_total` | | trials for garbage cycles, and small ones between those: [`Trials`](crate::Trials) |
//! | `trials_given_up_total` | | of either |
//! | `trial_members_total` | | objects that they looked at |
//! | `trial_garbage_objects_total` | | objects that they found to be garbage |
//! | `forgotten_candidates_total` | | what was not looked at for want of memory |
//! | `finalizers_registered` | | finalizers of objects not known to be garbage |
//! | `finalizers_due` | | of garbage, which wait for a safepoint |
//! | `finalizers_run_total` | | that have run |
//! | `panics_total` | | panics of user code that were caught |
//!
//! | of a runtime | |
//! |---|---|
//! | `mimalloc_runtime_mutators_attached` | mutators that are attached |
//! | `mimalloc_runtime_mutators_lingering` | detached ones of which objects or handles live on |
//! | `mimalloc_runtime_mutators_ended_total` | mutators of which nothing is left |
//! | `mimalloc_runtime_idle_heaps` | heaps that wait for a mutator |
//!
//! | of a mutator | |
//! |---|---|
//! | `mimalloc_runtime_mutator_attached` | 1, or 0 when it is detached |
//! | `mimalloc_runtime_mutator_limit_bytes` | the limit; infinite when there is none |
//! | `mimalloc_runtime_mutator_live_peak_bytes` | the most of live objects |
//! | `mimalloc_runtime_mutator_pending_peak_bytes` | the most of pending ones |
//! | `mimalloc_runtime_mutator_in_use_peak_bytes` | the most in use |
//! | `mimalloc_runtime_mutator_hook_calls_total` | calls of the engine's hook on its thread while it was there, by `kind`: `routine`, `forced`, `forced_elsewhere` |
//!
//! | of the engine, in the process | label | |
//! |---|---|---|
//! | `mimalloc_runtime_engine_reserved_bytes`, `mimalloc_runtime_engine_reserved_peak_bytes` | | address space |
//! | `mimalloc_runtime_engine_committed_bytes`, `mimalloc_runtime_engine_committed_peak_bytes` | | what can be used |
//! | `mimalloc_runtime_engine_purged_bytes_total` | | given back to the system |
//! | `mimalloc_runtime_engine_reset_bytes_total` | | told to the system as not needed |
//! | `mimalloc_runtime_engine_pages`, `mimalloc_runtime_engine_abandoned_pages` | | areas of blocks; those that no thread owns |
//! | `mimalloc_runtime_engine_threads` | | threads that use the engine |
//! | `mimalloc_runtime_engine_mmap_calls_total` | | calls to the system for memory |
//! | `mimalloc_runtime_engine_commit_calls_total` | | to make memory usable |
//! | `mimalloc_runtime_engine_purge_calls_total` | | to give memory back |
//! | `mimalloc_runtime_engine_arenas_total` | | arenas ever reserved |
//! | `mimalloc_runtime_engine_class_pages` | `block_bytes` | pages of a size class; `larger` for the last |
//! | `mimalloc_runtime_engine_class_blocks` | `block_bytes` | blocks in use of a size class, on version 3 |
//!
//! A counter of this crate only rises, but recorders keep the highest value that they were told: give each mutator, and each runtime,
//! labels of its own, or what comes second under a name is hidden behind what came first.
//!
//! # The recorder
//!
//! A recorder is code of the user's. It is called when everything has been read, without a lock, outside of the engine, and on the
//! calling thread alone; so it may do what a handler may do there. If it panics, that comes out of the call.
//!
//! [`metrics`]: https://docs.rs/metrics

use metrics::{IntoLabels, Key, KeyName, Label, Level, Metadata, SharedString, Unit, with_recorder};

use crate::engine::{self as process, EngineStats};
use crate::runtime::{Cause, Ladder, Metrics, Rung, Runtime, RuntimeMetrics, Watch};

/// Tells the recorder what the figures are: unit and meaning of each name.
pub fn describe() {
    describe_all(OF_RUNTIME);
    describe_all(SUMS_OF_RUNTIME);
    describe_all(OF_MUTATOR);
    describe_all(SUMS_OF_MUTATOR);
    describe_all(OF_ENGINE);
}

/// Records the figures of a runtime: [`Runtime::metrics`].
pub fn runtime(runtime: &Runtime, labels: impl IntoLabels) {
    record_runtime(&runtime.metrics(), &labels.into_labels());
}

/// Records the figures of a mutator, or the last that it had: [`Watch::metrics`].
pub fn mutator(watch: &Watch, labels: impl IntoLabels) {
    let (attached, metrics) = watch.read();
    record_mutator(attached, metrics, &labels.into_labels());
}

/// Records what the engine counts for the process: [`engine::stats`](crate::engine::stats).
pub fn engine(labels: impl IntoLabels) {
    record_all(OF_ENGINE, &process::stats(), &labels.into_labels());
}

fn record_runtime(sums: &RuntimeMetrics, labels: &[Label]) {
    record_all(OF_RUNTIME, sums, labels);
    record_all(SUMS_OF_RUNTIME, sums, labels);
}

fn record_mutator(attached: bool, metrics: Metrics, labels: &[Label]) {
    record_all(OF_MUTATOR, &Of { attached, metrics }, labels);
    record_all(SUMS_OF_MUTATOR, &RuntimeMetrics::of(metrics), labels);
}

/// A figure, or several that differ by a label, of what an `S` tells.
struct Figure<S> {
    name: &'static str,
    help: &'static str,
    read: Read<S>,
}

enum Read<S> {
    One(fn(&S) -> u64),
    /// A gauge that is infinite when there is none: one that was recorded before would stay.
    Some(fn(&S) -> Option<u64>),
    /// With the label's name.
    Each(&'static str, fn(&S) -> Vec<(SharedString, u64)>),
}

use Read::{Each, One, Some as Maybe};

impl<S> Figure<S> {
    fn is_counter(&self) -> bool {
        self.name.ends_with("_total")
    }

    fn unit(&self) -> Unit {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        if name.ends_with("_bytes") { Unit::Bytes } else { Unit::Count }
    }
}

const METADATA: Metadata<'static> = Metadata::new("mimalloc_runtime", Level::INFO, Some(module_path!()));

fn describe_all<S>(figures: &[Figure<S>]) {
    for figure in figures {
        let (name, help) = (KeyName::from_const_str(figure.name), SharedString::const_str(figure.help));
        with_recorder(|recorder| match figure.is_counter() {
            true => recorder.describe_counter(name, Some(figure.unit()), help),
            false => recorder.describe_gauge(name, Some(figure.unit()), help),
        });
    }
}

fn record_all<S>(figures: &[Figure<S>], source: &S, labels: &[Label]) {
    for figure in figures {
        let record = |labels: Vec<Label>, value: Option<u64>| {
            let key = Key::from_parts(figure.name, labels);
            with_recorder(|recorder| match value {
                Some(value) if figure.is_counter() => recorder.register_counter(&key, &METADATA).absolute(value),
                // As near as such a number comes, from 2^53 on.
                _ => recorder.register_gauge(&key, &METADATA).set(value.map_or(f64::INFINITY, |value| value as f64)),
            });
        };
        match figure.read {
            One(read) => record(labels.to_vec(), Some(read(source))),
            Maybe(read) => record(labels.to_vec(), read(source)),
            Each(name, read) => {
                for (word, value) in read(source) {
                    let own = Label::new(name, word);
                    record(labels.iter().cloned().chain([own]).collect(), Some(value));
                }
            }
        }
    }
}

/// A figure without a label.
const fn one<S>(name: &'static str, help: &'static str, read: fn(&S) -> u64) -> Figure<S> {
    Figure { name, help, read: One(read) }
}

/// A figure for each of several things.
const fn each<S>(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    read: fn(&S) -> Vec<(SharedString, u64)>,
) -> Figure<S> {
    Figure { name, help, read: Each(label, read) }
}

/// What can be summed over mutators, under names that begin in this way.
macro_rules! sums {
    ($prefix:literal) => {
        &[
            one(concat!($prefix, "beats_total"), "Heartbeats.", |sums| sums.beats),
            one(concat!($prefix, "allocated_objects_total"), "Objects allocated.", |sums| sums.allocated.objects),
            one(concat!($prefix, "allocated_bytes_total"), "Bytes of objects allocated.", |sums| sums.allocated.bytes),
            one(concat!($prefix, "freed_objects_total"), "Objects freed.", |sums| sums.freed.objects),
            one(concat!($prefix, "freed_bytes_total"), "Bytes of objects freed.", |sums| sums.freed.bytes),
            one(concat!($prefix, "live_objects"), "Objects that have a reference.", |sums| sums.live.objects),
            one(concat!($prefix, "live_bytes"), "Bytes of objects that have a reference.", |sums| sums.live.bytes),
            one(concat!($prefix, "pending_objects"), "Dead objects not yet freed.", |sums| sums.pending.objects),
            one(concat!($prefix, "pending_bytes"), "Bytes of dead objects not yet freed.", |sums| sums.pending.bytes),
            one(concat!($prefix, "large_objects"), "Large dead objects that wait.", |sums| sums.large.objects),
            one(concat!($prefix, "large_bytes"), "Bytes of large dead objects that wait.", |sums| sums.large.bytes),
            one(concat!($prefix, "abandoned_objects_total"), "Objects given up.", |sums| sums.abandoned.objects),
            one(concat!($prefix, "abandoned_bytes_total"), "Bytes of objects given up.", |sums| sums.abandoned.bytes),
            one(concat!($prefix, "block_bytes"), "Bytes of raw blocks in use.", |sums| sums.block_bytes),
            one(concat!($prefix, "in_use_bytes"), "Bytes of all blocks in use.", |sums| sums.in_use_bytes),
            one(concat!($prefix, "debt_bytes"), "Bytes that the pause cap carries over.", |sums| sums.debt),
            each(concat!($prefix, "rungs_climbed_total"), "What was tried to make room.", "rung", |sums| {
                by_rung(&sums.ladder, |ladder| &ladder.climbed)
            }),
            each(concat!($prefix, "rungs_helped_total"), "What has made room.", "rung", |sums| {
                by_rung(&sums.ladder, |ladder| &ladder.helped)
            }),
            one(concat!($prefix, "refused_allocations_total"), "Allocations refused.", |sums| sums.ladder.refused),
            each(concat!($prefix, "steps_total"), "Collection steps.", "cause", |sums| {
                Cause::ALL.map(|cause| (cause.name().into(), sums.steps.by_cause[cause as usize])).into()
            }),
            one(concat!($prefix, "step_units_total"), "Units of work in steps.", |sums| sums.steps.units),
            one(concat!($prefix, "step_max_units"), "Units of the longest step.", |sums| sums.steps.max_units),
            one(concat!($prefix, "trials_begun_total"), "Trials for garbage cycles.", |sums| sums.trials.begun),
            one(concat!($prefix, "trial_probes_total"), "Small trials between those.", |sums| sums.trials.probes),
            one(concat!($prefix, "trials_given_up_total"), "Trials and probes given up.", |sums| sums.trials.given_up),
            one(concat!($prefix, "trial_members_total"), "Objects that trials looked at.", |sums| sums.trials.members),
            one(concat!($prefix, "trial_garbage_objects_total"), "Objects that trials found to be garbage.", |sums| {
                sums.trials.garbage
            }),
            one(concat!($prefix, "forgotten_candidates_total"), "Candidates forgotten for want of memory.", |sums| {
                sums.trials.forgotten
            }),
            one(concat!($prefix, "finalizers_registered"), "Finalizers of objects not known to be garbage.", |sums| {
                sums.finalizers.registered
            }),
            one(concat!($prefix, "finalizers_due"), "Finalizers that wait.", |sums| sums.finalizers.due),
            one(concat!($prefix, "finalizers_run_total"), "Finalizers that have run.", |sums| sums.finalizers.run),
            one(concat!($prefix, "panics_total"), "Panics of user code caught.", |sums| sums.panics),
        ]
    };
}

fn by_rung(ladder: &Ladder, counts: fn(&Ladder) -> &[u64; Rung::ALL.len()]) -> Vec<(SharedString, u64)> {
    Rung::ALL.map(|rung| (rung.name().into(), counts(ladder)[rung as usize])).into()
}

const SUMS_OF_RUNTIME: &[Figure<RuntimeMetrics>] = sums!("mimalloc_runtime_");
const SUMS_OF_MUTATOR: &[Figure<RuntimeMetrics>] = sums!("mimalloc_runtime_mutator_");

const OF_RUNTIME: &[Figure<RuntimeMetrics>] = &[
    one("mimalloc_runtime_mutators_attached", "Mutators that are attached.", |sums| sums.attached),
    one("mimalloc_runtime_mutators_lingering", "Detached mutators that live on.", |sums| sums.lingering),
    one("mimalloc_runtime_mutators_ended_total", "Mutators of which nothing is left.", |sums| sums.ended),
    one("mimalloc_runtime_idle_heaps", "Heaps that wait for a mutator.", |sums| sums.idle_heaps),
];

/// What is told of one mutator alone.
struct Of {
    attached: bool,
    metrics: Metrics,
}

const OF_MUTATOR: &[Figure<Of>] = &[
    one("mimalloc_runtime_mutator_attached", "1, or 0 when it is detached.", |of| of.attached.into()),
    Figure {
        name: "mimalloc_runtime_mutator_limit_bytes",
        help: "The limit on the bytes in use.",
        read: Maybe(|of| of.metrics.limit),
    },
    one("mimalloc_runtime_mutator_live_peak_bytes", "The most bytes of live objects.", |of| of.metrics.live.peak_bytes),
    one("mimalloc_runtime_mutator_pending_peak_bytes", "The most bytes of pending objects.", |of| {
        of.metrics.pending.peak_bytes
    }),
    one("mimalloc_runtime_mutator_in_use_peak_bytes", "The most bytes in use.", |of| of.metrics.peak_in_use_bytes),
    each("mimalloc_runtime_mutator_hook_calls_total", "Calls of the engine's hook on its thread.", "kind", |of| {
        let calls = of.metrics.engine_calls;
        let named =
            [("routine", calls.routine), ("forced", calls.forced), ("forced_elsewhere", calls.forced_elsewhere)];
        named.map(|(kind, count)| (kind.into(), count)).into()
    }),
];

/// The engine's sums are made of parts that are added at different times, and can be below 0 for moments.
fn whole(count: i64) -> u64 {
    count.try_into().unwrap_or(0)
}

const OF_ENGINE: &[Figure<EngineStats>] = &[
    one("mimalloc_runtime_engine_reserved_bytes", "Address space.", |stats| whole(stats.reserved_bytes.current)),
    one("mimalloc_runtime_engine_reserved_peak_bytes", "The most address space.", |stats| {
        whole(stats.reserved_bytes.peak)
    }),
    one("mimalloc_runtime_engine_committed_bytes", "Bytes that can be used.", |stats| {
        whole(stats.committed_bytes.current)
    }),
    one("mimalloc_runtime_engine_committed_peak_bytes", "The most bytes that could be used.", |stats| {
        whole(stats.committed_bytes.peak)
    }),
    one("mimalloc_runtime_engine_purged_bytes_total", "Bytes given back to the system.", |stats| {
        whole(stats.purged_bytes)
    }),
    one("mimalloc_runtime_engine_reset_bytes_total", "Bytes told to the system as not needed.", |stats| {
        whole(stats.reset_bytes)
    }),
    one("mimalloc_runtime_engine_pages", "Areas of blocks of one size.", |stats| whole(stats.pages.current)),
    one("mimalloc_runtime_engine_abandoned_pages", "Areas that no thread owns.", |stats| {
        whole(stats.abandoned_pages.current)
    }),
    one("mimalloc_runtime_engine_threads", "Threads that use the engine.", |stats| whole(stats.threads.current)),
    one("mimalloc_runtime_engine_mmap_calls_total", "Calls to the system for memory.", |stats| whole(stats.mmap_calls)),
    one("mimalloc_runtime_engine_commit_calls_total", "Calls to make memory usable.", |stats| {
        whole(stats.commit_calls)
    }),
    one("mimalloc_runtime_engine_purge_calls_total", "Calls to give memory back.", |stats| whole(stats.purge_calls)),
    one("mimalloc_runtime_engine_arenas_total", "Arenas ever reserved.", |stats| whole(stats.arenas)),
    each("mimalloc_runtime_engine_class_pages", "Pages of a size class.", "block_bytes", |stats| {
        let pages = stats.classes().map(|class| (block_bytes(class.stride), whole(class.pages.current)));
        pages.collect()
    }),
    each("mimalloc_runtime_engine_class_blocks", "Blocks in use of a size class.", "block_bytes", |stats| {
        let blocks = stats.classes().filter_map(|class| {
            let count = class.blocks?;
            Some((block_bytes(class.stride), whole(count.current)))
        });
        blocks.collect()
    }),
];

fn block_bytes(stride: Option<usize>) -> SharedString {
    stride.map_or("larger".into(), |stride| stride.to_string().into())
}

#[cfg(test)]
mod tests {
    use metrics::with_local_recorder;
    use metrics_util::MetricKind;
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    use super::*;
    use crate::deferred::{Tally, Trials};
    use crate::engine::Count;
    use crate::runtime::{EngineCalls, Finalizers, Live, Steps};
    use crate::sys;
    use crate::sys::engine::{COUNTS_BLOCKS, bin_stride};

    /// What was recorded, by name and labels, in its order.
    fn recorded(record: impl FnOnce()) -> Vec<(String, u64)> {
        let recorder = DebuggingRecorder::new();
        with_local_recorder(&recorder, record);
        let series = recorder.snapshotter().snapshot().into_vec().into_iter();
        let values = series.map(|(key, _, _, value)| {
            let (kind, key) = (key.kind(), key.key());
            let value = match value {
                DebugValue::Counter(value) => value,
                DebugValue::Gauge(value) => value.into_inner() as u64,
                DebugValue::Histogram(_) => unreachable!("none is recorded"),
            };
            assert_eq!(kind == MetricKind::Counter, key.name().ends_with("_total"), "{key}");
            let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            (format!("{} {}", key.name(), labels.join(" ")).trim().to_owned(), value)
        });
        values.collect()
    }

    /// The sources of the figures are numbered in the order of the tables: each must be where it belongs.
    fn in_order(recorded: &[(String, u64)], count: u64) {
        assert!(recorded.iter().map(|(_, value)| *value).eq(1..=count), "{recorded:#?}");
    }

    fn find(recorded: &[(String, u64)], name: &str) -> u64 {
        recorded.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{name} in {recorded:#?}")).1
    }

    struct Numbers(u64);

    impl Numbers {
        fn next(&mut self) -> u64 {
            self.0 += 1;
            self.0
        }

        fn tally(&mut self) -> Tally {
            Tally { objects: self.next(), bytes: self.next() }
        }

        fn all<const COUNT: usize>(&mut self) -> [u64; COUNT] {
            core::array::from_fn(|_| self.next())
        }

        fn count(&mut self) -> Count {
            Count { current: self.next() as i64, peak: 0, total: 0 }
        }
    }

    /// What can be summed over mutators.
    fn sums(numbers: &mut Numbers) -> RuntimeMetrics {
        RuntimeMetrics {
            beats: numbers.next(),
            allocated: numbers.tally(),
            freed: numbers.tally(),
            live: numbers.tally(),
            pending: numbers.tally(),
            large: numbers.tally(),
            abandoned: numbers.tally(),
            block_bytes: numbers.next(),
            in_use_bytes: numbers.next(),
            debt: numbers.next(),
            ladder: Ladder { climbed: numbers.all(), helped: numbers.all(), refused: numbers.next() },
            // Each step is of one cause, so their number is no figure of its own.
            steps: Steps { count: 0, by_cause: numbers.all(), units: numbers.next(), max_units: numbers.next() },
            trials: Trials {
                begun: numbers.next(),
                probes: numbers.next(),
                given_up: numbers.next(),
                members: numbers.next(),
                garbage: numbers.next(),
                forgotten: numbers.next(),
            },
            finalizers: Finalizers { registered: numbers.next(), due: numbers.next(), run: numbers.next() },
            panics: numbers.next(),
            ..RuntimeMetrics::default()
        }
    }

    #[test]
    fn every_figure_of_a_runtime_is_recorded() {
        let mut numbers = Numbers(0);
        let sums = RuntimeMetrics {
            attached: numbers.next(),
            lingering: numbers.next(),
            ended: numbers.next(),
            idle_heaps: numbers.next(),
            ..sums(&mut numbers)
        };
        let recorded = recorded(|| record_runtime(&sums, &[]));
        in_order(&recorded, numbers.0);
        let (beat, drain) = (sums.steps.by_cause[Cause::Beat as usize], sums.ladder.helped[0]);
        assert_eq!(find(&recorded, "mimalloc_runtime_steps_total cause=beat"), beat);
        assert_eq!(find(&recorded, "mimalloc_runtime_rungs_helped_total rung=drain"), drain);
    }

    #[test]
    fn every_figure_of_a_mutator_is_recorded() {
        // The first is that it is attached.
        let mut numbers = Numbers(1);
        let limit = Some(numbers.next());
        let [peak_live, peak_pending, peak_in_use_bytes, routine, forced, forced_elsewhere] = numbers.all();
        let RuntimeMetrics {
            beats,
            allocated,
            freed,
            live,
            pending,
            large,
            abandoned,
            block_bytes,
            in_use_bytes,
            ladder,
            debt,
            steps,
            trials,
            finalizers,
            panics,
            ..
        } = sums(&mut numbers);
        let metrics = Metrics {
            beats,
            allocated,
            freed,
            live: Live { now: live, peak_bytes: peak_live },
            pending: Live { now: pending, peak_bytes: peak_pending },
            large,
            abandoned,
            block_bytes,
            in_use_bytes,
            peak_in_use_bytes,
            limit,
            ladder,
            debt,
            steps,
            trials,
            finalizers,
            panics,
            engine_calls: EngineCalls { routine, forced, forced_elsewhere },
        };
        in_order(&recorded(|| record_mutator(true, metrics, &[])), numbers.0);
        let without = recorded(|| record_mutator(false, Metrics { limit: None, ..metrics }, &[]));
        assert_eq!(without.len() as u64, numbers.0);
        assert_eq!(find(&without, "mimalloc_runtime_mutator_attached"), 0);
    }

    #[test]
    fn every_figure_of_the_engine_is_recorded() {
        let mut numbers = Numbers(0);
        let peaked = |numbers: &mut Numbers| {
            let current = numbers.count();
            Count { peak: numbers.next() as i64, ..current }
        };
        // The class of 1 KiB, and the last.
        let bins = [(0..sys::MI_BIN_HUGE).find(|bin| bin_stride(*bin) == Some(1024)).unwrap(), sys::MI_BIN_HUGE];
        let mut stats = EngineStats {
            reserved_bytes: peaked(&mut numbers),
            committed_bytes: peaked(&mut numbers),
            purged_bytes: numbers.next() as i64,
            reset_bytes: numbers.next() as i64,
            pages: numbers.count(),
            abandoned_pages: numbers.count(),
            threads: numbers.count(),
            mmap_calls: numbers.next() as i64,
            commit_calls: numbers.next() as i64,
            purge_calls: numbers.next() as i64,
            arenas: numbers.next() as i64,
            bins: EngineStats::from(&sys::mi_stats_t::new()).bins,
        };
        let mut raw = sys::mi_stats_t::new();
        for bin in bins {
            raw.page_bins[bin] = sys::mi_stat_count_t { current: numbers.next() as i64, peak: 0, total: 1 };
        }
        for bin in bins.into_iter().filter(|_| COUNTS_BLOCKS) {
            raw.malloc_bins[bin].current = numbers.next() as i64;
        }
        stats.bins = EngineStats::from(&raw).bins;
        let recorded = recorded(|| record_all(OF_ENGINE, &stats, &[]));
        in_order(&recorded, numbers.0);
        let name = "mimalloc_runtime_engine_class_pages block_bytes";
        for (bin, word) in bins.into_iter().zip(["1024", "larger"]) {
            assert_eq!(find(&recorded, &format!("{name}={word}")), raw.page_bins[bin].current as u64);
        }
    }

    #[test]
    fn the_names_are_those_of_the_documentation() {
        let documentation = include_str!("export.rs").split("use metrics::").next().unwrap();
        fn names<S>(figures: &[Figure<S>]) -> impl Iterator<Item = &'static str> {
            figures.iter().map(|figure| figure.name)
        }
        let suffixes = |prefix| names(SUMS_OF_RUNTIME).map(move |name| name.strip_prefix(prefix).unwrap());
        assert!(names(SUMS_OF_MUTATOR).eq(names(SUMS_OF_RUNTIME).map(|name| name.replacen(
            "mimalloc_runtime_",
            "mimalloc_runtime_mutator_",
            1
        ))));
        let own = names(OF_RUNTIME).chain(names(OF_MUTATOR)).chain(names(OF_ENGINE));
        let mut all: Vec<_> = suffixes("mimalloc_runtime_").chain(own).collect();
        let rows = documentation.lines().filter(|line| line.starts_with("//! | `"));
        let cells = rows.map(|row| row.split('|').nth(1).unwrap());
        let mut documented: Vec<_> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
        all.sort_unstable();
        documented.sort_unstable();
        assert_eq!(all, documented);
        assert!(all.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
    }
}
