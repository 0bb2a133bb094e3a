//! When garbage cycles are looked for, and how fast.

use core::cell::Cell;

use super::budget::Tally;
use super::cycles::Trials;

/// When trials are made, and how fast: paid for by allocation, like freeing.
///
/// A trial is worked on at safepoints, [`Pace::UNITS_PER_BYTE`] for each byte allocated since it began. No garbage object costs
/// as many units as that for its bytes, so while a trial goes on less garbage comes to be than it deals with.
///
/// The *gap* to the next one is [`Pace::LEAST`] bytes of allocation, or [`Pace::BYTES_PER_UNIT`] for each unit of the last one that went to
/// objects in use, if that is more. It is waited for once after a trial of whose members an eighth were garbage, twice after one that found less, four times
/// after the next such, up to 16 times: *patience*. So garbage pays for itself, and what is in use costs at most one unit for so many bytes, however
/// often it is suspected. A program begins with the most patience, as most make no garbage cycles.
///
/// With the most patience a trial also waits until more is in use than when the last one ended, by an eighth (256 KiB at least), of objects or of all, or, for garbage
/// that was in use then, until [`Pace::MOST_WAIT`] gaps have passed since; that trial looks at objects of any age. So a program that makes none, and
/// does not grow, is hardly searched. And whatever the patience, a trial is due after a gap when four times as much is in use as then (4 MiB more at least).
/// (CPython puts its full collections off by such a rule, until the young are a quarter of the old, and QuickJS its collections, until
/// half as much again is in use, either without an end.)
///
/// While patience lasts, a *probe* looks whether garbage comes together after all: a trial of a few young candidates
/// ([`PROBED`](super::cycles::PROBED)) that is given up if they lead to much. It is made after [`Pace::BEFORE_PROBE`] gaps (before the first trial after one),
/// once between two trials, and if it finds garbage the patience ends. So a program whose data grows is not searched as often as it doubles, and one
/// that begins to make garbage is noticed.
///
/// Garbage that is left to finalizers is as good as freed: if it counted as in use, garbage that all has finalizers would come together faster than it is
/// found. The price is that a structure which its finalizer takes out again each time is searched as often as garbage.
///
/// Objects that have died while they waited for a trial leave their memory until somebody comes by. When that is [`Pace::BYTES_PER_WAITING`] for each that
/// waits, dead or alive, these are *tidied*: gone through once, and the dead freed. Where some of them are on no list only a trial finds them. It is due
/// without patience when those that died are as many as an eighth of the last one's members, or their bytes as many as a gap: they are as good as garbage.
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
    /// What was in use when the last trial had ended, and its garbage was freed. Before that `None`; before the first trial, nothing.
    before_all: Cell<Option<InUse>>,
    /// After how many gaps since the last trial it was looked last whether something is due.
    gaps: Cell<u64>,
    /// After how many a probe is due.
    before_probe: Cell<u64>,
    /// Whether there has been a probe since the last trial.
    probed: Cell<bool>,
    /// What has died of those that wait, since all of them were gone through last.
    dead: Cell<Tally>,
    /// How many dead the trial that is under way has found among those that had waited for it.
    found_dead: Cell<u64>,
    /// How much garbage the trial or probe that is under way leaves to finalizers.
    spared: Cell<u64>,
}

/// Bytes: of objects that live, and of all that is in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct InUse {
    pub(crate) objects: u64,
    pub(crate) all: u64,
}

/// How much more is in use than there was.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Growth {
    None,
    /// By an eighth at least.
    Eighth,
    /// To four times as much at least.
    Fourfold,
}

/// What is to begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    Tidying,
    Probe,
    Trial,
    /// One that looks at objects of any age.
    TrialOfAll,
}

/// What is made when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Trial,
    Probe,
    /// Those that wait are gone through.
    Tidying,
}

impl Pace {
    const UNITS_PER_BYTE: u64 = 2;
    const BYTES_PER_UNIT: u64 = 8;
    const LEAST: u64 = 256 << 10;
    const MOST_PATIENCE: u64 = 16;
    const MOST_WAIT: u64 = 4 * Pace::MOST_PATIENCE;
    /// What counts for an eighth, and for four times as much, where little is in use.
    const LEAST_EIGHTH: u64 = Pace::LEAST;
    const LEAST_FOURFOLD: u64 = 4 << 20;
    const BEFORE_PROBE: u64 = 4;
    const BYTES_PER_WAITING: u64 = 16;
    /// It is not worth while for less.
    const LEAST_DEAD: u64 = 16 << 10;

    pub(super) fn new() -> Pace {
        Pace {
            since: Cell::new(0),
            patience: Cell::new(Pace::MOST_PATIENCE),
            credit: Cell::new(0),
            units: Cell::new(0),
            before: Cell::default(),
            found: Cell::default(),
            gap: Cell::new(Pace::LEAST),
            before_all: Cell::new(Some(InUse::default())),
            gaps: Cell::new(0),
            before_probe: Cell::new(1),
            probed: Cell::new(false),
            dead: Cell::default(),
            found_dead: Cell::new(0),
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

    /// So many units were worked off for a trial. Also those of one that has just ended.
    pub(super) fn spent(&self, units: u64) {
        self.units.set(self.units.get() + units);
        self.set_gap();
    }

    /// An object has died of those that wait for a trial.
    pub(super) fn died(&self, bytes: u64) {
        self.dead.set(self.dead.get().plus(bytes));
    }

    /// A trial has found one dead of those that had waited for it.
    pub(super) fn found_dead(&self) {
        self.found_dead.set(self.found_dead.get() + 1);
    }

    /// An object was found to be garbage that is not freed before a finalizer has run.
    pub(super) fn spared(&self) {
        self.spared.set(self.spared.get() + 1);
    }

    /// No trial is under way, nor is garbage of one left.
    #[inline(always)]
    pub(super) fn searched(&self, in_use: impl FnOnce() -> InUse) {
        if self.before_all.get().is_none() {
            self.before_all.set(Some(in_use()));
        }
    }

    fn growth(&self, now: InUse) -> Growth {
        let of = |now: u64, before: u64| match now.saturating_sub(before) {
            more if more >= before.saturating_mul(3).max(Pace::LEAST_FOURFOLD) => Growth::Fourfold,
            more if more >= (before / 8).max(Pace::LEAST_EIGHTH) => Growth::Eighth,
            _ => Growth::None,
        };
        let before = self.before_all.get().unwrap_or_default();
        of(now.objects, before.objects).max(of(now.all, before.all))
    }

    /// So many bytes were allocated while no trial is under way.
    #[inline(always)]
    pub(super) fn pass(&self, bytes: u64) {
        self.since.set(self.since.get().saturating_add(bytes));
    }

    /// What is due, where a trial could begin. `waiting` objects wait for one, all on the list; `None` if some are not.
    #[inline]
    pub(super) fn due(&self, waiting: impl FnOnce() -> Option<usize>, in_use: impl FnOnce() -> InUse) -> Option<Due> {
        let (since, gap, dead) = (self.since.get(), self.gap.get(), self.dead.get());
        let mut is_urgent = false;
        if dead.bytes >= Pace::LEAST_DEAD {
            match waiting() {
                Some(waiting) if dead.bytes >= waiting as u64 * Pace::BYTES_PER_WAITING => return Some(Due::Tidying),
                Some(_) => {}
                None => is_urgent = is_fruitful(self.found.get().0, dead.objects) || dead.bytes >= gap,
            }
        }
        if is_urgent && since >= gap {
            return Some(Due::Trial);
        }
        if since < gap.saturating_mul(self.gaps.get() + 1) {
            return None;
        }
        let due = self.due_after(since / gap, in_use);
        if due.is_none() {
            // After a probe the same is asked again.
            self.gaps.set(since / gap);
        }
        due
    }

    /// What is due when so many gaps have passed.
    #[cold]
    fn due_after(&self, gaps: u64, in_use: impl FnOnce() -> InUse) -> Option<Due> {
        let patience = self.patience.get();
        let is_over = gaps >= patience;
        if is_over && patience < Pace::MOST_PATIENCE {
            return Some(Due::Trial);
        }
        if gaps >= Pace::MOST_WAIT {
            return Some(Due::TrialOfAll);
        }
        match self.growth(in_use()) {
            Growth::Fourfold => Some(Due::Trial),
            Growth::Eighth if is_over => Some(Due::Trial),
            _ => (!self.probed.get() && gaps >= self.before_probe.get()).then_some(Due::Probe),
        }
    }

    /// One begins. `trials` is what those before it have come to.
    pub(super) fn begin(&self, trials: Trials, kind: Kind) {
        self.before.set(trials);
        self.credit.set(0);
        if kind == Kind::Trial {
            self.units.set(0);
        }
        if kind != Kind::Probe {
            self.dead.take();
        }
    }

    /// It has ended.
    pub(super) fn end(&self, trials: Trials, kind: Kind) {
        let before = self.before.get();
        let members = trials.members - before.members;
        let garbage = trials.garbage - before.garbage + self.spared.take();
        match kind {
            Kind::Tidying => {}
            Kind::Probe => {
                self.probed.set(true);
                if is_fruitful(members, garbage) {
                    self.patience.set(1);
                }
            }
            Kind::Trial => {
                let freed = garbage + self.found_dead.take();
                let longer = (self.patience.get() * 2).min(Pace::MOST_PATIENCE);
                self.patience.set(if is_fruitful(members, freed) { 1 } else { longer });
                self.found.set((members, freed));
                self.set_gap();
                self.before_all.set(None);
                self.gaps.set(0);
                self.before_probe.set(Pace::BEFORE_PROBE);
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
