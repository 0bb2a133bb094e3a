//! Frames: functions that run.

use std::cell::Cell;
use std::fmt;

use mimalloc_runtime::Ref;

use super::barrier::Barrier;
use super::stack::STACK_SLOTS;
use crate::object::{Closure, Str};

/// Calls nest as deep as this, the script counted; and those of a job as deep again.
pub(super) const MAX_FRAMES: usize = 64;

/// How far calls may go at the moment. A job has as much room as the script, wherever in the script it begins.
pub(super) struct Room {
    /// As deep as this.
    pub(super) frames: usize,
    /// As high on the stack as this.
    pub(super) slots: usize,
}

impl Room {
    /// What there is.
    pub(super) const WHOLE: Room = Room { frames: 2 * MAX_FRAMES, slots: 2 * STACK_SLOTS };

    /// For what begins at this depth and height, which are those of a script or none: within [`Room::WHOLE`].
    pub(super) const fn from(depth: usize, height: usize) -> Room {
        Room { frames: depth + MAX_FRAMES, slots: height + STACK_SLOTS }
    }
}

/// A function that has been called and has not returned.
pub(super) struct Frame {
    pub(super) closure: Ref<Closure>,
    /// The stack slot of the callee or the receiver; arguments and locals follow.
    pub(super) base: usize,
    /// The index of the next instruction. While the function runs it is kept elsewhere, and put here when that ends,
    /// whatever the reason.
    pub(super) ip: Cell<usize>,
    /// If the call has limits of its own, or is a job.
    pub(super) barrier: Option<Box<Barrier>>,
}

impl Frame {
    pub(super) fn new(closure: Ref<Closure>, base: usize) -> Frame {
        Frame { closure, base, ip: Cell::new(0), barrier: None }
    }

    /// Where it is.
    pub(super) fn place(&self) -> Place {
        let function = self.closure.head().function.head();
        // The instruction at work is the one before. There is none yet if what should follow the call has failed.
        let line = function.code.lines.get(self.ip.get().saturating_sub(1)).copied().unwrap_or(0);
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
