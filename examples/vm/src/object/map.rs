//! Maps.

use std::cell::{Ref as Borrowed, RefMut as BorrowedMut};

use mimalloc_runtime::Trace;
use mimalloc_runtime::cell::RefCell;

use super::Table;

/// A map from values to values, in the order of insertion.
#[derive(Default, Trace)]
pub(crate) struct Map {
    table: RefCell<Table>,
}

impl Map {
    pub(crate) fn len(&self) -> usize {
        self.table.borrow().len()
    }

    /// The entries, which cannot be changed meanwhile.
    pub(crate) fn table(&self) -> Borrowed<'_, Table> {
        self.table.borrow()
    }

    /// The entries, to be changed.
    pub(crate) fn table_mut(&self) -> BorrowedMut<'_, Table> {
        self.table.borrow_mut()
    }
}
