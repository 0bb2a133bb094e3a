//! What comes after a look at all members: which of them leave the trial, and how, and what is to be done with the others.

use core::ptr::NonNull;

use crate::deferred::budget::Meter;
use crate::deferred::object::{CountState, Object};
use crate::deferred::pending::{Memory, Pending, header};

use super::{Cycles, MOST_ROUNDS, Next, Phase, is_grey};

impl Cycles {
    pub(super) fn after_scan(&self) {
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
    pub(super) unsafe fn sweep<M: Memory>(&self, pending: &Pending, memory: &M, meter: &mut Meter, next: Next) -> bool {
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

    pub(super) fn after_sweep(&self, pending: &Pending, next: Next) {
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
    pub(super) fn after_proof(pending: &Pending) -> Phase {
        if pending.attachments().finalizers() > 0 { Phase::Seek } else { Phase::Condemn }
    }

    /// Looks at one member for the last time.
    pub(super) fn check(&self, pending: &Pending, meter: &mut Meter) {
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
    pub(super) unsafe fn give_up<M: Memory>(&self, pending: &Pending, memory: &M, meter: &mut Meter) {
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
    pub(super) unsafe fn dismiss<M: Memory>(
        &self,
        pending: &Pending,
        memory: &M,
        object: NonNull<Object>,
        meter: &mut Meter,
    ) {
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
