//! Options of the engine: what may be set when. A process of its own, and one test: they are the process's.

use std::time::Duration;

use mimalloc_runtime::engine::{ArenaCommit, EngineOptions, Purge, ReclaimOnFree};
use mimalloc_runtime::{ErrorKind, Latency, Runtime, sys};

fn option(id: sys::mi_option_t) -> i64 {
    // SAFETY: an option of this engine.
    unsafe { sys::mi_option_get(id) as i64 }
}

#[test]
fn options_are_set_when_a_runtime_is_built() {
    // Ranges are looked at first.
    for allocations in [0, 1_000_001] {
        assert_eq!(EngineOptions::new().sweep_every(allocations).unwrap_err().kind(), ErrorKind::InvalidSetting);
    }
    let options = EngineOptions::new()
        .purge(Purge::After(Duration::from_millis(1234)))
        .purge_decommits(false)
        .sweep_every(777)
        .unwrap()
        .arena_bytes(256 << 20)
        .arena_commit(ArenaCommit::AsNeeded)
        .show_errors(true);
    // The last of two counts.
    let options = options.purge(Purge::AtOnce).purge(Purge::After(Duration::from_millis(99)));
    Runtime::builder().engine(options.clone()).build().unwrap();
    assert_eq!(option(sys::mi_option_purge_delay), 99, "it goes before the preset");
    assert_eq!(option(sys::mi_option_purge_decommits), 0);
    assert_eq!(option(sys::mi_option_generic_collect), 777);
    // SAFETY: an option of this engine, in KiB.
    assert_eq!(unsafe { sys::mi_option_get_size(sys::mi_option_arena_reserve) }, 256 << 20);
    assert_eq!(option(sys::mi_option_arena_eager_commit), 0);
    assert_eq!(option(sys::mi_option_show_errors), 1);

    // The same again is fine; something else is a conflict, and then nothing of it is set; so is the plain preset.
    Runtime::builder().engine(options).build().unwrap();
    let other = EngineOptions::new().verbose(true).purge(Purge::AtOnce);
    let error = Runtime::builder().engine(other).latency(Latency::Engine).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SettingConflict);
    assert!(error.to_string().contains("purge_delay"), "{error}");
    assert_eq!((option(sys::mi_option_verbose), option(sys::mi_option_purge_delay)), (0, 99));
    assert_eq!(Runtime::new().unwrap_err().kind(), ErrorKind::SettingConflict);
    let leaves_them = Runtime::builder().latency(Latency::Engine).build().unwrap();

    // What a heap is made with cannot be set once there is one.
    let late = EngineOptions::new().reclaim_on_free(ReclaimOnFree::Never);
    if cfg!(feature = "v2") {
        assert_eq!(late.unwrap_err().kind(), ErrorKind::Unsupported);
        let unsupported = [
            EngineOptions::new().purge_size(1),
            EngineOptions::new().page_candidates(1),
            EngineOptions::new().largest_in_arena(1),
            EngineOptions::new().full_pages(1),
        ];
        for result in unsupported {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("without the feature `v2`"), "{error}");
        }
        return;
    }
    assert_eq!(EngineOptions::new().full_pages(33).unwrap_err().kind(), ErrorKind::InvalidSetting);
    let early = EngineOptions::new().full_pages(3).unwrap();
    Runtime::builder().engine(early.clone()).latency(Latency::Engine).build().unwrap();
    drop(leaves_them.attach().unwrap());
    let error = Runtime::builder().engine(late.unwrap()).latency(Latency::Engine).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SettingConflict);
    assert!(error.to_string().contains("before the first mutator"), "{error}");
    Runtime::builder().engine(early).latency(Latency::Engine).build().unwrap();
}
