//! Natives as objects.

use mimalloc_runtime::Trace;

use super::Table;
use crate::error::RuntimeError;
use crate::heap::Heap;
use crate::natives::Native;
use crate::value::Value;

/// A native function or method.
#[derive(Trace)]
pub(crate) struct NativeFunction(#[trace(skip)] pub(crate) &'static Native);

/// A class whose instances are not [`Instance`](super::Instance)s: lists, maps.
#[derive(Trace)]
pub(crate) struct NativeClass {
    name: &'static str,
    /// Makes an instance. There are no arguments.
    #[trace(skip)]
    construct: fn(&Heap) -> Result<Value, RuntimeError>,
    /// From names to native functions. Never changes.
    methods: Table,
}

impl NativeClass {
    pub(crate) fn new(
        name: &'static str,
        construct: fn(&Heap) -> Result<Value, RuntimeError>,
        methods: Table,
    ) -> NativeClass {
        NativeClass { name, construct, methods }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn construct(&self, heap: &Heap) -> Result<Value, RuntimeError> {
        (self.construct)(heap)
    }

    pub(crate) fn methods(&self) -> &Table {
        &self.methods
    }
}
