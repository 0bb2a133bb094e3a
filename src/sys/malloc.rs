//! Blocks from the calling thread's default heap, without a wish for alignment.

use core::ffi::c_void;

/// The largest request of the `*_small` functions, in machine words.
pub const MI_SMALL_WSIZE_MAX: usize = 128;
/// The largest request of the `*_small` functions, in bytes.
pub const MI_SMALL_SIZE_MAX: usize = MI_SMALL_WSIZE_MAX * size_of::<usize>();

unsafe extern "C" {
    /// A block of `size` bytes; null when memory has run out. A size of 0 gives a block too.
    pub fn mi_malloc(size: usize) -> *mut c_void;
    /// A cleared block.
    pub fn mi_zalloc(size: usize) -> *mut c_void;
    /// A cleared block of `count * size` bytes; null also when the product overflows.
    pub fn mi_calloc(count: usize, size: usize) -> *mut c_void;
    /// A block of `count * size` bytes; null also when the product overflows.
    pub fn mi_mallocn(count: usize, size: usize) -> *mut c_void;
    /// [`mi_malloc`] for at most [`MI_SMALL_SIZE_MAX`] bytes. A larger `size` is checked in debug builds only: obligation.
    pub fn mi_malloc_small(size: usize) -> *mut c_void;
    /// [`mi_zalloc`] for at most [`MI_SMALL_SIZE_MAX`] bytes. A larger `size` is checked in debug builds only: obligation.
    pub fn mi_zalloc_small(size: usize) -> *mut c_void;

    /// Moves or resizes a block. Null leaves it as it was. The block need not come from the default heap, the result does.
    pub fn mi_realloc(p: *mut c_void, newsize: usize) -> *mut c_void;
    /// [`mi_realloc`] to `count * size` bytes.
    pub fn mi_reallocn(p: *mut c_void, count: usize, size: usize) -> *mut c_void;
    /// [`mi_realloc`] that frees the block when it fails.
    pub fn mi_reallocf(p: *mut c_void, newsize: usize) -> *mut c_void;
    /// [`mi_realloc`] that clears what is new. Only for blocks that were allocated cleared, and always so reallocated.
    pub fn mi_rezalloc(p: *mut c_void, newsize: usize) -> *mut c_void;
    /// [`mi_rezalloc`] to `newcount * size` bytes.
    pub fn mi_recalloc(p: *mut c_void, newcount: usize, size: usize) -> *mut c_void;
    /// The same pointer if `newsize` bytes fit where the block is, otherwise null. Always null in secure and debug builds.
    pub fn mi_expand(p: *mut c_void, newsize: usize) -> *mut c_void;

    /// Frees a block, of any heap and on any thread. Null is allowed.
    pub fn mi_free(p: *mut c_void);
    /// [`mi_free`]; `size` is what was asked for.
    pub fn mi_free_size(p: *mut c_void, size: usize);
    /// [`mi_free`] for a block that a `*_small` function made.
    pub fn mi_free_small(p: *mut c_void);

    /// How many bytes of the block may be used: at least as many as were asked for.
    pub fn mi_usable_size(p: *const c_void) -> usize;
    /// How many bytes a block of `size` would have.
    pub fn mi_good_size(size: usize) -> usize;

    /// [`mi_malloc`] that also stores the block's size.
    pub fn mi_umalloc(size: usize, block_size: *mut usize) -> *mut c_void;
    /// [`mi_calloc`] that also stores the block's size.
    pub fn mi_ucalloc(count: usize, size: usize, block_size: *mut usize) -> *mut c_void;
    /// [`mi_realloc`] that also stores the block's size before and after.
    pub fn mi_urealloc(
        p: *mut c_void,
        newsize: usize,
        block_size_pre: *mut usize,
        block_size_post: *mut usize,
    ) -> *mut c_void;
    /// [`mi_free`] that also stores the size of the block it freed.
    pub fn mi_ufree(p: *mut c_void, block_size: *mut usize);
    /// [`mi_malloc_small`] that also stores the block's size.
    pub fn mi_umalloc_small(size: usize, block_size: *mut usize) -> *mut c_void;
    /// [`mi_zalloc_small`] that also stores the block's size.
    pub fn mi_uzalloc_small(size: usize, block_size: *mut usize) -> *mut c_void;
}

#[cfg(engine = "v3")]
unsafe extern "C" {
    /// [`mi_free_small`] for a block that is not null.
    pub fn mi_free_small_nonnull(p: *mut c_void);
    /// [`mi_free_small`] for a block in a page that the calling thread owns.
    pub fn mi_free_small_local(p: *mut c_void);
    /// [`mi_free_small_local`] for a block that is not null.
    pub fn mi_free_small_local_nonnull(p: *mut c_void);
    /// [`mi_malloc_small`] of so many machine words.
    pub fn mi_wmalloc_small(wsize: usize) -> *mut c_void;
    /// [`mi_zalloc_small`] of so many machine words.
    pub fn mi_wzalloc_small(wsize: usize) -> *mut c_void;
    /// The thread that owns the page of the block, or 0: no page, or one that no thread owns. The answer may be old at once.
    pub fn mi_thread_id_of(p: *const c_void) -> usize;
}
