//! The short way through the drain, for simple objects ([`Quick`]): no cursor, no phases, and most never queued.

use core::ptr::NonNull;

use super::budget::{Meter, Tally};
use super::kind::Quick;
use super::object::Object;
use super::pending::{Memory, Pending, WHOLE, header, linked, pop};
use super::size::SMALL;

impl Pending {
    /// Works off simple objects, for as long as the budget admits without being asked again. True if there was one.
    ///
    /// The first object that dies in a visit is *carried*: it is worked off next without having been queued, so that a chain
    /// of simple objects never touches the queue. What is counted is kept in a [`Batch`] and booked when that goes: no code of
    /// the user's runs in here (`Trace`, obligation 5), save where an object of another mutator dies whose deaths are worked
    /// off at once. Such code sees objects of this batch as still pending, and may queue more.
    ///
    /// # Safety
    /// 1. Every queued object came from `memory`, and none is in hand.
    #[inline(always)]
    pub(super) unsafe fn drain_quick<M: Memory>(&self, memory: &M, meter: &mut Meter) -> bool {
        let (units, bytes) = (meter.units_now() as u64, meter.bytes_left());
        let mut batch = Batch::new(self, meter);
        // Each turn is a run of objects of one type, so that its cost is looked up and booked once for all of them.
        while let Some(first) = batch.carried.or(self.stack.get()) {
            if batch.units >= units || batch.freed.bytes >= bytes {
                break;
            }
            // SAFETY: carried or, by QUEUE, dead and not freed.
            let word = unsafe { header(first) }.word();
            let key = word.quick_key();
            let quick = word.key().info().quick;
            if quick.units == 0 || word.is_dead() && word.is_held() {
                break;
            }
            // So many cannot exceed the budget; near its end they go one by one.
            let most = ((units - batch.units) / MOST_UNITS).min((bytes - batch.freed.bytes) / SMALL as u64).max(1);
            let mut run = Run { batch: &mut batch, quick, objects: 0, queued: 0, object: None };
            let mut next = first;
            loop {
                // SAFETY: as above.
                let word = unsafe { header(next) }.word();
                if word.quick_key() != key {
                    break;
                }
                if run.batch.carried.take().is_none() {
                    self.stack.set(linked(word));
                    run.queued += 1;
                }
                if quick.units > 1 {
                    run.object = Some(next);
                    // SAFETY: an object of this type whose value is whole.
                    run.batch.carried = unsafe { (quick.release)(next, self) };
                    run.object = None;
                }
                run.objects += 1;
                // SAFETY: from this memory (1), small, and by QUEUE nothing but the memory is left.
                unsafe { memory.free_small(next.cast(), quick.bytes as usize) };
                next = match run.batch.carried.or(self.stack.get()) {
                    Some(next) if run.objects < most => next,
                    _ => break,
                };
            }
        }
        batch.units > 0
    }
}

/// The units of a simple object are at most so many: [`WHOLE`] slots and one free, rounded up to a power of two.
const MOST_UNITS: u64 = (WHOLE as u64 + 1).next_power_of_two();

impl Pending {
    /// Whether [`free_simple`](Pending::free_simple) may be called: nothing is being worked on.
    #[inline(always)]
    pub(crate) fn is_idle(&self) -> bool {
        !self.draining.get() && self.in_hand.get().is_none()
    }

    /// Frees a simple object that has just died, without queueing it. What dies of it is queued.
    ///
    /// A panic in the visit passes through; then the object is in hand, as if it had been queued.
    ///
    /// # Safety
    /// 1. As for [`push`](Pending::push).
    /// 2. `object` is plain, of the type that `quick` is of, and came from `memory`. It may be without slots: a leaf that was a candidate, as it had a
    ///    finalizer.
    #[inline(always)]
    pub(crate) unsafe fn free_simple<M: Memory>(&self, memory: &M, object: NonNull<Object>, quick: &Quick) {
        debug_assert!(self.is_idle());
        // The panic hook runs in the visit that panics, and it may be anything.
        self.draining.set(true);
        let guard = Visiting { pending: self, object };
        // SAFETY: an object of this type whose value is whole (2).
        let carried = unsafe { (quick.release)(object, self) };
        core::mem::forget(guard);
        self.draining.set(false);
        if let Some(carried) = carried {
            // SAFETY: it died in the visit, and nobody else knows of it.
            unsafe { self.push_carried(carried) };
        }
        // From the header rather than the type, and read again rather than kept: nobody else knows of the object.
        // SAFETY: dead and not freed (1).
        let bytes = unsafe { header(object) }.word().plain_bytes();
        // SAFETY: as above, and nothing but the memory is left.
        unsafe { self.free_dead(memory, object, bytes) }
    }
}

/// Runs when a visit of [`Pending::free_simple`] panics.
struct Visiting<'a> {
    pending: &'a Pending,
    object: NonNull<Object>,
}

impl Drop for Visiting<'_> {
    #[cold]
    fn drop(&mut self) {
        visit_panicked(self.pending, self.object);
        self.pending.draining.set(false);
    }
}

/// What [`Pending::drain_quick`] has done. Booked when it ends, also by a panic.
struct Batch<'a> {
    pending: &'a Pending,
    meter: &'a mut Meter,
    units: u64,
    /// Everything freed, and the part of it that had been queued.
    freed: Tally,
    dequeued: Tally,
    /// An object that has died and is not queued.
    carried: Option<NonNull<Object>>,
}

impl<'a> Batch<'a> {
    #[inline(always)]
    fn new(pending: &'a Pending, meter: &'a mut Meter) -> Batch<'a> {
        Batch { pending, meter, units: 0, freed: Tally::default(), dequeued: Tally::default(), carried: None }
    }
}

impl Drop for Batch<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        let pending = self.pending;
        self.meter.freed(self.freed, self.units);
        pending.done.set(pending.done.get().and(self.dequeued));
        pending.count_freed(self.freed.less(self.dequeued));
        if let Some(carried) = self.carried {
            // SAFETY: it died in a visit, is of this queue, and nobody else knows of it.
            unsafe { pending.push(carried) };
        }
    }
}

/// Objects of one type, one after the other. Booked when it ends, also by a panic.
struct Run<'a, 'b> {
    batch: &'a mut Batch<'b>,
    quick: Quick,
    objects: u64,
    /// How many were taken from the queue, the one being visited included.
    queued: u64,
    /// The object that is being visited. Left there only by a panic.
    object: Option<NonNull<Object>>,
}

impl Drop for Run<'_, '_> {
    #[inline(always)]
    fn drop(&mut self) {
        let bytes = u64::from(self.quick.bytes);
        let tally = |objects| Tally { objects, bytes: objects * bytes };
        self.batch.units += self.objects * u64::from(self.quick.units);
        self.batch.freed = self.batch.freed.and(tally(self.objects));
        if let Some(object) = self.object {
            self.batch.units += self.batch.pending.cursor.get() as u64;
            let was_queued = visit_panicked(self.batch.pending, object);
            self.queued -= u64::from(was_queued);
        }
        self.batch.dequeued = self.batch.dequeued.and(tally(self.queued));
    }
}

/// Leaves an object whose visit panicked in hand, as the general way would have, counted as queued. True if it had been so
/// before, and not carried.
#[cold]
fn visit_panicked(pending: &Pending, object: NonNull<Object>) -> bool {
    // SAFETY: dead and not freed.
    let was_queued = unsafe { header(object) }.word().is_dead();
    if !was_queued {
        // SAFETY: carried until now, so nobody else knows of it. On the stack only to be taken off again.
        unsafe { pending.push(object) };
        pop(&pending.stack);
    }
    pending.in_hand.set(Some(object));
    pending.panicked_at.set(Some(pending.cursor.get()));
    was_queued
}
