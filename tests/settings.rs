//! Process-wide settings of the engine, in a process of their own.

use mimalloc_runtime::{ErrorKind, Latency, Runtime};

unsafe extern "C" {
    fn mi_option_set(option: core::ffi::c_int, value: core::ffi::c_long);
}

/// `mi_option_purge_delay` in both versions of the engine.
const PURGE_DELAY: core::ffi::c_int = 15;

#[test]
fn a_setting_that_was_changed_behind_a_runtimes_back_is_a_conflict_for_the_next() {
    let first = Runtime::new().unwrap();
    Runtime::new().unwrap();
    // SAFETY: an option of this engine; no other thread sets options here.
    unsafe { mi_option_set(PURGE_DELAY, 10) };
    let error = Runtime::new().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SettingConflict);
    let text = error.to_string();
    assert!(text.contains("purge_delay") && text.contains("Latency::Engine"), "{text}");
    // What the error advises works, and the first runtime goes on.
    Runtime::builder().latency(Latency::Engine).build().unwrap().attach().unwrap();
    first.attach().unwrap();
}
