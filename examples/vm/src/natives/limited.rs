//! Calls under tighter limits, and the class `Error` of what comes of those that fail.

use mimalloc_runtime::Ref;

use super::{Arguments, Code, Context, Native};
use crate::error::RuntimeError;
use crate::heap::Heap;
use crate::object::{Callback, Caught};
use crate::value::Value;

pub(crate) const NATIVES: &[Native] = &[Native { name: "limited", arity: 3, code: Code::Call(limited) }];

pub(crate) const NAME: &str = "Error";

pub(crate) const METHODS: &[Native] = &[
    Native { name: "message", arity: 0, code: Code::Value(message) },
    Native { name: "trace", arity: 0, code: Code::Value(trace) },
];

/// A function to be called without arguments, under limits.
pub(crate) struct LimitedCall {
    pub(crate) callback: Callback,
    /// Bytes that may be used besides those in use.
    pub(crate) bytes: Option<u64>,
    /// Fuel that may be used.
    pub(crate) fuel: Option<u64>,
}

/// `limited(f, bytes, fuel)`
fn limited(arguments: &Arguments<'_>) -> Result<LimitedCall, RuntimeError> {
    Ok(LimitedCall { callback: arguments.callback(1)?, bytes: amount(arguments, 2)?, fuel: amount(arguments, 3)? })
}

/// An argument that is a limit, or nil for none.
fn amount(arguments: &Arguments<'_>, number: usize) -> Result<Option<u64>, RuntimeError> {
    if arguments.value(number).is_nil() {
        return Ok(None);
    }
    let amount = arguments.integer(number).ok().and_then(|amount| u64::try_from(amount).ok());
    amount.map(Some).ok_or_else(|| arguments.wrong_type(number, "nil or a whole number from 0 on"))
}

/// `Error()`
pub(crate) fn construct(_: &Heap) -> Result<Value, RuntimeError> {
    Err(RuntimeError::new("Only limited() makes errors."))
}

fn this<'a>(arguments: &Arguments<'a>) -> &'a Caught {
    let caught: Option<&Ref<Caught>> = arguments.receiver().as_ref();
    caught.expect("methods of errors are found through errors alone")
}

fn message(_: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    Ok(this(arguments).message.clone().into())
}

fn trace(_: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    Ok(this(arguments).trace.clone().into())
}
