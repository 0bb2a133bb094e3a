//! The mutators of a runtime, as other threads see them.

use crate::deferred::{Tally, Trials};
use crate::error::Error;
use crate::fallible;
use crate::lock::Mutex;

use super::finalizer::Finalizers;
use super::metrics::{Ladder, Live, Metrics, RuntimeMetrics, Steps};
use super::watch::{Display, Watch};
use super::words::Shown;

/// Which mutators there are, and what those that have ended counted.
///
/// Invariant ROSTER: each state is on it from its making until its end, and is then in `ended`; both change at once, under the
/// lock, which is held while sums are made: no mutator is counted twice or left out. No code of the user's runs under it.
#[derive(Debug, Default)]
pub(super) struct Roster(Mutex<List>);

#[derive(Debug, Default)]
struct List {
    /// In the order of their numbers.
    watches: Vec<(u64, Watch)>,
    /// How many more there is room for without an allocation, at least.
    reserved: usize,
    next: u64,
    ended: RuntimeMetrics,
}

/// A place on the roster for a mutator that is being attached.
#[derive(Debug)]
pub(super) struct Reservation<'a> {
    roster: &'a Roster,
    display: Option<Display>,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.roster.0.lock().reserved -= 1;
    }
}

impl Reservation<'_> {
    /// Puts a mutator on the roster. Returns that with which it shows what it counts.
    pub(super) fn enter(mut self) -> Display {
        let display = self.display.take().expect("entered once");
        let mut list = self.roster.0.lock();
        // There is room: nothing is allocated. Others may have entered meanwhile.
        let place = list.watches.partition_point(|(number, _)| *number < display.number());
        list.watches.insert(place, (display.number(), display.watch()));
        drop(list);
        display
    }
}

impl Roster {
    /// # Errors
    /// When there is no memory.
    pub(super) fn reserve(&self) -> Result<Reservation<'_>, Error> {
        let mut list = self.0.lock();
        let room = list.reserved + 1;
        list.watches.try_reserve(room).map_err(|_| fallible::out_of_memory())?;
        let display = Display::new(list.next)?;
        list.next += 1;
        list.reserved = room;
        drop(list);
        Ok(Reservation { roster: self, display: Some(display) })
    }

    /// A mutator has ended, and what it has shown last is all it will have counted.
    pub(super) fn leave(&self, display: Display) {
        let mut list = self.0.lock();
        let place = list.watches.binary_search_by_key(&display.number(), |(number, _)| *number);
        if let Ok(place) = place {
            let (_, watch) = list.watches.remove(place);
            list.ended.ended += 1;
            list.ended.add(watch.shown().metrics.of_ended());
        }
    }

    /// The sums, save for idle heaps.
    pub(super) fn sums(&self) -> RuntimeMetrics {
        let list = self.0.lock();
        let mut sums = list.ended;
        for (_, watch) in &list.watches {
            let Shown { attached, metrics } = watch.shown();
            *if attached { &mut sums.attached } else { &mut sums.lingering } += 1;
            sums.add(metrics);
        }
        sums
    }
}

impl Metrics {
    /// What counts on when nothing of the mutator is left. What it has left in use is nobody's any more.
    fn of_ended(self) -> Metrics {
        let none = Live::default();
        let finalizers = Finalizers { run: self.finalizers.run, ..Finalizers::default() };
        Metrics {
            live: none,
            pending: none,
            large: Tally::default(),
            block_bytes: 0,
            in_use_bytes: 0,
            debt: 0,
            finalizers,
            ..self
        }
    }
}

impl RuntimeMetrics {
    /// Those of one mutator.
    #[cfg(feature = "metrics")]
    pub(crate) fn of(metrics: Metrics) -> RuntimeMetrics {
        let mut sums = RuntimeMetrics::default();
        sums.add(metrics);
        sums
    }

    fn add(&mut self, metrics: Metrics) {
        // All fields, so that a new one is thought of here. Peaks and limits have no sum, and calls of the hook are a thread's.
        let Metrics {
            beats,
            allocated,
            freed,
            live,
            pending,
            large,
            abandoned,
            block_bytes,
            in_use_bytes,
            peak_in_use_bytes: _,
            limit: _,
            ladder,
            debt,
            steps,
            trials,
            finalizers,
            panics,
            engine_calls: _,
        } = metrics;
        add(&mut self.beats, beats);
        add_tally(&mut self.allocated, allocated);
        add_tally(&mut self.freed, freed);
        add_tally(&mut self.live, live.now);
        add_tally(&mut self.pending, pending.now);
        add_tally(&mut self.large, large);
        add_tally(&mut self.abandoned, abandoned);
        add(&mut self.block_bytes, block_bytes);
        add(&mut self.in_use_bytes, in_use_bytes);
        add(&mut self.debt, debt);
        add(&mut self.panics, panics);
        let Ladder { climbed, helped, refused } = ladder;
        add_all(&mut self.ladder.climbed, climbed);
        add_all(&mut self.ladder.helped, helped);
        add(&mut self.ladder.refused, refused);
        let Steps { count, by_cause, max_units, units } = steps;
        add(&mut self.steps.count, count);
        add_all(&mut self.steps.by_cause, by_cause);
        self.steps.max_units = self.steps.max_units.max(max_units);
        add(&mut self.steps.units, units);
        let Trials { begun, probes, given_up, members, garbage, forgotten } = trials;
        add(&mut self.trials.begun, begun);
        add(&mut self.trials.probes, probes);
        add(&mut self.trials.given_up, given_up);
        add(&mut self.trials.members, members);
        add(&mut self.trials.garbage, garbage);
        add(&mut self.trials.forgotten, forgotten);
        let Finalizers { registered, due, run } = finalizers;
        add(&mut self.finalizers.registered, registered);
        add(&mut self.finalizers.due, due);
        add(&mut self.finalizers.run, run);
    }
}

// Saturating: what is counted fits, but beats can be charged without an allocation, for ever.

fn add(sum: &mut u64, term: u64) {
    *sum = sum.saturating_add(term);
}

fn add_tally(sum: &mut Tally, term: Tally) {
    add(&mut sum.objects, term.objects);
    add(&mut sum.bytes, term.bytes);
}

fn add_all<const COUNT: usize>(sums: &mut [u64; COUNT], terms: [u64; COUNT]) {
    for (sum, term) in sums.iter_mut().zip(terms) {
        add(sum, term);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_mutator_is_attached_from_the_start_and_a_reservation_counts_for_nothing() {
        let roster = Roster::default();
        let (first, second, third) = (roster.reserve().unwrap(), roster.reserve().unwrap(), roster.reserve().unwrap());
        assert_eq!(roster.sums(), RuntimeMetrics::default());
        // In another order than that of their numbers.
        let (third, first) = (third.enter(), first.enter());
        drop(second);
        assert_eq!(roster.sums(), RuntimeMetrics { attached: 2, ..RuntimeMetrics::default() });
        for (display, panics) in [(first, 1), (third, 2)] {
            let metrics = Metrics { panics, debt: 7, ..Metrics::default() };
            display.show(Shown { attached: false, metrics });
            let before = roster.sums();
            assert_eq!((before.lingering, before.debt), (1, 7));
            roster.leave(display);
        }
        assert_eq!(roster.sums(), RuntimeMetrics { ended: 2, panics: 3, ..RuntimeMetrics::default() });
        assert_eq!(roster.0.lock().reserved, 0);
    }
}
