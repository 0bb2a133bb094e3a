//! Death: what becomes of a reference that is given up, up to the queue.

use core::ptr::NonNull;

use crate::deferred::budget::Tally;
use crate::deferred::object::{Colour, Death, Object};

use super::{Memory, Pending, address, counted_bytes, header};

impl Pending {
    /// Queues an object that died in a visit, here or where it belongs.
    ///
    /// # Safety
    /// 1. As for [`push`](Pending::push), save that the object may belong to another queue if there is a route.
    #[inline(never)]
    pub(in crate::deferred) unsafe fn push_visited(&self, object: NonNull<Object>) {
        match self.route.get() {
            // SAFETY: without a route, all objects are of this queue; handed on (1).
            None => unsafe { self.push(object) },
            // SAFETY: the last reference was just given up (1).
            Some(route) => unsafe { (route.retire)(object) },
        }
    }

    /// Takes note of an object that may be part of a garbage cycle, here or where it belongs.
    ///
    /// # Safety
    /// 1. `object` is alive and armed; it may belong to another queue if there is a route.
    #[cold]
    #[inline(never)]
    pub(in crate::deferred) unsafe fn suspect_visited(&self, object: NonNull<Object>) {
        match self.route.get() {
            // SAFETY: without a route, all objects are of this queue; handed on (1).
            None => unsafe { self.suspect(object) },
            // SAFETY: handed on (1).
            Some(route) => unsafe { (route.suspect)(object) },
        }
    }

    /// Takes note of an object that may be part of a garbage cycle.
    ///
    /// # Safety
    /// 1. `object` is alive, armed, and of this queue.
    #[inline(always)]
    pub(crate) unsafe fn suspect(&self, object: NonNull<Object>) {
        // SAFETY: handed on (1).
        unsafe { self.cycles.suspect(object) }
    }

    /// Takes an object that died in a visit, and returns it if it can be carried; or else queues it.
    ///
    /// # Safety
    /// 1. As for [`push`](Pending::push).
    #[inline(always)]
    pub(in crate::deferred) unsafe fn carry(&self, object: NonNull<Object>) -> Option<NonNull<Object>> {
        // SAFETY: dead, not freed (1).
        if unsafe { header(object) }.word().is_quietly_plain() {
            return Some(object);
        }
        // SAFETY: handed on (1).
        unsafe { self.carry_loudly(object) }
    }

    /// The rest of `carry`, out of line with all that it calls: so the visits of types that have it inlined keep little.
    ///
    /// # Safety
    /// 1. As for [`push`](Pending::push).
    #[inline(never)]
    unsafe fn carry_loudly(&self, object: NonNull<Object>) -> Option<NonNull<Object>> {
        // SAFETY: handed on (1).
        match unsafe { self.cycles.strike_off_near(object) } {
            Some(word) if word.is_plain() => Some(object),
            // SAFETY: handed on (1).
            _ => unsafe { self.carry_struck_off(object) },
        }
    }

    /// The rest of `carry_loudly`.
    ///
    /// # Safety
    /// 1. As for [`push`](Pending::push).
    #[cold]
    #[inline(never)]
    unsafe fn carry_struck_off(&self, object: NonNull<Object>) -> Option<NonNull<Object>> {
        // SAFETY: handed on (1).
        if unsafe { self.cycles.strike_off(object) }.is_plain() {
            return Some(object);
        }
        // SAFETY: handed on (1).
        unsafe { self.push_looked_up(object) };
        None
    }

    /// Queues an object.
    ///
    /// # Safety
    /// 1. The last reference to `object` has just been given up; nobody else knows of its death.
    #[inline(always)]
    pub(crate) unsafe fn push(&self, object: NonNull<Object>) {
        // SAFETY: handed on (1).
        let word = unsafe { self.cycles.strike_off(object) };
        if word.is_plain() {
            // SAFETY: handed on (1).
            unsafe { self.push_bytes(object, word.plain_bytes() as u64) }
        } else {
            // SAFETY: handed on (1).
            unsafe { self.push_looked_up(object) }
        }
    }

    /// As `push`, out of line.
    ///
    /// # Safety
    /// 1. As for [`push`](Pending::push).
    #[inline(never)]
    pub(in crate::deferred) unsafe fn push_carried(&self, object: NonNull<Object>) {
        // SAFETY: handed on (1).
        unsafe { self.push(object) }
    }

    /// Queues an object whose size its type must say, that is a member of a trial, or that has attachments. Out of line: the way of plain
    /// objects needs no frame then. One with a finalizer is not queued: the finalizer has the last reference from now on.
    ///
    /// # Safety
    /// 1. As for [`push`](Pending::push).
    #[inline(never)]
    unsafe fn push_looked_up(&self, object: NonNull<Object>) {
        // SAFETY: dead, not freed (1).
        let header = unsafe { header(object) };
        // SAFETY: not queued (1).
        let finalizer = if header.word().hosts() { unsafe { self.part(object) } } else { None };
        if let Some(finalizer) = finalizer {
            let word = header.word();
            if word.colour() != Colour::None {
                self.cycles.member_died(word, 0);
            }
            if self.cycles.is_being_spared(word) {
                // It was the value of a key among them.
                // SAFETY: just taken; both references are ours to give.
                return unsafe { self.attachments.find(finalizer, object) };
            }
            // SAFETY: as above.
            return unsafe { self.attachments.queue(finalizer, object) };
        }
        // SAFETY: as above, of this type, its value untouched.
        let bytes = unsafe { counted_bytes(header.info(), object) };
        let word = header.word();
        // SAFETY: handed on (1).
        unsafe { self.push_bytes(object, bytes) };
        if word.colour() != Colour::None {
            self.cycles.member_died(word, bytes);
            // Nobody lists it after a search that was lost.
            if !self.cycles.is_lost() {
                header.set_word(header.word().held(word));
            }
        }
    }

    /// Gives up a reference.
    ///
    /// # Safety
    /// 1. `object` is alive and of this queue, and the caller owns a reference to it.
    pub(super) unsafe fn release(&self, object: NonNull<Object>) {
        // SAFETY: alive (1).
        match unsafe { header(object) }.release() {
            Death::Alive => {}
            // SAFETY: alive, just released, and of this queue (1).
            Death::Suspected => unsafe { self.suspect(object) },
            // SAFETY: the last reference was just given up.
            Death::Died => unsafe { self.push(object) },
        }
    }

    /// # Safety
    /// 1. As for [`push`](Pending::push); `bytes` are counted for it.
    #[inline(always)]
    unsafe fn push_bytes(&self, object: NonNull<Object>, bytes: u64) {
        // SAFETY: dead, not freed (1).
        let header = unsafe { header(object) };
        self.queued.set(self.queued.get().plus(bytes));
        header.set_word(header.word().dead(address(self.stack.get())));
        self.stack.set(Some(object));
    }

    /// Frees the memory of a simple object that has just died and was not queued.
    ///
    /// # Safety
    /// 1. As for [`push`](Pending::push).
    /// 2. `object` is of a simple type of `bytes`, as they are counted, came from `memory`, and has given up its slots.
    #[inline(always)]
    pub(crate) unsafe fn free_dead<M: Memory>(&self, memory: &M, object: NonNull<Object>, bytes: usize) {
        self.count_freed(Tally { objects: 1, bytes: bytes as u64 });
        // SAFETY: from this memory, small (2), and dead (1).
        unsafe { memory.free_small(object.cast(), bytes) }
    }

    /// Notes what was freed without being queued, or without a death: the old block of an object that moved, or one that was not
    /// finished.
    #[inline(always)]
    pub(crate) fn count_freed(&self, freed: Tally) {
        self.at_once_objects.set(self.at_once_objects.get() + freed.objects);
        self.at_once_bytes.set(self.at_once_bytes.get() + freed.bytes);
    }

    /// Notes that an object that [is fixed](Pending::is_fixed) has been moved all the same, as a copy: what is left is a husk, and
    /// the copy a new object.
    ///
    /// # Safety
    /// 1. Both are of one type, alive and whole, and neither is used again through the old place.
    pub(crate) unsafe fn moved(&self, from: NonNull<Object>, to: NonNull<Object>) {
        // SAFETY: alive (1).
        let old = unsafe { header(from) };
        // SAFETY: as above.
        let new = unsafe { header(to) };
        // SAFETY: of this type and whole (1).
        let bytes = unsafe { counted_bytes(old.info(), from) };
        self.queued.set(self.queued.get().and(Tally { objects: 0, bytes }));
        new.set_word(old.word().out_of_trial(old.info().flags));
        old.set_word(old.word().dead(0).held(old.word()).moved());
    }

    /// Gives up a reference that an object of this queue holds.
    ///
    /// # Safety
    /// 1. `child` is alive; the reference is not used again.
    pub(in crate::deferred) unsafe fn give_up(&self, child: NonNull<Object>) {
        // SAFETY: alive (1).
        match unsafe { header(child) }.release() {
            Death::Alive => {}
            // SAFETY: alive, and just released.
            Death::Suspected => unsafe { self.suspect_visited(child) },
            // SAFETY: the last reference was just given up.
            Death::Died => unsafe { self.push_visited(child) },
        }
    }
}
