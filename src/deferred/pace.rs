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
/// often it is suspected.
///
/// While such patience lasts, a *probe* looks whether garbage comes together after all: a trial of a few young candidates
/// ([`PROBED`](super::cycles::PROBED)) that is given up if they lead to much. It is made when [`Pace::BEFORE_PROBE`] times the bytes have
/// been allocated that would do without patience, once between two trials, and if it finds garbage the patience ends. So a program whose data grows is not searched as often as it doubles, and one
/// that begins to make garbage is noticed.
///
/// Garbage that is left to finalizers is as good as freed: if it counted as in use, garbage that all has finalizers would come together faster than it is
/// found. The price is that a structure which its finalizer takes out again each time is searched as often as garbage.
///
/// Objects that have died while they waited for a trial are freed by it, so they are as good as garbage: patience does not count
/// while they are as many as an eighth of the last trial's members. Otherwise they would come together as garbage does, and as each costs
/// units, the next time would be all the later.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes allocated since the last trial.
    since: Cell<u64>,
    patience: Cell<u64>,
    /// Units that are paid for.
    credit: Cell<u64>,
    /// Units of the trial that is under way, or of the last one. None of probes.
    units: Cell<u64>,
    /// What trials and probes had come to before the last of either.
    before: Cell<Trials>,
    /// The members of the last trial, and how many of them were freed by it, or left to finalizers.
    found: Cell<(u64, u64)>,
    /// Bytes from the last trial to the next, without patience.
    gap: Cell<u64>,
    /// Whether there has been a probe since the last trial.
    probed: Cell<bool>,
    /// How many have died of those that wait for the next trial; while one is under way, of those that had waited for it.
    dead: Cell<u64>,
    /// How much garbage the trial or probe that is under way leaves to finalizers.
    spared: Cell<u64>,
}

/// What is made when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Trial,
    Probe,
}

impl Pace {
    const UNITS_PER_BYTE: u64 = 2;
    const BYTES_PER_UNIT: u64 = 8;
    const LEAST: u64 = 256 << 10;
    const MOST_PATIENCE: u64 = 16;
    const BEFORE_PROBE: u64 = 4;

    pub(super) fn new() -> Pace {
        Pace {
            since: Cell::new(0),
            patience: Cell::new(1),
            credit: Cell::new(0),
            units: Cell::new(0),
            before: Cell::default(),
            found: Cell::default(),
            gap: Cell::new(Pace::LEAST),
            probed: Cell::new(false),
            dead: Cell::new(0),
            spared: Cell::new(0),
        }
    }

    /// Reckons the gap, which is asked for more often than it changes.
    fn set_gap(&self) {
        let (members, freed) = self.found.get();
        // Units are alike for both. Members and units are both as many as there are objects: their product may not fit.
        let in_use = u128::from(self.units.get()) * u128::from(members - freed + 1) / u128::from(members + 1);
        self.gap.set((in_use as u64).saturating_mul(Pace::BYTES_PER_UNIT).max(Pace::LEAST));
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

    /// So many units were worked off, in a search of whatever kind but a probe. Also those of a trial that has just ended.
    pub(super) fn spent(&self, units: u64) {
        self.units.set(self.units.get() + units);
        self.set_gap();
    }

    /// An object has died of those that wait for a trial, or is found dead by the one that it waited for.
    pub(super) fn died(&self) {
        self.dead.set(self.dead.get() + 1);
    }

    /// An object was found to be garbage that is not freed before a finalizer has run.
    pub(super) fn spared(&self) {
        self.spared.set(self.spared.get() + 1);
    }

    /// So many bytes were allocated while no trial is under way. What is due.
    pub(super) fn wait(&self, bytes: u64) -> Option<Kind> {
        let since = self.since.get().saturating_add(bytes);
        self.since.set(since);
        let gap = self.gap.get();
        let patience = if is_fruitful(self.found.get().0, self.dead.get()) { 1 } else { self.patience.get() };
        if since >= gap.saturating_mul(patience) {
            Some(Kind::Trial)
        } else {
            let is_due = !self.probed.get() && since >= gap.saturating_mul(Pace::BEFORE_PROBE);
            is_due.then_some(Kind::Probe)
        }
    }

    /// One begins. `trials` is what those before it have come to.
    pub(super) fn begin(&self, trials: Trials, kind: Kind) {
        self.before.set(trials);
        self.credit.set(0);
        if kind == Kind::Trial {
            self.units.set(0);
            self.dead.set(0);
        }
    }

    /// It has ended.
    pub(super) fn end(&self, trials: Trials, kind: Kind) {
        let before = self.before.get();
        let members = trials.members - before.members;
        let garbage = trials.garbage - before.garbage + self.spared.take();
        match kind {
            Kind::Probe => {
                self.probed.set(true);
                if is_fruitful(members, garbage) {
                    self.patience.set(1);
                }
            }
            Kind::Trial => {
                let freed = garbage + self.dead.take();
                let longer = (self.patience.get() * 2).min(Pace::MOST_PATIENCE);
                self.patience.set(if is_fruitful(members, freed) { 1 } else { longer });
                self.found.set((members, freed));
                self.set_gap();
                self.probed.set(false);
                self.since.set(0);
            }
        }
    }
}

/// Whether it is worth while to look at so many members for so many that are freed.
fn is_fruitful(members: u64, freed: u64) -> bool {
    freed > 0 && freed * 8 >= members
}
