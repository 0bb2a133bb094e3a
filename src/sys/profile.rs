//! The engine's sampling profiler, experimental in version 3.6.
//!
//! Its callbacks may come on several threads at once, and from within an allocation or a free: from a heap that is profiled
//! they must not allocate.

use core::ffi::{c_char, c_void};

use super::{mi_heap_t, mi_subproc_id_t};

/// The largest [`mi_profiler_t::sample_data_size`], in bytes.
pub const MI_PROFILE_SAMPLE_DATA_MAX_SIZE: usize = 1024;

/// What a profiler keeps with each sampled allocation.
#[repr(C)]
#[derive(Debug)]
pub struct mi_profiler_sample_data_t {
    /// Bytes of `user_data`.
    pub user_data_size: usize,
    /// The profiler's: so many bytes, not the one word that the type says.
    pub user_data: [*mut c_void; 1],
}

/// A sampled allocation. Gives the bytes until the next sample; 0 leaves the rate as it is.
pub type mi_profiler_on_alloc_fun = unsafe extern "C" fn(
    profiler: *mut mi_profiler_t,
    profiler_data: *mut mi_profiler_sample_data_t,
    ptr: *mut c_void,
    requested_size: usize,
    bytes_sample_rate: usize,
    bytes_since_last_sample: u64,
    heap: *mut mi_heap_t,
) -> usize;

/// A sampled block that was resized in place. Not called yet.
pub type mi_profiler_on_realloc_inplace_fun = unsafe extern "C" fn(
    profiler: *mut mi_profiler_t,
    profiler_data: *mut mi_profiler_sample_data_t,
    ptr: *mut c_void,
    old_size: usize,
    heap: *mut mi_heap_t,
) -> usize;

/// A sampled block that is freed.
pub type mi_profiler_on_free_fun = unsafe extern "C" fn(
    profiler: *mut mi_profiler_t,
    profiler_data: *mut mi_profiler_sample_data_t,
    ptr: *mut c_void,
    heap: *mut mi_heap_t,
);

/// A snapshot was asked for.
pub type mi_profiler_on_snapshot_fun = unsafe extern "C" fn(profiler: *mut mi_profiler_t);

/// A profiler. Its fields do not change once it is attached; more may follow them. Null or 0 for what is not wanted.
#[repr(C)]
#[derive(Debug)]
pub struct mi_profiler_t {
    /// The engine's: null.
    pub reserved: *mut c_void,
    /// Bytes that the profiler keeps with each sampled allocation.
    pub sample_data_size: usize,
    /// Bytes allocated between two samples, at least 1.
    pub initial_sample_rate: usize,
    /// Called on a sampled allocation.
    pub on_alloc: Option<mi_profiler_on_alloc_fun>,
    /// Called when a sampled block is freed. Without it, nothing is kept with a sample.
    pub on_free: Option<mi_profiler_on_free_fun>,
    /// Not called yet.
    pub on_realloc_inplace: Option<mi_profiler_on_realloc_inplace_fun>,
    /// Called by [`mi_profiler_snapshot`], on one thread at a time.
    pub on_snapshot: Option<mi_profiler_on_snapshot_fun>,
}

unsafe extern "C" {
    /// Attaches a profiler, stopped, to one heap, or detaches it with null.
    pub fn mi_heap_profile(heap: *mut mi_heap_t, profiler: *mut mi_profiler_t) -> bool;
    /// Keeps a heap from being profiled: for one from which a profiler allocates.
    pub fn mi_heap_profile_disable(heap: *mut mi_heap_t);
    /// Attaches a profiler to all heaps of a subprocess, present and future.
    pub fn mi_subproc_profile(subproc_id: mi_subproc_id_t, profiler: *mut mi_profiler_t) -> bool;
    /// [`mi_subproc_profile`] for the main subprocess.
    pub fn mi_profile(profiler: *mut mi_profiler_t) -> bool;
    /// Starts sampling.
    pub fn mi_profiler_start(profiler: *mut mi_profiler_t) -> bool;
    /// Ends sampling.
    pub fn mi_profiler_stop(profiler: *mut mi_profiler_t) -> bool;
    /// Calls the profiler's `on_snapshot`, unless another thread is at it.
    pub fn mi_profiler_snapshot(profiler: *mut mi_profiler_t);
    /// The engine's own profiler, which writes files for `pprof`: as text if the name ends in `.heap` or `.text`. Intervals, each 0
    /// for none, are in bytes allocated, bytes of growth, and seconds.
    pub fn mi_pprof_profiler_new(
        initial_threshold: usize,
        base_file_name: *const c_char,
        alloc_interval_size: usize,
        inuse_interval_size: usize,
        time_interval_secs: usize,
    ) -> *mut mi_profiler_t;
    /// Gives back a profiler of [`mi_pprof_profiler_new`] that is detached.
    pub fn mi_pprof_profiler_delete(profiler: *mut mi_profiler_t);
}
