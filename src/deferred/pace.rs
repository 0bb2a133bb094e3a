//! When garbage cycles are looked for, and how fast.

use core::cell::Cell;

use super::cycles::Trials;

/// When trials are made, and how fast: paid for by allocation, like freeing.
///
/// A trial is worked on at safepoints, [`Pace::UNITS_PER_BYTE`] for each byte allocated since it began. No garbage object costs
/// as many units as that for its bytes, so while a trial goes on less garbage comes to be than it deals with.
///
/// The next one begins when [`Pace::LEAST`] bytes have been allocated, and [`Pace::BYTES_PER_UNIT`] for each unit of the last one that went to
/// objects in use; twice as many of either after one of whose members less than an eighth were garbage, twice as many again
/// after the next such, up to 16 times. So garbage pays for itself, and what is in use costs at most one unit for so many bytes, however
/// often it is suspected. But such patience ends at [`Pace::LIVE`] times what lives, or a large structure that is suspected for long would
/// let many times its size come together in garbage.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes allocated since the last trial.
    since: Cell<u64>,
    patience: Cell<u64>,
    /// Units that are paid for.
    credit: Cell<u64>,
    /// Units of the last trial, or of the one that is under way.
    units: Cell<u64>,
    /// What trials had come to before it.
    before: Cell<Trials>,
    /// Bytes that lived after it.
    live: Cell<Option<u64>>,
}

impl Pace {
    const UNITS_PER_BYTE: u64 = 2;
    const BYTES_PER_UNIT: u64 = 8;
    const LEAST: u64 = 256 << 10;
    const MOST_PATIENCE: u64 = 16;
    const LIVE: u64 = 2;

    pub(super) fn new() -> Pace {
        Pace {
            since: Cell::new(0),
            patience: Cell::new(1),
            credit: Cell::new(0),
            units: Cell::new(0),
            before: Cell::default(),
            live: Cell::default(),
        }
    }

    /// The members of the last trial, and how many were garbage. `trials` is what all have come to.
    fn found(&self, trials: Trials) -> (u64, u64) {
        let before = self.before.get();
        (trials.members - before.members, trials.garbage - before.garbage)
    }

    /// Bytes from one trial to the next. `trials` is what they have come to, and so many bytes live now.
    fn gap(&self, trials: Trials, live: u64) -> u64 {
        // Not what lives now: garbage that has come together since is among that.
        let live = self.live.get().unwrap_or(live);
        self.live.set(Some(live));
        let (members, garbage) = self.found(trials);
        // Units are alike for both. Members and units are both as many as there are objects: their product may not fit.
        let in_use = u128::from(self.units.get()) * u128::from(members - garbage + 1) / u128::from(members + 1);
        let least = (in_use as u64).saturating_mul(Pace::BYTES_PER_UNIT).max(Pace::LEAST);
        let most = live.saturating_mul(Pace::LIVE).max(Pace::LEAST * Pace::MOST_PATIENCE);
        least.saturating_mul(self.patience.get()).min(most).max(least)
    }

    /// So many bytes were allocated while a trial is under way.
    pub(super) fn earn(&self, bytes: u64) {
        let units = bytes.saturating_mul(Pace::UNITS_PER_BYTE);
        self.credit.set(self.credit.get().saturating_add(units));
    }

    /// The units that were earned since they were last asked for.
    pub(super) fn spend(&self) -> u64 {
        self.credit.take()
    }

    /// So many units were worked off, in a search of whatever kind.
    pub(super) fn spent(&self, units: u64) {
        self.units.set(self.units.get() + units);
    }

    /// So many bytes were allocated while no trial is under way. Whether one is due.
    pub(super) fn wait(&self, bytes: u64, trials: Trials, live: u64) -> bool {
        self.since.set(self.since.get().saturating_add(bytes));
        self.since.get() >= self.gap(trials, live)
    }

    /// A trial begins. `trials` is what those before it have come to.
    pub(super) fn begin(&self, trials: Trials) {
        self.before.set(trials);
        self.units.set(0);
        self.credit.set(0);
    }

    /// It has ended.
    pub(super) fn end(&self, trials: Trials) {
        let (members, garbage) = self.found(trials);
        let is_fruitful = garbage > 0 && garbage * 8 >= members;
        self.patience.set(if is_fruitful { 1 } else { (self.patience.get() * 2).min(Pace::MOST_PATIENCE) });
        self.since.set(0);
        self.live.set(None);
    }
}
