//! Arenas: large ranges of address space from which heaps take their pages.
//!
//! An arena lasts as long as the process, and there are at most 160 of them (version 2: 132). Functions that give an `int` give
//! 0 or an `errno`. On version 2, none that reserves memory may be the engine's first call on its thread: it crashes.
//! Call [`mi_malloc`](super::mi_malloc) before.

use core::ffi::{c_double, c_int, c_void};

/// An arena, or null.
#[cfg(engine = "v3")]
pub type mi_arena_id_t = *mut c_void;
/// An arena, or 0.
#[cfg(engine = "v2")]
pub type mi_arena_id_t = c_int;

/// Makes pages of a managed range usable (`commit`) or gives them back; sets `is_zero` when they are cleared. `false` for
/// failure. Called from within the engine: it must not allocate from it.
#[cfg(engine = "v3")]
pub type mi_commit_fun_t = unsafe extern "C" fn(
    commit: bool,
    start: *mut c_void,
    size: usize,
    is_zero: *mut bool,
    user_arg: *mut c_void,
) -> bool;

unsafe extern "C" {
    /// Maps a range of `size` bytes as an arena. Sizes are rounded to 32 MiB, down on version 3 (less fails), up on version 2.
    pub fn mi_reserve_os_memory(size: usize, commit: bool, allow_large: bool) -> c_int;
    /// [`mi_reserve_os_memory`] that stores the arena's id. An `exclusive` arena serves only heaps made for it, and no
    /// alignment above 64 KiB. After a failure the id is null (0), and a heap made for that has no limit.
    pub fn mi_reserve_os_memory_ex(
        size: usize,
        commit: bool,
        allow_large: bool,
        exclusive: bool,
        arena_id: *mut mi_arena_id_t,
    ) -> c_int;
    /// Makes memory of the caller an arena. It must stay mapped, and be used by nothing else, as long as the process lasts;
    /// what is said of it (committed, pinned or of large pages, cleared) must be true.
    pub fn mi_manage_os_memory(
        start: *mut c_void,
        size: usize,
        is_committed: bool,
        is_pinned: bool,
        is_zero: bool,
        numa_node: c_int,
    ) -> bool;
    /// [`mi_manage_os_memory`] that stores the arena's id, and may be exclusive.
    pub fn mi_manage_os_memory_ex(
        start: *mut c_void,
        size: usize,
        is_committed: bool,
        is_pinned: bool,
        is_zero: bool,
        numa_node: c_int,
        exclusive: bool,
        arena_id: *mut mi_arena_id_t,
    ) -> bool;
    /// Reserves huge pages of 1 GiB, as evenly as possible from `numa_nodes` nodes (0: all). A timeout of 0 is none.
    pub fn mi_reserve_huge_os_pages_interleave(pages: usize, numa_nodes: usize, timeout_msecs: usize) -> c_int;
    /// Reserves huge pages of 1 GiB from one NUMA node (-1: any).
    pub fn mi_reserve_huge_os_pages_at(pages: usize, numa_node: c_int, timeout_msecs: usize) -> c_int;
    /// [`mi_reserve_huge_os_pages_at`] that stores the arena's id, and may be exclusive.
    pub fn mi_reserve_huge_os_pages_at_ex(
        pages: usize,
        numa_node: c_int,
        timeout_msecs: usize,
        exclusive: bool,
        arena_id: *mut mi_arena_id_t,
    ) -> c_int;
    /// Deprecated form of [`mi_reserve_huge_os_pages_interleave`].
    pub fn mi_reserve_huge_os_pages(pages: usize, max_secs: c_double, pages_reserved: *mut usize) -> c_int;
    /// Where the arena lies; stores its size.
    pub fn mi_arena_area(arena_id: mi_arena_id_t, size: *mut usize) -> *mut c_void;
    /// Prints a map of the arenas to the output function.
    pub fn mi_debug_show_arenas();
    /// [`mi_debug_show_arenas`] by another name.
    pub fn mi_arenas_print();
}

#[cfg(engine = "v3")]
unsafe extern "C" {
    /// Makes memory of the caller an arena whose pages `commit_fun` makes usable and gives back.
    pub fn mi_manage_memory(
        start: *mut c_void,
        size: usize,
        is_committed: bool,
        is_pinned: bool,
        is_zero: bool,
        numa_node: c_int,
        exclusive: bool,
        commit_fun: Option<mi_commit_fun_t>,
        commit_fun_arg: *mut c_void,
        arena_id: *mut mi_arena_id_t,
    ) -> bool;
    /// Gives what is free in all arenas back to the system now, whatever the delay. Not bounded.
    pub fn mi_arenas_purge();
    /// What an arena must be aligned to, in bytes.
    pub fn mi_arena_min_alignment() -> usize;
    /// The smallest arena, in bytes.
    pub fn mi_arena_min_size() -> usize;
    /// The largest block that goes into an arena, in bytes; larger ones are mapped by themselves.
    pub fn mi_arena_max_object_size() -> usize;
    /// Whether the pointer lies in the arena.
    pub fn mi_arena_contains(arena_id: mi_arena_id_t, p: *const c_void) -> bool;
}
