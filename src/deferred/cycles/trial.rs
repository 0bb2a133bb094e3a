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

    fn fail(&self) {
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
            self.pace.died();
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

    /// The member in hand, or else the next; `None` at the end.
    fn next_member(&self, meter: &mut Meter) -> Option<NonNull<Object>> {
        if let Some(object) = self.hand.get() {
            // SAFETY: by MEMBERS not freed.
            if is_grey(unsafe { header(object) }.word()) {
                return Some(object);
            }
            self.put_down();
        }
        let object = self.next_listed()?;
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
                self.0.panicked.set(true);
                self.0.put_down();
                if self.0.phase.get() == Phase::Seek {
                    // It was proven to be garbage; only where it leads is not known.
                    return self.0.enter_phase(Phase::Spare);
                }
                self.0.disturbed.set(true);
                self.0.at_once.set(false);
                let word = self.1.word();
                // The panic hook may have given up the last reference to it.
                if !word.is_dead() {
                    self.1.set_word(word.with_colour(Colour::Black).buffered());
                }
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
            // Hardly any has some.
            if header.word().hosts() {
                // SAFETY: by MEMBERS not freed.
                for attachment in unsafe { pending.attachments().of(object) }.into_iter().flatten() {
                    // SAFETY: alive by HOSTS.
                    unsafe { look.reference(attachment, ATTACHED) }
                }
            }
        }
        !cut
    }

    /// Counts the references of one member, or some of them. True if there is more to be done.
    #[inline(always)]
    fn mark<M: Memory>(&self, pending: &Pending, memory: &M, meter: &mut Meter) -> bool {
        let Some(object) = self.next_member(meter) else {
            if self.walks_on() {
                // The one in hand was the last of its page, and is not grey any more.
            } else if self.again.take() {
                self.begin_walk();
            } else {
                self.enter_phase(Phase::Scan);
                self.found_in_use.set(0);
            }
            return false;
        };
        // SAFETY: by MEMBERS not freed.
        let header = unsafe { header(object) };
        if !is_grey(header.word()) {
            return true;
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
            return false;
        }
        true
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
        let is_true = self.level.get() == OLDEST && !self.verifying.get() && !self.uncounted.get();
        if is_true && word.is_armed() { word.unbuffered() } else { word }
    }

    /// Looks at one member: whether it is in use; or follows the references of one that is. True if there is more to be done.
    #[inline(always)]
    fn scan<M: Memory>(&self, pending: &Pending, memory: &M, meter: &mut Meter) -> bool {
        match self.spread(pending, memory, meter, |object, word| self.is_in_use(object, word)) {
            Spread::Over => {
                self.after_scan();
                return false;
            }
            Spread::Goes => {}
            // One that is borrowed has told that it is not as it was.
            Spread::Followed(object) | Spread::Busy(object) => {
                self.found_in_use.set(self.found_in_use.get() + 1);
                // SAFETY: by MEMBERS not freed.
                let header = unsafe { header(object) };
                let word = header.word().with_colour(Colour::Black);
                header.set_word(if self.is_probing() { word } else { word.older() });
            }
        }
        true
    }

    /// Looks at one member: whether `is_found`; or follows the references of one that is, or to which such a one leads. What is found is grey until it
    /// has been followed, and has no references from within: `is_found` of such a word.
    #[inline(always)]
    pub(super) fn spread<M: Memory>(
        &self,
        pending: &Pending,
        memory: &M,
        meter: &mut Meter,
        is_found: impl FnOnce(NonNull<Object>, Word) -> bool,
    ) -> Spread {
        let mut in_use = self.in_use.borrow_mut();
        let object = match self.hand.get() {
            Some(object) => object,
            None => match in_use.pop() {
                Some(object) => {
                    meter.searched(1);
                    object
                }
                None => {
                    let Some(object) = self.next_listed() else { return Spread::Over };
                    meter.searched(1);
                    // SAFETY: by MEMBERS not freed.
                    let header = unsafe { header(object) };
                    let word = header.word();
                    if !is_grey(word) || !is_found(object, word) {
                        return Spread::Goes;
                    }
                    header.set_word(self.found_in_use(word));
                    object
                }
            },
        };
        // SAFETY: by MEMBERS not freed.
        let header = unsafe { header(object) };
        if !is_grey(header.word()) {
            self.put_down();
            return Spread::Goes;
        }
        let mut look =
            Scanning { cycles: self, in_use: &mut in_use, foreign: Foreign::among(pending, memory), busy: false };
        let done = self.follow(pending, object, &mut look, meter);
        let Scanning { busy, .. } = look;
        if busy {
            self.put_down();
            return Spread::Busy(object);
        }
        if done { Spread::Followed(object) } else { Spread::Goes }
    }

    /// Whether some that were found are to be found again, in a walk that begins.
    pub(super) fn spreads_again(&self) -> bool {
        let again = self.again.take();
        if again {
            self.at.set(0);
            self.begin_walk();
        }
        again
    }

    fn after_scan(&self) {
        if self.spreads_again() {
            return;
        }
        let exact = self.at_once.get();
        let next = if exact {
            Next::Seek
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

    /// One member. True if there is more to be done.
    ///
    /// # Safety
    /// 1. As for `advance`.
    #[inline(always)]
    unsafe fn sweep<M: Memory>(&self, pending: &Pending, memory: &M, meter: &mut Meter, next: Next) -> bool {
        let Some(object) = self.next_listed() else {
            match self.wide.get() {
                true => self.after_walk(pending, next),
                false => self.phase.set(Phase::Trim { next }),
            }
            return false;
        };
        meter.searched(1);
        // SAFETY: by MEMBERS not freed.
        let header = unsafe { header(object) };
        let word = header.word();
        if is_grey(word) {
            let kept = self.kept.replace(self.kept.get() + 1);
            if !self.wide.get() {
                self.members.borrow_mut().set(kept, object);
            } else if kept == self.in_use.borrow().len() {
                // They may be few enough for a list. If there is no room for this one, there is none for the next.
                _ = self.in_use.borrow_mut().push(object, self.room.get());
            }
            let word = if next == Next::Recount { word.with_inner(0) } else { word };
            header.set_word(word.armed());
        } else {
            if next == Next::Condemn && !word.is_dead() {
                // SAFETY: a member, alive.
                unsafe { self.spare(pending, object) }
            }
            // SAFETY: 1; it is not kept.
            unsafe { self.dismiss(pending, memory, object, meter) }
        }
        true
    }

    /// All members have been found by a walk.
    fn after_walk(&self, pending: &Pending, next: Next) {
        self.members.swap(&self.in_use);
        if self.members.borrow().len() == self.kept.get() {
            // From now on they are listed.
            self.wide.set(false);
        }
        self.after_sweep(pending, next);
        self.pass_list();
    }

    fn after_sweep(&self, pending: &Pending, next: Next) {
        if self.kept.get() == 0 {
            self.verifying.set(false);
            self.end(pending, Phase::Idle);
            return;
        }
        self.enter_phase(match next {
            Next::Recount => {
                self.inner.borrow_mut().clear();
                Phase::Mark
            }
            Next::Check => Phase::Check,
            Next::Seek => Cycles::after_proof(pending),
            Next::Condemn => Phase::Condemn,
            Next::GiveUp => return self.fail(),
        });
    }

    /// The members are garbage.
    fn after_proof(pending: &Pending) -> Phase {
        if pending.attachments().finalizers() > 0 { Phase::Seek } else { Phase::Condemn }
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

    /// Looks at one member for the last time.
    fn check(&self, pending: &Pending, meter: &mut Meter) {
        if self.disturbed.get() {
            return self.fail();
        }
        let Some(object) = self.next_listed() else {
            return self.enter_phase(Cycles::after_proof(pending));
        };
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
        let Some(object) = self.take_last() else { return self.end(pending, Phase::Idle) };
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

/// What came of a step of [`Cycles::spread`].
pub(super) enum Spread {
    /// There is more to be done.
    Goes,
    /// All references of a member that was found have been followed.
    Followed(NonNull<Object>),
    /// One that was found is borrowed to be changed: not all have been.
    Busy(NonNull<Object>),
    /// All members have been looked at.
    Over,
}

/// Which level a trial is of: of four in a row one is of the next.
pub(super) fn level_of(number: u64) -> u8 {
    ((number + 1).trailing_zeros() / 2).min(u32::from(OLDEST)) as u8
}
