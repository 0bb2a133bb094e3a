//! Theaps: the thread-bound part of a heap, which allocates.
//!
//! On version 2 a heap is itself thread-bound: there [`mi_theap_t`] is another name for the heap, and none of these
//! functions exist.

#[cfg(engine = "v3")]
use core::ffi::c_void;
#[cfg(engine = "v3")]
use core::marker::{PhantomData, PhantomPinned};

use super::mi_heap_t;

/// What allocates on one thread for one heap. Opaque.
#[cfg(engine = "v3")]
#[repr(C)]
pub struct mi_theap_t {
    _opaque: [u8; 0],
    _neither_send_nor_unpin: PhantomData<(*mut u8, PhantomPinned)>,
}

/// What allocates on one thread: the heap itself.
#[cfg(engine = "v2")]
pub type mi_theap_t = mi_heap_t;

#[cfg(engine = "v3")]
unsafe extern "C" {
    /// The calling thread's theap of a heap, made when there is none yet. Out of memory, a placeholder on which every
    /// allocation fails. The first call for a heap inside the deferred-free function deadlocks.
    pub fn mi_heap_theap(heap: *mut mi_heap_t) -> *mut mi_theap_t;
    /// Makes a theap of this thread the one from which `mi_malloc` allocates here, and gives the one that was.
    pub fn mi_theap_set_default(theap: *mut mi_theap_t) -> *mut mi_theap_t;
    /// The theap from which `mi_malloc` allocates on this thread.
    pub fn mi_theap_get_default() -> *mut mi_theap_t;
    /// As [`mi_heap_collect`](super::mi_heap_collect), of this theap.
    pub fn mi_theap_collect(theap: *mut mi_theap_t, force: bool);
    /// Gives the theap's pages up, with the live blocks in them, and the theap back. On its own thread only; the heap lives
    /// on.
    pub fn mi_theap_delete(theap: *mut mi_theap_t);
    /// Gives the theap's pages up and keeps the theap. Its thread is the calling one, or is not inside the engine.
    pub fn mi_theap_quiescent_abandon(theap: *mut mi_theap_t);

    /// [`mi_malloc`](super::mi_malloc) from `theap`.
    pub fn mi_theap_malloc(theap: *mut mi_theap_t, size: usize) -> *mut c_void;
    /// [`mi_zalloc`](super::mi_zalloc) from `theap`.
    pub fn mi_theap_zalloc(theap: *mut mi_theap_t, size: usize) -> *mut c_void;
    /// [`mi_calloc`](super::mi_calloc) from `theap`.
    pub fn mi_theap_calloc(theap: *mut mi_theap_t, count: usize, size: usize) -> *mut c_void;
    /// [`mi_malloc_small`](super::mi_malloc_small) from `theap`.
    pub fn mi_theap_malloc_small(theap: *mut mi_theap_t, size: usize) -> *mut c_void;
    /// [`mi_zalloc_small`](super::mi_zalloc_small) from `theap`.
    pub fn mi_theap_zalloc_small(theap: *mut mi_theap_t, size: usize) -> *mut c_void;
    /// [`mi_wmalloc_small`](super::mi_wmalloc_small) from `theap`.
    pub fn mi_theap_wmalloc_small(theap: *mut mi_theap_t, wsize: usize) -> *mut c_void;
    /// [`mi_wzalloc_small`](super::mi_wzalloc_small) from `theap`.
    pub fn mi_theap_wzalloc_small(theap: *mut mi_theap_t, wsize: usize) -> *mut c_void;
    /// [`mi_malloc_aligned`](super::mi_malloc_aligned) from `theap`.
    pub fn mi_theap_malloc_aligned(theap: *mut mi_theap_t, size: usize, alignment: usize) -> *mut c_void;
    /// [`mi_zalloc_aligned`](super::mi_zalloc_aligned) from `theap`.
    pub fn mi_theap_zalloc_aligned(theap: *mut mi_theap_t, size: usize, alignment: usize) -> *mut c_void;
    /// [`mi_realloc`](super::mi_realloc) into `theap`.
    pub fn mi_theap_realloc(theap: *mut mi_theap_t, p: *mut c_void, newsize: usize) -> *mut c_void;
    /// [`mi_rezalloc`](super::mi_rezalloc) into `theap`.
    pub fn mi_theap_rezalloc(theap: *mut mi_theap_t, p: *mut c_void, newsize: usize) -> *mut c_void;

    /// About one object in so many bytes is followed by a guard page; 0 for none, 1 for all. A `seed` of 0 starts at random.
    /// Only in an engine that was built with guard pages.
    pub fn mi_theap_guarded_set_sample_rate(theap: *mut mi_theap_t, sample_rate: usize, seed: usize);
    /// The sizes that may be followed by a guard page.
    pub fn mi_theap_guarded_set_size_bound(theap: *mut mi_theap_t, min: usize, max: usize);
}
