//! Process-wide handlers of the engine's deferred-free call.

use crate::aside::aside;
use crate::error::Error;
use crate::fallible::{self, TryArc};
use crate::registry::Registry;

use super::hook::{self, HookCall};

pub(super) type Handler = dyn Fn(HookCall) + Send + Sync;

/// Invariant HANDLERS: the trampoline only ever *tries* to read and holds no lock while a handler runs. Registering
/// allocates while it holds the lock, and that allocation may be the one in which the engine calls.
static HANDLERS: Registry<Handler> = Registry::new();

/// Calls `handler` when the engine makes its deferred-free call on a thread that has a mutator attached.
///
/// This is all of mimalloc's `mi_register_deferred_free` that can be had safely: the kind of the call, and nothing else.
/// It is **not a clock**: mimalloc 3 calls after every 1000th slow-path allocation of a heap, which may be millions of
/// allocations apart, and never on a thread that only frees. For a clock see [`Mutator::on_beat`](crate::Mutator::on_beat).
///
/// # What a handler may do
/// It runs inside the engine. It may free, and allocate from the global allocator and from mutators attached to this
/// thread; it may neither attach one nor walk one's areas ([`ErrorKind::InHandler`](crate::ErrorKind::InHandler)). The
/// [table](crate#what-a-handler-may-do) in the crate's documentation has the rest. Engine calls that it causes do not come back
/// to it. If it panics, the panic is kept and resumed at the next safepoint of this thread
/// ([`Mutator::safepoint`](crate::Mutator::safepoint)). A call that comes while a handler is being registered or removed, or
/// while a mutator is being attached, may miss handlers.
///
/// # Errors
/// [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory).
///
/// # Cost
/// Nothing on the allocation path; at a call, one lock that is never waited for and one indirect call.
pub fn register_deferred_free(handler: impl Fn(HookCall) + Send + Sync + 'static) -> Result<Registration, Error> {
    hook::install();
    // The table is the process's.
    let id = aside(|| HANDLERS.add(fallible::boxed(handler)?))?;
    Ok(Registration { id })
}

/// A registered handler; dropping it removes the handler. [`core::mem::forget`] keeps it for good.
#[derive(Debug)]
#[must_use = "the handler is removed when its registration is dropped"]
pub struct Registration {
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        HANDLERS.remove(self.id);
    }
}

/// Hands each handler to `run`, which drops it and does not panic. Called by the trampoline.
pub(super) fn for_each(run: impl Fn(TryArc<Box<Handler>>)) {
    (0..).map_while(|place| HANDLERS.try_get(place)).for_each(run);
}
