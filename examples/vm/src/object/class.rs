//! Classes, their instances, and methods taken from instances.

use mimalloc_runtime::cell::RefCell;
use mimalloc_runtime::{Ref, Trace};

use super::{Str, Table};
use crate::value::Value;

/// A class.
#[derive(Trace)]
pub(crate) struct Class {
    name: Str,
    /// From names to closures; those inherited are copied here when the class is made.
    methods: RefCell<Table>,
}

impl Class {
    pub(crate) fn new(name: Str) -> Class {
        Class { name, methods: RefCell::default() }
    }

    pub(crate) fn name(&self) -> &Str {
        &self.name
    }

    pub(crate) fn methods(&self) -> &RefCell<Table> {
        &self.methods
    }
}

/// An instance of a class.
#[derive(Trace)]
pub(crate) struct Instance {
    class: Ref<Class>,
    fields: RefCell<Table>,
}

impl Instance {
    pub(crate) fn new(class: Ref<Class>) -> Instance {
        Instance { class, fields: RefCell::default() }
    }

    #[inline(always)]
    pub(crate) fn class(&self) -> &Ref<Class> {
        &self.class
    }

    #[inline(always)]
    pub(crate) fn fields(&self) -> &RefCell<Table> {
        &self.fields
    }
}

/// A method together with what it was taken from.
#[derive(Trace)]
pub(crate) struct BoundMethod {
    receiver: Value,
    method: Value,
}

impl BoundMethod {
    /// `method` is a closure or a native function.
    pub(crate) fn new(receiver: Value, method: Value) -> BoundMethod {
        BoundMethod { receiver, method }
    }

    pub(crate) fn receiver(&self) -> &Value {
        &self.receiver
    }

    pub(crate) fn method(&self) -> &Value {
        &self.method
    }
}
