//! The class `Map`.

use mimalloc_runtime::Ref;

use super::{Arguments, Code, Context, Native};
use crate::error::RuntimeError;
use crate::heap::Heap;
use crate::object::Map;
use crate::value::Value;

pub(crate) const NAME: &str = "Map";

pub(crate) const METHODS: &[Native] = &[
    Native { name: "get", arity: 1, code: Code::Value(get) },
    Native { name: "set", arity: 2, code: Code::Value(set) },
    Native { name: "has", arity: 1, code: Code::Value(has) },
    Native { name: "remove", arity: 1, code: Code::Value(remove) },
    Native { name: "len", arity: 0, code: Code::Value(len) },
    Native { name: "keys", arity: 0, code: Code::Value(keys) },
    Native { name: "values", arity: 0, code: Code::Value(values) },
    Native { name: "clear", arity: 0, code: Code::Value(clear) },
];

/// `Map()`
pub(crate) fn construct(heap: &Heap) -> Result<Value, RuntimeError> {
    let map: Ref<Map> = heap.mutator().alloc(Map::default())?;
    Ok(map.into())
}

fn this<'a>(arguments: &Arguments<'a>) -> &'a Ref<Map> {
    arguments.receiver().as_ref().expect("methods of maps are found through maps alone")
}

/// The key as a table wants it: minus zero is zero. A not-a-number is no key and never found.
fn key(arguments: &Arguments<'_>) -> Value {
    let value = arguments.value(1);
    if *value == Value::from(0.0) { Value::from(0.0) } else { value.clone() }
}

fn get(_: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    Ok(this(arguments).table().get(&key(arguments)).cloned().unwrap_or_default())
}

fn set(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let key = key(arguments);
    if key.as_number().is_some_and(f64::is_nan) {
        return Err(arguments.error("key must not be NaN"));
    }
    this(arguments).table_mut().set(context.heap.mutator(), key, arguments.value(2).clone())?;
    Ok(Value::NIL)
}

fn has(_: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    Ok(this(arguments).table().get(&key(arguments)).is_some().into())
}

fn remove(_: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    Ok(this(arguments).table_mut().remove(&key(arguments)).unwrap_or_default())
}

fn len(_: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    Ok((this(arguments).len() as f64).into())
}

fn keys(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let table = this(arguments).table();
    context.heap.work(table.bytes())?;
    context.heap.list(table.entries().map(|(key, _)| Ok(key.clone())))
}

fn values(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let table = this(arguments).table();
    context.heap.work(table.bytes())?;
    context.heap.list(table.entries().map(|(_, value)| Ok(value.clone())))
}

fn clear(_: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    this(arguments).table_mut().clear();
    Ok(Value::NIL)
}
