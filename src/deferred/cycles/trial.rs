//! When a trial begins, how it gets on, and when it is over.

use crate::deferred::budget::Meter;
use crate::deferred::object::OLDEST;
use crate::deferred::pace::Kind;
use crate::deferred::pending::{Memory, Pending, header};

use super::{Cycles, Next, PROBED, Phase};

impl Cycles {
    /// Begins a trial of candidates of at most this age. None is under way.
    pub(in crate::deferred) fn begin(&self, level: u8) {
        self.start(Kind::Trial);
        self.go_up_to(level);
        self.members.swap(&self.waiting);
        self.wide.set(self.unlisted.take() > 0);
        self.enter_phase(Phase::Admit);
        self.count(|trials| trials.begun += 1);
    }

    /// Begins a probe: a trial of a few young candidates, of which those that wait know nothing. None is under way.
    pub(super) fn probe(&self) {
        self.start(Kind::Probe);
        self.level.set(0);
        self.begin_gathering();
        self.count(|trials| trials.probes += 1);
    }

    /// Begins to free what has died of those that wait, all of which are on the list. No trial is under way.
    pub(super) fn tidy(&self) {
        self.start(Kind::Tidying);
        self.members.swap(&self.waiting);
        self.enter_phase(Phase::Tidy);
    }

    /// One of those that waited. True if there is more to be done.
    ///
    /// # Safety
    /// 1. As for `advance`.
    unsafe fn tidy_one<M: Memory>(&self, pending: &Pending, memory: &M, meter: &mut Meter) -> bool {
        let Some(object) = self.members.borrow_mut().pop() else {
            self.end(pending, Phase::Idle);
            return false;
        };
        meter.searched(1);
        // SAFETY: by MEMBERS not freed.
        let has_died = unsafe { header(object) }.word().is_dead();
        if has_died || self.waiting.borrow_mut().push(object, self.room.get()).is_err() {
            // SAFETY: 1; just taken from the list. What finds no room to wait in is a candidate again.
            unsafe { self.dismiss(pending, memory, object, meter) }
        }
        true
    }

    fn go_up_to(&self, level: u8) {
        self.level.set(level);
        if level == OLDEST {
            self.news.set(0);
        }
    }

    fn start(&self, kind: Kind) {
        debug_assert!(self.phase.get() == Phase::Idle);
        self.kind.set(kind);
        self.wide.set(false);
        self.again.set(false);
        self.uncounted.set(false);
        self.verifying.set(false);
        self.panicked.set(false);
        self.round.set(0);
        self.pace.begin(self.trials.get(), kind);
    }

    fn begin_gathering(&self) {
        self.enter_phase(Phase::Gather);
        self.gathered.set(self.candidates.all());
    }

    /// Gives up a trial that is looking at what the program may have changed meanwhile. One that has looked at nothing yet becomes a trial of
    /// all instead.
    pub(in crate::deferred) fn abandon(&self) {
        match self.phase.get() {
            Phase::Admit => self.go_up_to(OLDEST),
            Phase::Gather | Phase::Mark | Phase::Scan | Phase::Check => {
                self.in_use.take();
                self.fail();
            }
            _ => {}
        }
    }

    /// Gives up what a trial has found out, also a proof: finalizers are taken off objects of whatever kind, with no last reference to any given
    /// up, and let the program have what their objects refer to.
    ///
    /// What is condemned, or about to be, stays so: no finalizer leads there, and no other object. And where members are being spared, all of them are.
    pub(in crate::deferred) fn doubt(&self) {
        self.abandon();
        match self.phase.get() {
            // No finalizer leads to what is grey there, and nobody comes upon what is black before it is spared.
            Phase::Sweep { next: Next::Condemn } | Phase::Trim { next: Next::Condemn } => {}
            Phase::Sweep { .. } => self.phase.set(Phase::Sweep { next: Next::GiveUp }),
            Phase::Trim { .. } => self.phase.set(Phase::Trim { next: Next::GiveUp }),
            Phase::Seek => {
                self.in_use.take();
                self.fail();
            }
            _ => {}
        }
        // For nothing but that.
        self.news.set(self.news.get() + 1);
    }

    /// The program goes on, and may change what was looked at.
    pub(in crate::deferred) fn interrupt(&self) {
        self.at_once.set(false);
    }

    /// Works on the trial for as long as `meter` admits, or until it is over or has come to garbage.
    ///
    /// # Safety
    /// 1. The objects of this mutator came from `memory`.
    pub(in crate::deferred) unsafe fn advance<M: Memory>(&self, pending: &Pending, memory: &M, meter: &mut Meter) {
        while meter.admits() {
            if self.owed.get() > 0 || !self.has_some_at_hand() {
                // SAFETY: 1.
                unsafe { self.walk_on(pending, memory, meter) }
                continue;
            }
            match self.phase.get() {
                Phase::Idle | Phase::TakeApart | Phase::HandOver => return,
                // SAFETY: 1.
                Phase::Tidy => while unsafe { self.tidy_one(pending, memory, meter) } && meter.admits() {},
                Phase::Admit => self.admit(meter),
                Phase::Gather => while self.gather(meter) && meter.admits() {},
                Phase::Mark => {
                    if self.fresh.get() {
                        if self.verifying.get() && self.unwatched.get() && meter.units > 0 && meter.is_limited() {
                            // It must be done in one step, so it gets all of one.
                            meter.exhaust();
                            return;
                        }
                        self.at_once.set(true);
                        self.unwatched.set(false);
                        self.fresh.set(false);
                    }
                    while self.mark(pending, memory, meter) && self.has_some_at_hand() && meter.admits() {}
                }
                Phase::Scan => while self.scan(pending, memory, meter) && self.has_some_at_hand() && meter.admits() {},
                Phase::Sweep { next } => {
                    // SAFETY: 1.
                    while unsafe { self.sweep(pending, memory, meter, next) }
                        && self.has_some_at_hand()
                        && meter.admits()
                    {}
                }
                Phase::Trim { next } => {
                    if self.trim(self.kept.get(), meter) {
                        self.after_sweep(pending, next);
                    }
                }
                Phase::Check => self.check(pending, meter),
                Phase::Seek => while self.seek(pending, memory, meter) && self.has_some_at_hand() && meter.admits() {},
                Phase::Spare => self.spare_any(pending, meter),
                Phase::Condemn => self.condemn(pending, meter),
                // SAFETY: 1.
                Phase::GiveUp => unsafe { self.give_up(pending, memory, meter) },
            }
        }
    }

    pub(super) fn enter_phase(&self, phase: Phase) {
        debug_assert!(self.hand.get().is_none());
        self.at.set(0);
        self.kept.set(0);
        self.fresh.set(true);
        self.begin_walk();
        self.phase.set(phase);
    }

    pub(super) fn fail(&self) {
        self.put_down();
        if self.verifying.replace(false) && self.disturbed.get() && !self.panicked.get() {
            // The program was at it: there may be something the next time.
            self.news.set(self.news.get() + 1);
        }
        self.count(|trials| trials.given_up += 1);
        self.enter_phase(Phase::GiveUp);
        self.pass_list();
    }

    /// One of those that waited.
    fn admit(&self, meter: &mut Meter) {
        meter.searched(1);
        let at = self.at.get();
        let mut members = self.members.borrow_mut();
        let is_listed = at < members.len();
        let next = if is_listed { Some(members.get(at)) } else { self.page.borrow_mut().pop() };
        let Some(object) = next else {
            drop(members);
            return self.begin_gathering();
        };
        // SAFETY: by MEMBERS not freed.
        let header = unsafe { header(object) };
        let word = header.word();
        self.count(|trials| trials.members += 1);
        if word.is_dead() {
            self.pace.found_dead();
        }
        let is_candidate = !word.is_dead() && word.is_buffered();
        // One that was borrowed since is no candidate any more.
        let word = if is_candidate { word.grey(0).armed() } else { word.not_waiting() };
        let is_listed = is_listed || is_candidate && members.push(object, self.room.get()).is_ok();
        self.at.set(at + usize::from(is_listed));
        header.set_word(if is_candidate && !is_listed { self.unlisted_member(object, word) } else { word });
    }

    /// One candidate. True if there is more to be done.
    #[inline(always)]
    fn gather(&self, meter: &mut Meter) -> bool {
        let is_full = self.is_probing() && self.members.borrow().len() >= PROBED;
        let mut gathered = self.gathered.get();
        let next = if is_full { None } else { self.candidates.next(&mut gathered) };
        let Some(object) = next else {
            self.enter_phase(Phase::Mark);
            return false;
        };
        self.gathered.set(gathered);
        meter.searched(1);
        // SAFETY: in the set, so by MEMBERS alive.
        let header = unsafe { header(object) };
        let word = header.word();
        if word.age() > self.level.get() {
            return true;
        }
        let is_listed = self.members.borrow_mut().push(object, self.room.get()).is_ok();
        if !is_listed && !self.may_walk() {
            self.fail();
            return false;
        }
        self.candidates.remove(object);
        let word = word.grey(0).armed();
        header.set_word(if is_listed { word } else { self.unlisted_member(object, word) });
        self.count(|trials| trials.members += 1);
        true
    }

    /// The trial is over, or only `phase` is left to be done.
    pub(super) fn end(&self, pending: &Pending, phase: Phase) {
        pending.attachments().all_found();
        self.inner.borrow_mut().clear();
        self.in_use.take();
        if phase == Phase::Idle {
            self.members.take();
            self.wide.set(false);
        }
        self.pace.end(self.trials.get(), self.kind.get());
        self.enter_phase(phase);
    }
}

/// Which level a trial is of: of four in a row one is of the next.
pub(super) fn level_of(number: u64) -> u8 {
    ((number + 1).trailing_zeros() / 2).min(u32::from(OLDEST)) as u8
}
