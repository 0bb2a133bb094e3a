//! The end of a mutator together with all that is in its heap.

use core::fmt;

use crate::deferred::Tally;
use crate::error::Error;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::traced::in_span;

#[cfg(doc)]
use super::RemoteFree;
use super::mutator::Mutator;
use super::state::{Proof, State, resume_if_possible};

/// What has gone with a mutator that was destroyed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Destroyed {
    /// Objects that had a reference: those that other objects held.
    pub live: Tally,
    /// Objects that were dead and not yet freed.
    pub pending: Tally,
    /// Bytes of raw blocks.
    pub block_bytes: u64,
    /// Objects of which something was dropped besides references: vectors' buffers, skipped fields.
    pub residues: u64,
}

/// What [`Mutator::destroy_unchecked`] does with what values keep outside of the heap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Residues {
    /// It is dropped, and references to objects of other mutators are given up, for which all objects are visited: unless no type of
    /// object that the process has used has anything to drop but references, and the thread has no other mutator.
    Drop,
    /// It is leaked: what `Vec`s and `String`s have in Rust's own heap, open files, all that skipped fields own, and references to
    /// objects of other mutators.
    Leak,
}

/// A mutator could not be destroyed. It is as it was, save for what finalizers have done that have run.
#[derive(Debug)]
pub struct DestroyError {
    /// The mutator.
    pub mutator: Mutator,
    /// What stands in the way.
    pub error: Error,
}

impl fmt::Display for DestroyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for DestroyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl Mutator {
    /// Ends the mutator and frees its whole heap at once, live objects, dead ones and raw blocks, if nothing outside refers to any object
    /// of it.
    ///
    /// For an isolate that ends: [`detach`](Mutator::detach) takes each dead object apart, and looks for garbage cycles, to free one
    /// object after the other. This looks at each object once, to prove that nobody outside can reach one: counts say how many references
    /// there are, and if as many are found in objects, all of them are there. Then the engine frees the pages as they are. What objects
    /// have besides references (buffers of vectors, skipped fields) is dropped, each once, in the order in which they lie in memory, and
    /// references to objects of other mutators are given up; a second and a third look at the objects, if there is any such thing.
    ///
    /// Finalizers run first, at most so many: those that are due, and then those of all other objects, in no particular order, as everything is
    /// garbage by then ([`Finalize`](crate::Finalize)). Weak references to an object with a finalizer refer to nothing by
    /// then; those to others lead there still. What they take out of it stands in the way like any reference. Those beyond the bound do
    /// not run. 0 for none.
    ///
    /// Raw blocks ([`allocate`](Mutator::allocate)) go with the heap, whoever still has a pointer to one. What finds objects without
    /// counting a reference, such as a table of strings, is told by the `Drop` of a field as ever;
    /// [`raw::try_retain`](crate::raw::try_retain) takes up none of them any more. Handlers are dropped, and watches are told that the
    /// mutator is detached and has freed everything. The next mutator of the runtime gets a new heap, and a [wall](crate::Attach::wall)
    /// is free.
    ///
    /// # Errors
    /// With the mutator, which is as it was:
    /// - [`ErrorKind::InUse`] while something outside refers to an object: a [`Ref`](crate::Ref), also one that a handler of the mutator,
    ///   or a skipped field of an object, has; an object of another mutator. While a handle of the heap (`HeapRef`) exists, as each
    ///   container has that lies in it, also one that an object has. When an object is immortal or sticky, as nobody counts who refers to
    ///   it. When an object was given up ([`Metrics::abandoned`](crate::Metrics::abandoned)) with references to others. When a panic was
    ///   kept: reach a safepoint first. In code that this mutator has called, and if there are finalizers and some are to run, in code that
    ///   another one has. When a `trace` panics, or a part of a value is borrowed.
    /// - [`ErrorKind::NotAlone`] while a [`RemoteFree`] of the mutator exists, or blocks that an earlier mutator of the heap has left.
    /// - [`ErrorKind::OutOfMemory`], as what is still to be looked at is listed in Rust's own memory.
    /// - [`ErrorKind::EngineMismatch`] where the heap cannot be walked ([`Census::step`](crate::Census::step)), or could not be by a search for
    ///   garbage cycles ([`Trials::forgotten`](crate::Trials::forgotten)).
    ///
    /// # Panics
    /// With the payload of the first panic of a `Drop`, after everything else is done.
    ///
    /// # Cost
    /// **Not bounded.** A look at each object and its references, in the order in which they lie; then the engine's part, by pages. A
    /// second look, at what references lead to, if an object of a type that has been borrowed mutably at some time
    /// ([`Ref::get_mut`](crate::Ref::get_mut)) has one reference, while garbage cycles are being taken apart, and with other mutators on
    /// the thread. `cargo run --release -p layers -- --destroy` measures it: where what is dead lies in sequence,
    /// [`detach`](Mutator::detach) takes half as long, and many times as long where it lies scattered or in cycles.
    ///
    /// ```
    /// use mimalloc_runtime::cell::RefCell;
    /// use mimalloc_runtime::{ErrorKind, Ref, Runtime, Trace};
    ///
    /// #[derive(Trace)]
    /// struct Node {
    ///     others: RefCell<Vec<Ref<Node>>>,
    /// }
    ///
    /// let isolate = Runtime::new()?.attach()?;
    /// let node = || isolate.alloc(Node { others: RefCell::default() }).map_err(|e| e.map(drop)).expect("memory");
    /// let (first, second) = (node(), node());
    /// first.others.borrow_mut().push(second.clone());
    /// second.others.borrow_mut().push(first.clone());
    /// drop(second);
    /// let refused = isolate.destroy(0).unwrap_err(); // there is `first`
    /// assert_eq!(refused.error.kind(), ErrorKind::InUse);
    /// drop(first);
    /// let gone = refused.mutator.destroy(0).expect("nobody refers to either");
    /// assert_eq!((gone.live.objects, gone.residues), (2, 2));
    /// # Ok::<(), mimalloc_runtime::Error>(())
    /// ```
    // What is in the `Err` is the mutator, one pointer.
    pub fn destroy(self, finalizers: u64) -> Result<Destroyed, DestroyError> {
        // SAFETY: no proof is given.
        unsafe { self.end_with_heap(Proof::ToBeFound, finalizers) }
    }

    /// As [`destroy`](Mutator::destroy), without looking whether anything outside refers to what goes.
    ///
    /// Immortal objects, containers in the heap that its own objects have, and [`RemoteFree`]s that nobody uses any more are nothing that
    /// it refuses.
    ///
    /// # Errors
    /// [`ErrorKind::InUse`] when a panic was kept, and in code that this mutator has called; [`ErrorKind::NotAlone`] while there are
    /// blocks that an earlier mutator of the heap has left; with [`Residues::Drop`] also where the heap cannot be walked.
    ///
    /// # Panics
    /// As [`destroy`](Mutator::destroy).
    ///
    /// # Cost
    /// **Not bounded.** The engine's part, by pages, for which no object is touched; with [`Residues::Drop`] two looks at each object,
    /// unless that is known to be for nothing.
    ///
    /// # Safety
    /// 1. No object of the mutator is used again by anyone, through whatever reference, and no handle to one is dropped or cloned again;
    ///    save by the objects themselves as what they have besides references is dropped.
    /// 2. No raw block of the mutator is used again, by this thread or another, and none is being freed; no handle of its heap
    ///    (`HeapRef`) is used or dropped again. What the objects themselves have of it may be dropped as they go.
    pub unsafe fn destroy_unchecked(self, residues: Residues) -> Result<Destroyed, DestroyError> {
        // SAFETY: handed on (1, 2).
        unsafe { self.end_with_heap(Proof::Given(residues), 0) }
    }

    /// # Safety
    /// If the proof is given, as for [`destroy_unchecked`](Mutator::destroy_unchecked).
    unsafe fn end_with_heap(self, proof: Proof, finalizers: u64) -> Result<Destroyed, DestroyError> {
        in_span!("destroy");
        let state = self.into_state();
        // SAFETY: ATTACHED; the mutator is gone, or made again of the state that is as it was (1). The obligations of the caller, if a proof
        // is given (2).
        match unsafe { State::destroy(state, proof, finalizers) } {
            Ok((destroyed, panic)) => {
                resume_if_possible(panic);
                Ok(destroyed)
            }
            Err(error) => Err(DestroyError { mutator: Mutator::new(state), error }),
        }
    }
}
