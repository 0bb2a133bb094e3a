//! Calls.
//!
//! Where a call stands on the stack is given by the slot of its callee; the arguments are all that stands above.

use std::io::Write;

use mimalloc_runtime::Ref;

use super::Machine;
use super::barrier::{Barrier, Behind};
use super::frame::{Frame, Room};
use super::state::State;
use crate::error::RuntimeError;
use crate::natives::limited::LimitedCall;
use crate::natives::{Arguments, Code, Context, Native};
use crate::object::{BoundMethod, Callback, Class, Closure, Hint, Instance, NativeClass, NativeFunction};
use crate::value::Value;

/// What a call amounts to.
pub(super) enum Called {
    /// A function to be entered.
    Frame(Frame),
    /// The call is done; its result stands in the callee's slot.
    Done,
}

impl Machine {
    /// Lets a function begin.
    #[inline(always)]
    pub(super) fn enter(&mut self, mut frame: Frame) -> Result<(), RuntimeError> {
        let top = frame.base + frame.closure.head().function.head().max_stack;
        if self.frames.len() == self.room.frames || top > self.room.slots {
            return Err(RuntimeError::new("Stack overflow."));
        }
        if let Some(barrier) = &mut frame.barrier {
            barrier.raise(self.state.heap.mutator(), self.step)?;
        }
        self.frames.push(frame);
        Ok(())
    }

    /// Ends the innermost function. Gives what its barrier was around, if it had one.
    #[inline(always)]
    pub(super) fn leave(&mut self) -> Option<Behind> {
        match self.frames.pop() {
            Some(Frame { barrier: Some(barrier), .. }) => Some(self.lower(&barrier)),
            _ => None,
        }
    }

    #[inline(never)]
    fn lower(&mut self, barrier: &Barrier) -> Behind {
        barrier.lower(self.state.heap.mutator());
        if barrier.behind == Behind::Job {
            self.room = Room::from(0, 0);
            self.state.jobs.finish();
        }
        barrier.behind
    }
}

#[cold]
fn wrong_arity(expected: u8, given: usize) -> RuntimeError {
    RuntimeError::Message(format!("Expected {expected} arguments but got {given}."))
}

impl State {
    fn check_arity(&self, expected: u8, slot: usize) -> Result<(), RuntimeError> {
        let given = self.stack.top - 1 - slot;
        if given == usize::from(expected) { Ok(()) } else { Err(wrong_arity(expected, given)) }
    }

    /// Calls whatever stands in the callee's slot.
    #[inline(always)]
    pub(super) fn call(&mut self, slot: usize, out: &mut dyn Write) -> Result<Called, RuntimeError> {
        if let Some(closure) = self.stack.slots[slot].as_ref::<Closure>() {
            return self.call_closure(closure.clone(), slot);
        }
        self.call_other(slot, out)
    }

    #[inline(always)]
    pub(super) fn call_closure(&mut self, closure: Ref<Closure>, slot: usize) -> Result<Called, RuntimeError> {
        self.check_arity(closure.head().function.head().arity, slot)?;
        Ok(Called::Frame(Frame::new(closure, slot)))
    }

    #[inline(never)]
    fn call_other(&mut self, slot: usize, out: &mut dyn Write) -> Result<Called, RuntimeError> {
        let callee = &self.stack.slots[slot];
        if let Some(native) = callee.as_ref::<NativeFunction>() {
            return self.call_native(native.0, slot, out);
        }
        if let Some(class) = callee.as_ref::<Class>() {
            return self.instantiate(class.clone(), slot);
        }
        if let Some(class) = callee.as_ref::<NativeClass>() {
            let class = class.clone();
            self.check_arity(0, slot)?;
            self.stack.slots[slot] = class.construct(&self.heap)?;
            return Ok(Called::Done);
        }
        if let Some(bound) = callee.as_ref::<BoundMethod>() {
            let bound = bound.clone();
            self.stack.slots[slot] = bound.receiver().clone();
            return self.call_method(bound.method(), slot, out);
        }
        Err(RuntimeError::new("Can only call functions and classes."))
    }

    /// Calls a closure or a native function on the receiver in the callee's slot.
    #[inline(always)]
    pub(super) fn call_method(
        &mut self,
        method: &Value,
        slot: usize,
        out: &mut dyn Write,
    ) -> Result<Called, RuntimeError> {
        if let Some(closure) = method.as_ref::<Closure>() {
            self.call_closure(closure.clone(), slot)
        } else if let Some(native) = method.as_ref::<NativeFunction>() {
            self.call_native(native.0, slot, out)
        } else {
            unreachable!("methods are closures or native functions")
        }
    }

    fn instantiate(&mut self, class: Ref<Class>, slot: usize) -> Result<Called, RuntimeError> {
        let init = class.methods().borrow().get(&self.init).cloned();
        let instance = self.heap.mutator().alloc(Instance::new(class))?;
        self.stack.slots[slot] = instance.into();
        match init.as_ref().and_then(Value::as_ref::<Closure>) {
            Some(init) => self.call_closure(init.clone(), slot),
            None => {
                self.check_arity(0, slot)?;
                Ok(Called::Done)
            }
        }
    }

    pub(super) fn call_native(
        &mut self,
        native: &'static Native,
        slot: usize,
        out: &mut dyn Write,
    ) -> Result<Called, RuntimeError> {
        self.check_arity(native.arity, slot)?;
        let Some((receiver, arguments)) = self.stack.slots[slot..self.stack.top].split_first() else {
            unreachable!("the callee stands in its slot")
        };
        let arguments = Arguments::new(native, receiver, arguments);
        match native.code {
            Code::Value(function) => {
                let mut context = Context { heap: &mut self.heap, jobs: &self.jobs, host: &mut self.host, out };
                let result = function(&mut context, &arguments)?;
                self.stack.replace_from(slot, result);
                Ok(Called::Done)
            }
            Code::Call(function) => {
                let LimitedCall { callback, bytes, fuel } = function(&arguments)?;
                let Callback { closure, receiver } = callback;
                self.stack.replace_from(slot, receiver);
                let barrier = Some(Box::new(Barrier::new(bytes, fuel)));
                Ok(Called::Frame(Frame { barrier, ..Frame::new(closure, slot) }))
            }
        }
    }

    /// Calls a method by its name: `[receiver, arguments...]`.
    #[inline(always)]
    pub(super) fn invoke(
        &mut self,
        name: &Value,
        hint: &Hint,
        slot: usize,
        out: &mut dyn Write,
    ) -> Result<Called, RuntimeError> {
        let Some(instance) = self.stack.slots[slot].as_ref::<Instance>() else {
            return self.invoke_native(name, hint, slot, out);
        };
        // A function in a field is called as such, without a receiver.
        let field = instance.fields().borrow().get_hinted(name, hint).cloned();
        if let Some(field) = field {
            self.stack.slots[slot] = field;
            return self.call(slot, out);
        }
        let class = instance.class().clone();
        self.invoke_from(&class, name, hint, slot)
    }

    /// Calls the method that a class has under a name.
    #[inline(always)]
    pub(super) fn invoke_from(
        &mut self,
        class: &Ref<Class>,
        name: &Value,
        hint: &Hint,
        slot: usize,
    ) -> Result<Called, RuntimeError> {
        let method = class.methods().borrow().get_hinted(name, hint).and_then(Value::as_ref::<Closure>).cloned();
        match method {
            Some(method) => self.call_closure(method, slot),
            None => Err(undefined_property(name)),
        }
    }

    #[inline(never)]
    fn invoke_native(
        &mut self,
        name: &Value,
        hint: &Hint,
        slot: usize,
        out: &mut dyn Write,
    ) -> Result<Called, RuntimeError> {
        let Some(class) = self.native_class_of(&self.stack.slots[slot]) else {
            return Err(RuntimeError::new("Only instances have methods."));
        };
        match class.methods().get_hinted(name, hint).and_then(Value::as_ref::<NativeFunction>) {
            Some(method) => self.call_native(method.0, slot, out),
            None => Err(undefined_property(name)),
        }
    }
}

#[cold]
pub(super) fn undefined_property(name: &Value) -> RuntimeError {
    RuntimeError::Message(format!("Undefined property '{name}'."))
}
