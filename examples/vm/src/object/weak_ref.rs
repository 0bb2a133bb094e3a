//! Weak references as values.

use mimalloc_runtime::{Trace, Untyped, Weak};

/// A reference that does not keep its object alive.
#[derive(Trace)]
pub(crate) struct WeakRef {
    pub(crate) weak: Weak<Untyped>,
}
