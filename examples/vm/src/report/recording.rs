//! Collection steps, as they are measured.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mimalloc_runtime::{Cause, Error, Metrics, Mutator, Step};

use super::timeline::{Memory, Timeline};

/// Observes the steps of a mutator.
#[derive(Debug)]
pub(crate) struct Recorder {
    recording: Rc<RefCell<Recording>>,
    start: Instant,
}

/// What the steps of a program were.
#[derive(Debug)]
pub(crate) struct Recording {
    /// Nanoseconds of each step.
    pub(super) times: Histogram<u64>,
    /// Units of each step.
    pub(super) units: Histogram<u64>,
    /// Steps of each cause, in the order of [`Cause::ALL`].
    pub(super) by_cause: [u64; Cause::ALL.len()],
    /// The most units of a step, exactly.
    pub(super) max_units: u64,
    /// The longest step.
    pub(super) longest: Duration,
    /// All steps together.
    pub(super) total: Duration,
    /// From the first instruction to the last.
    pub(super) run_time: Duration,
    /// Memory in use over time.
    pub(super) timeline: Timeline,
}

impl Recorder {
    /// Observes `mutator` from now on.
    ///
    /// # Errors
    /// Out of memory.
    pub(crate) fn watch(mutator: &Mutator) -> Result<Recorder, Error> {
        let recording = Rc::new(RefCell::new(Recording::new()));
        let told = Rc::clone(&recording);
        mutator.observe_steps(move |step| told.borrow_mut().record(step))?;
        Ok(Recorder { recording, start: Instant::now() })
    }

    /// What was observed. What the mutator does from now on, such as to free everything at the end, is not.
    pub(crate) fn finish(self, mutator: &Mutator) -> Recording {
        // The observer goes, and its share of the recording with it. A new recording in its place would need memory, which may
        // be just what the program has run out of.
        mutator.observe_steps(|_| ()).expect("what captures nothing needs no memory");
        let recording = Rc::into_inner(self.recording).expect("the observer was the only other owner");
        let mut recording = recording.into_inner();
        recording.run_time = self.start.elapsed();
        recording.end(&mutator.metrics());
        recording
    }
}

impl Recording {
    pub(super) fn new() -> Recording {
        Recording {
            times: histogram(),
            units: histogram(),
            by_cause: [0; Cause::ALL.len()],
            max_units: 0,
            longest: Duration::ZERO,
            total: Duration::ZERO,
            run_time: Duration::ZERO,
            timeline: Timeline::new(),
        }
    }

    pub(super) fn record(&mut self, step: &Step) {
        self.times.saturating_record(nanoseconds(step.elapsed));
        self.units.saturating_record(step.progress.units);
        self.by_cause[step.cause as usize] += 1;
        self.max_units = self.max_units.max(step.progress.units);
        self.longest = self.longest.max(step.elapsed);
        self.total += step.elapsed;
        let memory = Memory { live: step.live.bytes, pending: step.progress.pending.bytes };
        self.timeline.record(step.allocated_bytes, memory);
    }

    fn end(&mut self, metrics: &Metrics) {
        let memory = Memory { live: metrics.live.now.bytes, pending: metrics.pending.now.bytes };
        self.timeline.record(metrics.allocated.bytes, memory);
    }
}

/// As a number that histograms take; more than five centuries are not told apart.
pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn histogram() -> Histogram<u64> {
    /// An hour of nanoseconds. Larger values are counted as this one; the exact maximum is kept beside.
    const LARGEST: u64 = 3_600_000_000_000;
    /// Values are kept to one part in a thousand, in some 300 KiB.
    const DIGITS: u8 = 3;
    Histogram::new_with_max(LARGEST, DIGITS).expect("these bounds are within those of a histogram")
}
