//! Frames: functions that run.

use std::cell::Cell;
use std::fmt;

use mimalloc_runtime::Ref;

use super::barrier::Barrier;
use crate::object::{Closure, Str};

/// Calls nest as deep as this, the script counted.
pub(super) const MAX_FRAMES: usize = 64;

/// A function that has been called and has not returned.
pub(super) struct Frame {
    pub(super) closure: Ref<Closure>,
    /// The stack slot of the callee or the receiver; arguments and locals follow.
    pub(super) base: usize,
    /// The index of the next instruction. While the function runs it is kept elsewhere, and put here when that ends,
    /// whatever the reason.
    pub(super) ip: Cell<usize>,
    /// The limits of this call, if it has its own.
    pub(super) barrier: Option<Box<Barrier>>,
}

impl Frame {
    pub(super) fn new(closure: Ref<Closure>, base: usize) -> Frame {
        Frame { closure, base, ip: Cell::new(0), barrier: None }
    }

    /// Where it is.
    pub(super) fn place(&self) -> Place {
        let function = self.closure.head().function.head();
        // The instruction at work is the one before.
        let line = function.code.lines.get(self.ip.get().wrapping_sub(1)).copied().unwrap_or(0);
        Place { name: function.name.clone(), line }
    }
}

/// Where a function is that runs, or was when it was left.
pub(super) struct Place {
    /// Nothing for the script.
    name: Option<Str>,
    line: usize,
}

/// A line in the trace of a run-time error.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line;
        match &self.name {
            Some(name) => write!(f, "[line {line}] in {name}()"),
            None => write!(f, "[line {line}] in script"),
        }
    }
}
