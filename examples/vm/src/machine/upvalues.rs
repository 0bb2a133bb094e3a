//! Captured variables that still stand on the stack.

use mimalloc_runtime::{Mutator, OutOfMemory, Ref, Survey};

use crate::object::Upvalue;
use crate::value::Value;

/// The open upvalues, lowest slot first, one for each slot that is captured.
#[derive(Default)]
pub(super) struct OpenUpvalues(Vec<Ref<Upvalue>>);

impl OpenUpvalues {
    /// The upvalue of a stack slot: the one that there is, or a new one.
    pub(super) fn capture(&mut self, mutator: &Mutator, slot: usize) -> Result<Ref<Upvalue>, OutOfMemory> {
        let after = self.first_from(slot);
        if let Some(known) = self.0.get(after) {
            if known.slot.get() == Some(slot) {
                return Ok(known.clone());
            }
        }
        let new = mutator.alloc(Upvalue::open(slot)).map_err(|error| error.map(drop))?;
        self.0.insert(after, new.clone());
        Ok(new)
    }

    /// Moves variables from `slot` on from the stack into their upvalues.
    #[inline(always)]
    pub(super) fn close_from(&mut self, slot: usize, stack: &mut [Value]) {
        if self.0.last().is_some_and(|last| last.slot.get() >= Some(slot)) {
            self.close_some_from(slot, stack);
        }
    }

    #[inline(never)]
    fn close_some_from(&mut self, slot: usize, stack: &mut [Value]) {
        for upvalue in self.0.drain(self.first_from(slot)..) {
            if let Some(slot) = upvalue.slot.get() {
                upvalue.close(std::mem::take(&mut stack[slot]));
            }
        }
    }

    /// Tells of the references that it holds.
    pub(super) fn roots<'a>(&'a self, survey: Survey<'a>) -> Survey<'a> {
        self.0.iter().fold(survey, Survey::root)
    }

    /// The place of the first upvalue whose slot is `slot` or higher. What is looked for stands near the end.
    fn first_from(&self, slot: usize) -> usize {
        self.0.iter().rposition(|upvalue| upvalue.slot.get() < Some(slot)).map_or(0, |below| below + 1)
    }
}
