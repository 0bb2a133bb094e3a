//! What the program does to objects of which a search knows, or is told of.

use core::ptr::NonNull;

use crate::deferred::object::{Colour, Object, Word};
use crate::deferred::pending::header;

use super::{Cycles, Next, Phase};

impl Cycles {
    /// A reference to an armed object was given up, and others are left.
    ///
    /// # Safety
    /// 1. `object` is alive, armed, and of the mutator that this belongs to.
    #[inline(always)]
    pub(in crate::deferred) unsafe fn suspect(&self, object: NonNull<Object>) {
        // SAFETY: alive (1).
        let header = unsafe { header(object) };
        let word = header.word();
        if word.is_on_no_list() && self.candidates.add_next(object) {
            self.news.set(self.news.get() + 1);
            return header.set_word(word.suspected());
        }
        // SAFETY: handed on (1).
        unsafe { self.suspect_loudly(object) }
    }

    /// The rest of `suspect`: a member of a trial, or on the ledger, or room has to be made.
    ///
    /// # Safety
    /// 1. As for `suspect`.
    #[cold]
    #[inline(never)]
    unsafe fn suspect_loudly(&self, object: NonNull<Object>) {
        // SAFETY: alive (1).
        let header = unsafe { header(object) };
        let word = header.word();
        if word.may_be_on_ledger() {
            // SAFETY: alive (1).
            if unsafe { self.ledger.released(object) } {
                return;
            }
            if !self.ledger.remove(object) {
                // It is a candidate that was left.
                self.news.set(self.news.get() + 1);
                return header.set_word(word.buffered());
            }
        }
        self.news.set(self.news.get() + 1);
        self.touched(word);
        header.set_word(word.buffered());
        if word.colour() == Colour::None {
            // SAFETY: handed on (1); not in the set.
            unsafe { self.enter(object) };
        }
    }

    /// Enters an object, which is buffered, in the set. What has to make room for it becomes a member: of the trial that is
    /// under way if that is still following references for the first time, and no probe, or else of the next.
    ///
    /// # Safety
    /// 1. `object` is alive, and not in the set.
    pub(super) unsafe fn enter(&self, object: NonNull<Object>) {
        let Some(other) = self.candidates.add(object) else { return };
        if self.is_lost() {
            // SAFETY: it was in the set, so by MEMBERS it is alive.
            let header = unsafe { header(other) };
            self.count(|trials| trials.forgotten += 1);
            return header.set_word(header.word().unbuffered());
        }
        let joins = match self.phase.get() {
            _ if self.is_probing() => false,
            Phase::Admit | Phase::Gather => true,
            // The list is being used only if a `trace` has panicked just now, and the panic hook has come here.
            Phase::Mark => !self.verifying.get() && self.members.try_borrow_mut().is_ok(),
            _ => false,
        };
        let (list, colour) = if joins { (&self.members, Colour::Grey) } else { (&self.waiting, Colour::Black) };
        // SAFETY: it was in the set, so by MEMBERS it is alive.
        let header = unsafe { header(other) };
        let word = header.word();
        let is_listed = list.borrow_mut().push(other, self.room.get()).is_ok();
        if !is_listed && !self.can_walk.get() {
            // The next release of it makes it a candidate again.
            self.count(|trials| trials.forgotten += 1);
            return header.set_word(word.unbuffered());
        }
        let word = word.grey(0).with_colour(colour);
        header.set_word(match joins {
            // Those that are listed before `admit` are counted there.
            true => {
                let is_counted = !is_listed || self.phase.get() != Phase::Admit;
                self.count(|trials| trials.members += u64::from(is_counted));
                if is_listed { word } else { self.unlisted_member(other, word) }
            }
            false => {
                self.unlisted.set(self.unlisted.get() + u64::from(!is_listed));
                word.waiting()
            }
        });
    }

    /// Something is done to a live object that is not done to garbage.
    fn touched(&self, word: Word) {
        if self.verifying.get() && word.colour() == Colour::Grey {
            self.disturbed.set(true);
        }
    }

    /// Somebody is about to change a slot of an object.
    ///
    /// # Safety
    /// 1. `object` is alive and of the mutator that this belongs to.
    pub(crate) unsafe fn change(&self, object: NonNull<Object>) {
        // SAFETY: alive (1).
        let header = unsafe { header(object) };
        let word = header.word();
        self.touched(word);
        if word.colour() == Colour::Grey {
            header.set_word(word.with_colour(Colour::Black));
        } else if word.may_be_on_ledger() {
            self.ledger.make_void();
        }
    }

    /// Somebody has borrowed an object, to which there is one reference, mutably. It must not be looked at until that reference is used
    /// again, so it is neither followed any more nor a candidate. What is in use now is no garbage; when it becomes some, another
    /// release tells.
    ///
    /// # Safety
    /// 1. As for `change`.
    pub(crate) unsafe fn borrow(&self, object: NonNull<Object>) {
        // SAFETY: handed on (1).
        unsafe { self.change(object) };
        // SAFETY: handed on (1): it is struck off as if it died.
        unsafe { self.strike_off(object) };
    }

    /// Takes a reference to an object that somebody knows of without having one. False if it is garbage that has been found.
    ///
    /// # Safety
    /// 1. `object` has not died, and is of the mutator that this belongs to.
    pub(crate) unsafe fn revive(&self, object: NonNull<Object>) -> bool {
        // SAFETY: alive, or not freed (1).
        let header = unsafe { header(object) };
        let word = header.word();
        if word.colour() == Colour::Condemned || self.is_found(word) {
            return false;
        }
        self.touched(word);
        header.retain();
        true
    }

    /// Whether an object that has not died was found to be garbage, and is neither condemned yet nor spared.
    pub(crate) fn is_found(&self, word: Word) -> bool {
        match self.phase.get() {
            Phase::Sweep { next: Next::Seek } | Phase::Trim { next: Next::Seek } => word.colour() == Colour::Grey,
            // Members that are black are to be spared.
            Phase::Sweep { next: Next::Condemn } | Phase::Trim { next: Next::Condemn } => word.is_member(),
            Phase::Seek | Phase::Spare => word.is_member(),
            Phase::Condemn => word.colour() == Colour::Grey,
            _ => false,
        }
    }

    /// Whether an object that has not died may be part of what a trial has proven to be garbage, or counts on having nobody take a reference to: whoever
    /// finds it by other means than references must leave it alone.
    pub(crate) fn may_be_proven(&self, word: Word) -> bool {
        self.verifying.get() && word.colour() == Colour::Grey || self.is_found(word)
    }

    /// A cell is being changed that was to tell a recount of this number, of this search or another one.
    pub(crate) fn disturb(&self, recount: u32) {
        // What an earlier one has seen may have been found in use since.
        if recount == self.recount.get() {
            self.disturbed.set(true);
        }
        self.ledger.disturb(recount);
    }

    /// The same as [`strike_off`](Cycles::strike_off) for most candidates. `None` for an object that is none, or is not found at once: nothing has
    /// been done.
    ///
    /// # Safety
    /// 1. As for `strike_off`.
    #[inline(always)]
    pub(crate) unsafe fn strike_off_near(&self, object: NonNull<Object>) -> Option<Word> {
        // SAFETY: dead and not freed (1).
        let header = unsafe { header(object) };
        let word = header.word();
        if !word.is_simply_candidate() || !self.candidates.remove_near(object) {
            return None;
        }
        let word = word.struck_off();
        header.set_word(word);
        Some(word)
    }

    /// An object dies. Returns what its header is from now on, save that it is not queued yet.
    ///
    /// # Safety
    /// 1. The last reference to `object`, of the mutator that this belongs to, was just given up.
    #[inline(always)]
    pub(crate) unsafe fn strike_off(&self, object: NonNull<Object>) -> Word {
        // SAFETY: dead and not freed (1).
        let header = unsafe { header(object) };
        let word = header.word();
        if word.is_simply_candidate() {
            self.candidates.remove(object);
        } else if !word.is_buffered() {
            return word;
        } else {
            self.strike_off_loudly(object, word);
        }
        let word = word.unbuffered();
        header.set_word(word);
        word
    }

    /// The rest of `strike_off`: a candidate that is a member of a trial, or on the ledger, or may be.
    #[cold]
    #[inline(never)]
    fn strike_off_loudly(&self, object: NonNull<Object>, word: Word) {
        let was_on_ledger = word.may_be_on_ledger() && self.ledger.remove(object);
        if word.colour() == Colour::None && !was_on_ledger {
            self.candidates.remove(object);
        }
    }

    /// Whether an object, which has not died or died just now, is garbage that is being spared: finalizers are due when all of it is.
    pub(in crate::deferred) fn is_being_spared(&self, word: Word) -> bool {
        let is_sparing = matches!(self.phase.get(), Phase::Sweep { next: Next::Condemn } | Phase::Spare);
        is_sparing && word.is_member()
    }

    /// A member has died, or only a finalizer keeps it. It leaves so many bytes behind, which somebody has to free.
    pub(in crate::deferred) fn member_died(&self, word: Word, bytes: u64) {
        // If it was one of those that wait, the next trial frees it, if no tidying does before.
        self.news.set(self.news.get() + 1);
        if word.is_member_to_be() {
            self.pace.died(bytes);
        }
        self.touched(word);
    }
}
