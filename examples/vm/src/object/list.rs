//! Lists.

use std::cell::{Ref as Borrowed, RefMut as BorrowedMut};

use mimalloc_runtime::cell::RefCell;
use mimalloc_runtime::{Mutator, OutOfMemory, Trace};

use super::Buffer;
use crate::value::Value;

/// A list of values.
#[derive(Trace)]
pub(crate) struct List {
    items: RefCell<Buffer<Value>>,
}

impl List {
    pub(crate) fn new(items: Buffer<Value>) -> List {
        List { items: RefCell::new(items) }
    }

    pub(crate) fn len(&self) -> usize {
        self.items.borrow().len()
    }

    /// The items, which cannot be changed meanwhile.
    pub(crate) fn items(&self) -> Borrowed<'_, [Value]> {
        Borrowed::map(self.items.borrow(), Buffer::items)
    }

    /// The items, to be changed.
    pub(crate) fn buffer(&self) -> BorrowedMut<'_, Buffer<Value>> {
        self.items.borrow_mut()
    }

    /// Adds an item at the end.
    pub(crate) fn push(&self, mutator: &Mutator, item: Value) -> Result<(), OutOfMemory<Value>> {
        self.buffer().push(mutator, item)
    }
}
