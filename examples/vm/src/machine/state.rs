//! What instructions work on: everything of a machine but its frames.

use std::io::Write;

use mimalloc_runtime::{Mutator, OutOfMemory, Ref};

use super::frame::{Frame, Place};
use super::load::load;
use super::stack::Stack;
use super::upvalues::OpenUpvalues;
use crate::error::RuntimeError;
use crate::heap::Heap;
use crate::jobs::Jobs;
use crate::natives::{self, Host, Native};
use crate::object::{Caught, Closure, ClosureHead, Function, NativeClass, NativeFunction, Table, Upvalue};
use crate::proto::{Capture, Proto};
use crate::value::Value;

/// Stack, globals and heap.
pub(super) struct State {
    pub(super) stack: Stack,
    pub(super) open: OpenUpvalues,
    pub(super) globals: Table,
    /// The name of initializers.
    pub(super) init: Value,
    pub(super) lists: Ref<NativeClass>,
    pub(super) maps: Ref<NativeClass>,
    pub(super) errors: Ref<NativeClass>,
    pub(super) weak_references: Ref<NativeClass>,
    /// Upvalues of the closure that is being made. Empty otherwise.
    captured: Vec<Ref<Upvalue>>,
    pub(super) host: Host,
    pub(super) jobs: Jobs,
    pub(super) heap: Heap,
}

impl State {
    pub(super) fn new(heap: Heap, host: Host) -> Result<State, OutOfMemory> {
        let mut globals = Table::default();
        for native in natives::TABLES.iter().copied().flatten() {
            define_native(&heap, &mut globals, native)?;
        }
        let lists = native_class(&heap, natives::list::NAME, natives::list::construct, natives::list::METHODS)?;
        let maps = native_class(&heap, natives::map::NAME, natives::map::construct, natives::map::METHODS)?;
        let errors =
            native_class(&heap, natives::limited::NAME, natives::limited::construct, natives::limited::METHODS)?;
        let weak_references =
            native_class(&heap, natives::weak::NAME, natives::weak::construct, natives::weak::METHODS)?;
        for class in [&lists, &maps, &errors, &weak_references] {
            let name = heap.intern(class.name())?.into();
            globals.set(heap.mutator(), name, class.clone().into())?;
        }
        Ok(State {
            stack: Stack::new(),
            open: OpenUpvalues::default(),
            globals,
            init: heap.intern("init")?.into(),
            lists,
            maps,
            errors,
            weak_references,
            captured: Vec::new(),
            host,
            jobs: Jobs::default(),
            heap,
        })
    }

    pub(super) fn into_mutator(self) -> Mutator {
        self.heap.into_mutator()
    }

    /// Puts a script on the empty stack.
    pub(super) fn script_frame(&mut self, script: Proto) -> Result<Frame, RuntimeError> {
        let function = load(script, &self.heap)?;
        let closure = self.new_closure(function)?;
        self.stack.push(closure.clone().into());
        Ok(Frame::new(closure, 0))
    }

    /// Empties the stack. Closures keep the variables that they captured.
    pub(super) fn unwind(&mut self) {
        self.open.close_from(0, &mut self.stack.slots);
        self.stack.clear();
    }

    /// Empties the stack but for nil in a slot. Closures keep the variables that they captured.
    pub(super) fn unwind_to(&mut self, slot: usize) {
        self.open.close_from(slot, &mut self.stack.slots);
        self.stack.replace_from(slot, Value::NIL);
    }

    /// An error as a value, with the places of the functions that it has left.
    pub(super) fn new_error<'a>(
        &mut self,
        error: RuntimeError,
        left: impl Iterator<Item = &'a Place>,
    ) -> Result<Value, RuntimeError> {
        let message = match error {
            RuntimeError::Said(message) => message,
            other => self.heap.written(|text| write!(text, "{other}"))?,
        };
        let trace = self.heap.written(|text| {
            let mut separator = "";
            for place in left {
                write!(text, "{separator}{place}")?;
                separator = "\n";
            }
            Ok(())
        })?;
        let [message, trace] = [message, trace].map(|text| text.as_text().expect("both are strings").clone());
        Ok(self.heap.mutator().alloc(Caught { message, trace })?.into())
    }

    /// A closure of the function, with the upvalues that were captured for it.
    fn new_closure(&mut self, function: Ref<Function>) -> Result<Ref<Closure>, OutOfMemory> {
        let count = self.captured.len();
        let mut captured = self.captured.drain(..);
        let closure = self.heap.mutator().alloc_tail(ClosureHead { function }, count, |_| {
            captured.next().expect("there are as many as were counted")
        });
        closure.map_err(|error| error.map(drop))
    }

    /// `[] -> [closure]`, made in `frame`.
    pub(super) fn close_over(&mut self, function: &Ref<Function>, frame: &Frame) -> Result<(), RuntimeError> {
        for capture in &function.head().captures {
            let upvalue = match *capture {
                Capture::Local(slot) => self.open.capture(self.heap.mutator(), frame.base + usize::from(slot)),
                Capture::Upvalue(index) => Ok(frame.closure.items()[usize::from(index)].clone()),
            };
            match upvalue {
                Ok(upvalue) => self.captured.push(upvalue),
                Err(error) => {
                    self.captured.clear();
                    return Err(error.into());
                }
            }
        }
        let closure = self.new_closure(function.clone())?;
        self.stack.push(closure.into());
        Ok(())
    }

    /// `[a, b] -> [a + b]` for strings.
    #[inline(never)]
    pub(super) fn concatenate(&mut self) -> Result<(), RuntimeError> {
        let (left, right) = self.stack.operands();
        let (Some(left), Some(right)) = (left.as_text(), right.as_text()) else {
            return Err(RuntimeError::new("Operands must be two numbers or two strings."));
        };
        let sum = self.heap.concatenation(left, right)?;
        self.stack.pop();
        self.stack.replace_last(sum);
        Ok(())
    }

    /// `[value] -> []`
    #[inline(never)]
    pub(super) fn print(&mut self, out: &mut dyn Write) -> Result<(), RuntimeError> {
        let value = self.stack.pop();
        self.heap.print(out, format_args!("{value}\n"))
    }
}

fn define_native(heap: &Heap, table: &mut Table, native: &'static Native) -> Result<(), OutOfMemory> {
    let name = heap.intern(native.name)?.into();
    let function = heap.mutator().alloc(NativeFunction(native)).map_err(|error| error.map(drop))?;
    table.set(heap.mutator(), name, function.into())
}

fn native_class(
    heap: &Heap,
    name: &'static str,
    construct: fn(&Heap) -> Result<Value, RuntimeError>,
    methods: &'static [Native],
) -> Result<Ref<NativeClass>, OutOfMemory> {
    let mut table = Table::default();
    for method in methods {
        define_native(heap, &mut table, method)?;
    }
    heap.mutator().alloc(NativeClass::new(name, construct, table)).map_err(|error| error.map(drop))
}
