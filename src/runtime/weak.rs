//! Weak references.

use core::any::Any;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::deferred::{Attachment, Object, Slots, Trace, Tracer};
use crate::error::OutOfMemory;

use super::attachment::{Attached, Kind};
use super::handle::{Ref, Untyped};
use super::raw;

/// The object that stands for another one where it is referred to weakly, and that outlives it.
pub(super) enum WeakCell {}

impl Kind for WeakCell {
    const KIND: Attachment = Attachment::Weak;
}

type Cell = Attached<WeakCell, ()>;

/// A reference that does not keep its object alive.
///
/// Made by [`Ref::downgrade`]. [`upgrade`](Weak::upgrade) gives a [`Ref`] for as long as the object lives, and nothing from the moment on at
/// which it does not: when its last reference has been given up, or when it has been found to be part of a garbage cycle. Then the
/// object may still be there, and its finalizer may be due, but no weak reference leads to it any more: nothing is resurrected.
///
/// | what happens | weak references | shown by |
/// |---|---|---|
/// | the last reference is given up | refer to nothing at once, before anything is freed | `the_last_reference_…` |
/// | a garbage cycle is found | all that refer to any of it refer to nothing before a finalizer of it runs, and before any of it is taken apart | `a_cycle_…` |
/// | `upgrade` while a search suspects the object | succeeds; the search sees that it was wrong | `an_upgrade_while_…` |
/// | the object is borrowed, [`Ref::get_mut`] | nobody gets a `&mut` while there is a weak reference | `nobody_borrows_…` |
/// | they refer to each other, or the object to itself | no cycle: the object goes when its last counted reference does | `weak_references_make_no_cycles` |
/// | the mutator has been detached | as before, as long as there is something of it | `after_the_mutator_has_gone` |
///
/// An object that has weak references has one more object beside it, a *cell* of 32 bytes, for which all of them are counted. It goes with the
/// last of them when the object has gone. Objects that never had any cost nothing. Like a [`Ref`], it is one pointer wide, belongs to the thread of
/// its mutator, and may be a field of an object; it is in no cycle of references.
///
/// ```
/// use mimalloc_runtime::{Ref, Runtime};
/// let mutator = Runtime::new()?.attach()?;
/// let text = mutator.alloc_tail_copy((), b"text").unwrap();
/// let weak = Ref::downgrade(&text)?;
/// assert_eq!(weak.upgrade().unwrap().items(), b"text");
/// drop(text);
/// assert!(weak.upgrade().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[repr(transparent)]
pub struct Weak<T: ?Sized> {
    /// Of an object of type `T` (any type for [`Untyped`]), or of one that has been.
    cell: Ref<Cell>,
    _of: PhantomData<*mut T>,
}

impl<T: ?Sized> Ref<T> {
    /// A weak reference to the object.
    ///
    /// # Errors
    /// [`OutOfMemory`], for the first one of an object, as for [`Mutator::alloc`](crate::Mutator::alloc).
    ///
    /// # Cost
    /// For the first one an allocation; for the others a look into a hash table. What counts for it is 32 bytes of the object's mutator, and in
    /// Rust's own memory some 8 bytes of the table.
    pub fn downgrade(this: &Ref<T>) -> Result<Weak<T>, OutOfMemory> {
        // SAFETY: alive: the handle's. No attachment, as none is ever handed out as a `Ref`.
        let cell = unsafe { raw::downgrade(Ref::as_raw(this)) }?;
        // SAFETY: the cell of an object of this type, with a reference that is ours.
        Ok(unsafe { Weak::from_raw(cell) })
    }
}

impl<T: ?Sized> Weak<T> {
    /// A reference to the object, if it lives.
    #[inline]
    pub fn upgrade(&self) -> Option<Ref<T>> {
        // SAFETY: a cell, and alive.
        let object = unsafe { raw::upgrade(Ref::as_raw(&self.cell)) }?;
        // SAFETY: alive, of this thread as the cell is, of this type, with the reference just taken.
        Some(unsafe { Ref::from_raw(object) })
    }

    /// Whether its object has gone. If not, the object may still have been found to be garbage: [`upgrade`](Weak::upgrade) says so. A look that
    /// takes no reference, for tables that are swept.
    #[inline]
    pub fn is_gone(&self) -> bool {
        // SAFETY: a cell, and alive.
        unsafe { raw::referent(Ref::as_raw(&self.cell)) }.is_none()
    }

    /// Whether two refer to the same object, or did: also when that has gone.
    pub fn ptr_eq<U: ?Sized>(this: &Weak<T>, other: &Weak<U>) -> bool {
        Ref::ptr_eq(&this.cell, &other.cell)
    }

    /// Whether it refers to this object.
    pub fn refers_to<U: ?Sized>(this: &Weak<T>, object: &Ref<U>) -> bool {
        // SAFETY: a cell, and alive.
        let host = unsafe { raw::referent(Ref::as_raw(&this.cell)) };
        host == Some(Ref::as_raw(object))
    }

    /// The same reference, its type forgotten.
    pub fn erase(this: Weak<T>) -> Weak<Untyped> {
        Weak { cell: this.cell, _of: PhantomData }
    }

    /// The cell; the handle keeps its reference.
    pub(super) fn as_raw(&self) -> NonNull<Object> {
        Ref::as_raw(&self.cell)
    }

    /// The cell, with the reference to it that this handle owned: an object that can be counted like any other by
    /// [`raw`], reported by a `trace`, and [upgraded](raw::upgrade).
    pub fn into_raw(this: Weak<T>) -> NonNull<Object> {
        Ref::into_raw(this.cell)
    }

    /// A handle that takes over a counted reference to a cell.
    ///
    /// # Safety
    /// 1. `cell` is from [`Weak::into_raw`] of a reference to a `T` (any object for [`Untyped`]), or from [`raw::downgrade`] of one,
    ///    and belongs to this thread.
    /// 2. The caller owns one counted reference to it, which the handle takes over.
    pub unsafe fn from_raw(cell: NonNull<Object>) -> Weak<T> {
        // SAFETY: alive, a cell (1), with a reference that it takes over (2).
        Weak { cell: unsafe { Ref::from_raw(cell) }, _of: PhantomData }
    }
}

impl<T: ?Sized> Clone for Weak<T> {
    fn clone(&self) -> Self {
        Weak { cell: self.cell.clone(), _of: PhantomData }
    }
}

impl<T: ?Sized> fmt::Debug for Weak<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Weak")
    }
}

// SAFETY: 1-6: those of the reference to the cell.
unsafe impl<T: ?Sized + Any> Trace for Weak<T> {
    const SLOTS: Slots = Slots::Fixed(1);
    const RESIDUE: bool = false;
    // A cell refers to nothing.
    const ACYCLIC: bool = true;
    #[inline(always)]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        self.cell.trace(tracer);
    }
    unsafe fn drop_residue(&mut self) {}
}
