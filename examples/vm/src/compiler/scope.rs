//! Names: which slot, upvalue or global a name stands for.

use std::iter;

use super::Compiler;
use super::code::Code;
use crate::opcode::Op;
use crate::proto::{Capture, Proto};

/// A function may have as many locals as a byte can tell apart, slot zero
/// among them.
const MAX_LOCALS: usize = 1 << u8::BITS;

/// A function may capture as many variables as a byte can tell apart.
const MAX_CAPTURES: usize = 1 << u8::BITS;

/// What kind of function is being compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FunctionKind {
    Script,
    Function,
    Method,
    Initializer,
}

/// A function that is being compiled.
#[derive(Debug)]
pub(super) struct FunctionState<'s> {
    pub(super) kind: FunctionKind,
    pub(super) name: Option<&'s str>,
    pub(super) arity: u8,
    pub(super) code: Code,
    locals: Vec<Local<'s>>,
    captures: Vec<Capture>,
    /// How many scopes are open; 0 is the scope of globals.
    depth: usize,
}

#[derive(Debug)]
struct Local<'s> {
    name: &'s str,
    stage: Stage,
    storage: Storage,
}

/// Whether the value of a local is on the stack yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No: its initializer is being compiled.
    Declared,
    /// Yes, and it stays there until the scope of this depth ends.
    Defined(usize),
}

/// Whether a local may outlive its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Storage {
    Stack,
    Captured,
}

/// Where a variable is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    Local(u8),
    Upvalue(u8),
    /// By its name, which is this constant.
    Global(u8),
}

impl Variable {
    pub(super) fn getter(self) -> (Op, u8) {
        match self {
            Self::Local(slot) => (Op::GetLocal, slot),
            Self::Upvalue(index) => (Op::GetUpvalue, index),
            Self::Global(name) => (Op::GetGlobal, name),
        }
    }

    pub(super) fn setter(self) -> (Op, u8) {
        match self {
            Self::Local(slot) => (Op::SetLocal, slot),
            Self::Upvalue(index) => (Op::SetUpvalue, index),
            Self::Global(name) => (Op::SetGlobal, name),
        }
    }
}

impl<'s> FunctionState<'s> {
    pub(super) fn new(kind: FunctionKind, name: Option<&'s str>) -> Self {
        let slot_zero = match kind {
            FunctionKind::Method | FunctionKind::Initializer => "this",
            // No source can spell this name.
            FunctionKind::Script | FunctionKind::Function => "",
        };
        Self {
            kind,
            name,
            arity: 0,
            code: Code::new(),
            locals: vec![Local { name: slot_zero, stage: Stage::Defined(0), storage: Storage::Stack }],
            captures: Vec::new(),
            depth: 0,
        }
    }

    /// The variables that a closure of this function captures.
    pub(super) fn captures(&self) -> &[Capture] {
        &self.captures
    }

    pub(super) fn into_proto(self) -> Proto {
        let code = self.code.finish();
        Proto {
            name: self.name.map(Box::from),
            arity: self.arity,
            upvalue_count: self.captures.len(),
            max_stack: code.max_height,
            code: code.bytes,
            lines: code.lines,
            constants: code.constants,
        }
    }

    pub(super) fn begin_scope(&mut self) {
        self.depth += 1;
    }

    pub(super) fn in_global_scope(&self) -> bool {
        self.depth == 0
    }

    /// Gives the newest local, if any, the value on top of the stack.
    pub(super) fn define_local(&mut self) {
        if self.in_global_scope() {
            return;
        }
        if let Some(local) = self.locals.last_mut() {
            local.stage = Stage::Defined(self.depth);
        }
    }

    /// Forgets the newest local, if its scope is deeper than `depth`.
    fn take_local_below(&mut self, depth: usize) -> Option<Storage> {
        let &Local { stage, storage, .. } = self.locals.last()?;
        match stage {
            Stage::Defined(at) if at > depth => {
                self.locals.pop();
                Some(storage)
            }
            Stage::Defined(_) | Stage::Declared => None,
        }
    }

    fn add_local(&mut self, name: &'s str) -> Result<(), &'static str> {
        if self.locals.len() == MAX_LOCALS {
            return Err("Too many local variables in function.");
        }
        self.locals.push(Local { name, stage: Stage::Declared, storage: Storage::Stack });
        Ok(())
    }

    /// Whether the innermost scope has a local of that name.
    fn declares(&self, name: &str) -> bool {
        self.locals
            .iter()
            .rev()
            .take_while(|local| match local.stage {
                Stage::Declared => true,
                Stage::Defined(depth) => depth >= self.depth,
            })
            .any(|local| local.name == name)
    }

    fn find_local(&self, name: &str) -> Option<(u8, Stage)> {
        let slot = self.locals.iter().rposition(|local| local.name == name)?;
        // MAX_LOCALS: every slot fits in a byte.
        Some((slot as u8, self.locals[slot].stage))
    }

    /// The index of the upvalue for `capture`.
    fn capture(&mut self, capture: Capture) -> Result<u8, &'static str> {
        let known = self.captures.iter().position(|&known| known == capture);
        let index = known.unwrap_or(self.captures.len());
        if index == MAX_CAPTURES {
            return Err("Too many closure variables in function.");
        }
        if known.is_none() {
            self.captures.push(capture);
        }
        Ok(index as u8)
    }
}

impl<'s> Compiler<'s> {
    pub(super) fn end_scope(&mut self) {
        self.function.depth -= 1;
        let depth = self.function.depth;
        while let Some(storage) = self.function.take_local_below(depth) {
            self.emit(match storage {
                Storage::Stack => Op::Pop,
                Storage::Captured => Op::CloseUpvalue,
            });
        }
    }

    /// Makes a name known in the innermost scope, except for globals, which
    /// are known by their names alone.
    pub(super) fn declare(&mut self, name: &'s str) {
        if self.function.in_global_scope() {
            return;
        }
        if self.function.declares(name) {
            self.error("Already a variable with this name in this scope.");
        }
        self.add_local(name);
    }

    pub(super) fn add_local(&mut self, name: &'s str) {
        if let Err(message) = self.function.add_local(name) {
            self.error(message);
        }
    }

    /// Gives the declared variable the value on top of the stack. `global` is
    /// the constant that names it, if it is a global.
    pub(super) fn define_variable(&mut self, global: u8) {
        if self.function.in_global_scope() {
            self.emit_with(Op::DefineGlobal, global);
        } else {
            self.function.define_local();
        }
    }

    /// What a name stands for.
    pub(super) fn resolve(&mut self, name: &'s str) -> Variable {
        if let Some((slot, stage)) = self.function.find_local(name) {
            self.check_readable(stage);
            return Variable::Local(slot);
        }
        if let Some(index) = self.resolve_upvalue(name) {
            return Variable::Upvalue(index);
        }
        Variable::Global(self.name_constant(name))
    }

    /// Looks for a local of an enclosing function. If there is one, all
    /// functions between that one and the current one capture it in turn.
    fn resolve_upvalue(&mut self, name: &str) -> Option<u8> {
        let (owner, (slot, stage)) = self
            .enclosing
            .iter()
            .enumerate()
            .rev()
            .find_map(|(index, function)| Some((index, function.find_local(name)?)))?;
        self.check_readable(stage);
        self.enclosing[owner].locals[usize::from(slot)].storage = Storage::Captured;

        let mut capture = Capture::Local(slot);
        let mut index = 0;
        let mut overflow = None;
        let between = self.enclosing[owner + 1..].iter_mut();
        for function in between.chain(iter::once(&mut self.function)) {
            index = function.capture(capture).unwrap_or_else(|message| {
                overflow = Some(message);
                0
            });
            capture = Capture::Upvalue(index);
        }
        if let Some(message) = overflow {
            self.error(message);
        }
        Some(index)
    }

    fn check_readable(&mut self, stage: Stage) {
        if stage == Stage::Declared {
            self.error("Can't read local variable in its own initializer.");
        }
    }
}
