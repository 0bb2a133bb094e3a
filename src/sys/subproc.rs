//! Subprocesses: sets of threads whose arenas and pages stay apart, for several interpreters in one process.

use core::ffi::c_void;

#[cfg(engine = "v3")]
use super::mi_heap_t;

/// A subprocess.
#[cfg(engine = "v3")]
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct mi_subproc_id_t {
    /// The engine's.
    pub _mi_subproc_id: *mut c_void,
}

/// A subprocess.
#[cfg(engine = "v2")]
pub type mi_subproc_id_t = *mut c_void;

unsafe extern "C" {
    /// The subprocess to which a thread belongs unless it joins another.
    pub fn mi_subproc_main() -> mi_subproc_id_t;
    /// A new subprocess.
    pub fn mi_subproc_new() -> mi_subproc_id_t;
    /// Lets the calling thread join a subprocess. First of all the engine's calls on this thread.
    pub fn mi_subproc_add_current_thread(subproc: mi_subproc_id_t);
}

/// Called for each heap. `false` ends the walk.
#[cfg(engine = "v3")]
pub type mi_heap_visit_fun = unsafe extern "C" fn(heap: *mut mi_heap_t, arg: *mut c_void) -> bool;

#[cfg(engine = "v3")]
unsafe extern "C" {
    /// The calling thread's subprocess.
    pub fn mi_subproc_current() -> mi_subproc_id_t;
    /// Gives a subprocess back, with all its heaps, blocks and arenas. No thread may belong to it any more.
    pub fn mi_subproc_destroy(subproc: mi_subproc_id_t);
    /// Walks the heaps of a subprocess, with a lock of the engine held: the visitor must not make or delete heaps.
    pub fn mi_subproc_visit_heaps(
        subproc: mi_subproc_id_t,
        visitor: Option<mi_heap_visit_fun>,
        arg: *mut c_void,
    ) -> bool;
}

#[cfg(engine = "v2")]
unsafe extern "C" {
    /// Gives a subprocess back. No thread may belong to it any more.
    pub fn mi_subproc_delete(subproc: mi_subproc_id_t);
}
