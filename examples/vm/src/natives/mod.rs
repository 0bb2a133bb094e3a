//! Natives: what Lox programs can call that is not written in Lox.
//!
//! Each module has a table of them. A native gets its arguments, whose number was checked, as [`Arguments`], which also
//! checks types with the standard messages, and the rest of the world as a [`Context`].

mod core;
mod finalizer;
mod input;
pub(crate) mod limited;
mod lines;
pub(crate) mod list;
pub(crate) mod map;
mod text;
pub(crate) mod weak;

use std::io::Write;
use std::time::Instant;

use mimalloc_runtime::Ref;

use crate::error::RuntimeError;
use crate::heap::Heap;
use crate::jobs::Jobs;
use crate::object::{BoundMethod, Callback, Closure, List};
use crate::value::Value;

use self::limited::LimitedCall;
pub(crate) use self::lines::Lines;

/// The code of a native. What takes longer than constant time says so to [`Heap::work`], so that fuel bounds it too.
pub(crate) type NativeFn = fn(&mut Context<'_>, &Arguments<'_>) -> Result<Value, RuntimeError>;

/// What calling a native does.
#[derive(Clone, Copy)]
pub(crate) enum Code {
    /// It gives a value.
    Value(NativeFn),
    /// It says what is called in its place, under limits.
    Call(fn(&Arguments<'_>) -> Result<LimitedCall, RuntimeError>),
}

/// A native function or method.
pub(crate) struct Native {
    /// The name of the global or the method.
    pub(crate) name: &'static str,
    /// The number of arguments.
    pub(crate) arity: u8,
    /// Its code.
    pub(crate) code: Code,
}

/// All that become globals.
pub(crate) const TABLES: &[&[Native]] =
    &[core::NATIVES, text::NATIVES, input::NATIVES, limited::NATIVES, weak::NATIVES, finalizer::NATIVES];

/// What the machine was given besides source: the script's arguments and its standard input.
pub(crate) struct Host {
    pub(crate) script_args: Vec<String>,
    pub(crate) lines: Lines,
    /// When the machine was made.
    pub(crate) started: Instant,
}

/// What natives can work with besides their arguments.
pub(crate) struct Context<'a> {
    /// Makes objects.
    pub(crate) heap: &'a mut Heap,
    /// What finalizers have to be done.
    pub(crate) jobs: &'a Jobs,
    /// Input from outside.
    pub(crate) host: &'a mut Host,
    /// Where `print` goes. Flush it before waiting for input.
    pub(crate) out: &'a mut dyn Write,
}

/// The arguments of one call of a native. They are numbered from 1.
pub(crate) struct Arguments<'a> {
    native: &'static Native,
    receiver: &'a Value,
    values: &'a [Value],
}

impl<'a> Arguments<'a> {
    /// `values` are as many as the native's arity says.
    pub(crate) fn new(native: &'static Native, receiver: &'a Value, values: &'a [Value]) -> Self {
        debug_assert_eq!(values.len(), usize::from(native.arity));
        Arguments { native, receiver, values }
    }

    /// Any value.
    pub(crate) fn value(&self, number: usize) -> &'a Value {
        &self.values[number - 1]
    }

    /// A number.
    pub(crate) fn number(&self, number: usize) -> Result<f64, RuntimeError> {
        self.value(number).as_number().ok_or_else(|| self.wrong_type(number, "a number"))
    }

    /// A whole number that an `i64` can hold.
    pub(crate) fn integer(&self, number: usize) -> Result<i64, RuntimeError> {
        let float = self.number(number)?;
        // From 2^53 on not every whole number is a float, and no index or offset is so large.
        let limit = (1u64 << 53) as f64;
        if float.fract() == 0.0 && float.abs() <= limit {
            Ok(float as i64)
        } else {
            Err(self.wrong_type(number, "an integer"))
        }
    }

    /// A string.
    pub(crate) fn string(&self, number: usize) -> Result<&'a str, RuntimeError> {
        self.value(number).as_str().ok_or_else(|| self.wrong_type(number, "a string"))
    }

    /// A list.
    pub(crate) fn list(&self, number: usize) -> Result<&'a Ref<List>, RuntimeError> {
        self.value(number).as_ref::<List>().ok_or_else(|| self.wrong_type(number, "a list"))
    }

    /// A function written in Lox, or a method of an instance, without parameters.
    pub(crate) fn callback(&self, number: usize) -> Result<Callback, RuntimeError> {
        let (method, receiver) = match self.value(number).as_ref::<BoundMethod>() {
            Some(bound) => (bound.method(), bound.receiver()),
            None => (self.value(number), self.value(number)),
        };
        let closure = method.as_ref::<Closure>().filter(|closure| closure.head().function.head().arity == 0);
        let closure = closure.ok_or_else(|| self.wrong_type(number, "a function without parameters"))?;
        Ok(Callback { closure: closure.clone(), receiver: receiver.clone() })
    }

    /// An index into something of `len` places: `index out of range.` if there is no such place.
    pub(crate) fn index(&self, number: usize, len: usize) -> Result<usize, RuntimeError> {
        let index = self.integer(number)?;
        usize::try_from(index).ok().filter(|index| *index < len).ok_or_else(|| self.error("index out of range"))
    }

    /// `name(): argument i must be a kind.`
    pub(crate) fn wrong_type(&self, number: usize, kind: &str) -> RuntimeError {
        self.error(format_args!("argument {number} must be {kind}"))
    }

    /// `name(): text.`
    pub(crate) fn error(&self, text: impl std::fmt::Display) -> RuntimeError {
        RuntimeError::Message(format!("{}(): {text}.", self.native.name))
    }

    /// What a method was called on.
    pub(crate) fn receiver(&self) -> &'a Value {
        self.receiver
    }
}
