//! Functions, the closures made of them, and the variables that closures capture.

use std::cell::Cell;
use std::fmt;

use mimalloc_runtime::cell::RefCell;
use mimalloc_runtime::{Ref, Tail, Trace};

use super::{Code, Hint, Str};
use crate::proto::Capture;
use crate::value::Value;

/// A compiled function: what is known of it, and its constants.
pub(crate) type Function = Tail<FunctionHead, Value>;

/// What is known of a function. The code is plain data of Rust's own: it holds no references, and is dropped at once.
#[derive(Trace)]
pub(crate) struct FunctionHead {
    /// Nothing for the script.
    pub(crate) name: Option<Str>,
    pub(crate) arity: u8,
    /// The stack slots that a frame of it needs.
    pub(crate) max_stack: usize,
    #[trace(skip)]
    pub(crate) code: Code,
    /// Where a closure of it finds the variables that it captures, in the frame that makes it.
    #[trace(skip)]
    pub(crate) captures: Box<[Capture]>,
    /// For each constant that is a name, where it was found last. No two instructions share a constant.
    #[trace(skip)]
    pub(crate) hints: Box<[Hint]>,
}

impl fmt::Display for FunctionHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "<fn {name}>"),
            None => f.write_str("<script>"),
        }
    }
}

/// A function together with the variables that it captured.
pub(crate) type Closure = Tail<ClosureHead, Ref<Upvalue>>;

/// The function of a closure.
#[derive(Trace)]
pub(crate) struct ClosureHead {
    pub(crate) function: Ref<Function>,
}

/// A captured variable: open while it stands on the stack, closed once it has left it.
#[derive(Trace)]
pub(crate) struct Upvalue {
    /// Its stack slot while it is open.
    pub(crate) slot: Cell<Option<usize>>,
    /// Its value once it is closed.
    pub(crate) closed: RefCell<Value>,
}

impl Upvalue {
    /// An open one.
    pub(crate) fn open(slot: usize) -> Upvalue {
        Upvalue { slot: Cell::new(Some(slot)), closed: RefCell::new(Value::NIL) }
    }

    /// Takes over the value from the stack.
    pub(crate) fn close(&self, value: Value) {
        self.slot.set(None);
        self.closed.replace(value);
    }
}
