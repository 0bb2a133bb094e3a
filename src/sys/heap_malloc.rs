//! Blocks from a heap of one's own: as the functions of the same name without `heap`, also as to what they give.
//!
//! Version 3 finds the calling thread's part of the heap at each call, which costs more in turn with another heap.
//! `mi_heap_theap` finds it once.

use core::ffi::c_void;

use super::mi_heap_t;

unsafe extern "C" {
    /// [`mi_malloc`](super::mi_malloc) in `heap`.
    pub fn mi_heap_malloc(heap: *mut mi_heap_t, size: usize) -> *mut c_void;
    /// [`mi_zalloc`](super::mi_zalloc) in `heap`.
    pub fn mi_heap_zalloc(heap: *mut mi_heap_t, size: usize) -> *mut c_void;
    /// [`mi_calloc`](super::mi_calloc) in `heap`.
    pub fn mi_heap_calloc(heap: *mut mi_heap_t, count: usize, size: usize) -> *mut c_void;
    /// [`mi_mallocn`](super::mi_mallocn) in `heap`.
    pub fn mi_heap_mallocn(heap: *mut mi_heap_t, count: usize, size: usize) -> *mut c_void;
    /// [`mi_malloc_small`](super::mi_malloc_small) in `heap`.
    pub fn mi_heap_malloc_small(heap: *mut mi_heap_t, size: usize) -> *mut c_void;
    /// [`mi_zalloc_small`](super::mi_zalloc_small) in `heap`.
    pub fn mi_heap_zalloc_small(heap: *mut mi_heap_t, size: usize) -> *mut c_void;
    /// [`mi_realloc`](super::mi_realloc) into `heap`.
    pub fn mi_heap_realloc(heap: *mut mi_heap_t, p: *mut c_void, newsize: usize) -> *mut c_void;
    /// [`mi_reallocn`](super::mi_reallocn) into `heap`.
    pub fn mi_heap_reallocn(heap: *mut mi_heap_t, p: *mut c_void, count: usize, size: usize) -> *mut c_void;
    /// [`mi_reallocf`](super::mi_reallocf) into `heap`.
    pub fn mi_heap_reallocf(heap: *mut mi_heap_t, p: *mut c_void, newsize: usize) -> *mut c_void;
    /// [`mi_rezalloc`](super::mi_rezalloc) into `heap`.
    pub fn mi_heap_rezalloc(heap: *mut mi_heap_t, p: *mut c_void, newsize: usize) -> *mut c_void;
    /// [`mi_recalloc`](super::mi_recalloc) into `heap`.
    pub fn mi_heap_recalloc(heap: *mut mi_heap_t, p: *mut c_void, newcount: usize, size: usize) -> *mut c_void;
    /// [`mi_malloc_aligned`](super::mi_malloc_aligned) in `heap`.
    pub fn mi_heap_malloc_aligned(heap: *mut mi_heap_t, size: usize, alignment: usize) -> *mut c_void;
    /// [`mi_malloc_aligned_at`](super::mi_malloc_aligned_at) in `heap`.
    pub fn mi_heap_malloc_aligned_at(heap: *mut mi_heap_t, size: usize, alignment: usize, offset: usize)
    -> *mut c_void;
    /// [`mi_zalloc_aligned`](super::mi_zalloc_aligned) in `heap`.
    pub fn mi_heap_zalloc_aligned(heap: *mut mi_heap_t, size: usize, alignment: usize) -> *mut c_void;
    /// [`mi_zalloc_aligned_at`](super::mi_zalloc_aligned_at) in `heap`.
    pub fn mi_heap_zalloc_aligned_at(heap: *mut mi_heap_t, size: usize, alignment: usize, offset: usize)
    -> *mut c_void;
    /// [`mi_calloc_aligned`](super::mi_calloc_aligned) in `heap`.
    pub fn mi_heap_calloc_aligned(heap: *mut mi_heap_t, count: usize, size: usize, alignment: usize) -> *mut c_void;
    /// [`mi_calloc_aligned_at`](super::mi_calloc_aligned_at) in `heap`.
    pub fn mi_heap_calloc_aligned_at(
        heap: *mut mi_heap_t,
        count: usize,
        size: usize,
        alignment: usize,
        offset: usize,
    ) -> *mut c_void;
    /// [`mi_realloc_aligned`](super::mi_realloc_aligned) into `heap`.
    pub fn mi_heap_realloc_aligned(
        heap: *mut mi_heap_t,
        p: *mut c_void,
        newsize: usize,
        alignment: usize,
    ) -> *mut c_void;
    /// [`mi_realloc_aligned_at`](super::mi_realloc_aligned_at) into `heap`.
    pub fn mi_heap_realloc_aligned_at(
        heap: *mut mi_heap_t,
        p: *mut c_void,
        newsize: usize,
        alignment: usize,
        offset: usize,
    ) -> *mut c_void;
    /// [`mi_rezalloc_aligned`](super::mi_rezalloc_aligned) into `heap`.
    pub fn mi_heap_rezalloc_aligned(
        heap: *mut mi_heap_t,
        p: *mut c_void,
        newsize: usize,
        alignment: usize,
    ) -> *mut c_void;
    /// [`mi_rezalloc_aligned_at`](super::mi_rezalloc_aligned_at) into `heap`.
    pub fn mi_heap_rezalloc_aligned_at(
        heap: *mut mi_heap_t,
        p: *mut c_void,
        newsize: usize,
        alignment: usize,
        offset: usize,
    ) -> *mut c_void;
    /// [`mi_recalloc_aligned`](super::mi_recalloc_aligned) into `heap`.
    pub fn mi_heap_recalloc_aligned(
        heap: *mut mi_heap_t,
        p: *mut c_void,
        newcount: usize,
        size: usize,
        alignment: usize,
    ) -> *mut c_void;
    /// [`mi_recalloc_aligned_at`](super::mi_recalloc_aligned_at) into `heap`.
    pub fn mi_heap_recalloc_aligned_at(
        heap: *mut mi_heap_t,
        p: *mut c_void,
        newcount: usize,
        size: usize,
        alignment: usize,
        offset: usize,
    ) -> *mut c_void;
}
