//! The phases of a trial up to the proof, and how one is given up.

use core::ptr::NonNull;

use crate::deferred::budget::Meter;
use crate::deferred::object::{Colour, CountState, MOST_INNER, OLDEST, Object, Word};
use crate::deferred::pace::Kind;
use crate::deferred::pending::{Memory, Pending, WHOLE, header};
use crate::deferred::trace::{ATTACHED, Look, Slots, Tracer};

use super::look::{Foreign, Marking, Scanning};
use super::{Cycles, MOST_PROBED, MOST_ROUNDS, Next, PROBED, Phase, is_grey};

impl Cycles {
    /// Begins a trial of candidates of at most this age. None is under way.
    pub(in crate::deferred) fn begin(&self, level: u8) {
        self.start(level, Kind::Trial);
        if level == OLDEST {
            self.news.set(0);
        }
        self.members.swap(&self.waiting);
        self.enter_phase(Phase::Admit);
        self.count(|trials| trials.begun += 1);
    }

    /// Begins a probe: a trial of a few young candidates, of which those that wait know nothing. None is under way.
    pub(super) fn probe(&self) {
        self.start(0, Kind::Probe);
        self.begin_gathering();
        self.count(|trials| trials.probes += 1);
    }

    fn start(&self, level: u8, kind: Kind) {
        debug_assert!(self.phase.get() == Phase::Idle);
        self.level.set(level);
        self.kind.set(kind);
        self.verifying.set(false);
        self.panicked.set(false);
        self.round.set(0);
        self.pace.begin(self.trials.get(), kind);
    }

    fn begin_gathering(&self) {
        self.enter_phase(Phase::Gather);
        self.gathered.set(self.candidates.all());
    }

    /// Gives up a trial that is looking at what the program may have changed meanwhile.
    pub(in crate::deferred) fn abandon(&self) {
        if matches!(self.phase.get(), Phase::Admit | Phase::Gather | Phase::Mark | Phase::Scan | Phase::Check) {
            self.in_use.take();
            self.fail();
        }
    }

    /// Gives up what a trial has found out, also a proof: finalizers are taken off objects of whatever kind, with no last reference to any given
    /// up, and let the program have what their objects refer to.
    ///
    /// What is condemned, or about to be when no member has a finalizer, stays so: no other object leads there. And where members are being
    /// spared, all of them are.
    pub(in crate::deferred) fn doubt(&self) {
        self.abandon();
        match self.phase.get() {
            Phase::Sweep { .. } => self.phase.set(Phase::Sweep { next: Next::GiveUp }),
            Phase::Trim { .. } => self.phase.set(Phase::Trim { next: Next::GiveUp }),
            Phase::Seek => self.fail(),
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
            match self.phase.get() {
                Phase::Idle | Phase::TakeApart | Phase::HandOver => return,
                Phase::Admit => self.admit(meter),
                Phase::Gather => self.gather(meter),
                Phase::Mark => {
                    if self.at.get() == 0 && self.hand.get().is_none() {
                        if self.verifying.get() && self.unwatched.get() && meter.units > 0 && meter.is_limited() {
                            // It must be done in one step, so it gets all of one.
                            meter.exhaust();
                            return;
                        }
                        self.at_once.set(true);
                        self.unwatched.set(false);
                    }
                    self.mark(pending, memory, meter);
                }
                Phase::Scan => self.scan(pending, memory, meter),
                // SAFETY: 1.
                Phase::Sweep { next } => unsafe { self.sweep(pending, memory, meter, next) },
                Phase::Trim { next } => {
                    meter.searched(1);
                    if self.members.borrow_mut().trim(self.kept.get()) {
                        self.after_sweep(pending, next);
                    }
                }
                Phase::Check => self.check(pending, meter),
                Phase::Seek => self.seek(pending, meter),
                Phase::Spare => self.spare(pending, meter),
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
        self.phase.set(phase);
    }

    fn fail(&self) {
        self.put_down();
        if self.verifying.replace(false) && self.disturbed.get() && !self.panicked.get() {
            // The program was at it: there may be something the next time.
            self.news.set(self.news.get() + 1);
        }
        self.count(|trials| trials.given_up += 1);
        self.enter_phase(Phase::GiveUp);
    }

    /// One of those that waited.
    fn admit(&self, meter: &mut Meter) {
        meter.searched(1);
        let members = self.members.borrow();
        if self.at.get() == members.len() {
            drop(members);
            return self.begin_gathering();
        }
        // SAFETY: by MEMBERS not freed.
        let header = unsafe { header(members.get(self.at.get())) };
        self.at.set(self.at.get() + 1);
        let word = header.word();
        self.count(|trials| trials.members += 1);
        if word.is_dead() {
            return self.pace.died();
        }
        // One that was borrowed since is no candidate any more.
        if word.is_buffered() {
            header.set_word(word.grey(0).armed());
        }
    }

    /// One candidate.
    fn gather(&self, meter: &mut Meter) {
        let is_full = self.is_probing() && self.members.borrow().len() >= PROBED;
        let mut gathered = self.gathered.get();
        let next = if is_full { None } else { self.candidates.next(&mut gathered) };
        let Some(object) = next else { return self.enter_phase(Phase::Mark) };
        self.gathered.set(gathered);
        meter.searched(1);
        // SAFETY: in the set, so by MEMBERS alive.
        let header = unsafe { header(object) };
        let word = header.word();
        if word.age() > self.level.get() {
            return;
        }
        if self.members.borrow_mut().push(object).is_err() {
            return self.fail();
        }
        self.candidates.remove(object);
        header.set_word(word.grey(0).armed());
        self.count(|trials| trials.members += 1);
    }

    /// The member in hand, or else the next; `None` at the end.
    fn next_member(&self, meter: &mut Meter) -> Option<NonNull<Object>> {
        if let Some(object) = self.hand.get() {
            // SAFETY: by MEMBERS not freed.
            if is_grey(unsafe { header(object) }.word()) {
                return Some(object);
            }
            self.put_down();
        }
        let members = self.members.borrow();
        let object = (self.at.get() < members.len()).then(|| members.get(self.at.get()))?;
        self.at.set(self.at.get() + 1);
        meter.searched(1);
        Some(object)
    }

    fn put_down(&self) {
        self.hand.set(None);
        self.cursor.set(0);
    }

    /// Follows references of a member. True if all of them have been. Those to its attachments come with the last slot.
    ///
    /// A panic of its `trace` passes through, and leaves the member black, and a candidate: if it is garbage, no release will tell of it
    /// again.
    fn follow(&self, pending: &Pending, object: NonNull<Object>, look: &mut dyn Look, meter: &mut Meter) -> bool {
        self.hand.set(Some(object));
        // SAFETY: by MEMBERS not freed, and the caller has seen that it is alive.
        let header = unsafe { header(object) };
        let info = header.info();
        let from = self.cursor.get();
        let left = match info.slots {
            Slots::Fixed(slots) if slots <= WHOLE => WHOLE,
            _ => meter.units_now(),
        };
        struct Panicked<'a>(&'a Cycles, &'a Object);
        impl Drop for Panicked<'_> {
            fn drop(&mut self) {
                self.0.disturbed.set(true);
                self.0.at_once.set(false);
                self.0.panicked.set(true);
                let word = self.1.word();
                // The panic hook may have given up the last reference to it.
                if !word.is_dead() {
                    self.1.set_word(word.with_colour(Colour::Black).buffered());
                }
                self.0.put_down();
            }
        }
        let guard = Panicked(self, header);
        let mut tracer = Tracer::look(look, from, left);
        // SAFETY: an object of this type, alive and whole. Nobody has borrowed it mutably: `Ref::get_mut` makes it black.
        unsafe { (info.trace)(object, &mut tracer) }
        let (cut, cursor) = (tracer.is_cut(), tracer.cursor());
        drop(tracer);
        core::mem::forget(guard);
        meter.searched((cursor - from) as u64);
        self.cursor.set(cursor);
        if !cut {
            self.put_down();
            // SAFETY: by MEMBERS not freed.
            for attachment in unsafe { pending.attachments().of(object) }.into_iter().flatten() {
                // SAFETY: alive by HOSTS.
                unsafe { look.reference(attachment, ATTACHED) }
            }
        }
        !cut
    }

    /// Counts the references of one member, or some of them.
    fn mark<M: Memory>(&self, pending: &Pending, memory: &M, meter: &mut Meter) {
        let Some(object) = self.next_member(meter) else {
            self.enter_phase(Phase::Scan);
            self.found_in_use.set(0);
            return;
        };
        // SAFETY: by MEMBERS not freed.
        let header = unsafe { header(object) };
        if !is_grey(header.word()) {
            return;
        }
        let mut look = Marking {
            cycles: self,
            members: &mut self.members.borrow_mut(),
            foreign: Foreign::among(pending, memory),
            busy: false,
            failed: false,
        };
        self.follow(pending, object, &mut look, meter);
        let Marking { members, busy, failed, .. } = look;
        let is_too_much = self.is_probing() && members.len() > MOST_PROBED;
        if busy {
            self.put_down();
            self.disturbed.set(true);
            // It is no member any more, and some of its references may have been counted as if it were one.
            self.at_once.set(false);
            header.set_word(header.word().with_colour(Colour::Black));
        }
        if failed || is_too_much {
            self.fail();
        }
    }

    pub(super) fn inner(&self, object: NonNull<Object>, word: Word) -> u32 {
        match word.inner() {
            MOST_INNER => self.inner.borrow().get(&object.addr().get()).copied().unwrap_or(MOST_INNER),
            inner => inner,
        }
    }

    /// Whether something besides members refers to a grey object.
    fn is_in_use(&self, object: NonNull<Object>, word: Word) -> bool {
        word.state() != CountState::Local || word.count() > self.inner(object, word)
    }

    /// An object is found in use. It is no candidate any more if the trial is one of all and it was gathered, and not told of
    /// since.
    ///
    /// Nothing is overlooked. What was garbage when the candidates were gathered is not touched, so what is found of it is
    /// true: it is in use by other garbage at most, which a candidate leads to that is tried with it, or which is dead and will give it up. What became
    /// garbage after that has lost its last reference from outside since, and the object that lost it is a candidate that is
    /// kept. (A reference that is moved into the garbage is not the last: what it was moved through is referred to as well.)
    pub(super) fn found_in_use(&self, word: Word) -> Word {
        let word = word.with_inner(0);
        if self.level.get() == OLDEST && !self.verifying.get() && word.is_armed() { word.unbuffered() } else { word }
    }

    /// Looks at one member: whether it is in use; or follows the references of one that is.
    fn scan<M: Memory>(&self, pending: &Pending, memory: &M, meter: &mut Meter) {
        let mut in_use = self.in_use.borrow_mut();
        let object = match self.hand.get() {
            Some(object) => object,
            None => match in_use.pop() {
                Some(object) => {
                    meter.searched(1);
                    object
                }
                None => {
                    let members = self.members.borrow();
                    if self.at.get() == members.len() {
                        drop((members, in_use));
                        return self.after_scan();
                    }
                    let object = members.get(self.at.get());
                    self.at.set(self.at.get() + 1);
                    meter.searched(1);
                    // SAFETY: by MEMBERS not freed.
                    let header = unsafe { header(object) };
                    let word = header.word();
                    if !is_grey(word) || !self.is_in_use(object, word) {
                        return;
                    }
                    header.set_word(self.found_in_use(word));
                    object
                }
            },
        };
        // SAFETY: by MEMBERS not freed.
        let header = unsafe { header(object) };
        if !is_grey(header.word()) {
            return self.put_down();
        }
        let mut look = Scanning {
            cycles: self,
            in_use: &mut in_use,
            foreign: Foreign::among(pending, memory),
            busy: false,
            failed: false,
        };
        let done = self.follow(pending, object, &mut look, meter);
        let Scanning { busy, failed, .. } = look;
        if done || busy {
            self.put_down();
            self.found_in_use.set(self.found_in_use.get() + 1);
            let word = header.word().with_colour(Colour::Black);
            header.set_word(if self.is_probing() { word } else { word.older() });
        }
        drop(in_use);
        if failed {
            self.in_use.take();
            self.fail();
        }
    }

    fn after_scan(&self) {
        let exact = self.at_once.get();
        let next = if exact {
            Next::Condemn
        } else if !self.verifying.get() {
            Next::Recount
        } else if self.unwatched.get() {
            return self.fail();
        } else if self.found_in_use.get() == 0 && !self.disturbed.get() {
            Next::Check
        } else {
            // What the program touches is in use, so another round finds it, and what it leads to, to be so. Garbage beside it stays.
            self.round.set(self.round.get() + 1);
            if self.round.get() == MOST_ROUNDS {
                return self.fail();
            }
            Next::Recount
        };
        if next != Next::Check {
            self.disturbed.set(false);
            self.next_number();
        }
        self.verifying.set(true);
        self.enter_phase(Phase::Sweep { next });
    }

    /// One member.
    ///
    /// # Safety
    /// 1. As for `advance`.
    unsafe fn sweep<M: Memory>(&self, pending: &Pending, memory: &M, meter: &mut Meter, next: Next) {
        let mut members = self.members.borrow_mut();
        if self.at.get() == members.len() {
            self.phase.set(Phase::Trim { next });
            return;
        }
        let object = members.get(self.at.get());
        self.at.set(self.at.get() + 1);
        meter.searched(1);
        // SAFETY: by MEMBERS not freed.
        let header = unsafe { header(object) };
        let word = header.word();
        if is_grey(word) {
            members.set(self.kept.get(), object);
            self.kept.set(self.kept.get() + 1);
            let word = if next == Next::Recount { word.with_inner(0) } else { word };
            header.set_word(word.armed());
            return;
        }
        drop(members);
        // SAFETY: 1; it is not kept.
        unsafe { self.dismiss(pending, memory, object, meter) }
    }

    fn after_sweep(&self, pending: &Pending, next: Next) {
        if self.kept.get() == 0 {
            self.verifying.set(false);
            self.end(Phase::Idle);
            return;
        }
        self.enter_phase(match next {
            Next::Recount => {
                self.inner.borrow_mut().clear();
                Phase::Mark
            }
            Next::Check => Phase::Check,
            Next::Condemn => Cycles::after_proof(pending),
            Next::GiveUp => return self.fail(),
        });
    }

    /// The members are garbage.
    fn after_proof(pending: &Pending) -> Phase {
        if pending.attachments().finalizers() > 0 { Phase::Seek } else { Phase::Condemn }
    }

    pub(super) fn end(&self, phase: Phase) {
        self.inner.borrow_mut().clear();
        self.in_use.take();
        if phase == Phase::Idle {
            self.members.take();
        }
        self.pace.end(self.trials.get(), self.kind.get());
        self.enter_phase(phase);
    }

    /// Looks at one member for the last time.
    fn check(&self, pending: &Pending, meter: &mut Meter) {
        let members = self.members.borrow();
        if self.disturbed.get() {
            drop(members);
            return self.fail();
        }
        if self.at.get() == members.len() {
            drop(members);
            return self.enter_phase(Cycles::after_proof(pending));
        }
        let object = members.get(self.at.get());
        self.at.set(self.at.get() + 1);
        meter.searched(1);
        // SAFETY: by MEMBERS not freed.
        let word = unsafe { header(object) }.word();
        if !is_grey(word) || word.state() != CountState::Local || word.count() != self.inner(object, word) {
            self.disturbed.set(true);
        }
    }

    /// One member leaves the trial.
    ///
    /// # Safety
    /// 1. As for `advance`.
    unsafe fn give_up<M: Memory>(&self, pending: &Pending, memory: &M, meter: &mut Meter) {
        let object = self.members.borrow_mut().pop();
        let Some(object) = object else { return self.end(Phase::Idle) };
        meter.searched(1);
        // SAFETY: by MEMBERS not freed.
        let header = unsafe { header(object) };
        if is_grey(header.word()) && !self.is_probing() {
            // Tried in vain, so tried less often.
            header.set_word(header.word().older());
        }
        // SAFETY: 1; just taken from the list.
        unsafe { self.dismiss(pending, memory, object, meter) }
    }

    /// A member leaves the trial. A husk is freed.
    ///
    /// # Safety
    /// 1. As for `advance`.
    /// 2. `object` was a member, and is in the list no more.
    unsafe fn dismiss<M: Memory>(&self, pending: &Pending, memory: &M, object: NonNull<Object>, meter: &mut Meter) {
        // SAFETY: by MEMBERS not freed until now (2).
        let header = unsafe { header(object) };
        let word = header.word();
        if !word.is_dead() {
            // SAFETY: alive; 2.
            return unsafe { self.leave(object) };
        }
        header.set_word(word.let_go());
        if word.is_husk() {
            // SAFETY: 1; 2.
            unsafe { pending.free_husk(memory, object, meter) };
        }
    }

    /// # Safety
    /// 1. `object` is alive, was a member, and is in the list no more.
    pub(super) unsafe fn leave(&self, object: NonNull<Object>) {
        // SAFETY: alive (1).
        let header = unsafe { header(object) };
        let word = header.word().out_of_trial(header.info().flags);
        if word.is_buffered() {
            header.set_word(word.buffered());
            // SAFETY: alive, and not in the set, as it was a member (1).
            unsafe { self.enter(object) };
        } else {
            header.set_word(word);
        }
    }
}

/// Which level a trial is of: of four in a row one is of the next.
pub(super) fn level_of(number: u64) -> u8 {
    ((number + 1).trailing_zeros() / 2).min(u32::from(OLDEST)) as u8
}
