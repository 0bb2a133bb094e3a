//! The drain: how the queue is worked off.

use core::ptr::NonNull;

use crate::deferred::budget::{Meter, Tally};
use crate::deferred::cycles::{ABANDONED, TAKEN_APART, is_condemned};
use crate::deferred::kind::TypeInfo;
use crate::deferred::object::{OLDEST, Object};
use crate::deferred::size::counted;
use crate::deferred::trace::{Slots, Tracer};

use super::{Memory, Pending, Phase, WHOLE, address, counted_bytes, header, pop};

/// What a drain does with large blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Large {
    /// Leaves them for a place that may wait.
    Keep,
    /// Frees one as soon as the budget in bytes is as large as the block: space is owed, and waiting would not be bounded.
    WhenOwed,
    /// Frees them when nothing else is left and the budget still admits it.
    Free,
}

/// Which trials a collection works on, besides draining.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Search {
    /// None.
    None,
    /// The one that is under way, and no draining.
    Current,
    /// The one that is under way, and then one of all candidates if there are new ones.
    All,
}

impl Pending {
    /// Frees the memory of a husk.
    ///
    /// # Safety
    /// 1. `object` is a husk that came from `memory`, and is on no list.
    pub(in crate::deferred) unsafe fn free_husk<M: Memory>(
        &self,
        memory: &M,
        object: NonNull<Object>,
        meter: &mut Meter,
    ) {
        // SAFETY: not freed (1).
        let header = unsafe { header(object) };
        let info = header.info();
        if !header.word().is_moved() {
            // SAFETY: handed on (1), and nothing but the memory is left.
            return unsafe { self.free(memory, object, info, meter) };
        }
        // SAFETY: not freed (1). The length of a tail has stayed behind.
        let bytes = unsafe { info.bytes_of(object) };
        let freed = Tally { objects: 0, bytes: counted(bytes, info.align) };
        self.done.set(self.done.get().and(freed));
        meter.freed(freed, 1);
        // SAFETY: from this memory with this size, and not used again (1).
        unsafe { memory.free(object.cast(), bytes, info.align) }
    }

    /// Works the queue off for as long as `meter` admits.
    ///
    /// Panics of user code pass through, and the drain can be resumed after them. Does nothing within another drain.
    ///
    /// # Safety
    /// 1. Every queued object came from `memory`.
    pub(crate) unsafe fn drain<M: Memory>(&self, memory: &M, meter: &mut Meter, large: Large) {
        if self.draining.replace(true) {
            return;
        }
        let _done = Draining(self);
        if large == Large::WhenOwed {
            while meter.admits() && self.next_large().is_some_and(|bytes| meter.owes(bytes)) {
                // SAFETY: 1.
                unsafe { self.free_large(memory, meter) };
            }
        }
        while meter.admits() {
            // SAFETY: 1.
            if self.in_hand.get().is_none() && unsafe { self.drain_quick(memory, meter) } {
                continue;
            }
            // SAFETY: 1.
            let Some(object) = (unsafe { self.next(memory, meter) }) else {
                // SAFETY: 1.
                let Some(object) = (unsafe { self.cycles.next_taken_apart(self, memory, meter) }) else { break };
                meter.searched(1);
                // SAFETY: 1; a husk, and on no list.
                unsafe { self.free_husk(memory, object, meter) };
                continue;
            };
            // SAFETY: by QUEUE dead and not freed.
            let header = unsafe { header(object) };
            let info = header.info();
            if self.phase.get() == Phase::Slots && !self.visit(object, info, meter) {
                continue;
            }
            if self.phase.get() == Phase::Residue {
                // Set first: a residue whose drop panics has been dropped all the same, and is not dropped again.
                self.phase.set(Phase::Free);
                if let Some(drop_residue) = info.drop_residue {
                    // SAFETY: of this type, its slots are done, and it is dropped once.
                    unsafe { drop_residue(object) }
                }
            }
            self.put_down();
            let word = header.word();
            if is_condemned(word) {
                // Others of the garbage may refer to it.
                header.set_word(word.with_inner(TAKEN_APART));
                meter.searched(1);
            } else if word.is_held() && !self.cycles.is_lost() {
                header.set_word(word.husk());
                meter.searched(1);
            } else {
                // SAFETY: 1, and by QUEUE nothing but the memory is left.
                unsafe { self.free(memory, object, info, meter) }
            }
        }
        if large == Large::Free && !self.has_work() {
            while meter.admits() {
                // SAFETY: 1.
                if !unsafe { self.free_large(memory, meter) } {
                    break;
                }
            }
        }
    }

    /// Drains, and looks for garbage cycles, in turn, until neither finds anything or the budget is used up.
    ///
    /// # Safety
    /// 1. As for [`drain`](Pending::drain).
    pub(crate) unsafe fn work<M: Memory>(&self, memory: &M, meter: &mut Meter, large: Large, search: Search) {
        // The program has run.
        self.cycles.interrupt();
        // What was given up for want of a larger budget is tried again, and what is under way need not be. But after a panic this is
        // called again, and a `trace` that always panics would have it begin for ever.
        let mut anew = search == Search::All && !meter.is_limited() && !self.cycles.has_panicked();
        if anew {
            self.cycles.abandon();
        }
        loop {
            if search != Search::Current {
                // SAFETY: 1.
                unsafe { self.drain(memory, meter, large) };
                if search == Search::None || self.has_work() {
                    return;
                }
            }
            if self.draining.get() || !meter.admits() {
                return;
            }
            self.draining.set(true);
            let _done = Draining(self);
            let before = meter.search_units;
            if search == Search::All && self.cycles.is_worth_a_trial(anew) {
                // SAFETY: 1; there is no trial.
                unsafe { self.cycles.survey(self, memory, meter) };
            }
            // Of those that were candidates there may be none any more.
            if search == Search::All && self.cycles.is_worth_a_trial(anew) {
                self.cycles.begin(OLDEST);
                anew = false;
            }
            if !self.cycles.is_trying() {
                return;
            }
            // SAFETY: 1.
            unsafe { self.cycles.advance(self, memory, meter) };
            self.cycles.spent(meter.search_units - before);
        }
    }

    /// The object in hand, or the next from the stack, or of the garbage that was found.
    ///
    /// # Safety
    /// 1. As for [`drain`](Pending::drain).
    #[inline(always)]
    unsafe fn next<M: Memory>(&self, memory: &M, meter: &mut Meter) -> Option<NonNull<Object>> {
        if let Some(object) = self.in_hand.get() {
            return Some(object);
        }
        // SAFETY: 1.
        let object = pop(&self.stack).or_else(|| unsafe { self.cycles.next_garbage(self, memory, meter) })?;
        self.in_hand.set(Some(object));
        Some(object)
    }

    /// Nothing is in hand any more.
    #[inline(always)]
    pub(super) fn put_down(&self) {
        self.in_hand.set(None);
        self.phase.set(Phase::Slots);
        self.cursor.set(0);
        self.panicked_at.set(None);
    }

    /// Visits slots of the object in hand. True when all are done.
    #[inline(always)]
    fn visit(&self, object: NonNull<Object>, info: &TypeInfo, meter: &mut Meter) -> bool {
        let from = self.cursor.get();
        let left = match info.slots {
            Slots::Fixed(0) => {
                self.phase.set(Phase::Residue);
                return true;
            }
            Slots::Fixed(slots) if slots <= WHOLE => WHOLE,
            _ => meter.units_now(),
        };
        let mut guard = Retrace { pending: self, object, from, meter };
        let mut tracer = Tracer::resume(self, from, left);
        // SAFETY: an object of this type whose value is whole: `trace` leaves it as it is.
        unsafe { (info.trace)(object, &mut tracer) }
        let cut = tracer.is_cut();
        guard.visited(tracer.cursor());
        core::mem::forget(guard);
        drop(tracer);
        if !cut {
            self.phase.set(Phase::Residue);
        }
        !cut
    }

    /// Frees the memory of an object that is done, or sets it aside if that is a long call.
    ///
    /// # Safety
    /// 1. `object`, of type `info`, came from `memory`; it is dead, on no list, and its value has been dropped.
    #[inline(always)]
    pub(in crate::deferred) unsafe fn free<M: Memory>(
        &self,
        memory: &M,
        object: NonNull<Object>,
        info: &TypeInfo,
        meter: &mut Meter,
    ) {
        // SAFETY: not freed (1). The size of a tail lies in its length, which is no part of what was dropped.
        let bytes = unsafe { info.bytes_of(object) };
        let size = counted(bytes, info.align);
        if memory.is_large(bytes) {
            // SAFETY: not freed (1).
            let header = unsafe { header(object) };
            header.set_word(header.word().dead(address(self.large.get())).husk());
            self.large.set(Some(object));
            self.large_tally.set(self.large_tally.get().plus(size));
            meter.visited(1);
            return;
        }
        self.account(size, meter);
        // SAFETY: from this memory with this size, and not used again (1).
        unsafe { memory.free(object.cast(), bytes, info.align) }
    }

    /// The bytes of the large block that would be freed next.
    pub(super) fn next_large(&self) -> Option<u64> {
        let object = self.large.get()?;
        // SAFETY: by QUEUE dead and not freed.
        let info = unsafe { header(object) }.info();
        // SAFETY: as above, of this type; the length of a tail outlives its items.
        Some(unsafe { counted_bytes(info, object) })
    }

    /// Frees one large block, if there is one.
    ///
    /// # Safety
    /// 1. Every queued object came from `memory`.
    unsafe fn free_large<M: Memory>(&self, memory: &M, meter: &mut Meter) -> bool {
        let Some(object) = pop(&self.large) else { return false };
        // SAFETY: by QUEUE dead and not freed.
        let info = unsafe { header(object) }.info();
        // SAFETY: as above; the length of a tail outlives its items.
        let bytes = unsafe { info.bytes_of(object) };
        let size = counted(bytes, info.align);
        self.large_tally.set(self.large_tally.get().less(Tally { objects: 1, bytes: size }));
        self.account(size, meter);
        meter.large_freed += 1;
        // SAFETY: from this memory (1) with this size, and by QUEUE nothing but the memory is left.
        unsafe { memory.free(object.cast(), bytes, info.align) }
        true
    }

    #[inline(always)]
    fn account(&self, bytes: u64, meter: &mut Meter) {
        self.done.set(self.done.get().plus(bytes));
        meter.freed(Tally { objects: 1, bytes }, 1);
    }
}

/// Ends a drain, also one that panics.
struct Draining<'a>(&'a Pending);

impl Drop for Draining<'_> {
    fn drop(&mut self) {
        self.0.draining.set(false);
    }
}

/// Runs when a visit panics. The tracer has kept the cursor, so the next drain goes on behind the last slot that was
/// counted down; but a `trace` that panics there again would panic for ever, so then the object is given up: it and what
/// the rest of its slots refer to leak, and are counted.
struct Retrace<'a> {
    pending: &'a Pending,
    object: NonNull<Object>,
    from: usize,
    meter: &'a mut Meter,
}

impl Retrace<'_> {
    #[inline(always)]
    fn visited(&mut self, cursor: usize) {
        self.meter.visited((cursor - self.from) as u64);
    }
}

impl Drop for Retrace<'_> {
    fn drop(&mut self) {
        let pending = self.pending;
        let cursor = pending.cursor.get();
        self.visited(cursor);
        if pending.panicked_at.replace(Some(cursor)) != Some(cursor) {
            return;
        }
        pending.put_down();
        // SAFETY: the object in hand, dead and not freed.
        let header = unsafe { header(self.object) };
        if is_condemned(header.word()) {
            // It is not freed with the others.
            header.set_word(header.word().with_inner(ABANDONED));
        } else {
            header.set_word(header.word().given_up());
        }
        let info = header.info();
        // SAFETY: as above, of this type.
        let bytes = unsafe { counted_bytes(info, self.object) };
        pending.abandoned.set(pending.abandoned.get().plus(bytes));
    }
}
