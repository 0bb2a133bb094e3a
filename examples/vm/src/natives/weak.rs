//! Weak references: the native `weak`, and the class `Weak` of what it makes.

use mimalloc_runtime::Ref;

use super::{Arguments, Code, Context, Native};
use crate::error::RuntimeError;
use crate::heap::Heap;
use crate::object::WeakRef;
use crate::value::Value;

pub(crate) const NATIVES: &[Native] = &[Native { name: "weak", arity: 1, code: Code::Value(weak) }];

pub(crate) const NAME: &str = "Weak";

pub(crate) const METHODS: &[Native] = &[Native { name: "get", arity: 0, code: Code::Value(get) }];

/// `weak(object)`. Not of strings: equal ones are one object, which others that nobody here knows of may keep alive.
fn weak(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let value = arguments.value(1);
    let object = value.as_object().filter(|_| value.as_text().is_none());
    let object = object.ok_or_else(|| arguments.wrong_type(1, "an object other than a string"))?;
    let weak = Ref::downgrade(object)?;
    let made = context.heap.mutator().alloc(WeakRef { weak })?;
    Ok(made.into())
}

/// `Weak()`
pub(crate) fn construct(_: &Heap) -> Result<Value, RuntimeError> {
    Err(RuntimeError::new("Only weak() makes weak references."))
}

fn get(_: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let this: Option<&Ref<WeakRef>> = arguments.receiver().as_ref();
    let this = this.expect("methods of weak references are found through weak references alone");
    Ok(this.weak.upgrade().map_or(Value::NIL, Value::from))
}
