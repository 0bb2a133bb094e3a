//! A look at everything that lives at once, and what it is told of references outside.

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::aside::aside;
use crate::deferred::Object;
use crate::error::Error;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::fallible::out_of_memory;

use super::graph::{Borrows, Graph, push};
use super::handle::Ref;
use super::mutator::Mutator;

/// A look at all objects of a mutator at once and at what refers to what, for people who look for a mistake: begun by
/// [`Mutator::survey`], told with [`root`](Survey::root) of references outside of the heap, and ended by what is wanted of it:
/// [`verify`](Survey::verify), [`leaks`](Survey::leaks) or [`write_heap_snapshot`](Survey::write_heap_snapshot).
///
/// **Not bounded**: it looks at each object and each slot within the call, and takes Rust's own memory for both, 60 bytes an object and 8 a
/// reference, and some more for each end. Nothing is freed or collected meanwhile, and no count changes. What
/// [`census`](Mutator::census) counts in steps is for programs that cannot wait.
///
/// # What is looked into
/// An object may be borrowed mutably at that moment. Then its references cannot be looked at, and it is
/// counted as one that was *not looked into*:
/// - one that a cell of says that it is being changed, or whose `trace` panics: it is *busy*;
/// - one of a type of which the process has ever borrowed an object mutably ([`Ref::get_mut`]), to which a single reference outside leads, as
///   that may be borrowed now; and what is reached through it alone. It is looked into if that reference is told of as a
///   [root](Survey::root), or with [`unborrowed`](Survey::unborrowed).
///
/// So a VM that keeps what changes in cells has all of it looked into, and others tell of their roots:
///
/// ```
/// use mimalloc_runtime::{Ref, Runtime, Trace};
/// #[derive(Trace)]
/// struct Node {
///     next: Option<Ref<Node>>,
/// }
/// let mutator = Runtime::new()?.attach()?;
/// let mut list = None;
/// for _ in 0..100 {
///     list = Some(mutator.alloc(Node { next: list }).expect("memory"));
/// }
/// let list = list.unwrap();
/// let found = mutator.survey().root(&list).complete().verify()?;
/// assert!(found.problems.is_empty());
/// assert_eq!(found.objects, 100);
/// # Ok::<(), mimalloc_runtime::Error>(())
/// ```
#[must_use = "a survey does nothing until it is told what to end in"]
pub struct Survey<'a> {
    pub(super) mutator: &'a Mutator,
    told: Vec<NonNull<Object>>,
    /// There was no memory for a root.
    failed: bool,
    borrows: Borrows,
    pub(super) is_complete: bool,
    pub(super) words: Words,
    _told: PhantomData<&'a ()>,
}

/// Whether the memory of objects is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Words {
    Ignore,
    Scan,
}

impl Mutator {
    /// Begins a look at everything that lives. Nothing is done before one of the methods that end it.
    pub fn survey(&self) -> Survey<'_> {
        Survey {
            mutator: self,
            told: Vec::new(),
            failed: false,
            borrows: Borrows::Possible,
            is_complete: false,
            words: Words::Ignore,
            _told: PhantomData,
        }
    }
}

impl<'a> Survey<'a> {
    /// Tells of a reference that is held outside of the heap, once for each handle. An object of another mutator is passed over.
    pub fn root<T: ?Sized>(mut self, root: &'a Ref<T>) -> Survey<'a> {
        self.tell(Ref::as_raw(root));
        self
    }

    /// As [`root`](Survey::root), for a VM that keeps references in words of its own. To be called as many times as it holds a reference.
    ///
    /// # Safety
    /// 1. `object` is alive, nobody has borrowed it mutably, and both will be so until the survey has ended.
    pub unsafe fn root_raw(mut self, object: NonNull<Object>) -> Survey<'a> {
        self.tell(object);
        self
    }

    fn tell(&mut self, object: NonNull<Object>) {
        self.failed |= aside(|| push(&mut self.told, object)).is_err();
    }

    /// The roots are all there are: nothing else outside of the heap's objects holds a reference to one. References in fields
    /// marked `#[trace(skip)]` are outside too.
    ///
    /// Then [`verify`](Survey::verify) also finds counts that are too high.
    pub fn complete(mut self) -> Survey<'a> {
        self.is_complete = true;
        self
    }

    /// Every object is looked into, whether or not it is certain that nobody has borrowed it. What cells say to be borrowed is left
    /// out as ever.
    ///
    /// # Safety
    /// 1. Until the survey has ended, no mutable borrow of an object of this mutator exists that [`Ref::get_mut`] or
    ///    `Ref::parts_mut` has given out, or that was made of a pointer.
    pub unsafe fn unborrowed(mut self) -> Survey<'a> {
        self.borrows = Borrows::None;
        self
    }

    /// Gathers what it is about. Whatever comes next runs no code of the user's while it uses addresses of objects, or holds the heap.
    pub(super) fn gather(&self) -> Result<Graph, Error> {
        if self.failed {
            return Err(out_of_memory());
        }
        // SAFETY: 1: roots are alive and shared for as long as `self` is (`root`, `root_raw`); `unborrowed` has promised the rest.
        aside(|| unsafe { self.mutator.state().gather(&self.told, self.borrows) })
    }
}

impl fmt::Debug for Survey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Survey").field("roots", &self.told.len()).finish_non_exhaustive()
    }
}
