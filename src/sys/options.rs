//! Options, of which there is one set for the process.
//!
//! An option is read from the environment (`MIMALLOC_PURGE_DELAY=0`) or set by these functions, in time: many are read once, at the first
//! allocation or when an arena or heap is made. An id that the engine does not know reads as 0 and sets nothing; a debug build stops at it.

#[cfg(engine = "v3")]
use core::ffi::c_void;
use core::ffi::{c_int, c_long};

#[cfg(engine = "v3")]
use super::mi_output_fun;

/// The number of an option.
pub type mi_option_t = c_int;

/// Print error messages.
pub const mi_option_show_errors: mi_option_t = 0;
/// Print statistics when the process ends.
pub const mi_option_show_stats: mi_option_t = 1;
/// Print what the engine does.
pub const mi_option_verbose: mi_option_t = 2;
/// Without effect.
#[cfg(engine = "v3")]
pub const mi_option_deprecated_eager_commit: mi_option_t = 3;
/// Make arenas usable at once: 0 no, 1 yes, 2 where the system overcommits.
pub const mi_option_arena_eager_commit: mi_option_t = 4;
/// How memory is given back: 1 decommits, 0 resets.
pub const mi_option_purge_decommits: mi_option_t = 5;
/// Use large pages of the system, of 2 or 4 MiB.
pub const mi_option_allow_large_os_pages: mi_option_t = 6;
/// Huge pages of 1 GiB to reserve at start.
pub const mi_option_reserve_huge_os_pages: mi_option_t = 7;
/// The NUMA node of the huge pages to reserve at start.
pub const mi_option_reserve_huge_os_pages_at: mi_option_t = 8;
/// KiB to reserve at start, as an arena.
pub const mi_option_reserve_os_memory: mi_option_t = 9;
/// Without effect.
pub const mi_option_deprecated_segment_cache: mi_option_t = 10;
/// Without effect.
pub const mi_option_deprecated_page_reset: mi_option_t = 11;
/// Without effect.
#[cfg(engine = "v3")]
pub const mi_option_deprecated_abandoned_page_purge: mi_option_t = 12;
/// Without effect.
pub const mi_option_deprecated_segment_reset: mi_option_t = 13;
/// Without effect.
#[cfg(engine = "v3")]
pub const mi_option_deprecated_eager_commit_delay: mi_option_t = 14;
/// Milliseconds that a free range waits before its pages are given back; 0 for none. Below 0 nothing is given back, and
/// nothing noted: a later forced purge finds nothing.
pub const mi_option_purge_delay: mi_option_t = 15;
/// Use at most so many NUMA nodes; 0 for all.
pub const mi_option_use_numa_nodes: mi_option_t = 16;
/// Allocate from reserved arenas only.
pub const mi_option_disallow_os_alloc: mi_option_t = 17;
/// The tag of mappings, on macOS.
pub const mi_option_os_tag: mi_option_t = 18;
/// Print at most so many errors.
pub const mi_option_max_errors: mi_option_t = 19;
/// Print at most so many warnings.
pub const mi_option_max_warnings: mi_option_t = 20;
/// Without effect.
#[cfg(engine = "v3")]
pub const mi_option_deprecated_max_segment_reclaim: mi_option_t = 21;
/// Give all memory back when the process ends: unsafe while anything still uses it.
pub const mi_option_destroy_on_exit: mi_option_t = 22;
/// KiB of the first arena.
pub const mi_option_arena_reserve: mi_option_t = 23;
/// Factor on `purge_delay` for arenas.
pub const mi_option_arena_purge_mult: mi_option_t = 24;
/// Without effect.
#[cfg(engine = "v3")]
pub const mi_option_deprecated_purge_extend_delay: mi_option_t = 25;
/// Allocate from no arena but by its id.
#[cfg(engine = "v3")]
pub const mi_option_disallow_arena_alloc: mi_option_t = 26;
/// Milliseconds to try again for when memory has run out, on Windows.
#[cfg(engine = "v3")]
pub const mi_option_retry_on_oom: mi_option_t = 27;
/// Without effect.
#[cfg(engine = "v3")]
pub const mi_option_deprecated_visit_abandoned: mi_option_t = 28;
/// Smallest object that may have a guard page, in bytes.
#[cfg(engine = "v3")]
pub const mi_option_guarded_min: mi_option_t = 29;
/// Largest object that may have a guard page, in bytes.
#[cfg(engine = "v3")]
pub const mi_option_guarded_max: mi_option_t = 30;
/// Place guarded objects right before the guard page, against their alignment.
#[cfg(engine = "v3")]
pub const mi_option_unsafe_guarded_precise: mi_option_t = 31;
/// How often an object is guarded: one in so many on version 2, every so many bytes on version 3; 0 for never.
#[cfg(engine = "v3")]
pub const mi_option_guarded_sample_rate: mi_option_t = 32;
/// Where guarding starts; 0 for at random.
#[cfg(engine = "v3")]
pub const mi_option_guarded_sample_seed: mi_option_t = 33;
/// Slow-path allocations between two sweeps over all pages.
#[cfg(engine = "v3")]
pub const mi_option_generic_collect: mi_option_t = 34;
/// Who may take a page over by freeing into it: -1 nobody, 0 the theap it came from, 1 any. Read when a heap is made.
#[cfg(engine = "v3")]
pub const mi_option_page_reclaim_on_free: mi_option_t = 35;
/// Full pages kept in each size class.
#[cfg(engine = "v3")]
pub const mi_option_page_full_retain: mi_option_t = 36;
/// Pages looked at for an allocation.
#[cfg(engine = "v3")]
pub const mi_option_page_max_candidates: mi_option_t = 37;
/// Bits of address that are used.
#[cfg(engine = "v3")]
pub const mi_option_max_vabits: mi_option_t = 38;
/// Make the whole page map usable, so that every wrong pointer is found.
#[cfg(engine = "v3")]
pub const mi_option_pagemap_commit: mi_option_t = 39;
/// Make pages usable bit by bit.
#[cfg(engine = "v3")]
pub const mi_option_page_commit_on_demand: mi_option_t = 40;
/// Own pages of a size class from which on a theap takes back none of its own; -1 for never.
#[cfg(engine = "v3")]
pub const mi_option_page_max_reclaim: mi_option_t = 41;
/// Own pages of a size class from which on a theap takes over none of other threads'.
#[cfg(engine = "v3")]
pub const mi_option_page_cross_thread_max_reclaim: mi_option_t = 42;
/// Allow transparent huge pages, for the process.
#[cfg(engine = "v3")]
pub const mi_option_allow_thp: mi_option_t = 43;
/// Smallest range to give back, in KiB; 0 for 64, or 2048 with transparent huge pages.
#[cfg(engine = "v3")]
pub const mi_option_arena_purge_min_size: mi_option_t = 44;
/// Largest block that goes into an arena, in KiB.
#[cfg(engine = "v3")]
pub const mi_option_arena_max_object_size: mi_option_t = 45;
/// Experimental: take arenas from the NUMA node of the thread.
#[cfg(engine = "v3")]
pub const mi_option_arena_is_numa_local: mi_option_t = 46;
/// Add a theap's statistics to its heap's at each collect.
#[cfg(engine = "v3")]
pub const mi_option_stats_merge_on_collect: mi_option_t = 47;
/// Bytes allocated between two snapshots of the heap profiler; 0 for none.
#[cfg(engine = "v3")]
pub const mi_option_profile_alloc_interval: mi_option_t = 48;
/// Growth in bytes in use between two snapshots; 0 for none.
#[cfg(engine = "v3")]
pub const mi_option_profile_inuse_interval: mi_option_t = 49;
/// Seconds between two snapshots; 0 for none.
#[cfg(engine = "v3")]
pub const mi_option_profile_time_interval: mi_option_t = 50;
/// Bytes allocated between two samples of the profiler.
#[cfg(engine = "v3")]
pub const mi_option_profile_sample_rate: mi_option_t = 51;
/// Bytes allocated or freed after which a theap's statistics are added to its heap's; 0 for never.
#[cfg(engine = "v3")]
pub const mi_option_stats_merge_threshold: mi_option_t = 52;
/// KiB from which on a free range is given back inside `free`, whatever the delay.
#[cfg(engine = "v3")]
pub const mi_option_arena_purge_immediate_size: mi_option_t = 53;
/// The number of options.
#[cfg(engine = "v3")]
pub const _mi_option_last: mi_option_t = 54;
/// Old name of [`mi_option_allow_large_os_pages`].
pub const mi_option_large_os_pages: mi_option_t = mi_option_allow_large_os_pages;
/// Old name of [`mi_option_arena_eager_commit`].
pub const mi_option_eager_region_commit: mi_option_t = mi_option_arena_eager_commit;
/// Old name of [`mi_option_purge_decommits`].
pub const mi_option_reset_decommits: mi_option_t = mi_option_purge_decommits;
/// Old name of [`mi_option_purge_delay`].
pub const mi_option_reset_delay: mi_option_t = mi_option_purge_delay;
/// Old name of [`mi_option_disallow_os_alloc`].
pub const mi_option_limit_os_alloc: mi_option_t = mi_option_disallow_os_alloc;
/// Old name of [`mi_option_arena_purge_min_size`].
#[cfg(engine = "v3")]
pub const mi_option_minimal_purge_size: mi_option_t = mi_option_arena_purge_min_size;
/// Make segments usable at once.
#[cfg(engine = "v2")]
pub const mi_option_eager_commit: mi_option_t = 3;
/// Give pages back at once when their thread ends.
#[cfg(engine = "v2")]
pub const mi_option_abandoned_page_purge: mi_option_t = 12;
/// So many first segments of a thread are not made usable at once.
#[cfg(engine = "v2")]
pub const mi_option_eager_commit_delay: mi_option_t = 14;
/// Percent of the segments of ended threads that one try may take over.
#[cfg(engine = "v2")]
pub const mi_option_max_segment_reclaim: mi_option_t = 21;
/// Milliseconds by which a further free range extends the delay.
#[cfg(engine = "v2")]
pub const mi_option_purge_extend_delay: mi_option_t = 25;
/// Let a thread that frees into a segment of an ended one take it over.
#[cfg(engine = "v2")]
pub const mi_option_abandoned_reclaim_on_free: mi_option_t = 26;
/// Allocate from no arena but by its id.
#[cfg(engine = "v2")]
pub const mi_option_disallow_arena_alloc: mi_option_t = 27;
/// Milliseconds to try again for when memory has run out, on Windows.
#[cfg(engine = "v2")]
pub const mi_option_retry_on_oom: mi_option_t = 28;
/// Allow walks over what ended threads left.
#[cfg(engine = "v2")]
pub const mi_option_visit_abandoned: mi_option_t = 29;
/// Smallest object that may have a guard page, in bytes.
#[cfg(engine = "v2")]
pub const mi_option_guarded_min: mi_option_t = 30;
/// Largest object that may have a guard page, in bytes.
#[cfg(engine = "v2")]
pub const mi_option_guarded_max: mi_option_t = 31;
/// Place guarded objects right before the guard page, against their alignment.
#[cfg(engine = "v2")]
pub const mi_option_guarded_precise: mi_option_t = 32;
/// How often an object is guarded: one in so many on version 2, every so many bytes on version 3; 0 for never.
#[cfg(engine = "v2")]
pub const mi_option_guarded_sample_rate: mi_option_t = 33;
/// Where guarding starts; 0 for at random.
#[cfg(engine = "v2")]
pub const mi_option_guarded_sample_seed: mi_option_t = 34;
/// Experimental: segments that a thread should have.
#[cfg(engine = "v2")]
pub const mi_option_target_segments_per_thread: mi_option_t = 35;
/// Slow-path allocations between two sweeps over all pages.
#[cfg(engine = "v2")]
pub const mi_option_generic_collect: mi_option_t = 36;
/// Allow transparent huge pages, for the process.
#[cfg(engine = "v2")]
pub const mi_option_allow_thp: mi_option_t = 37;
/// The number of options.
#[cfg(engine = "v2")]
pub const _mi_option_last: mi_option_t = 38;
/// Old name of [`mi_option_abandoned_page_purge`].
#[cfg(engine = "v2")]
pub const mi_option_abandoned_page_reset: mi_option_t = mi_option_abandoned_page_purge;

unsafe extern "C" {
    /// The option's value.
    pub fn mi_option_get(option: mi_option_t) -> c_long;
    /// The option's value, brought into a range.
    pub fn mi_option_get_clamp(option: mi_option_t, min: c_long, max: c_long) -> c_long;
    /// The value in bytes of an option that is in KiB.
    pub fn mi_option_get_size(option: mi_option_t) -> usize;
    /// Sets an option. Not ordered with calls on other threads.
    pub fn mi_option_set(option: mi_option_t, value: c_long);
    /// Sets an option unless the environment has, or it was read or set before.
    pub fn mi_option_set_default(option: mi_option_t, value: c_long);
    /// Whether the option's value is not 0.
    pub fn mi_option_is_enabled(option: mi_option_t) -> bool;
    /// Sets an option to 1.
    pub fn mi_option_enable(option: mi_option_t);
    /// Sets an option to 0.
    pub fn mi_option_disable(option: mi_option_t);
    /// Sets an option to 1 or 0.
    pub fn mi_option_set_enabled(option: mi_option_t, enable: bool);
    /// [`mi_option_set_default`] to 1 or 0.
    pub fn mi_option_set_enabled_default(option: mi_option_t, enable: bool);
    /// Prints all options.
    pub fn mi_options_print();
}

#[cfg(engine = "v3")]
unsafe extern "C" {
    /// [`mi_options_print`] through a function (none: the engine's output).
    pub fn mi_options_print_out(out: Option<mi_output_fun>, arg: *mut c_void);
}
