//! Finalizers: the native `onFinalize`.

use mimalloc_runtime::{FinalizerError, Ref};

use super::{Arguments, Code, Context, Native};
use crate::error::RuntimeError;
use crate::jobs::Ticket;
use crate::object::{Instance, Job};
use crate::value::Value;

pub(crate) const NATIVES: &[Native] = &[Native { name: "onFinalize", arity: 2, code: Code::Value(on_finalize) }];

/// `onFinalize(instance, f)`
fn on_finalize(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let instance = arguments.value(1).as_ref::<Instance>();
    let instance = instance.ok_or_else(|| arguments.wrong_type(1, "an instance"))?;
    let callback = arguments.callback(2)?;
    let job = context.heap.mutator().alloc(Job::new(callback))?;
    let ticket = context.jobs.ticket(job);
    match Ref::set_finalizer(instance, ticket, Ticket::queue) {
        Ok(()) => Ok(Value::NIL),
        Err(FinalizerError::Exists(_)) => Err(arguments.error("the instance has a finalizer")),
        Err(FinalizerError::OutOfMemory(_)) => Err(RuntimeError::OutOfMemory),
    }
}
