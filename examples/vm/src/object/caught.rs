//! Errors as values.

use mimalloc_runtime::Trace;

use super::Str;

/// A run-time error that did not end the script.
#[derive(Trace)]
pub(crate) struct Caught {
    pub(crate) message: Str,
    /// A line for each function that it has left.
    pub(crate) trace: Str,
}
