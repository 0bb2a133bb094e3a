//! The value stack.

use std::mem;

use super::frame::Room;
use crate::value::Value;

/// A script may have so many values on the stack; and a job as many on top of these.
pub(super) const STACK_SLOTS: usize = 64 * 256;

/// The value stack.
///
/// Invariant HEIGHT: `Proto::max_stack` says how high a function makes the stack, and a function is entered only if there
/// is so much [`Room`]; its code pops only what it has pushed. So the stack is never overrun, and never
/// found empty.
///
/// Invariant REST: slots from `top` on hold nil, so that filling one need not drop what was in it.
///
/// The interpreter loop keeps `top` in a variable of its own, and stores it here for everybody else.
pub(super) struct Stack {
    pub(super) slots: Box<[Value]>,
    pub(super) top: usize,
}

/// Puts a value into a slot that holds none, or one that is no reference.
#[inline(always)]
pub(super) fn fill(slot: &mut Value, value: Value) {
    mem::forget(mem::replace(slot, value));
}

impl Stack {
    pub(super) fn new() -> Stack {
        Stack { slots: (0..Room::WHOLE.slots).map(|_| Value::NIL).collect(), top: 0 }
    }

    /// Drops everything, also what a panic has left above `top`.
    pub(super) fn clear(&mut self) {
        self.slots.fill(Value::NIL);
        self.top = 0;
    }

    #[inline(always)]
    pub(super) fn push(&mut self, value: Value) {
        fill(&mut self.slots[self.top], value);
        self.top += 1;
    }

    #[inline(always)]
    pub(super) fn pop(&mut self) -> Value {
        self.top -= 1;
        mem::take(&mut self.slots[self.top])
    }

    /// The topmost value.
    #[inline(always)]
    pub(super) fn last(&self) -> &Value {
        &self.slots[self.top - 1]
    }

    /// Puts a value in the place of the topmost one.
    #[inline(always)]
    pub(super) fn replace_last(&mut self, value: Value) {
        self.slots[self.top - 1] = value;
    }

    /// The two topmost values.
    #[inline(always)]
    pub(super) fn operands(&self) -> (&Value, &Value) {
        match &self.slots[..self.top] {
            [.., left, right] => (left, right),
            _ => unreachable!("HEIGHT: the stack holds the operands"),
        }
    }

    /// Puts a value in the place of all from `slot` on.
    #[inline(always)]
    pub(super) fn replace_from(&mut self, slot: usize, value: Value) {
        for above in &mut self.slots[slot + 1..self.top] {
            *above = Value::NIL;
        }
        self.slots[slot] = value;
        self.top = slot + 1;
    }
}
