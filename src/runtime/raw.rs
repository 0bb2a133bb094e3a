//! Operations on objects without handles, for a VM that keeps references in its own encoding.
//!
//! A VM whose values are NaN-boxed or tagged words cannot keep [`Ref`](crate::Ref)s in them. It takes a handle apart with
//! [`Ref::into_raw`](crate::Ref::into_raw), keeps the pointer, and counts with the functions below; a value type that does so
//! implements [`Trace`](crate::Trace) by hand and reports its reference with
//! [`Tracer::reference`](crate::Tracer::reference).
//!
//! "Alive" below means: the object has at least one counted reference, or is immortal or sticky, and belongs to the calling
//! thread.

use core::ptr::NonNull;

use crate::deferred::{Colour, CountState, Death, Link, Managed, Object, TypeKey};
use crate::error::OutOfMemory;

use super::thread;

/// Takes one more reference.
///
/// # Safety
/// 1. `object` is alive.
#[inline(always)]
pub unsafe fn retain(object: NonNull<Object>) {
    // SAFETY: alive (1).
    unsafe { object.as_ref() }.retain();
}

/// Gives one reference up. If it was the last, the object is freed or queued, as when a [`Ref`](crate::Ref) is dropped.
/// Constant time.
///
/// # Safety
/// 1. `object` is alive, and the caller owns one counted reference to it, which it does not use again.
#[inline(always)]
pub unsafe fn release(object: NonNull<Object>) {
    // SAFETY: alive (1).
    match unsafe { object.as_ref() }.release() {
        Death::Alive => {}
        // SAFETY: others are left, and it is armed.
        Death::Suspected => unsafe { thread::suspect(object) },
        // SAFETY: the last reference has just been given up (1).
        Death::Died => unsafe { thread::retire(object) },
    }
}

/// Takes a reference unless the object has died, or is part of a garbage cycle that has been found. For tables that know objects without keeping them alive.
///
/// # Safety
/// 1. The memory of `object` has not been freed: it is alive, or it has died and its value has not been dropped yet. (The
///    `Drop` of a field of the object, for instance, is a moment at which a table can still be told. Objects without such a
///    field may be freed as they die, and are not known to be dead while their references are given up: where a reference leads to an
///    object of another mutator, code of that one's can run meanwhile.)
#[inline(always)]
pub unsafe fn try_retain(object: NonNull<Object>) -> bool {
    // SAFETY: not freed (1).
    let header = unsafe { object.as_ref() };
    let word = header.word();
    if word.is_dead() {
        return false;
    }
    if word.colour() != Colour::None {
        // SAFETY: not dead.
        return unsafe { thread::revive(object) };
    }
    header.retain();
    true
}

/// The cell of an object, which stands for it where it is referred to weakly ([`Weak`](crate::Weak)), with a reference to it for the caller. It is an object
/// that is counted and traced like any other, and outlives the one that it stands for.
///
/// # Errors
/// [`OutOfMemory`], if the object has none yet.
///
/// # Panics
/// If `object` is itself a cell.
///
/// # Safety
/// 1. `object` is alive.
pub unsafe fn downgrade(object: NonNull<Object>) -> Result<NonNull<Object>, OutOfMemory> {
    // SAFETY: alive (1).
    let state = unsafe { thread::state_of(object) };
    // SAFETY: handed on (1); its own.
    unsafe { state.weak_cell(object) }
}

/// What a cell stands for.
///
/// # Safety
/// 1. `cell` is from [`downgrade`], and alive.
#[inline(always)]
pub(super) unsafe fn referent(cell: NonNull<Object>) -> Option<NonNull<Object>> {
    // SAFETY: an attachment, alive (1).
    let link = unsafe { Link::of(cell) };
    link.host()
}

/// The object that a cell stands for, with a reference to it for the caller, unless it has become garbage as far as is known.
///
/// # Safety
/// 1. `cell` is from [`downgrade`], and alive.
#[inline]
pub unsafe fn upgrade(cell: NonNull<Object>) -> Option<NonNull<Object>> {
    // SAFETY: handed on (1).
    let object = unsafe { referent(cell) }?;
    // SAFETY: HOSTS: not freed.
    unsafe { try_retain(object) }.then_some(object)
}

/// To be called before a reference in a slot of `object` is replaced, taken out or put in, by a VM that keeps references in places of
/// its own and does not call [`Tracer::unwatched`](crate::Tracer::unwatched). (What the crate's [cells](crate::cell) hold, and
/// what is changed through [`Ref::get_mut`](crate::Ref::get_mut), need no call.)
///
/// A load and a branch, unless the object is a member of a trial just then, or the mutator has gone.
///
/// # Safety
/// 1. `object` is alive.
#[inline(always)]
pub unsafe fn changing(object: NonNull<Object>) {
    // SAFETY: alive (1).
    if unsafe { object.as_ref() }.word().is_watched() {
        // SAFETY: alive (1).
        unsafe { thread::change(object) }
    }
}

/// Whether there is exactly one reference.
///
/// # Safety
/// 1. `object` is alive.
#[inline(always)]
pub unsafe fn is_unique(object: NonNull<Object>) -> bool {
    // SAFETY: alive (1).
    unsafe { object.as_ref() }.word().count() == 1
}

/// What the object's count means.
///
/// # Safety
/// 1. `object` is alive.
pub unsafe fn count_state(object: NonNull<Object>) -> CountState {
    // SAFETY: alive (1).
    unsafe { object.as_ref() }.word().state()
}

/// Makes the object immortal: it is not counted any more and never freed, and neither is what it refers to.
///
/// References taken before and after need not be given up, and may be.
///
/// # Safety
/// 1. `object` is alive.
pub unsafe fn make_immortal(object: NonNull<Object>) {
    // SAFETY: alive (1).
    let object = unsafe { object.as_ref() };
    object.set_word(object.word().with_count(0));
}

/// Whether the object is a `T`.
///
/// # Safety
/// 1. The memory of `object` has not been freed.
#[inline(always)]
pub unsafe fn is<T: Managed>(object: NonNull<Object>) -> bool {
    // SAFETY: not freed (1).
    unsafe { object.as_ref() }.word().key() == TypeKey::of::<T>()
}

/// The type of the object; equal for two objects exactly if they are of one type.
///
/// # Safety
/// 1. The memory of `object` has not been freed.
#[inline(always)]
pub unsafe fn key(object: NonNull<Object>) -> TypeKey {
    // SAFETY: not freed (1).
    unsafe { object.as_ref() }.word().key()
}
