//! Blocks from the calling thread's default heap at a wished-for alignment.
//!
//! An alignment is a power of two. With an `offset`, the address plus the offset is so aligned. A block is freed by
//! [`mi_free`](super::mi_free), whatever its alignment.

use core::ffi::c_void;

unsafe extern "C" {
    /// An aligned block.
    pub fn mi_malloc_aligned(size: usize, alignment: usize) -> *mut c_void;
    /// A block aligned at `offset`.
    pub fn mi_malloc_aligned_at(size: usize, alignment: usize, offset: usize) -> *mut c_void;
    /// A cleared, aligned block.
    pub fn mi_zalloc_aligned(size: usize, alignment: usize) -> *mut c_void;
    /// A cleared block aligned at `offset`.
    pub fn mi_zalloc_aligned_at(size: usize, alignment: usize, offset: usize) -> *mut c_void;
    /// A cleared, aligned block of `count * size` bytes.
    pub fn mi_calloc_aligned(count: usize, size: usize, alignment: usize) -> *mut c_void;
    /// A cleared block of `count * size` bytes aligned at `offset`.
    pub fn mi_calloc_aligned_at(count: usize, size: usize, alignment: usize, offset: usize) -> *mut c_void;
    /// Moves or resizes a block and keeps it aligned.
    pub fn mi_realloc_aligned(p: *mut c_void, newsize: usize, alignment: usize) -> *mut c_void;
    /// Moves or resizes a block and keeps it aligned at `offset`.
    pub fn mi_realloc_aligned_at(p: *mut c_void, newsize: usize, alignment: usize, offset: usize) -> *mut c_void;
    /// [`mi_rezalloc`](super::mi_rezalloc), aligned.
    pub fn mi_rezalloc_aligned(p: *mut c_void, newsize: usize, alignment: usize) -> *mut c_void;
    /// [`mi_rezalloc`](super::mi_rezalloc), aligned at `offset`.
    pub fn mi_rezalloc_aligned_at(p: *mut c_void, newsize: usize, alignment: usize, offset: usize) -> *mut c_void;
    /// [`mi_recalloc`](super::mi_recalloc), aligned.
    pub fn mi_recalloc_aligned(p: *mut c_void, newcount: usize, size: usize, alignment: usize) -> *mut c_void;
    /// [`mi_recalloc`](super::mi_recalloc), aligned at `offset`.
    pub fn mi_recalloc_aligned_at(
        p: *mut c_void,
        newcount: usize,
        size: usize,
        alignment: usize,
        offset: usize,
    ) -> *mut c_void;
    /// [`mi_malloc_aligned`] that also stores the block's size.
    pub fn mi_umalloc_aligned(size: usize, alignment: usize, block_size: *mut usize) -> *mut c_void;
    /// [`mi_zalloc_aligned`] that also stores the block's size.
    pub fn mi_uzalloc_aligned(size: usize, alignment: usize, block_size: *mut usize) -> *mut c_void;
}
