//! Cells for the references in objects: they tell the search for garbage cycles when they are changed.
//!
//! An object that others refer to is changed through cells. Those of the standard library do as well, but a search that is spread
//! over many steps cannot know what the program has moved about in them meanwhile: a garbage cycle through one is found only if the
//! garbage can be looked at whole within one step ([`Pacing::with_pause_cap`](crate::Pacing::with_pause_cap)), or in a collection without a
//! budget. With the cells of this module there is no such limit.
//!
//! They wrap those of the standard library and are used like them. Each takes a word more, and to change one a load and a
//! branch.
//!
//! ```
//! use mimalloc_runtime::cell::RefCell;
//! use mimalloc_runtime::{Budget, Ref, Runtime, Trace};
//!
//! #[derive(Trace)]
//! struct Person {
//!     friends: RefCell<Vec<Ref<Person>>>,
//! }
//!
//! let mutator = Runtime::new()?.attach()?;
//! let person = || mutator.alloc(Person { friends: RefCell::default() }).unwrap();
//! let (alice, bob) = (person(), person());
//! alice.friends.borrow_mut().push(bob.clone());
//! bob.friends.borrow_mut().push(alice.clone());
//! drop((alice, bob));
//! assert_eq!(mutator.collect(Budget::Unbounded).freed.objects, 2);
//! # Ok::<(), mimalloc_runtime::Error>(())
//! ```

use core::cell::{BorrowError, BorrowMutError, Ref, RefMut};
use core::{cell, fmt, mem};

use crate::deferred::{Slots, Trace, Tracer, trace_cell, trace_ref_cell};
use crate::runtime::cell_changed;

/// Who is to be told of a change: the look that was the last to see the value, by its number, or 0 for nobody.
#[derive(Default)]
struct Watch(cell::Cell<u32>);

impl Watch {
    const fn new() -> Watch {
        Watch(cell::Cell::new(0))
    }

    /// To be called before the value is changed, or may be.
    #[inline(always)]
    fn change(&self) {
        if self.0.get() != 0 {
            self.tell();
        }
    }

    #[cold]
    #[inline(never)]
    fn tell(&self) {
        cell_changed(self.0.replace(0));
    }

    /// The value is being looked at.
    #[inline(always)]
    fn begin(&self, tracer: &mut Tracer<'_>) {
        let look = tracer.watches();
        if look != 0 {
            self.0.set(look);
        }
    }
}

/// As [`std::cell::Cell`].
#[derive(Default)]
pub struct Cell<T> {
    watch: Watch,
    value: cell::Cell<T>,
}

impl<T> Cell<T> {
    /// A cell that holds `value`.
    pub const fn new(value: T) -> Cell<T> {
        Cell { watch: Watch::new(), value: cell::Cell::new(value) }
    }

    /// Puts `value` in. What was there is dropped.
    #[inline]
    pub fn set(&self, value: T) {
        drop(self.replace(value));
    }

    /// Puts `value` in, and returns what was there.
    #[inline]
    pub fn replace(&self, value: T) -> T {
        self.watch.change();
        self.value.replace(value)
    }

    /// Puts the default in, and returns what was there.
    #[inline]
    pub fn take(&self) -> T
    where
        T: Default,
    {
        self.replace(T::default())
    }

    /// A copy of what it holds.
    #[inline]
    pub fn get(&self) -> T
    where
        T: Copy,
    {
        self.value.get()
    }

    /// What it holds.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// What it holds.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T> From<T> for Cell<T> {
    fn from(value: T) -> Self {
        Cell::new(value)
    }
}

impl<T: Copy + fmt::Debug> fmt::Debug for Cell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// As [`std::cell::RefCell`].
#[derive(Default)]
pub struct RefCell<T> {
    watch: Watch,
    value: cell::RefCell<T>,
}

impl<T> RefCell<T> {
    /// A cell that holds `value`.
    pub const fn new(value: T) -> RefCell<T> {
        RefCell { watch: Watch::new(), value: cell::RefCell::new(value) }
    }

    /// Borrows what it holds.
    ///
    /// # Panics
    /// If it is borrowed mutably.
    #[inline]
    #[track_caller]
    pub fn borrow(&self) -> Ref<'_, T> {
        self.value.borrow()
    }

    /// Borrows what it holds.
    ///
    /// # Errors
    /// If it is borrowed mutably.
    #[inline]
    pub fn try_borrow(&self) -> Result<Ref<'_, T>, BorrowError> {
        self.value.try_borrow()
    }

    /// Borrows what it holds, to change it.
    ///
    /// # Panics
    /// If it is borrowed.
    #[inline]
    #[track_caller]
    pub fn borrow_mut(&self) -> RefMut<'_, T> {
        self.watch.change();
        self.value.borrow_mut()
    }

    /// Borrows what it holds, to change it.
    ///
    /// # Errors
    /// If it is borrowed.
    #[inline]
    pub fn try_borrow_mut(&self) -> Result<RefMut<'_, T>, BorrowMutError> {
        self.watch.change();
        self.value.try_borrow_mut()
    }

    /// Puts `value` in, and returns what was there.
    ///
    /// # Panics
    /// If it is borrowed.
    #[inline]
    #[track_caller]
    pub fn replace(&self, value: T) -> T {
        mem::replace(&mut *self.borrow_mut(), value)
    }

    /// Puts the default in, and returns what was there.
    ///
    /// # Panics
    /// If it is borrowed.
    #[inline]
    #[track_caller]
    pub fn take(&self) -> T
    where
        T: Default,
    {
        self.replace(T::default())
    }

    /// What it holds.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// What it holds.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T> From<T> for RefCell<T> {
    fn from(value: T) -> Self {
        RefCell::new(value)
    }
}

impl<T: fmt::Debug> fmt::Debug for RefCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

// SAFETY: 1-4: those of the value inside. 5: handed on, so nothing changes the cell while it is looked at. 6: each change is told
// before it is made (`Watch::change`); a `&mut` to the cell needs one to the object.
unsafe impl<T: Trace> Trace for Cell<T> {
    const SLOTS: Slots = T::SLOTS;
    const RESIDUE: bool = T::RESIDUE;
    const ACYCLIC: bool = T::ACYCLIC;
    #[inline(always)]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        trace_cell(&self.value, tracer, |tracer| self.watch.begin(tracer));
    }
    unsafe fn drop_residue(&mut self) {
        // SAFETY: not used again (1).
        unsafe { self.get_mut().drop_residue() }
    }
}

// SAFETY: as for `Cell`; a value that is being changed is busy.
unsafe impl<T: Trace> Trace for RefCell<T> {
    const SLOTS: Slots = T::SLOTS;
    const RESIDUE: bool = T::RESIDUE;
    const ACYCLIC: bool = T::ACYCLIC;
    #[inline(always)]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        trace_ref_cell(&self.value, tracer, |tracer| self.watch.begin(tracer));
    }
    unsafe fn drop_residue(&mut self) {
        // SAFETY: not used again (1).
        unsafe { self.get_mut().drop_residue() }
    }
}
