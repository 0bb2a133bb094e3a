//! What is done with a reference that is followed.

use core::ptr::NonNull;

use crate::aside::aside;
use crate::deferred::list::List;
use crate::deferred::object::{Colour, CountState, MOST_INNER, Object};
use crate::deferred::pending::{Memory, Pending, header};
use crate::deferred::trace::Look;

use super::Cycles;

/// Which objects are another mutator's: they are in use, whatever this trial thinks, and their headers are not its own.
pub(in crate::deferred) struct Foreign<'a, M>(Option<&'a M>);

impl<'a, M: Memory> Foreign<'a, M> {
    pub(in crate::deferred) fn among(pending: &Pending, memory: &'a M) -> Foreign<'a, M> {
        Foreign((!pending.is_alone()).then_some(memory))
    }

    /// # Safety
    /// 1. `object` is an object of this thread whose memory has not been freed.
    #[inline(always)]
    pub(in crate::deferred) unsafe fn has(&self, object: NonNull<Object>) -> bool {
        // SAFETY: handed on (1).
        self.0.is_some_and(|memory| !unsafe { memory.owns(object) })
    }
}

/// Counts references between members. In the first round, what is referred to becomes one.
pub(super) struct Marking<'a, M> {
    pub(super) cycles: &'a Cycles,
    pub(super) members: &'a mut List,
    pub(super) foreign: Foreign<'a, M>,
    pub(super) busy: bool,
    pub(super) failed: bool,
}

impl<M: Memory> Look for Marking<'_, M> {
    unsafe fn reference(&mut self, child: NonNull<Object>, _: usize) {
        let cycles = self.cycles;
        // SAFETY: not freed (1).
        let header = unsafe { header(child) };
        let word = header.word();
        match word.colour() {
            // SAFETY: not freed (1), and what a live object refers to is of its thread.
            _ if unsafe { self.foreign.has(child) } => {}
            Colour::Grey => {
                let inner = word.inner();
                if inner + 1 < MOST_INNER {
                    header.set_word(word.with_inner(inner + 1));
                    return;
                }
                let mut map = cycles.inner.borrow_mut();
                if aside(|| map.try_reserve(1)).is_err() {
                    // It will be found in use for this one.
                    return cycles.uncounted.set(true);
                }
                *map.entry(child.addr().get()).or_insert(inner) += 1;
                header.set_word(word.with_inner(MOST_INNER));
            }
            Colour::None
                if !cycles.verifying.get()
                    && word.is_cyclic()
                    && word.age() <= cycles.level.get()
                    && word.state() == CountState::Local =>
            {
                if word.may_be_on_ledger() && cycles.ledger.holds(child) {
                    // It is in use, and so is what it leads to.
                    return;
                }
                let is_listed = self.members.push(child, cycles.room.get()).is_ok();
                if !is_listed && !cycles.may_walk() {
                    self.failed = true;
                    return;
                }
                cycles.count(|trials| trials.members += 1);
                // A candidate came to be one after the others were gathered, and stays one.
                let mut member = word.grey(1);
                if word.may_be_on_ledger() && cycles.ledger.remove(child) {
                    member = word.unbuffered().grey(1);
                } else if word.is_buffered() {
                    cycles.candidates.remove(child);
                }
                header.set_word(if is_listed { member } else { cycles.unlisted_member(child, member) });
            }
            _ => {}
        }
    }

    fn watches(&self) -> u32 {
        if self.cycles.verifying.get() { self.cycles.recount.get() } else { 0 }
    }

    fn unwatched(&mut self) {
        self.cycles.unwatched.set(true);
    }

    fn busy(&mut self) {
        self.busy = true;
    }
}

/// Finds members that one in use refers to. One for which there is no room is known again by its having no references from within.
pub(super) struct Scanning<'a, M> {
    pub(super) cycles: &'a Cycles,
    pub(super) in_use: &'a mut List,
    pub(super) foreign: Foreign<'a, M>,
    pub(super) busy: bool,
}

impl<M: Memory> Look for Scanning<'_, M> {
    unsafe fn reference(&mut self, child: NonNull<Object>, _: usize) {
        // SAFETY: not freed (1).
        let header = unsafe { header(child) };
        let word = header.word();
        // One that nothing within refers to is in use anyway, or found already.
        // SAFETY: not freed (1), and what a live object refers to is of its thread.
        if word.colour() != Colour::Grey || word.inner() == 0 || unsafe { self.foreign.has(child) } {
            return;
        }
        header.set_word(self.cycles.found_in_use(word));
        if self.in_use.push(child, self.cycles.room.get()).is_err() && !self.cycles.keep_in_page(child) {
            self.cycles.again.set(true);
        }
    }

    fn watches(&self) -> u32 {
        0
    }

    fn unwatched(&mut self) {}

    fn busy(&mut self) {
        self.busy = true;
    }
}
