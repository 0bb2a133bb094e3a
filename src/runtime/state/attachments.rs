//! What is attached to this state's objects.

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::deferred::{Attachment, Full, Object, Trace};
use crate::error::OutOfMemory;
use crate::runtime::attachment::{Attached, Kind};
use crate::runtime::handle::{self, Allocation};
use crate::runtime::raw;
use crate::runtime::weak::WeakCell;

use super::State;

/// What came of attaching.
pub(in crate::runtime) enum Attaching<K, V> {
    /// The new attachment.
    Done(NonNull<Object>),
    /// There is one of its kind, and here is what was to be the other.
    Exists(NonNull<Object>, Attached<K, V>),
}

impl State {
    /// The attachment of one kind of an object.
    ///
    /// # Safety
    /// 1. `host` is alive and this state's.
    pub(in crate::runtime) unsafe fn attachment(
        &self,
        host: NonNull<Object>,
        kind: Attachment,
    ) -> Option<NonNull<Object>> {
        // SAFETY: alive (1).
        let all = unsafe { self.pending.attachments().of(host) };
        all[kind as usize]
    }

    /// A new attachment, of nothing yet, and the first reference to it.
    ///
    /// # Errors
    /// [`OutOfMemory`], with the value.
    pub(in crate::runtime) fn make_attachment<K: Kind, V: Trace>(
        &self,
        value: Attached<K, V>,
    ) -> Result<NonNull<Object>, OutOfMemory<Attached<K, V>>> {
        if let Err(Full) = self.pending.attachments().prepare() {
            return Err(OutOfMemory { value, bytes: size_of::<Attached<K, V>>() });
        }
        self.make(value)
    }

    /// Attaches one to its host, which takes over a reference to it.
    ///
    /// # Safety
    /// 1. Both are alive and this state's; `attachment` is from [`make_attachment`](State::make_attachment), and the caller gives up a reference to it.
    /// 2. The host is no attachment and has none of this kind.
    pub(in crate::runtime) unsafe fn attach_made(&self, host: NonNull<Object>, attachment: NonNull<Object>) {
        // SAFETY: handed on (1, 2).
        unsafe { self.pending.attach(host, attachment) }
    }

    /// Attaches a new object, unless the host has one of its kind.
    ///
    /// # Errors
    /// [`OutOfMemory`], with the value.
    ///
    /// # Panics
    /// If `host` is an attachment.
    ///
    /// # Safety
    /// 1. `host` is alive and this state's.
    pub(in crate::runtime) unsafe fn attach<K: Kind, V: Trace>(
        &self,
        host: NonNull<Object>,
        value: Attached<K, V>,
    ) -> Result<Attaching<K, V>, OutOfMemory<Attached<K, V>>> {
        let attachment = self.make_attachment(value)?;
        // What allocates may have called code of the user's, which came first.
        // SAFETY: handed on (1).
        if let Some(first) = unsafe { self.attachment(host, K::KIND) } {
            let layout = const { Layout::new::<Allocation<Attached<K, V>>>() };
            // SAFETY: an object of this type, new, whose value is not used there again.
            let value = unsafe { handle::value::<Attached<K, V>>(attachment) };
            // SAFETY: as above.
            let value = unsafe { value.read() };
            // SAFETY: of this layout, and nothing is left in it.
            unsafe { self.discard_object(attachment.cast(), layout.size(), layout.align()) };
            return Ok(Attaching::Exists(first, value));
        }
        // SAFETY: both alive (1); the only reference to a new object; none of its kind.
        unsafe { self.attach_made(host, attachment) };
        Ok(Attaching::Done(attachment))
    }

    /// The object that weak references to `host` refer to, with a reference to it for the caller.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    ///
    /// # Panics
    /// If `host` is an attachment.
    ///
    /// # Safety
    /// 1. `host` is alive and this state's.
    pub(in crate::runtime) unsafe fn weak_cell(&self, host: NonNull<Object>) -> Result<NonNull<Object>, OutOfMemory> {
        // SAFETY: handed on (1).
        let cell = match unsafe { self.attachment(host, Attachment::Weak) } {
            Some(cell) => cell,
            // SAFETY: handed on (1).
            None => match unsafe { self.attach(host, Attached::<WeakCell, ()>::new(())) } {
                Ok(Attaching::Done(cell) | Attaching::Exists(cell, _)) => cell,
                Err(error) => return Err(error.map(drop)),
            },
        };
        // SAFETY: HOSTS: alive.
        unsafe { raw::retain(cell) };
        Ok(cell)
    }

    /// Whether no weak reference refers to an object. If its cell is all that is left of them, that goes.
    ///
    /// # Safety
    /// 1. `host` is alive and this state's.
    pub(in crate::runtime) unsafe fn forget_weak_cell(&self, host: NonNull<Object>) -> bool {
        // SAFETY: handed on (1).
        let Some(cell) = (unsafe { self.attachment(host, Attachment::Weak) }) else { return true };
        // SAFETY: HOSTS: alive.
        let is_last = unsafe { raw::is_unique(cell) };
        if is_last {
            // SAFETY: handed on (1).
            unsafe { self.detach_from(host, Attachment::Weak) };
        }
        is_last
    }

    /// Takes an attachment off its host, and gives it up. False if there is none.
    ///
    /// # Safety
    /// 1. `host` is alive and this state's.
    pub(in crate::runtime) unsafe fn detach_from(&self, host: NonNull<Object>, kind: Attachment) -> bool {
        // SAFETY: handed on (1).
        let Some(attachment) = (unsafe { self.pending.detach(host, kind) }) else { return false };
        // SAFETY: the reference that was the host's.
        unsafe { raw::release(attachment) };
        true
    }
}
