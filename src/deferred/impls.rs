//! [`Trace`] for the types of the standard library.

use core::cell::{Cell, OnceCell, RefCell};
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ptr;
use std::rc::Rc;
use std::sync::Arc;

use super::trace::{Residue, Slots, Trace, Tracer};

/// Types that hold no reference of this crate: no slots, and dropped as they are.
macro_rules! leaf {
    ($($type:ty $([$($param:ident),*])?;)*) => {$(
        // SAFETY: 1, 2: no references, no slots. 3, 4: the residue is the whole value. 5: does nothing.
        unsafe impl $(<$($param: 'static + ?Sized),*>)? Trace for $type {
            const SLOTS: Slots = Slots::Fixed(0);
            const RESIDUE: bool = core::mem::needs_drop::<Self>();
            #[inline(always)]
            fn trace(&self, _: &mut Tracer<'_>) {}
            unsafe fn drop_residue(&mut self) {
                // SAFETY: not used again (1).
                unsafe { ptr::drop_in_place(self) }
            }
        }
    )*};
}

leaf! {
    (); bool; char; f32; f64; String; Box<str>;
    u8; u16; u32; u64; u128; usize; i8; i16; i32; i64; i128; isize;
    std::time::Duration; std::time::Instant; core::any::TypeId;
    &'static str; std::path::PathBuf; std::ffi::OsString;
    PhantomData<T> [T];
    // What these hold is shared with others, so it is not this object's to trace.
    Rc<T> [T]; Arc<T> [T]; std::rc::Weak<T> [T]; std::sync::Weak<T> [T];
}

// SAFETY: 1: the inner value is the only one. 2: the same number filled or not. 3, 4: handed on. 5: handed on.
unsafe impl<T: Trace> Trace for Option<T> {
    const SLOTS: Slots = T::SLOTS;
    const RESIDUE: bool = T::RESIDUE;
    const ACYCLIC: bool = T::ACYCLIC;
    #[inline(always)]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        match (self, T::SLOTS) {
            (Some(value), _) => value.trace(tracer),
            (None, Slots::Fixed(slots)) => tracer.empty(slots),
            (None, Slots::Varying) => {}
        }
    }
    unsafe fn drop_residue(&mut self) {
        if let Some(value) = self {
            // SAFETY: not used again (1).
            unsafe { value.drop_residue() }
        }
    }
}

// SAFETY: 1-4: those of the value inside. 5: handed on, so nothing changes the cell while it is looked at. 6: told.
unsafe impl<T: Trace> Trace for Cell<T> {
    const SLOTS: Slots = T::SLOTS;
    const RESIDUE: bool = T::RESIDUE;
    const ACYCLIC: bool = T::ACYCLIC;
    #[inline(always)]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        trace_cell(self, tracer, |tracer| tracer.unwatched());
    }
    unsafe fn drop_residue(&mut self) {
        // SAFETY: not used again (1).
        unsafe { self.get_mut().drop_residue() }
    }
}

// SAFETY: 1-4: those of the value inside; one that is being changed is busy. 5: handed on. 6: told.
unsafe impl<T: Trace> Trace for RefCell<T> {
    const SLOTS: Slots = T::SLOTS;
    const RESIDUE: bool = T::RESIDUE;
    const ACYCLIC: bool = T::ACYCLIC;
    #[inline(always)]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        trace_ref_cell(self, tracer, |tracer| tracer.unwatched());
    }
    unsafe fn drop_residue(&mut self) {
        // SAFETY: not used again (1).
        unsafe { self.get_mut().drop_residue() }
    }
}

/// The `trace` of a cell. `look` is called first if there is anything to be looked at.
#[inline(always)]
pub(crate) fn trace_cell<T: Trace>(cell: &Cell<T>, tracer: &mut Tracer<'_>, look: impl FnOnce(&mut Tracer<'_>)) {
    if const { has_slots::<T>() } {
        look(tracer);
        // SAFETY: what a cell holds is only ever borrowed through a `&mut` to the cell, which nobody has (1), and no code runs
        // that could change it (5).
        unsafe { &*cell.as_ptr() }.trace(tracer);
    }
}

/// The `trace` of a cell that may be borrowed. `look` is called first if it is not dead, and can be looked at.
#[inline(always)]
pub(crate) fn trace_ref_cell<T: Trace>(cell: &RefCell<T>, tracer: &mut Tracer<'_>, look: impl FnOnce(&mut Tracer<'_>)) {
    if const { !has_slots::<T>() } {
    } else if tracer.is_dying() {
        // SAFETY: dead, so no `RefMut` is left that was not forgotten, and no code runs that could change it (5).
        unsafe { &*cell.as_ptr() }.trace(tracer);
    } else {
        match cell.try_borrow() {
            Ok(value) => {
                look(tracer);
                value.trace(tracer);
            }
            Err(_) => tracer.busy(),
        }
    }
}

const fn has_slots<T: Trace>() -> bool {
    !matches!(T::SLOTS, Slots::Fixed(0))
}

// SAFETY: 1-5: as for `Option`, which it is. 6: all that can be done while others refer to it is to fill it. References that are put in after
// it was looked at were not counted, so what they lead to is found in use (the ledger, which would find too much, asks); but if it is filled with more slots than it had, a visit that
// is resumed would pass those behind it again: told.
unsafe impl<T: Trace> Trace for OnceCell<T> {
    const SLOTS: Slots = T::SLOTS;
    const RESIDUE: bool = T::RESIDUE;
    const ACYCLIC: bool = T::ACYCLIC;
    #[inline(always)]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        match (self.get(), T::SLOTS) {
            (Some(value), _) => value.trace(tracer),
            (None, Slots::Fixed(0)) => {}
            (None, Slots::Fixed(slots)) => {
                tracer.unfilled();
                tracer.empty(slots);
            }
            (None, Slots::Varying) => tracer.unwatched(),
        }
    }
    unsafe fn drop_residue(&mut self) {
        if let Some(value) = self.get_mut() {
            // SAFETY: not used again (1).
            unsafe { value.drop_residue() }
        }
    }
}

// SAFETY: 1-5: those of the value in the box. A box that reaches itself again through its type has no constant number of
// slots, so it does not compile: owning chains of boxes would be freed by recursion.
unsafe impl<T: Trace> Trace for Box<T> {
    const SLOTS: Slots = T::SLOTS;
    const RESIDUE: bool = true;
    const ACYCLIC: bool = T::ACYCLIC;
    #[inline(always)]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        (**self).trace(tracer);
    }
    unsafe fn drop_residue(&mut self) {
        // SAFETY: not used again (1), so the box may be taken out.
        let value = Box::into_raw(unsafe { ptr::read(self) });
        // SAFETY: ManuallyDrop has the layout of T: this box frees the memory and leaves the value alone.
        let mut boxed = unsafe { Box::from_raw(value.cast::<ManuallyDrop<T>>()) };
        // SAFETY: the value in the box is not used again.
        drop(unsafe { Residue::new(&mut **boxed) });
    }
}

/// The residue of items. Items without residue are not looked at: there may be ten million of them.
///
/// # Safety
/// 1. The items are not used again, not even dropped.
pub(crate) unsafe fn drop_items<T: Trace>(items: &mut [T]) {
    if T::RESIDUE {
        /// Goes on with the rest when one item's drop panics.
        struct Rest<'a, T: Trace>(core::slice::IterMut<'a, T>);
        impl<T: Trace> Drop for Rest<'_, T> {
            fn drop(&mut self) {
                for item in &mut self.0 {
                    // SAFETY: items are not used again: 1.
                    drop(unsafe { Residue::new(item) });
                }
            }
        }
        let mut rest = Rest(items.iter_mut());
        for item in rest.0.by_ref() {
            // SAFETY: items are not used again: 1.
            drop(unsafe { Residue::new(item) });
        }
    }
}

// SAFETY: 1, 2: every item in order. 3, 4: the items' residue, then the buffer without its items. 5: handed on.
unsafe impl<T: Trace> Trace for Vec<T> {
    const SLOTS: Slots = match T::SLOTS {
        Slots::Fixed(0) => Slots::Fixed(0),
        _ => Slots::Varying,
    };
    const RESIDUE: bool = true;
    const ACYCLIC: bool = T::ACYCLIC;
    #[inline]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        tracer.slice(self);
    }
    unsafe fn drop_residue(&mut self) {
        let (items, len, capacity) = (self.as_mut_ptr(), self.len(), self.capacity());
        // SAFETY: the vector is not used again (1). ManuallyDrop has the layout of T: this one frees the buffer only.
        let _buffer = unsafe { Vec::from_raw_parts(items.cast::<ManuallyDrop<T>>(), len, capacity) };
        // SAFETY: the vector's own items, alive until the buffer goes.
        let items = unsafe { core::slice::from_raw_parts_mut(items, len) };
        // SAFETY: not used again.
        unsafe { drop_items(items) }
    }
}

// SAFETY: as for Vec; the allocator goes with the buffer.
#[cfg(feature = "allocator_api2")]
unsafe impl<T: Trace, A: allocator_api2::alloc::Allocator + 'static> Trace for allocator_api2::vec::Vec<T, A> {
    const SLOTS: Slots = <Vec<T> as Trace>::SLOTS;
    const RESIDUE: bool = true;
    const ACYCLIC: bool = T::ACYCLIC;
    #[inline]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        tracer.slice(self);
    }
    unsafe fn drop_residue(&mut self) {
        use allocator_api2::vec::Vec;
        let (items, len, capacity) = (self.as_mut_ptr(), self.len(), self.capacity());
        // SAFETY: the vector is not used again (1), so its allocator may be taken out.
        let allocator = unsafe { ptr::read(self.allocator()) };
        // SAFETY: the parts of that vector. ManuallyDrop has the layout of T: this one frees the buffer only.
        let _buffer = unsafe { Vec::from_raw_parts_in(items.cast::<ManuallyDrop<T>>(), len, capacity, allocator) };
        // SAFETY: the vector's own items, alive until the buffer goes.
        let items = unsafe { core::slice::from_raw_parts_mut(items, len) };
        // SAFETY: not used again.
        unsafe { drop_items(items) }
    }
}

// SAFETY: as for Vec.
unsafe impl<T: Trace> Trace for Box<[T]> {
    const SLOTS: Slots = <Vec<T> as Trace>::SLOTS;
    const RESIDUE: bool = true;
    const ACYCLIC: bool = T::ACYCLIC;
    #[inline]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        tracer.slice(self);
    }
    unsafe fn drop_residue(&mut self) {
        // SAFETY: not used again (1).
        let mut vec = ManuallyDrop::new(Vec::from(unsafe { ptr::read(self) }));
        // SAFETY: not used again.
        unsafe { vec.drop_residue() }
    }
}

// SAFETY: 1, 2: every item in order, N times its slots. 3, 4: the items' residue. 5: handed on.
unsafe impl<T: Trace, const N: usize> Trace for [T; N] {
    const SLOTS: Slots = match T::SLOTS {
        Slots::Fixed(each) => Slots::Fixed(each * N),
        Slots::Varying => Slots::Varying,
    };
    const RESIDUE: bool = T::RESIDUE;
    const ACYCLIC: bool = T::ACYCLIC;
    #[inline]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        tracer.slice(self);
    }
    unsafe fn drop_residue(&mut self) {
        // SAFETY: not used again (1).
        unsafe { drop_items(self) }
    }
}

macro_rules! tuple {
    ($($name:ident $index:tt),*) => {
        // SAFETY: 1, 2: every field in order. 3, 4: every field's residue. 5: handed on.
        unsafe impl<$($name: Trace),*> Trace for ($($name,)*) {
            const SLOTS: Slots = Slots::Fixed(0)$(.and($name::SLOTS))*;
            const RESIDUE: bool = false $(|| $name::RESIDUE)*;
            const ACYCLIC: bool = true $(&& $name::ACYCLIC)*;
            #[inline(always)]
            fn trace(&self, tracer: &mut Tracer<'_>) {
                $(self.$index.trace(tracer);)*
            }
            unsafe fn drop_residue(&mut self) {
                // SAFETY: not used again (1).
                let _all = ($(unsafe { Residue::new(&mut self.$index) },)*);
            }
        }
    };
}

tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
