//! What C++'s `new` calls.
//!
//! Out of memory, these call the program's `new_handler`, at most 1000 times, and give null if that did not help. Without a
//! handler, as in a program without C++, they **abort the process**. Where the engine was compiled as C++ (with Microsoft's
//! compiler) they throw an exception instead, and a handler may do so anywhere: that ends the process at the border to Rust.
//! `*_nothrow` give null.

use core::ffi::c_void;

use super::mi_heap_t;
#[cfg(engine = "v3")]
use super::mi_theap_t;

unsafe extern "C" {
    /// [`mi_malloc`](super::mi_malloc) that aborts or throws when it fails.
    pub fn mi_new(size: usize) -> *mut c_void;
    /// [`mi_malloc_aligned`](super::mi_malloc_aligned) that aborts or throws when it fails.
    pub fn mi_new_aligned(size: usize, alignment: usize) -> *mut c_void;
    /// [`mi_malloc`](super::mi_malloc) that on version 2 asks the `new_handler` when it fails.
    pub fn mi_new_nothrow(size: usize) -> *mut c_void;
    /// [`mi_malloc_aligned`](super::mi_malloc_aligned) that on version 2 asks the `new_handler` when it fails.
    pub fn mi_new_aligned_nothrow(size: usize, alignment: usize) -> *mut c_void;
    /// [`mi_mallocn`](super::mi_mallocn) that aborts or throws when it fails, also when the product overflows.
    pub fn mi_new_n(count: usize, size: usize) -> *mut c_void;
    /// [`mi_realloc`](super::mi_realloc) that aborts or throws when it fails.
    pub fn mi_new_realloc(p: *mut c_void, newsize: usize) -> *mut c_void;
    /// [`mi_reallocn`](super::mi_reallocn) that aborts or throws when it fails.
    pub fn mi_new_reallocn(p: *mut c_void, newcount: usize, size: usize) -> *mut c_void;
    /// [`mi_new`] in a heap.
    pub fn mi_heap_alloc_new(heap: *mut mi_heap_t, size: usize) -> *mut c_void;
    /// [`mi_new_n`] in a heap.
    pub fn mi_heap_alloc_new_n(heap: *mut mi_heap_t, count: usize, size: usize) -> *mut c_void;
}

#[cfg(engine = "v3")]
unsafe extern "C" {
    /// [`mi_new`] in a theap.
    pub fn mi_theap_alloc_new(theap: *mut mi_theap_t, size: usize) -> *mut c_void;
    /// [`mi_new_n`] in a theap.
    pub fn mi_theap_alloc_new_n(theap: *mut mi_theap_t, count: usize, size: usize) -> *mut c_void;
    /// [`mi_new_nothrow`] in a theap.
    pub fn mi_theap_alloc_new_nothrow(theap: *mut mi_theap_t, size: usize) -> *mut c_void;
}
