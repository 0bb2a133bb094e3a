//! The safe counted handle.

use core::any::Any;
use core::fmt;
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, offset_of};
use core::ops::Deref;
use core::ptr::{self, NonNull};

use crate::deferred::{Managed, Object, Pending, Quick, Slots, Trace, Tracer, TypeInfo};

use super::{raw, thread};

/// A counted reference to an object of a mutator's heap. One pointer wide, also as `Option<Ref<T>>`.
///
/// Dropping the last one takes constant time, whatever hangs on the object. A *simple* object (no more than 8 slots and 1 KiB,
/// nothing to drop but references) is freed then and there, at most 9 units of work, and what dies of it is queued; any other
/// is queued itself. Later collection steps free what is queued. (Everything is freed at once under
/// [`Schedule::Eager`](crate::Schedule::Eager), and when the mutator has been detached.)
///
/// A handle belongs to the thread of its mutator, and may outlive the mutator there.
///
/// ```compile_fail
/// # let mutator = mimalloc_runtime::Runtime::new()?.attach()?;
/// let five = mutator.alloc(5u32).unwrap();
/// std::thread::spawn(move || println!("{}", *five)); // neither Send nor Sync
/// # Ok::<(), mimalloc_runtime::Error>(())
/// ```
#[repr(transparent)]
pub struct Ref<T: ?Sized> {
    /// Invariant REF: an object of type `T` (any type for [`Untyped`]) in which this handle owns one counted reference.
    object: NonNull<Object>,
    _owns: PhantomData<*mut T>,
}

/// The referent of a handle whose type is found out at run time.
pub enum Untyped {}

/// How a sized object lies in memory. Aligned as every object is ([`OBJECT_ALIGN`](crate::deferred::OBJECT_ALIGN)), which
/// costs nothing: the engine's size classes above 8 bytes are multiples of 16. A value of no size makes 16 bytes.
#[repr(C, align(16))]
pub(super) struct Allocation<T> {
    pub(super) header: Object,
    pub(super) value: T,
}

/// # Safety
/// 1. `object` is an object of type `T`.
#[inline(always)]
pub(super) unsafe fn value<T>(object: NonNull<Object>) -> NonNull<T> {
    let place = object.cast::<Allocation<T>>().as_ptr();
    // SAFETY: within the object (1).
    let value = unsafe { &raw mut (*place).value };
    // SAFETY: a field of something that is not null.
    unsafe { NonNull::new_unchecked(value) }
}

unsafe fn trace<T: Trace>(object: NonNull<Object>, tracer: &mut Tracer<'_>) {
    // SAFETY: called with objects of this type (TypeInfo::trace).
    let value = unsafe { value::<T>(object) };
    // SAFETY: whole, and nobody changes it while it is traced.
    unsafe { value.as_ref() }.trace(tracer);
}

unsafe fn release<T: Trace>(object: NonNull<Object>, pending: &Pending) -> Option<NonNull<Object>> {
    // SAFETY: called with objects of this type (Quick::release).
    let value = unsafe { value::<T>(object) };
    // SAFETY: whole, and nobody changes it while it is traced.
    Tracer::whole(pending, unsafe { value.as_ref() })
}

unsafe fn drop_residue<T: Trace>(object: NonNull<Object>) {
    // SAFETY: called with objects of this type (TypeInfo::drop_residue).
    let mut value = unsafe { value::<T>(object) };
    // SAFETY: the object is dead, so nobody else refers to it.
    let value = unsafe { value.as_mut() };
    // SAFETY: called once, and only the memory is freed after it.
    unsafe { value.drop_residue() }
}

unsafe fn keeps<T: Trace>(object: NonNull<Object>) -> NonNull<Object> {
    // SAFETY: called with objects of this type (TypeInfo::keeps).
    let value = unsafe { value::<T>(object) };
    let keeps = const { T::KEEPS }.expect("asked of a type that has it");
    // SAFETY: whole, and nobody changes it meanwhile.
    keeps(unsafe { value.as_ref() })
}

const fn quick<T: Trace>() -> Quick {
    Quick::of(size_of::<Allocation<T>>(), align_of::<Allocation<T>>(), T::SLOTS, T::RESIDUE, release::<T>)
}

// SAFETY: describes `Allocation<T>`, which is how objects of a sized type are made (`Mutator::alloc`).
unsafe impl<T: Trace> Managed for T {
    const INFO: &'static TypeInfo = &TypeInfo {
        name: core::any::type_name::<T>,
        base_bytes: size_of::<Allocation<T>>(),
        padding: size_of::<Allocation<T>>() - offset_of!(Allocation<T>, value) - size_of::<T>(),
        bytes: None,
        align: align_of::<Allocation<T>>(),
        slots: T::SLOTS,
        trace: trace::<T>,
        drop_residue: if T::RESIDUE { Some(drop_residue::<T>) } else { None },
        quick: quick::<T>(),
        flags: quick::<T>().flags(!T::ACYCLIC),
        attachment: None,
        keeps: if T::KEEPS.is_some() { Some(keeps::<T>) } else { None },
    };
}

impl<T: ?Sized> Ref<T> {
    /// The object, with the reference that this handle owned.
    #[inline(always)]
    pub fn into_raw(this: Ref<T>) -> NonNull<Object> {
        ManuallyDrop::new(this).object
    }

    /// The object; the handle keeps its reference.
    #[inline(always)]
    pub fn as_raw(this: &Ref<T>) -> NonNull<Object> {
        this.object
    }

    /// A handle that takes over a counted reference.
    ///
    /// # Safety
    /// 1. `object` is alive, belongs to this thread, and is a `T` (any object for [`Untyped`]).
    /// 2. The caller owns one counted reference to it, which the handle takes over.
    #[inline(always)]
    pub unsafe fn from_raw(object: NonNull<Object>) -> Ref<T> {
        Ref { object, _owns: PhantomData }
    }

    /// Whether two handles refer to the same object.
    #[inline(always)]
    pub fn ptr_eq<U: ?Sized>(this: &Ref<T>, other: &Ref<U>) -> bool {
        this.object == other.object
    }

    /// Whether this is the only reference. Immortal and sticky objects have no only reference.
    #[inline(always)]
    pub fn is_unique(this: &Ref<T>) -> bool {
        // SAFETY: REF.
        unsafe { raw::is_unique(this.object) }
    }

    /// The same handle, its type forgotten.
    #[inline(always)]
    pub fn erase(this: Ref<T>) -> Ref<Untyped> {
        // SAFETY: the object of a handle, with the handle's own reference.
        unsafe { Ref::from_raw(Ref::into_raw(this)) }
    }
}

impl<T: Trace> Ref<T> {
    /// The value, if this is the only reference to it, and there is no [`Weak`](crate::Weak) one.
    #[inline]
    pub fn get_mut(this: &mut Ref<T>) -> Option<&mut T> {
        // SAFETY: REF.
        if !unsafe { thread::lend(this.object) } {
            return None;
        }
        // SAFETY: REF.
        let mut value = unsafe { value::<T>(this.object) };
        // SAFETY: the only reference, and it is borrowed for as long as the value is.
        Some(unsafe { value.as_mut() })
    }
}

impl Ref<Untyped> {
    /// Whether the object is a `T`.
    #[inline(always)]
    pub fn is<T: Managed>(this: &Ref<Untyped>) -> bool {
        // SAFETY: REF.
        unsafe { raw::is::<T>(this.object) }
    }

    /// The handle with its type.
    ///
    /// # Errors
    /// The handle itself when the object is of another type.
    #[inline]
    pub fn downcast<T: Managed>(this: Ref<Untyped>) -> Result<Ref<T>, Ref<Untyped>> {
        if Ref::is::<T>(&this) {
            // SAFETY: the object of a handle, with the handle's own reference, and a `T`.
            Ok(unsafe { Ref::from_raw(Ref::into_raw(this)) })
        } else {
            Err(this)
        }
    }

    /// A look at the object as a `T`, if it is one.
    #[inline]
    pub fn downcast_ref<T: Managed>(this: &Ref<Untyped>) -> Option<&Ref<T>> {
        // SAFETY: both are transparent around the same pointer, and the object is a `T`, so REF holds.
        Ref::is::<T>(this).then(|| unsafe { &*ptr::from_ref(this).cast::<Ref<T>>() })
    }
}

impl<T: Trace> Deref for Ref<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: REF.
        let value = unsafe { value::<T>(self.object) };
        // SAFETY: alive for as long as the handle is borrowed, and changed only through a unique handle.
        unsafe { value.as_ref() }
    }
}

impl<T: ?Sized> Clone for Ref<T> {
    /// One more reference. A load, a comparison and a store.
    #[inline(always)]
    fn clone(&self) -> Self {
        // SAFETY: REF.
        unsafe { raw::retain(self.object) };
        // SAFETY: with the reference just taken.
        unsafe { Ref::from_raw(self.object) }
    }
}

impl<T: ?Sized> Drop for Ref<T> {
    /// One reference less. Constant time.
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: REF: the handle's own reference, given up once.
        unsafe { raw::release(self.object) }
    }
}

// SAFETY: 1, 2: one slot, the handle's own reference. 3, 4: nothing else to drop. 5: does nothing else.
unsafe impl<T: ?Sized + Any> Trace for Ref<T> {
    const SLOTS: Slots = Slots::Fixed(1);
    const RESIDUE: bool = false;
    #[inline(always)]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        // SAFETY: REF: the reference is owned by the value that holds this handle.
        unsafe { tracer.reference(self.object) }
    }
    unsafe fn drop_residue(&mut self) {}
}

impl<T: Trace + PartialEq> PartialEq for Ref<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Trace + Eq> Eq for Ref<T> {}

impl<T: Trace + fmt::Debug> fmt::Debug for Ref<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T: Trace + fmt::Display> fmt::Display for Ref<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}

impl fmt::Debug for Ref<Untyped> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: REF.
        let object = unsafe { self.object.as_ref() };
        write!(f, "Ref({} at {:p})", object.info().name(), self.object)
    }
}
