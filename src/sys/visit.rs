//! Walks over the blocks of a heap.
//!
//! A walk must have the heap to itself: another thread that frees into it makes the walk crash or hang. The walk reports
//! where blocks start, which for an alignment above 16 need not be the pointer that the program was given. It cannot be
//! resumed. ([`Mutator::census`](crate::Mutator::census) is made of another walk, which can.)

#[cfg(engine = "v2")]
use core::ffi::c_int;
use core::ffi::c_void;

use super::mi_heap_t;
#[cfg(engine = "v2")]
use super::mi_subproc_id_t;
#[cfg(engine = "v3")]
use super::mi_theap_t;

/// Blocks of one size, side by side: a page of the engine.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mi_heap_area_t {
    /// Where the first block starts.
    pub blocks: *mut c_void,
    /// Bytes of address space.
    pub reserved: usize,
    /// Bytes of it that can be used.
    pub committed: usize,
    /// Live blocks.
    pub used: usize,
    /// Bytes of a block that its user has.
    pub block_size: usize,
    /// Bytes from one block to the next.
    pub full_block_size: usize,
    /// The engine's.
    #[cfg(engine = "v3")]
    pub reserved1: *mut c_void,
    /// The tag of the heap.
    #[cfg(engine = "v2")]
    pub heap_tag: c_int,
}

/// Called for each area, with a null `block`, and, if asked for, then for each of its live blocks. `false` ends the walk.
pub type mi_block_visit_fun = unsafe extern "C" fn(
    heap: *const mi_heap_t,
    area: *const mi_heap_area_t,
    block: *mut c_void,
    block_size: usize,
    arg: *mut c_void,
) -> bool;

#[cfg(engine = "v3")]
unsafe extern "C" {
    /// Walks the heap, with blocks of all threads, also of ended ones. A null heap is the main one.
    pub fn mi_heap_visit_blocks(
        heap: *mut mi_heap_t,
        visit_blocks: bool,
        visitor: Option<mi_block_visit_fun>,
        arg: *mut c_void,
    ) -> bool;
    /// Walks those pages of the heap that no thread owns.
    pub fn mi_heap_visit_abandoned_blocks(
        heap: *mut mi_heap_t,
        visit_blocks: bool,
        visitor: Option<mi_block_visit_fun>,
        arg: *mut c_void,
    ) -> bool;
    /// Walks the pages of one theap. It misses full pages.
    pub fn mi_theap_visit_blocks(
        theap: *const mi_theap_t,
        visit_blocks: bool,
        visitor: Option<mi_block_visit_fun>,
        arg: *mut c_void,
    ) -> bool;
}

#[cfg(engine = "v2")]
unsafe extern "C" {
    /// Walks a heap of the calling thread.
    pub fn mi_heap_visit_blocks(
        heap: *const mi_heap_t,
        visit_blocks: bool,
        visitor: Option<mi_block_visit_fun>,
        arg: *mut c_void,
    ) -> bool;
    /// Walks what ended threads left behind. Needs `mi_option_visit_abandoned`, set before the first allocation.
    pub fn mi_abandoned_visit_blocks(
        subproc_id: mi_subproc_id_t,
        heap_tag: c_int,
        visit_blocks: bool,
        visitor: Option<mi_block_visit_fun>,
        arg: *mut c_void,
    ) -> bool;
}
