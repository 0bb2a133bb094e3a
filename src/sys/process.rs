//! The process and its threads: start and end, what the engine is asked to call, and what it says of itself.

use core::ffi::{c_char, c_int, c_ulonglong, c_void};

/// The version of the headers with which this crate was built: major, two digits minor, two digits patch.
/// [`mi_version`] is that of the library.
pub const MI_MALLOC_VERSION: c_int = match c_int::from_str_radix(env!("MIMALLOC_HEADER_VERSION"), 10) {
    Ok(version) => version,
    Err(_) => panic!("build/main.rs read a number"),
};

/// Called now and then, and with `force` in need: `heartbeat` is the engine's count of such calls, on version 3 one for each
/// theap. It may come with a lock of the engine held, and on a thread that is not initialised.
pub type mi_deferred_free_fun = unsafe extern "C" fn(force: bool, heartbeat: c_ulonglong, arg: *mut c_void);

/// Called with text to print. It must not allocate from the engine.
pub type mi_output_fun = unsafe extern "C" fn(msg: *const c_char, arg: *mut c_void);

/// Called with an `errno` after an error: `EFAULT` (corruption; with the default function the process aborts in secure and
/// debug builds), `ENOMEM`, `EOVERFLOW`, `EINVAL`, `EAGAIN` (double free).
pub type mi_error_fun = unsafe extern "C" fn(err: c_int, arg: *mut c_void);

unsafe extern "C" {
    /// The version of the library, as [`MI_MALLOC_VERSION`].
    pub fn mi_version() -> c_int;
    /// Sets the process's deferred-free function, of which there is one. **It is this crate's**: whoever replaces it silences
    /// every [`Registration`](crate::Registration) and stops the counts in [`EngineCalls`](crate::EngineCalls). Function and
    /// argument are set one after the other, and a call in between sees a wrong pair.
    pub fn mi_register_deferred_free(deferred_free: Option<mi_deferred_free_fun>, arg: *mut c_void);
    /// Sets where the engine's text goes; none for standard error. What was held back so far is printed at once. It is this
    /// crate's once [`engine::on_message`](crate::engine::on_message) has been called.
    pub fn mi_register_output(out: Option<mi_output_fun>, arg: *mut c_void);
    /// Sets what is called after an error; none for the default. Not ordered with calls on other threads. This crate's as
    /// [`mi_register_output`] is.
    pub fn mi_register_error(fun: Option<mi_error_fun>, arg: *mut c_void);
    /// Calls the deferred-free function, with `force` as it is here; then frees what other threads freed, and empty pages, of
    /// the calling thread's default heap. `force` also gives memory back to the system. Not bounded.
    pub fn mi_collect(force: bool);
    /// Makes the engine ready. It does so by itself.
    pub fn mi_process_init();
    /// Ends the engine's use, as at process exit. It is called then.
    pub fn mi_process_done();
    /// Makes the engine ready on this thread. It does so by itself, at the first allocation.
    pub fn mi_thread_init();
    /// Gives up what the engine has on this thread. It does so by itself, when the thread ends.
    pub fn mi_thread_done();
    /// Says that the thread is of a pool: it takes over fewer pages of other threads when it frees into them.
    pub fn mi_thread_set_in_threadpool();
    /// Whether the engine replaces the C library's `malloc` by redirection: on Windows only.
    pub fn mi_is_redirected() -> bool;
    /// Stores times, in milliseconds, and bytes of the process, as the system counts them. Null for what is not wanted.
    pub fn mi_process_info(
        elapsed_msecs: *mut usize,
        user_msecs: *mut usize,
        system_msecs: *mut usize,
        current_rss: *mut usize,
        peak_rss: *mut usize,
        current_commit: *mut usize,
        peak_commit: *mut usize,
        page_faults: *mut usize,
    );
}

#[cfg(engine = "v3")]
unsafe extern "C" {
    /// Prints what [`mi_process_info`] stores.
    pub fn mi_process_info_print();
    /// [`mi_process_info_print`] through a function (none: the engine's output).
    pub fn mi_process_info_print_out(out: Option<mi_output_fun>, arg: *mut c_void);
}

#[cfg(engine = "v2")]
unsafe extern "C" {
    /// A forced [`mi_collect`] that then gives segments up, until the thread has about so many bytes (0: an option says). What is in use in them is left
    /// as by a thread that has ended, and may come into any heap: not on a thread that has a mutator.
    pub fn mi_collect_reduce(target_thread_owned: usize);
}
