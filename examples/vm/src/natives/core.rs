//! Natives for values of all types, and numbers.

use super::{Arguments, Code, Context, Native};
use crate::error::RuntimeError;
use crate::number;
use crate::value::Value;

pub(crate) const NATIVES: &[Native] = &[
    Native { name: "clock", arity: 0, code: Code::Value(clock) },
    Native { name: "type", arity: 1, code: Code::Value(type_of) },
    Native { name: "str", arity: 1, code: Code::Value(str) },
    Native { name: "number", arity: 1, code: Code::Value(to_number) },
    Native { name: "write", arity: 1, code: Code::Value(write) },
    Native { name: "error", arity: 1, code: Code::Value(error) },
    Native { name: "floor", arity: 1, code: Code::Value(floor) },
    Native { name: "sqrt", arity: 1, code: Code::Value(sqrt) },
    Native { name: "mod", arity: 2, code: Code::Value(modulo) },
];

fn clock(context: &mut Context<'_>, _: &Arguments<'_>) -> Result<Value, RuntimeError> {
    Ok(context.host.started.elapsed().as_secs_f64().into())
}

fn type_of(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    context.heap.string(arguments.value(1).type_name())
}

fn str(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let value = arguments.value(1);
    match value.as_str() {
        Some(_) => Ok(value.clone()),
        None => context.heap.written(|text| write!(text, "{value}")),
    }
}

fn to_number(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let text = arguments.string(1)?;
    context.heap.work(text.len())?;
    Ok(number::parse(text).map_or(Value::NIL, Value::from))
}

fn write(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    context.heap.print(context.out, format_args!("{}", arguments.value(1)))?;
    Ok(Value::NIL)
}

fn error(_: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    arguments.string(1)?;
    Err(RuntimeError::Said(arguments.value(1).clone()))
}

fn floor(_: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    Ok(arguments.number(1)?.floor().into())
}

fn sqrt(_: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    Ok(arguments.number(1)?.sqrt().into())
}

/// The remainder of floored division, which has the sign of the divisor.
fn modulo(_: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let (dividend, divisor) = (arguments.number(1)?, arguments.number(2)?);
    let remainder = dividend % divisor;
    let floored =
        if remainder != 0.0 && (remainder < 0.0) != (divisor < 0.0) { remainder + divisor } else { remainder };
    Ok(floored.into())
}
