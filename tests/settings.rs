//! Process-wide settings of the engine, in a process of their own.

use mimalloc_runtime::sys::{mi_option_purge_delay, mi_option_set};
use mimalloc_runtime::{ErrorKind, Latency, Runtime};

#[test]
fn a_setting_that_was_changed_behind_a_runtimes_back_is_a_conflict_for_the_next() {
    let first = Runtime::new().unwrap();
    Runtime::new().unwrap();
    // SAFETY: an option of this engine; no other thread sets options here.
    unsafe { mi_option_set(mi_option_purge_delay, 10) };
    let error = Runtime::new().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SettingConflict);
    let text = error.to_string();
    assert!(text.contains("purge_delay") && text.contains("Latency::Engine"), "{text}");
    // What the error advises works, and the first runtime goes on.
    Runtime::builder().latency(Latency::Engine).build().unwrap().attach().unwrap();
    first.attach().unwrap();
}
