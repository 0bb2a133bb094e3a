//! Functions that are called without arguments, at once or later.

use mimalloc_runtime::cell::Cell;
use mimalloc_runtime::{Ref, Trace};

use super::Closure;
use crate::value::Value;

/// A function without parameters, ready to be called.
#[derive(Trace)]
pub(crate) struct Callback {
    pub(crate) closure: Ref<Closure>,
    /// What stands in its first slot: itself, or what a method is called on.
    pub(crate) receiver: Value,
}

/// What an instance's finalizer has the machine call. Made when the finalizer is set, as a finalizer that would need memory could not be
/// relied on.
#[derive(Trace)]
pub(crate) struct Job {
    pub(crate) callback: Callback,
    /// The one behind it while it is queued.
    pub(crate) next: Cell<Option<Ref<Job>>>,
}

impl Job {
    pub(crate) fn new(callback: Callback) -> Job {
        Job { callback, next: Cell::new(None) }
    }
}
