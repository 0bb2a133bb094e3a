//! A mutator's heap as an allocator for Rust's containers.

use core::alloc::Layout;
use core::fmt;
use core::ptr::{self, NonNull};

use allocator_api2::alloc::{AllocError, Allocator};

#[cfg(doc)]
use super::Mutator;
use super::heap::Half;
use super::state::State;

/// A handle of a mutator's heap that containers take as their allocator: a `hashbrown::HashMap<K, V, S, HeapRef>`, an
/// `allocator_api2::vec::Vec<T, HeapRef>`. Made by [`Mutator::heap`].
///
/// What a container allocates is a raw block of the mutator: charged to the heartbeat, counted in
/// [`Metrics::block_bytes`](crate::Metrics::block_bytes), and paying for collection as every allocation does. Requests of no
/// bytes allocate nothing and are not counted.
///
/// A container may be a field of an object: an `allocator_api2` vector as it is (it implements [`Trace`](trait@crate::Trace)),
/// any other with `#[trace(skip)]`. It may outlive the mutator, whose heap waits for the last handle before it goes to the
/// next mutator; a handle that is leaked keeps it for good. After the mutator was detached blocks can be freed and made
/// smaller, and every other request is answered with [`AllocError`].
///
/// To make a block smaller takes one of the smaller size, since each counts for what the engine has. A limit lets that pass; but where the
/// engine has none, in a [wall](crate::Attach::wall) that is full for instance, it is answered with [`AllocError`] too, on which most
/// containers end the process: do not call `shrink_to_fit` and the like to get out of there, drop something.
///
/// # What runs inside an allocation
///
/// When an installment or a beat is due, an allocation through a handle runs a collection step and the beat handlers, as an
/// allocation by the mutator does. So code of the user's (a field's `Drop`, a handler) can run inside `Vec::push`. That is
/// sound: who is pushing holds a `&mut` to the container, so nobody else can reach it until `push` returns, and containers
/// that are generic over their allocator expect code of others in it. What this code sees:
///
/// - a `RefCell` around the container is borrowed: use `try_borrow` there. A `borrow` panics, which is kept for the next
///   safepoint like every panic of such code; none ever comes out of the allocation.
/// - an arena that allocates through `&self` can be entered a second time while it fetches a chunk. It has to allow for that,
///   as with any allocator that runs code of others; better not to reach one from handlers and drops.
/// - the mutator can be detached there, since the container does not borrow it. Then the allocation still succeeds, and
///   the next one does not.
///
/// # Cost
/// One pointer; that of [`Mutator::allocate`] for each allocation; a counter when cloned or dropped.
///
/// ```
/// use allocator_api2::vec::Vec;
/// use mimalloc_runtime::{HeapRef, Ref, Runtime, Trace};
///
/// #[derive(Trace)]
/// struct Instance {
///     fields: Vec<Ref<f64>, HeapRef>, // in the VM's heap, charged and counted
/// }
///
/// let mutator = Runtime::new()?.attach()?;
/// let mut fields = Vec::with_capacity_in(4, mutator.heap());
/// fields.push(mutator.alloc(0.5).map_err(|e| e.map(drop)).expect("memory"));
/// let instance = mutator.alloc(Instance { fields }).map_err(|e| e.map(drop)).expect("memory");
/// assert_eq!(mutator.metrics().block_bytes, 32); // four references
/// drop(instance);
/// mutator.collect(mimalloc_runtime::Budget::Unbounded);
/// assert_eq!(mutator.metrics().block_bytes, 0);
/// # Ok::<(), mimalloc_runtime::Error>(())
/// ```
///
/// It stays on its thread:
///
/// ```compile_fail,E0277
/// # let mutator = mimalloc_runtime::Runtime::new()?.attach()?;
/// let heap = mutator.heap();
/// std::thread::spawn(move || drop(heap));
/// # Ok::<(), mimalloc_runtime::Error>(())
/// ```
pub struct HeapRef {
    /// Invariant HANDLE: a state of this thread in which this handle is counted, so that it is alive.
    state: NonNull<State>,
}

impl HeapRef {
    /// # Safety
    /// 1. `state` is a boxed state of this thread, alive until the handle is made.
    pub(super) unsafe fn new(state: NonNull<State>) -> HeapRef {
        // SAFETY: alive (1).
        let handles = &unsafe { state.as_ref() }.handles;
        match handles.get().checked_add(1) {
            Some(more) => handles.set(more),
            // Only by leaking handles in a loop. Counting on from 0 would free the state below them.
            None => std::process::abort(),
        }
        HeapRef { state }
    }

    fn state(&self) -> &State {
        // SAFETY: HANDLE.
        unsafe { self.state.as_ref() }
    }

    /// A block of its own. `take` asks the heap for it.
    #[inline(always)]
    fn fresh(&self, layout: Layout, take: impl Fn(&Half) -> Option<NonNull<u8>>) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        if !self.state().is_attached() {
            return Err(AllocError);
        }
        slice(self.state().allocate_block(layout, take), layout)
    }

    /// # Safety
    /// 1. `block` is allocated from this heap through a handle, with the layout `old`; if a block is returned, it is not used
    ///    again.
    unsafe fn resize(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if new.size() == 0 {
            // SAFETY: handed on (1).
            unsafe { self.deallocate(block, old) };
            return Ok(nothing(new));
        }
        if old.align() == new.align() && old.size() > 0 {
            // SAFETY: of this state, with this layout, not used again (1).
            let moved = unsafe { self.state().resize_block(block, old, new) };
            return slice(moved, new);
        }
        let state = self.state();
        let fresh = slice(state.allocate_block(new, |blocks| blocks.malloc(new.size(), new.align())), new)?;
        let bytes = old.size().min(new.size());
        // SAFETY: both are of at least so many bytes (1), and are two blocks.
        unsafe { ptr::copy_nonoverlapping(block.as_ptr(), fresh.as_ptr().cast(), bytes) };
        // SAFETY: handed on (1).
        unsafe { self.deallocate(block, old) };
        Ok(fresh)
    }
}

/// The answer to a request of no bytes: aligned, and nowhere.
fn nothing(layout: Layout) -> NonNull<[u8]> {
    let place = NonNull::new(ptr::without_provenance_mut(layout.align()));
    NonNull::slice_from_raw_parts(place.expect("an alignment is not zero"), 0)
}

/// Exactly as long as was asked for. Containers use what they are given, and what the engine could give differs between its
/// builds: beats would too (promise P4).
#[inline(always)]
fn slice(block: Option<NonNull<u8>>, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
    block.map(|block| NonNull::slice_from_raw_parts(block, layout.size())).ok_or(AllocError)
}

// SAFETY: A block is the heap's until it is freed with the layout that it was last given, since it is never longer than
// that. The heap lives as long as a handle does (HANDLE), and is not destroyed while blocks of it are in use (`State::finish`,
// `Heap::release`), which also covers blocks whose handles are gone. Clones and moved handles are of one state. Nothing
// unwinds out of an allocation: code of the user's is called under `State::guarded`.
unsafe impl Allocator for HeapRef {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.fresh(layout, |blocks| blocks.malloc(layout.size(), layout.align()))
    }

    #[inline]
    fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.fresh(layout, |blocks| blocks.malloc_zeroed(layout.size(), layout.align()))
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if layout.size() > 0 {
            // SAFETY: of this heap, with this layout (the obligations of `Allocator::deallocate`), not used again.
            unsafe { self.state().free_block(block, layout) }
        }
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if !self.state().is_attached() {
            return Err(AllocError);
        }
        // SAFETY: the obligations of `Allocator::grow`.
        unsafe { self.resize(block, old, new) }
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the obligations of `Allocator::shrink`.
        unsafe { self.resize(block, old, new) }
    }
}

impl Clone for HeapRef {
    fn clone(&self) -> HeapRef {
        // SAFETY: HANDLE.
        unsafe { HeapRef::new(self.state) }
    }
}

impl Drop for HeapRef {
    fn drop(&mut self) {
        let state = self.state();
        let left = state.handles.get() - 1;
        state.handles.set(left);
        if left == 0 {
            // SAFETY: alive until now, and not used afterwards.
            unsafe { State::end_if_over(self.state) }
        }
    }
}

impl fmt::Debug for HeapRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeapRef").field("attached", &self.state().is_attached()).finish_non_exhaustive()
    }
}
