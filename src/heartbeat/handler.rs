//! Process-wide handlers of the engine's deferred-free call.

use crate::aside::aside;
use crate::error::Error;
use crate::fallible;
use crate::registry::{Registry, Round};

use super::hook::{self, HookCall};

type Handler = dyn Fn(HookCall) + Send + Sync;

static HANDLERS: Registry<Handler> = Registry::new();

/// Calls `handler` when the engine has made its deferred-free call on a thread that has a mutator attached.
///
/// This is all of mimalloc's `mi_register_deferred_free` that can be had safely: that there were calls, and of which kind. It is **not
/// a clock**: mimalloc 3 calls after every 1000th slow-path allocation of a heap, which may be millions of
/// allocations apart, and never on a thread that only frees. For a clock see [`Mutator::on_beat`](crate::Mutator::on_beat).
///
/// # When it runs
/// Not inside the engine: that may hold a lock of the heap that is being used, and whoever allocated there would wait for himself. The
/// handler is called at the next safepoint on the same thread ([`Mutator::safepoint`](crate::Mutator::safepoint),
/// [`collect`](crate::Mutator::collect), [`poll`](crate::Mutator::poll) after a beat), once for each kind of which there were calls
/// since the last. It may do anything (the crate has a [table](crate#what-a-handler-may-do)). If it panics, the panic comes out of that
/// safepoint, when all handlers have been told. What it allocates from Rust's global allocator is not charged.
///
/// # Errors
/// [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory).
///
/// # Cost
/// Nothing on the allocation path.
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

/// Tells the handlers of the calls that there were on this thread since the last time. When Rust's own memory has run out it waits
/// for the next time.
///
/// # Panics
/// With the payload of the first of them that did, when all have been told.
pub(crate) fn tell_calls() {
    if !hook::has_untold_calls() {
        return;
    }
    // When the engine calls is its own choice, so nobody is charged.
    aside(|| {
        let Ok(handlers) = HANDLERS.all() else { return };
        let mut round = Round::new(handlers);
        for call in hook::take_untold().kinds() {
            round.tell(|handler| handler(call));
        }
        round.end();
    });
}
