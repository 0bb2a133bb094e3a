//! What becomes of the members that were proven to be garbage.

use core::ptr::NonNull;

use crate::deferred::attached::Attachment;
use crate::deferred::budget::Meter;
use crate::deferred::object::{Colour, Object, Word};
use crate::deferred::pending::{Memory, Pending, counted_bytes, header};

use super::follow::Spread;
use super::{Cycles, Next, Phase, TAKEN_APART, is_abandoned, is_condemned, is_grey};

impl Cycles {
    /// The next member of those that were proven to be garbage; `None` at the end.
    fn next_proven(&self, meter: &mut Meter) -> Option<NonNull<Object>> {
        self.verifying.set(false);
        let object = self.next_listed()?;
        meter.searched(1);
        Some(object)
    }

    /// Looks for a finalizer at one member, or follows the references of one that has one, or to which such a one leads: it is to be spared. Nothing is
    /// parted before all have been found: what a key keeps is reached through its attachment. True if there is more to be done.
    #[inline(always)]
    pub(super) fn seek<M: Memory>(&self, pending: &Pending, memory: &M, meter: &mut Meter) -> bool {
        let is_found = |object, word: Word| {
            // SAFETY: by MEMBERS not freed.
            word.inner() == 0 || unsafe { pending.attachments().of(object) }[Attachment::Finalizer as usize].is_some()
        };
        match self.spread(pending, memory, meter, is_found) {
            Spread::Goes => return true,
            Spread::Followed(object) => {
                // SAFETY: by MEMBERS not freed, and alive.
                let header = unsafe { header(object) };
                // Not tried in vain, so no older.
                header.set_word(header.word().with_colour(Colour::Black));
                self.kept.set(self.kept.get() + 1);
                return true;
            }
            Spread::Busy(_) => {
                debug_assert!(false, "what is garbage is not borrowed");
                self.enter_phase(Phase::Spare);
            }
            Spread::Over => {
                if !self.spreads_again() {
                    let next = if self.kept.get() > 0 { Phase::Sweep { next: Next::Condemn } } else { Phase::Condemn };
                    self.enter_phase(next);
                }
            }
        }
        false
    }

    /// Spares one member, whatever it leads to.
    pub(super) fn spare_any(&self, pending: &Pending, meter: &mut Meter) {
        let Some(object) = self.next_proven(meter) else {
            self.in_use.take();
            return self.enter_phase(Phase::GiveUp);
        };
        // SAFETY: by MEMBERS not freed.
        let header = unsafe { header(object) };
        if !header.word().is_dead() {
            // SAFETY: a member, alive.
            unsafe { self.spare(pending, object) };
            header.set_word(header.word().with_colour(Colour::Black));
        }
    }

    /// Parts a member from its attachments, and queues its finalizer. None of those is due before the trial ends: what a finalizer reaches has no
    /// weak references any more.
    ///
    /// # Safety
    /// 1. `object` is a member, and alive.
    pub(super) unsafe fn spare(&self, pending: &Pending, object: NonNull<Object>) {
        // SAFETY: by MEMBERS of this mutator; alive (1).
        unsafe { pending.spare(object) };
        self.pace.spared();
        // Without finalizers it is garbage still.
        self.news.set(self.news.get() + 1);
    }

    /// Condemns one member.
    pub(super) fn condemn(&self, pending: &Pending, meter: &mut Meter) {
        let Some(object) = self.next_proven(meter) else { return self.end(pending, Phase::TakeApart) };
        // SAFETY: by MEMBERS not freed.
        let header = unsafe { header(object) };
        if !is_grey(header.word()) {
            return;
        }
        // SAFETY: by MEMBERS of this mutator; alive.
        let finalizer = unsafe { pending.part(object) };
        debug_assert!(finalizer.is_none(), "what has a finalizer is spared, and nobody can give it one since");
        let word = header.word();
        // Uncounted, so that what refers to it from within can be given up like any reference.
        header.set_word(word.with_count(0).with_colour(Colour::Condemned).with_inner(0));
        // SAFETY: of its own type, whole.
        let bytes = unsafe { counted_bytes(header.info(), object) };
        pending.queued.set(pending.queued.get().plus(bytes));
        self.count(|trials| trials.garbage += 1);
    }

    /// The next member to be taken apart. `None` if there is none, or while `meter` does not admit to look for it.
    ///
    /// # Safety
    /// 1. The objects of this mutator came from `memory`.
    pub(in crate::deferred) unsafe fn next_garbage<M: Memory>(
        &self,
        pending: &Pending,
        memory: &M,
        meter: &mut Meter,
    ) -> Option<NonNull<Object>> {
        if self.phase.get() != Phase::TakeApart {
            return None;
        }
        let next = || {
            core::iter::from_fn(|| self.next_listed()).find(|object| {
                // SAFETY: by MEMBERS not freed.
                is_condemned(unsafe { header(*object) }.word())
            })
        };
        // SAFETY: 1.
        let object = unsafe { self.next_in_walk(pending, memory, meter, next) };
        if object.is_none() && !self.walks_on() && self.phase.get() == Phase::TakeApart {
            self.enter_phase(Phase::HandOver);
        }
        object
    }

    /// The next member of which nothing is left but the memory; it is one no more. None of them is in hand. `None` if there is none, or while
    /// `meter` does not admit to look for it.
    ///
    /// # Safety
    /// 1. The objects of this mutator came from `memory`.
    pub(in crate::deferred) unsafe fn next_taken_apart<M: Memory>(
        &self,
        pending: &Pending,
        memory: &M,
        meter: &mut Meter,
    ) -> Option<NonNull<Object>> {
        if self.phase.get() != Phase::HandOver {
            return None;
        }
        let next = || {
            core::iter::from_fn(|| self.take_last()).find(|object| {
                // SAFETY: by MEMBERS not freed.
                let header = unsafe { header(*object) };
                let word = header.word();
                if word.is_dead() {
                    header.set_word(word.let_go());
                    return word.is_husk();
                }
                if word.colour() != Colour::Condemned {
                    // SAFETY: alive, and just taken from the list.
                    unsafe { self.leave(*object) };
                    return false;
                }
                let goes = !is_abandoned(word);
                if goes {
                    header.set_word(word.dead(0).husk());
                }
                goes
            })
        };
        // SAFETY: 1.
        let object = unsafe { self.next_in_walk(pending, memory, meter, next) };
        if object.is_none() && !self.walks_on() && self.phase.get() == Phase::HandOver {
            self.members.take();
            self.wide.set(false);
            self.phase.set(Phase::Idle);
        }
        object
    }

    /// The objects in the set of candidates.
    pub(crate) fn each_candidate(&self, visit: &mut dyn FnMut(NonNull<Object>)) {
        self.candidates.each(visit);
    }

    /// Members that are garbage and not on the queue, save the one in the drain's hand. `visit` is told from which slot on an object owns its
    /// references. `over` gives all objects of the mutator to which nobody refers; it is asked where members are on no list.
    pub(in crate::deferred) fn each_dead(
        &self,
        in_hand: Option<NonNull<Object>>,
        over: &mut dyn Iterator<Item = NonNull<Object>>,
        visit: &mut dyn FnMut(NonNull<Object>, Option<usize>),
    ) {
        let mut look_at = |object: NonNull<Object>| {
            // SAFETY: by MEMBERS not freed, or passed by whoever knows.
            let word = unsafe { header(object) }.word();
            if word.is_husk() {
                visit(object, None);
            } else if is_condemned(word) && !is_abandoned(word) && in_hand != Some(object) {
                visit(object, (word.inner() != TAKEN_APART).then_some(0));
            }
        };
        if self.wide.get() || self.unlisted.get() > 0 {
            let is_held = |object: &NonNull<Object>| {
                // SAFETY: as above.
                let word = unsafe { header(*object) }.word();
                !word.is_dead() || word.is_held()
            };
            return over.filter(is_held).for_each(look_at);
        }
        // A sweep moves those that remain together. What it has passed and left behind them stands there for nothing, and may be freed.
        let left_behind = match self.phase.get() {
            Phase::Sweep { .. } => self.kept.get()..self.at.get(),
            Phase::Trim { .. } => self.kept.get()..usize::MAX,
            _ => 0..0,
        };
        for (list, left_behind) in [(&self.members, left_behind), (&self.waiting, 0..0)] {
            let list = list.borrow();
            (0..list.len()).filter(|index| !left_behind.contains(index)).for_each(|index| look_at(list.get(index)));
        }
    }
}
