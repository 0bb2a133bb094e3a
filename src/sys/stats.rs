//! What the engine counts. The figures of a thread reach those of its heap late: they lag until a collect of that heap.

#[cfg(engine = "v3")]
use core::ffi::c_int;
use core::ffi::{c_char, c_void};

use super::mi_output_fun;
#[cfg(engine = "v3")]
use super::{mi_heap_t, mi_subproc_id_t, mi_theap_t};

/// The version of [`mi_stats_t`].
#[cfg(engine = "v3")]
pub const MI_STAT_VERSION: usize = 6;
/// The version of [`mi_stats_t`].
#[cfg(engine = "v2")]
pub const MI_STAT_VERSION: usize = 4;
/// The last size class: what is larger than all others.
pub const MI_BIN_HUGE: usize = 73;

/// A count that goes up and down.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct mi_stat_count_t {
    /// All that was ever added.
    pub total: i64,
    /// The highest that there was.
    pub peak: i64,
    /// What there is.
    pub current: i64,
}

/// A count that goes up.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct mi_stat_counter_t {
    /// All that was ever added.
    pub total: i64,
}

/// A kind of chunk in an arena: by the size of what it holds.
#[cfg(engine = "v3")]
pub type mi_chunkbin_t = c_int;
/// Small pages.
#[cfg(engine = "v3")]
pub const MI_CBIN_SMALL: mi_chunkbin_t = 0;
/// Pages of other sizes.
#[cfg(engine = "v3")]
pub const MI_CBIN_OTHER: mi_chunkbin_t = 1;
/// Medium pages.
#[cfg(engine = "v3")]
pub const MI_CBIN_MEDIUM: mi_chunkbin_t = 2;
/// Large pages.
#[cfg(engine = "v3")]
pub const MI_CBIN_LARGE: mi_chunkbin_t = 3;
/// Ranges of several chunks.
#[cfg(engine = "v3")]
pub const MI_CBIN_HUGE: mi_chunkbin_t = 4;
/// Nothing: the chunk is free.
#[cfg(engine = "v3")]
pub const MI_CBIN_NONE: mi_chunkbin_t = 5;
/// The number of kinds.
#[cfg(engine = "v3")]
pub const MI_CBIN_COUNT: mi_chunkbin_t = 6;

/// The engine's statistics. Made by [`mi_stats_t::new`], since the engine fills in only what has its own size and version.
#[cfg(engine = "v3")]
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct mi_stats_t {
    /// Bytes of this structure.
    pub size: usize,
    /// [`MI_STAT_VERSION`].
    pub version: usize,
    /// Pages.
    pub pages: mi_stat_count_t,
    /// Bytes of address space.
    pub reserved: mi_stat_count_t,
    /// Bytes that can be used.
    pub committed: mi_stat_count_t,
    /// Bytes reset.
    pub reset: mi_stat_counter_t,
    /// Bytes given back.
    pub purged: mi_stat_counter_t,
    /// Usable bytes in pages.
    pub page_committed: mi_stat_count_t,
    /// Pages that no thread owns.
    pub pages_abandoned: mi_stat_count_t,
    /// Threads.
    pub threads: mi_stat_count_t,
    /// Bytes allocated.
    pub allocated: mi_stat_count_t,
    /// Allocations.
    pub malloc_count: mi_stat_counter_t,
    /// Frees.
    pub free_count: mi_stat_counter_t,
    /// Bytes freed.
    pub freed: mi_stat_counter_t,
    /// Bytes asked for.
    pub malloc_requested: mi_stat_counter_t,
    /// Calls to map memory.
    pub mmap_calls: mi_stat_counter_t,
    /// Calls to make memory usable.
    pub commit_calls: mi_stat_counter_t,
    /// Calls to reset memory.
    pub reset_calls: mi_stat_counter_t,
    /// Calls to give memory back.
    pub purge_calls: mi_stat_counter_t,
    /// Arenas.
    pub arena_count: mi_stat_counter_t,
    /// Objects with a guard page.
    pub malloc_guarded_count: mi_stat_counter_t,
    /// Claims in an arena that were taken back.
    pub arena_rollback_count: mi_stat_counter_t,
    /// Times that arenas were purged.
    pub arena_purges: mi_stat_counter_t,
    /// Times that a page was extended.
    pub pages_extended: mi_stat_counter_t,
    /// Pages retired.
    pub pages_retire: mi_stat_counter_t,
    /// Pages looked at for a fresh one.
    pub page_searches: mi_stat_counter_t,
    /// Searches for a fresh page.
    pub page_searches_count: mi_stat_counter_t,
    /// Segments; version 2.
    pub segments: mi_stat_count_t,
    /// Segments that no thread owns; version 2.
    pub segments_abandoned: mi_stat_count_t,
    /// Segments cached; version 2.
    pub segments_cache: mi_stat_count_t,
    /// Unused.
    pub _segments_reserved: mi_stat_count_t,
    /// Heaps.
    pub heaps: mi_stat_count_t,
    /// Theaps.
    pub theaps: mi_stat_count_t,
    /// Pages outside arenas that no thread owns.
    pub pages_os_abandoned: mi_stat_count_t,
    /// Pages outside arenas.
    pub pages_os_allocated: mi_stat_count_t,
    /// Pages taken over by an allocation.
    pub pages_reclaim_on_alloc: mi_stat_counter_t,
    /// Pages taken over by a free.
    pub pages_reclaim_on_free: mi_stat_counter_t,
    /// Full pages given up again.
    pub pages_reabandon_full: mi_stat_counter_t,
    /// Waits for a page that another thread held.
    pub pages_unabandon_busy_wait: mi_stat_counter_t,
    /// Retries to give a page up.
    pub pages_unown_cas_retry: mi_stat_counter_t,
    /// Waits in the deletion of a heap.
    pub heaps_delete_wait: mi_stat_counter_t,
    /// Updates of statistics from a page.
    pub pages_stat_updates: mi_stat_counter_t,
    /// Allocations and frees in those updates.
    pub pages_stat_update_count: mi_stat_counter_t,
    /// Samples of the profiler.
    pub profile_samples: mi_stat_counter_t,
    /// Bytes in blocks of usual size.
    pub malloc_normal: mi_stat_count_t,
    /// Bytes in huge blocks.
    pub malloc_huge: mi_stat_count_t,
    /// Blocks of usual size.
    pub malloc_normal_count: mi_stat_counter_t,
    /// Huge blocks.
    pub malloc_huge_count: mi_stat_counter_t,
    /// Unused.
    pub _stat_reserved: [mi_stat_count_t; 4],
    /// Unused.
    pub _stat_counter_reserved: [mi_stat_counter_t; 4],
    /// Blocks of each size class.
    pub malloc_bins: [mi_stat_count_t; MI_BIN_HUGE + 1],
    /// Pages of each size class.
    pub page_bins: [mi_stat_count_t; MI_BIN_HUGE + 1],
    /// Chunks of each kind, an `MI_CBIN_*`.
    pub chunk_bins: [mi_stat_count_t; MI_CBIN_COUNT as usize],
}

/// The engine's statistics. Made by [`mi_stats_t::new`], since the engine fills in only what has its own size and version.
#[cfg(engine = "v2")]
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mi_stats_t {
    /// Bytes of this structure.
    pub size: usize,
    /// [`MI_STAT_VERSION`].
    pub version: usize,
    /// Pages.
    pub pages: mi_stat_count_t,
    /// Bytes of address space.
    pub reserved: mi_stat_count_t,
    /// Bytes that can be used.
    pub committed: mi_stat_count_t,
    /// Bytes reset.
    pub reset: mi_stat_counter_t,
    /// Bytes given back.
    pub purged: mi_stat_counter_t,
    /// Usable bytes in pages.
    pub page_committed: mi_stat_count_t,
    /// Pages that no thread owns.
    pub pages_abandoned: mi_stat_count_t,
    /// Threads.
    pub threads: mi_stat_count_t,
    /// Bytes in blocks of usual size.
    pub malloc_normal: mi_stat_count_t,
    /// Bytes in huge blocks.
    pub malloc_huge: mi_stat_count_t,
    /// Bytes asked for.
    pub malloc_requested: mi_stat_count_t,
    /// Calls to map memory.
    pub mmap_calls: mi_stat_counter_t,
    /// Calls to make memory usable.
    pub commit_calls: mi_stat_counter_t,
    /// Calls to reset memory.
    pub reset_calls: mi_stat_counter_t,
    /// Calls to give memory back.
    pub purge_calls: mi_stat_counter_t,
    /// Arenas.
    pub arena_count: mi_stat_counter_t,
    /// Blocks of usual size.
    pub malloc_normal_count: mi_stat_counter_t,
    /// Huge blocks.
    pub malloc_huge_count: mi_stat_counter_t,
    /// Objects with a guard page.
    pub malloc_guarded_count: mi_stat_counter_t,
    /// Claims in an arena that were taken back.
    pub arena_rollback_count: mi_stat_counter_t,
    /// Times that arenas were purged.
    pub arena_purges: mi_stat_counter_t,
    /// Times that a page was extended.
    pub pages_extended: mi_stat_counter_t,
    /// Pages retired.
    pub pages_retire: mi_stat_counter_t,
    /// Pages looked at for a fresh one.
    pub page_searches: mi_stat_counter_t,
    /// Searches for a fresh page.
    pub page_searches_count: mi_stat_counter_t,
    /// Segments; version 2.
    pub segments: mi_stat_count_t,
    /// Segments that no thread owns; version 2.
    pub segments_abandoned: mi_stat_count_t,
    /// Segments cached; version 2.
    pub segments_cache: mi_stat_count_t,
    /// Unused.
    pub _segments_reserved: mi_stat_count_t,
    /// Pages taken over by an allocation.
    pub pages_reclaim_on_alloc: mi_stat_counter_t,
    /// Pages taken over by a free.
    pub pages_reclaim_on_free: mi_stat_counter_t,
    /// Full pages given up again.
    pub pages_reabandon_full: mi_stat_counter_t,
    /// Waits for a page that another thread held.
    pub pages_unabandon_busy_wait: mi_stat_counter_t,
    /// Unused.
    pub _stat_reserved: [mi_stat_count_t; 4],
    /// Unused.
    pub _stat_counter_reserved: [mi_stat_counter_t; 4],
    /// Blocks of each size class.
    pub malloc_bins: [mi_stat_count_t; MI_BIN_HUGE + 1],
    /// Pages of each size class.
    pub page_bins: [mi_stat_count_t; MI_BIN_HUGE + 1],
}

impl mi_stats_t {
    /// All zero but for size and version, as `mi_stats_t_decl` and `mi_stats_init` of the header make it.
    #[must_use]
    pub const fn new() -> mi_stats_t {
        // SAFETY: integers in structures and arrays, for which all zero is a value.
        let zero: mi_stats_t = unsafe { core::mem::zeroed() };
        mi_stats_t { size: size_of::<mi_stats_t>(), version: MI_STAT_VERSION, ..zero }
    }
}

impl Default for mi_stats_t {
    fn default() -> mi_stats_t {
        mi_stats_t::new()
    }
}

unsafe extern "C" {
    /// Fills in the statistics, on version 3 of the calling thread's subprocess. `false` when size or version are not the
    /// engine's. On version 2 a smaller size is filled as far as it goes.
    pub fn mi_stats_get(stats: *mut mi_stats_t) -> bool;
    /// [`mi_stats_get`] as JSON, in `buf` or, when that is null, in a block that the caller frees.
    pub fn mi_stats_get_json(buf_size: usize, buf: *mut c_char) -> *mut c_char;
    /// Prints the statistics through a function (none: the engine's output).
    pub fn mi_stats_print_out(out: Option<mi_output_fun>, arg: *mut c_void);
    /// Prints the calling thread's statistics through a function (none: the engine's output).
    pub fn mi_thread_stats_print_out(out: Option<mi_output_fun>, arg: *mut c_void);
    /// Prints the statistics. `out` must be null: the header says that it is ignored, but the engine may call it.
    pub fn mi_stats_print(out: *mut c_void);
    /// Version 2: sets the statistics back to zero. Version 3: only adds the main heap's to those of the process.
    pub fn mi_stats_reset();
}

#[cfg(engine = "v3")]
unsafe extern "C" {
    /// The statistics of a heap, which lag until a collect of the heap. `false` as for [`mi_stats_get`].
    pub fn mi_heap_stats_get(heap: *mut mi_heap_t, stats: *mut mi_stats_t) -> bool;
    /// [`mi_heap_stats_get`] as JSON, as [`mi_stats_get_json`] gives it.
    pub fn mi_heap_stats_get_json(heap: *mut mi_heap_t, buf_size: usize, buf: *mut c_char) -> *mut c_char;
    /// Prints the statistics of a heap.
    pub fn mi_heap_stats_print_out(heap: *mut mi_heap_t, out: Option<mi_output_fun>, arg: *mut c_void);
    /// Adds the heap's statistics to those of its subprocess and clears them.
    pub fn mi_heap_stats_merge_to_subproc(heap: *mut mi_heap_t);
    /// The statistics of a subprocess with those of its heaps.
    pub fn mi_subproc_stats_get(subproc_id: mi_subproc_id_t, stats: *mut mi_stats_t) -> bool;
    /// The statistics of a subprocess without those of its heaps.
    pub fn mi_subproc_stats_get_exclusive(subproc_id: mi_subproc_id_t, stats: *mut mi_stats_t) -> bool;
    /// [`mi_subproc_stats_get`] as JSON, as [`mi_stats_get_json`] gives it.
    pub fn mi_subproc_stats_get_json(subproc_id: mi_subproc_id_t, buf_size: usize, buf: *mut c_char) -> *mut c_char;
    /// Prints the statistics of a subprocess with those of its heaps.
    pub fn mi_subproc_stats_print_out(subproc_id: mi_subproc_id_t, out: Option<mi_output_fun>, arg: *mut c_void);
    /// Prints the statistics of a subprocess and of each of its heaps.
    pub fn mi_subproc_heap_stats_print_out(subproc_id: mi_subproc_id_t, out: Option<mi_output_fun>, arg: *mut c_void);
    /// The statistics of a theap of the calling thread.
    pub fn mi_theap_stats_get(theap: *mut mi_theap_t, stats: *mut mi_stats_t) -> bool;
    /// Adds the theap's statistics to those of its heap and clears them.
    pub fn mi_theap_stats_merge_to_heap(theap: *mut mi_theap_t);
    /// Statistics as JSON, as [`mi_stats_get_json`] gives it.
    pub fn mi_stats_as_json(stats: *mut mi_stats_t, buf_size: usize, buf: *mut c_char) -> *mut c_char;
    /// The block size of a size class; 0 above [`MI_BIN_HUGE`].
    pub fn mi_stats_get_bin_size(bin: usize) -> usize;
}

#[cfg(engine = "v2")]
unsafe extern "C" {
    /// Adds the calling thread's statistics to those of the process.
    pub fn mi_stats_merge();
}
