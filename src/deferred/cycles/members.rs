//! Where the members of a trial are: on the list, and where it is wide anywhere in the heap, through which each phase walks.

use core::ptr::NonNull;

use crate::deferred::budget::Meter;
use crate::deferred::object::{Object, Word};
use crate::deferred::pending::{Memory, Pending, Place, header};

use super::{Cycles, LOOKS_PER_UNIT, MOST_IN_PAGE, Phase, TRIMMED_PER_UNIT, UNITS_PER_PAGE, is_abandoned, is_grey};

impl Cycles {
    pub(super) fn begin_walk(&self) {
        self.page.borrow_mut().clear();
        self.walk.set(self.wide.get().then(Place::default));
    }

    /// Whether there may be members besides those on the lists.
    pub(super) fn walks_on(&self) -> bool {
        self.walk.get().is_some()
    }

    /// Whether the phase gets on with what it has found, if there is more to be found by a walk.
    #[inline(always)]
    pub(super) fn has_some_at_hand(&self) -> bool {
        !self.walks_on()
            || self.members.borrow().len() > self.at.get()
            || !self.page.borrow().is_empty()
            || self.hand.get().is_some()
            || self.phase.get() == Phase::Gather
    }

    /// Drops what is behind the first `kept` members on the list, a chunk at most. True when nothing is any more.
    pub(super) fn trim(&self, kept: usize, meter: &mut Meter) -> bool {
        let mut members = self.members.borrow_mut();
        let before = members.len();
        let is_done = members.trim(kept);
        meter.searched(1);
        self.owed.set(((before - members.len()) / TRIMMED_PER_UNIT) as u64);
        is_done
    }

    /// Lists the members in the next page, when what the last one cost has been worked off.
    ///
    /// # Safety
    /// 1. The objects of this mutator came from `memory`.
    pub(super) unsafe fn walk_on<M: Memory>(&self, pending: &Pending, memory: &M, meter: &mut Meter) {
        let owed = self.owed.get();
        if owed > 0 {
            let paid = owed.min(meter.units_now() as u64);
            self.owed.set(owed - paid);
            return meter.searched(paid);
        }
        let Some(place) = self.walk.get() else { return };
        let phase = self.phase.get();
        if place == Place::default() && phase != Phase::Admit {
            // Of those that were listed the last has been dealt with.
            let is_done = self.trim(0, meter);
            // What is listed from now on is found.
            self.at.set(self.members.borrow().len());
            if !is_done {
                return;
            }
            self.again.set(false);
        }
        let mut page = self.page.borrow_mut();
        let visit = |object: NonNull<Object>| {
            // SAFETY: not freed, as the walk says.
            let header = unsafe { header(object) };
            let word = header.word();
            if word.is_in_no_trial() {
                return;
            }
            let is_wanted = match phase {
                Phase::Admit => word.is_member_to_be(),
                // The others have been followed, or are listed.
                Phase::Mark if !self.verifying.get() => is_grey(word) && word.waits(),
                _ => word.is_member() && !is_abandoned(word),
            };
            if is_wanted {
                page.push(object);
                if phase == Phase::Mark {
                    header.set_word(word.not_waiting());
                }
            }
        };
        // SAFETY: 1; nothing is in the hand of a collection.
        let Ok((next, looks)) = (unsafe { memory.walk_on(place, visit) }) else {
            drop(page);
            return self.give_up_for_good(pending);
        };
        self.walk.set(next);
        meter.searched(1);
        if !self.is_stressed.get() {
            self.owed.set(UNITS_PER_PAGE + looks / LOOKS_PER_UNIT);
        }
    }

    /// Members cannot be found any more: the engine is not as this crate knows it. Nothing is looked for from now on, as nobody could tell these from
    /// members of another trial. Of them leaks what is part of garbage cycles, what was found to be garbage already, and what had died. What dies later is freed.
    #[cold]
    fn give_up_for_good(&self, pending: &Pending) {
        let candidates = self.candidates() as u64;
        self.is_lost.set(true);
        self.count(|trials| {
            trials.given_up += 1;
            trials.forgotten += candidates.max(1);
        });
        self.verifying.set(false);
        self.page.take();
        self.waiting.take();
        self.unlisted.set(0);
        self.end(pending, Phase::Idle);
    }

    /// The next member on the list, from the first; or, if not all are listed, the last that was found and not dealt with.
    #[inline(always)]
    pub(super) fn next_listed(&self) -> Option<NonNull<Object>> {
        let at = self.at.get();
        let mut members = self.members.borrow_mut();
        if members.len() <= at {
            return self.page.borrow_mut().pop();
        }
        if self.wide.get() {
            return members.pop();
        }
        self.at.set(at + 1);
        Some(members.get(at))
    }

    /// Notes an object that is to be looked at in this phase with those of the last page, if there is room.
    pub(super) fn keep_in_page(&self, object: NonNull<Object>) -> bool {
        let mut page = self.page.borrow_mut();
        // One at least, so that what hangs together like a list is followed on from there.
        let has_room = page.len() < self.room.get().clamp(1, MOST_IN_PAGE);
        if has_room {
            page.push(object);
        }
        has_room
    }

    /// The last member that is listed, which is so no more.
    pub(super) fn take_last(&self) -> Option<NonNull<Object>> {
        if self.wide.get() { self.next_listed() } else { self.members.borrow_mut().pop() }
    }

    /// A member for which there is no room on the list: from now on walks find them all. Returns its word, of which `word` was to be the rest.
    pub(super) fn unlisted_member(&self, object: NonNull<Object>, word: Word) -> Word {
        if !self.wide.replace(true) {
            self.walk.set(Some(Place::default()));
        }
        // No phase but Mark looks at what it was told of before.
        if self.phase.get() == Phase::Mark && self.keep_in_page(object) {
            return word;
        }
        self.again.set(true);
        word.waiting()
    }

    /// Where a walk finds the members, what is listed is passed over.
    pub(super) fn pass_list(&self) {
        if self.wide.get() {
            self.at.set(self.members.borrow().len());
        }
    }

    /// The next member that `next` has of what is listed, or of the page that a walk has come to. `None` at the end, or while `meter` does not admit to
    /// walk on.
    ///
    /// # Safety
    /// 1. The objects of this mutator came from `memory`.
    pub(super) unsafe fn next_in_walk<M: Memory>(
        &self,
        pending: &Pending,
        memory: &M,
        meter: &mut Meter,
        next: impl Fn() -> Option<NonNull<Object>>,
    ) -> Option<NonNull<Object>> {
        loop {
            let found = next();
            if found.is_some() || !self.walks_on() || !meter.admits() {
                return found;
            }
            // SAFETY: 1.
            unsafe { self.walk_on(pending, memory, meter) }
        }
    }
}
