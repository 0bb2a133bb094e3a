//! How an attachment lies in memory: an object that belongs to another one ([`Link`]).

use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::deferred::{Attachment, Link, Managed, Object, Slots, Trace, Tracer, TypeInfo};

use super::handle::Allocation;

/// What an attachment is for, as a type.
pub(super) trait Kind: 'static {
    const KIND: Attachment;
}

/// The value of an attachment.
#[repr(transparent)]
pub(super) struct Attached<K, V> {
    body: Body<V>,
    _kind: PhantomData<K>,
}

#[repr(C)]
struct Body<V> {
    link: Link,
    value: V,
}

// SAFETY: 1-6: those of the value; a link owns nothing.
unsafe impl<V: Trace> Trace for Body<V> {
    const SLOTS: Slots = V::SLOTS;
    const RESIDUE: bool = V::RESIDUE;
    const ACYCLIC: bool = V::ACYCLIC;
    #[inline(always)]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        self.value.trace(tracer);
    }
    unsafe fn drop_residue(&mut self) {
        // SAFETY: not used again (1).
        unsafe { self.value.drop_residue() }
    }
}

// SAFETY: `Attached` is transparent around `Body`, so an object of one lies in memory as one of the other does. Its value begins with a link,
// right behind the header: see `new`.
unsafe impl<K: Kind, V: Trace> Managed for Attached<K, V> {
    const INFO: &'static TypeInfo =
        &TypeInfo { name: core::any::type_name::<Self>, attachment: Some(K::KIND), ..*<Body<V> as Managed>::INFO };
}

impl<K: Kind, V: Trace> Attached<K, V> {
    pub(super) fn new(value: V) -> Attached<K, V> {
        const {
            assert!(
                align_of::<Body<V>>() == align_of::<Object>(),
                "what is attached to an object has at most the alignment of a pointer: put it into a box or an object"
            );
        }
        Attached { body: Body { link: Link::default(), value }, _kind: PhantomData }
    }

    pub(super) fn into_value(self) -> V {
        self.body.value
    }

    /// The value of an attachment.
    ///
    /// # Safety
    /// 1. `attachment` is an object of this type, and alive until after the last use of the result.
    pub(super) unsafe fn value<'a>(attachment: NonNull<Object>) -> &'a V {
        let place = attachment.cast::<Allocation<Attached<K, V>>>();
        // SAFETY: an object of this type (1).
        let object = unsafe { place.as_ref() };
        &object.value.body.value
    }
}
