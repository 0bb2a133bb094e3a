//! Copies of C strings, and paths, as blocks of the calling thread's default heap.

use core::ffi::{c_char, c_int, c_uchar};

use libc::wchar_t;

use super::mi_heap_t;

unsafe extern "C" {
    /// A copy of the string; null for null.
    pub fn mi_strdup(s: *const c_char) -> *mut c_char;
    /// A copy of at most `n` bytes of the string, ended by a zero.
    pub fn mi_strndup(s: *const c_char, n: usize) -> *mut c_char;
    /// The absolute path of a file, in `resolved_name` or, when that is null, in a new block.
    pub fn mi_realpath(fname: *const c_char, resolved_name: *mut c_char) -> *mut c_char;
    /// A copy of the string in `heap`.
    pub fn mi_heap_strdup(heap: *mut mi_heap_t, s: *const c_char) -> *mut c_char;
    /// A copy of at most `n` bytes of the string in `heap`.
    pub fn mi_heap_strndup(heap: *mut mi_heap_t, s: *const c_char, n: usize) -> *mut c_char;
    /// [`mi_realpath`] with a new block in `heap`.
    pub fn mi_heap_realpath(heap: *mut mi_heap_t, fname: *const c_char, resolved_name: *mut c_char) -> *mut c_char;
    /// A copy of the wide string.
    pub fn mi_wcsdup(s: *const wchar_t) -> *mut wchar_t;
    /// A copy of the multibyte string.
    pub fn mi_mbsdup(s: *const c_uchar) -> *mut c_uchar;
    /// Stores a copy of an environment variable; 0 or an `errno`.
    pub fn mi_dupenv_s(buf: *mut *mut c_char, size: *mut usize, name: *const c_char) -> c_int;
    /// [`mi_dupenv_s`] for wide characters; Windows only, elsewhere `EINVAL`.
    pub fn mi_wdupenv_s(buf: *mut *mut wchar_t, size: *mut usize, name: *const wchar_t) -> c_int;
}
