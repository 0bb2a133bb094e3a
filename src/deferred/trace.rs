//! What a type must say of itself: its references, in an order that can be left and resumed.

use core::ptr::NonNull;

use super::object::{Death, Object};
use super::pending::Pending;

/// How many slots a value has. A slot is a place that may hold one reference; an empty one counts too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slots {
    /// Always exactly so many.
    Fixed(usize),
    /// As many as the value says, such as the items of a vector.
    Varying,
}

impl Slots {
    /// The slots of a value that is made of two parts.
    pub const fn and(self, other: Slots) -> Slots {
        match (self, other) {
            (Slots::Fixed(a), Slots::Fixed(b)) => Slots::Fixed(a + b),
            _ => Slots::Varying,
        }
    }

    /// The slots of a value that is one of two, the shorter filled up with empty slots.
    pub const fn or(self, other: Slots) -> Slots {
        match (self, other) {
            (Slots::Fixed(a), Slots::Fixed(b)) => Slots::Fixed(if a > b { a } else { b }),
            _ => Slots::Varying,
        }
    }
}

/// A type whose references the crate can enumerate, a slice at a time.
///
/// Use `#[derive(Trace)]`: then no `unsafe` is needed. A field marked `#[trace(skip)]` may be of any type; it is dropped
/// by its own `Drop`, all at once, and references in it are counted down then.
///
/// # How an object dies
/// 1. `trace` visits the slots, in as many pieces as budgets make of it; each referent is counted down, and queued if it
///    dies. The value stays where it is.
/// 2. `drop_residue` drops what is not a reference: vectors' buffers, strings, skipped fields.
/// 3. The memory is freed.
///
/// So the type itself must not implement [`Drop`]: it would run on a value whose references are gone, and nothing here
/// runs it (the derive refuses such a type). Fields may.
///
/// # While it lives
/// To find cycles, live objects are looked at too: at safepoints, and where an allocation meets a limit. `trace` is called
/// then as it is for a dead one, and must not look at what somebody has borrowed to change it ([`Tracer::busy`]). The types of the standard
/// library, and all that derive, see to it.
///
/// # Safety
/// 1. `trace` reports every counted reference that the value owns exactly once, save those that `drop_residue` drops
///    itself; in the same order each time while the value does not change; and it does nothing else to the tracer.
///    It may be called at any moment at which the value's owner does not hold it borrowed mutably.
/// 2. If `SLOTS` is `Fixed(n)`, `trace` passes exactly `n` slots.
/// 3. `drop_residue` drops everything that is not reported by `trace`, and neither drops nor follows what is reported.
/// 4. If `RESIDUE` is false, leaving `drop_residue` out must leak nothing.
/// 5. `trace` does not run code that could change the value or reach the mutator.
/// 6. What can be changed while others refer to the value is in a cell of this crate ([`cell`](crate::cell)); or `trace` calls [`Tracer::unwatched`] before it passes such slots; or each
///    change is told with [`raw::changing`](crate::raw::changing) before it is made.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which references it holds",
    note = "add `#[derive(Trace)]` to the type, or `#[trace(skip)]` to a field that holds no references"
)]
pub unsafe trait Trace: 'static {
    /// How many slots `trace` passes.
    const SLOTS: Slots;

    /// Whether anything remains to be dropped once the references are gone.
    const RESIDUE: bool;

    /// Whether no object of this type can ever be part of a cycle of references. Such objects are never suspected, and cost
    /// nothing to look for cycles among others. If it is said of a type that does have cycles, those are never freed.
    ///
    /// With the derive: `#[trace(acyclic)]` on the type.
    const ACYCLIC: bool = matches!(Self::SLOTS, Slots::Fixed(0));

    /// What `drop_residue` gives up of a mutator's objects, in values that this crate makes: for those who look for all references.
    #[doc(hidden)]
    const KEEPS: Option<fn(&Self) -> NonNull<Object>> = None;

    /// Passes each slot of the value to the tracer.
    fn trace(&self, tracer: &mut Tracer<'_>);

    /// Drops what `trace` does not report.
    ///
    /// # Safety
    /// 1. The value is not used again, not even dropped.
    unsafe fn drop_residue(&mut self);
}

/// Receives the slots of one object, from where the last visit stopped.
pub struct Tracer<'a> {
    /// Slots that earlier visits have dealt with and this one has still to pass over.
    skip: usize,
    /// Slots that may still be visited now.
    left: usize,
    /// Slots dealt with, by earlier visits and this one.
    cursor: usize,
    cut: bool,
    visit: Visit<'a>,
}

impl core::fmt::Debug for Tracer<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Tracer").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

/// What becomes of the references.
enum Visit<'a> {
    /// They are given up: the object is dead.
    GiveUp { pending: &'a Pending, carry: Carry },
    /// They are looked at.
    Look(&'a mut dyn Look),
}

/// What becomes of the first object that dies in a visit.
enum Carry {
    /// It is queued like the others.
    Never,
    /// It is handed to the drain.
    First(Option<NonNull<Object>>),
}

/// The slot of a reference that the object owns and that is in none of its slots.
pub(crate) const ATTACHED: usize = usize::MAX;

/// What looks at the references of objects. Runs no code of the user's.
pub(crate) trait Look {
    /// A reference, counted and owned by the object that is being traced, in the slot of this number.
    ///
    /// # Safety
    /// 1. `child` is an object whose memory has not been freed.
    unsafe fn reference(&mut self, child: NonNull<Object>, slot: usize);

    /// The number with which changes to what is being traced are to be told from now on, or 0 if they need not be.
    fn watches(&self) -> u32;

    /// The object that is being traced can be changed from here on without the crate's being told.
    fn unwatched(&mut self);

    /// There are empty slots that can be filled from here on without the crate's being told, and not changed otherwise.
    fn unfilled(&mut self) {}

    /// Somebody is changing the object that is being traced. What comes of this visit counts for nothing.
    fn busy(&mut self);
}

impl<'a> Tracer<'a> {
    /// Gives up at most `left` slots after the first `cursor` ones.
    #[inline(always)]
    pub(crate) fn resume(pending: &'a Pending, cursor: usize, left: usize) -> Tracer<'a> {
        Tracer { skip: cursor, left, cursor, cut: false, visit: Visit::GiveUp { pending, carry: Carry::Never } }
    }

    /// Gives up all slots of `value`, of which there are few, and returns the first object that died of it, not queued. What the
    /// compiler makes of it keeps no cursor: that is written only if the visit panics.
    #[inline(always)]
    pub(crate) fn whole<T: Trace>(pending: &'a Pending, value: &T) -> Option<NonNull<Object>> {
        let visit = Visit::GiveUp { pending, carry: Carry::First(None) };
        let mut tracer = Tracer { skip: 0, left: usize::MAX, cursor: 0, cut: false, visit };
        value.trace(&mut tracer);
        let carried = tracer.carried();
        core::mem::forget(tracer);
        carried
    }

    /// Looks at no more than `left` slots after the first `cursor` ones.
    pub(crate) fn look(look: &'a mut dyn Look, cursor: usize, left: usize) -> Tracer<'a> {
        Tracer { skip: cursor, left, cursor, cut: false, visit: Visit::Look(look) }
    }

    #[inline(always)]
    fn carried(&self) -> Option<NonNull<Object>> {
        match self.visit {
            Visit::GiveUp { carry: Carry::First(carried), .. } => carried,
            _ => None,
        }
    }

    /// Whether slots remain that this visit may not visit any more.
    #[inline(always)]
    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }

    #[inline(always)]
    pub(crate) fn cursor(&self) -> usize {
        self.cursor
    }

    /// Whether the value is dead. Then nobody has borrowed it, and it is all this visit's.
    #[inline(always)]
    pub fn is_dying(&self) -> bool {
        matches!(self.visit, Visit::GiveUp { .. })
    }

    /// The number with which the next change to the slots of the value must be told, or 0 if it need not be.
    #[inline(always)]
    pub(crate) fn watches(&self) -> u32 {
        match &self.visit {
            Visit::GiveUp { .. } => 0,
            Visit::Look(look) => look.watches(),
        }
    }

    /// Somebody has borrowed a part of the value to change it: its slots cannot be looked at now, and are not passed. Only for a value
    /// that is not [dying](Tracer::is_dying). The object counts as in use.
    pub fn busy(&mut self) {
        debug_assert!(!self.is_dying(), "nobody can have borrowed what is dead");
        if let Visit::Look(look) = &mut self.visit {
            look.busy();
            self.left = 0;
            self.cut = true;
        }
    }

    /// The slots of the value may be changed while others refer to it, by means that the crate is not told of, such as a cell of the
    /// standard library. A cycle through it is found if it can be looked at whole in one step.
    #[inline(always)]
    pub fn unwatched(&mut self) {
        if let Visit::Look(look) = &mut self.visit {
            look.unwatched();
        }
    }

    /// Empty slots of the value may be filled while others refer to it, without the crate's being told. A trial finds what is put there in use;
    /// who counts on nothing being put there must not rely on the object.
    #[inline(always)]
    pub(crate) fn unfilled(&mut self) {
        if let Visit::Look(look) = &mut self.visit {
            look.unfilled();
        }
    }

    /// One slot that holds a reference to `child`.
    ///
    /// # Safety
    /// 1. The value being traced owns one counted reference to `child` in this slot.
    #[inline(always)]
    pub unsafe fn reference(&mut self, child: NonNull<Object>) {
        if self.take(1) == 0 {
            return;
        }
        let (pending, carry) = match &mut self.visit {
            Visit::GiveUp { pending, carry } => (*pending, carry),
            // SAFETY: the reference is owned, so the object is alive (1).
            Visit::Look(look) => return unsafe { look.reference(child, self.cursor - 1) },
        };
        // SAFETY: the reference is owned, so the object is alive (1).
        match unsafe { child.as_ref() }.release() {
            Death::Alive => {}
            // SAFETY: alive, and just released.
            Death::Suspected => unsafe { pending.suspect_visited(child) },
            Death::Died => match carry {
                // SAFETY: dead; without a route it is of this queue.
                Carry::First(carried @ None) if pending.is_alone() => *carried = unsafe { pending.carry(child) },
                // SAFETY: the last reference was just given up, and nobody else knows of it.
                _ => unsafe { pending.push_visited(child) },
            },
        }
    }

    /// `count` slots that hold no reference.
    #[inline(always)]
    pub fn empty(&mut self, count: usize) {
        self.take(count);
    }

    /// All slots of all items. Slots of earlier visits are passed over at once, whatever their number.
    #[inline]
    pub fn slice<T: Trace>(&mut self, items: &[T]) {
        let each = const {
            match T::SLOTS {
                Slots::Fixed(each) => each,
                Slots::Varying => panic!(
                    "items of a vector or slice must have a fixed number of slots, or a visit could not be resumed in \
                     the middle: put the inner collection into an object of its own"
                ),
            }
        };
        if each == 0 {
            return;
        }
        let first = self.skip / each;
        if first >= items.len() {
            self.skip -= items.len() * each;
            return;
        }
        self.skip -= first * each;
        for item in &items[first..] {
            item.trace(self);
            if self.cut {
                return;
            }
        }
    }

    /// Passes `count` slots and says how many of them this visit is to deal with.
    #[inline(always)]
    fn take(&mut self, count: usize) -> usize {
        let skipped = self.skip.min(count);
        self.skip -= skipped;
        let due = count - skipped;
        let taken = due.min(self.left);
        self.cut |= taken < due;
        self.left -= taken;
        self.cursor += taken;
        taken
    }
}

impl Drop for Tracer<'_> {
    /// Also on the way out of a `trace` that panicked: what was counted down is not counted down again.
    #[inline(always)]
    fn drop(&mut self) {
        if let Visit::GiveUp { pending, ref carry } = self.visit {
            pending.set_cursor(self.cursor);
            if let Carry::First(Some(carried)) = *carry {
                // SAFETY: it died in this visit, and nobody else knows of it.
                unsafe { pending.push_visited(carried) };
            }
        }
    }
}

/// Drops the residue of a field when it goes out of scope, so that a panic in one field's drop does not keep the others
/// from being dropped. What `#[derive(Trace)]` writes.
#[doc(hidden)]
pub struct Residue<'a, T: Trace>(&'a mut T);

impl<'a, T: Trace> Residue<'a, T> {
    /// # Safety
    /// 1. The field is not used again, not even dropped.
    pub unsafe fn new(field: &'a mut T) -> Self {
        Residue(field)
    }
}

impl<T: Trace> Drop for Residue<'_, T> {
    fn drop(&mut self) {
        if T::RESIDUE {
            // SAFETY: the obligation of `new`.
            unsafe { self.0.drop_residue() }
        }
    }
}
