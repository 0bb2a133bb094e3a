//! Following references: what members lead to, and which of them are in use.

use core::ptr::NonNull;

use crate::deferred::budget::Meter;
use crate::deferred::object::{Colour, CountState, MOST_INNER, OLDEST, Object, Word};
use crate::deferred::pending::{Memory, Pending, WHOLE, header};
use crate::deferred::trace::{ATTACHED, Look, Slots, Tracer};

use super::look::{Foreign, Marking, Scanning};
use super::{Cycles, MOST_PROBED, Phase, is_grey};

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

impl Cycles {
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

    pub(super) fn put_down(&self) {
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
    pub(super) fn mark<M: Memory>(&self, pending: &Pending, memory: &M, meter: &mut Meter) -> bool {
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
    pub(super) fn scan<M: Memory>(&self, pending: &Pending, memory: &M, meter: &mut Meter) -> bool {
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
}
