//! The engine's process-wide side. A process of its own, and one test at a time: what is tested is the process's.

use std::alloc::Layout;
use std::cell::RefCell;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use mimalloc_runtime::engine::{
    self, HugePages, Message, MessageHandler, MessageKind, ProfilerSettings, Reserve, SizeClass,
};
use mimalloc_runtime::{ErrorKind, HookCall, Mutator, Ref, Runtime, When, register_deferred_free, sys};

const V2: bool = cfg!(feature = "v2");

#[path = "everything/mod.rs"]
mod everything;

use everything::{ALL, Did, do_everything};

fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn mutator() -> Mutator {
    Runtime::new().unwrap().attach().unwrap()
}

#[test]
fn the_version_is_that_of_the_engine_in_use() {
    let version = engine::version();
    assert_eq!(version.major, if V2 { 2 } else { 3 });
    let number = version.major * 10_000 + version.minor * 100 + version.patch;
    // SAFETY: takes nothing.
    assert_eq!(unsafe { sys::mi_version() }, number as i32);
    assert!(version.to_string().starts_with(&format!("{}.{}.", version.major, version.minor)));
}

// ---- areas ----

#[test]
fn areas_tell_of_every_block_by_its_size() {
    let _alone = alone();
    let mutator = mutator();
    let small: Vec<Ref<[u64; 3]>> = (0..10_000).map(|value| mutator.alloc([value; 3]).unwrap()).collect();
    let large: Vec<Ref<[u64; 63]>> = (0..1_000).map(|value| mutator.alloc([value; 63]).unwrap()).collect();
    let areas = mutator.areas().unwrap();
    let count =
        |bytes: usize| -> usize { areas.iter().filter(|area| area.block_bytes == bytes).map(|area| area.used).sum() };
    // Builds that watch for errors, and those for tools that do, have larger blocks.
    let watched = cfg!(any(feature = "debug", feature = "secure", small_tests));
    if !watched {
        assert_eq!((count(32), count(512)), (10_000, 1_000));
    }
    let used: usize = areas.iter().map(|area| area.used).sum();
    assert_eq!(used, 11_000);
    for area in &areas {
        assert!(area.used <= area.capacity && area.capacity <= area.reserved, "{area:?}");
        assert!(area.address > 0 && area.stride >= area.block_bytes, "{area:?}");
    }
    let classes = SizeClass::of(&areas);
    assert!(classes.is_sorted_by(|a, b| a.block_bytes < b.block_bytes));
    assert_eq!(classes.iter().map(|class| class.used).sum::<usize>(), 11_000);
    assert_eq!(classes.iter().map(|class| class.areas).sum::<usize>(), areas.len());
    drop((small, large));
    let used: usize = mutator.areas().unwrap().iter().map(|area| area.used).sum();
    assert_eq!(used, 0, "blocks that are kept at hand are in use by nobody");
}

#[test]
fn a_heap_is_not_walked_while_another_thread_may_free_into_it() {
    let _alone = alone();
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attach().unwrap();
    let layout = Layout::from_size_align(100, 8).unwrap();
    let (freed, left) = (mutator.allocate(layout).unwrap(), mutator.allocate(layout).unwrap());
    let remote = mutator.remote_free();
    assert_eq!(mutator.areas().unwrap_err().kind(), ErrorKind::NotAlone);
    // SAFETY: of this mutator, with this layout.
    unsafe { remote.free(freed, layout) };
    let kept = remote.clone();
    drop(remote);
    assert_eq!(mutator.areas().unwrap_err().kind(), ErrorKind::NotAlone);
    drop(mutator);
    // The next mutator of the heap inherits a block that somebody may free at any time.
    let next = runtime.attach().unwrap();
    if !V2 {
        assert_eq!(next.areas().unwrap_err().kind(), ErrorKind::NotAlone);
    }
    // SAFETY: as above; the heap is whole as long as a block of it is.
    unsafe { kept.free(left, layout) };
    // There is nothing left to free with it.
    assert!(next.areas().is_ok());
    drop((kept, next.remote_free()));
    assert!(next.areas().is_ok());
}

// ---- statistics ----

#[test]
fn the_engine_counts_too() {
    let _alone = alone();
    let mutator = mutator();
    let kept: Vec<Ref<[u64; 127]>> = (0..10_000).map(|value| mutator.alloc([value; 127]).unwrap()).collect();
    let process = engine::stats();
    assert!(process.reserved_bytes.current >= 10_000 * 1024, "{process:?}");
    assert!(process.committed_bytes.peak >= process.committed_bytes.current);
    assert!(process.mmap_calls > 0);
    match mutator.engine_stats() {
        Ok(stats) => {
            let areas = mutator.areas().unwrap();
            assert_eq!(stats.pages.current, areas.len() as i64, "up to date, without a collect");
        }
        Err(error) => assert!(V2 && error.kind() == ErrorKind::Unsupported, "{error}"),
    }
    drop(kept);
}

/// Pages and blocks in use by class, as a walk finds them.
fn walked(mutator: &Mutator) -> Vec<(Option<usize>, i64, i64)> {
    // What is larger than the largest class with a size.
    let largest = if V2 { 64 << 10 } else { 512 << 10 };
    let mut classes: Vec<(Option<usize>, i64, i64)> = Vec::new();
    for area in mutator.areas().unwrap() {
        let stride = Some(area.stride).filter(|stride| *stride <= largest);
        let at = classes.iter().position(|class| class.0 == stride).unwrap_or_else(|| {
            classes.push((stride, 0, 0));
            classes.len() - 1
        });
        classes[at].1 += 1;
        classes[at].2 += area.used as i64;
    }
    classes
}

/// The engine's statistics, when threads of other tests have ended that were ending still.
fn settled() -> engine::EngineStats {
    loop {
        let pages = |stats: &engine::EngineStats| stats.classes().map(|class| class.pages.current).collect::<Vec<_>>();
        let before = engine::stats();
        std::thread::sleep(Duration::from_millis(100));
        let after = engine::stats();
        if pages(&before) == pages(&after) {
            return after;
        }
    }
}

#[test]
fn the_engine_counts_pages_and_blocks_of_each_class() {
    let _alone = alone();
    let mutator = mutator();
    // What the thread has of version 2 reaches the sums at a forced collect.
    mutator.release_memory();
    let before = settled();
    let mut kept: Vec<Ref<[u64; 127]>> = (0..10_000).map(|value| mutator.alloc([value; 127]).unwrap()).collect();
    let sizes = (0..300).map(|size| size * 20).chain([100 << 10, 300 << 10, 600 << 10, 40 << 20]);
    let blocks: Vec<_> = sizes.map(|size| Layout::from_size_align(size, 8).unwrap()).collect();
    let blocks: Vec<_> = blocks.into_iter().map(|layout| (mutator.allocate(layout).unwrap(), layout)).collect();
    let pages = |stats: &engine::EngineStats, stride| {
        stats.classes().find(|class| class.stride == stride).map_or(0, |class| class.pages.current)
    };
    if let Ok(stats) = mutator.engine_stats() {
        for (stride, areas, _) in walked(&mutator) {
            assert_eq!(pages(&stats, stride), areas, "pages of {stride:?} bytes, without a collect");
        }
        assert!(stats.classes().is_sorted_by_key(|class| class.stride.unwrap_or(usize::MAX)));
    }
    kept.truncate(2_000);
    mutator.release_memory();
    let walk = walked(&mutator);
    assert!(walk.len() > 20 && walk.iter().any(|class| class.0.is_none()), "{walk:?}");
    let after = engine::stats();
    for (stride, areas, used) in walk {
        // Threads of other tests may still be ending, with a page of something small; and where the engine serves the whole
        // program, that frees pages too.
        if stride.is_none_or(|stride| stride >= 512) && !cfg!(feature = "override") {
            let more = pages(&after, stride) - pages(&before, stride);
            assert!(more >= areas, "{areas} pages of {stride:?} bytes, and {more} more in the process");
        }
        if let Ok(stats) = mutator.engine_stats() {
            let class = stats.classes().find(|class| class.stride == stride).unwrap();
            assert_eq!((class.pages.current, class.blocks.unwrap().current), (areas, used), "{stride:?} bytes");
        }
    }
    assert_eq!(after.classes().all(|class| class.blocks.is_none()), V2);
    for (block, layout) in blocks {
        // SAFETY: of this mutator, with this layout, and not used again.
        unsafe { mutator.deallocate(block, layout) };
    }
}

// ---- memory ahead ----

#[test]
fn growth_into_reserved_memory_asks_the_system_for_nothing() {
    let _alone = alone();
    assert!(Reserve::bytes(200_000_000).reserve().unwrap() >= 200_000_000);
    let mutator = mutator();
    let warm = mutator.alloc([0u64; 127]).unwrap();
    let before = engine::stats().mmap_calls;
    let kept: Vec<Ref<[u64; 127]>> = (0..100_000).map(|value| mutator.alloc([value; 127]).unwrap()).collect();
    assert_eq!(engine::stats().mmap_calls, before, "100 MiB of objects, and no call");
    drop((kept, warm));
}

#[test]
fn what_cannot_be_reserved_is_refused_with_a_reason() {
    let _alone = alone();
    for bytes in [0, usize::MAX, isize::MAX as usize + 1] {
        assert_eq!(Reserve::bytes(bytes).reserve().unwrap_err().kind(), ErrorKind::InvalidSetting, "{bytes}");
    }
    let error = Reserve::bytes(1 << 62).reserve().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("could not be reserved"), "{error}");
    assert_eq!(HugePages::new(0).reserve().unwrap_err().kind(), ErrorKind::InvalidSetting);
    // More than any machine has, and a node that none has.
    let pages = HugePages::new(1 << 30).timeout(Duration::from_millis(1));
    assert_eq!(pages.reserve().unwrap_err().kind(), ErrorKind::Refused);
    assert_eq!(pages.node(u32::MAX).reserve().unwrap_err().kind(), ErrorKind::Refused);
}

#[test]
fn purging_gives_memory_back() {
    let _alone = alone();
    let mutator = mutator();
    let layout = Layout::from_size_align(50 << 20, 16).unwrap();
    let block = mutator.allocate(layout).unwrap();
    // SAFETY: of this size.
    unsafe { block.write_bytes(1, layout.size()) };
    // SAFETY: of this mutator, with this layout.
    unsafe { mutator.deallocate(block, layout) };
    let given_back = || {
        let stats = engine::stats();
        stats.purged_bytes + stats.reset_bytes
    };
    let before = given_back();
    engine::purge();
    assert!(given_back() >= before + (40 << 20), "{before} and then {}", given_back());
}

// ---- messages ----

fn listen() -> (Arc<Mutex<Vec<Message>>>, MessageHandler) {
    let heard = Arc::<Mutex<Vec<Message>>>::default();
    let hears = Arc::clone(&heard);
    (heard, engine::on_message(move |message| hears.lock().unwrap().push(message.clone())).unwrap())
}

#[test]
fn what_the_engine_prints_reaches_handlers_at_a_safepoint() {
    let _alone = alone();
    let (heard, handler) = listen();
    let mutator = mutator();
    mutator.safepoint();
    heard.lock().unwrap().clear();
    // SAFETY: null, as it must be.
    unsafe { sys::mi_stats_print(ptr::null_mut::<c_void>()) };
    assert!(heard.lock().unwrap().is_empty(), "nothing runs inside the engine");
    mutator.safepoint();
    let lines = std::mem::take(&mut *heard.lock().unwrap());
    assert!(lines.len() > 5, "{lines:?}");
    assert!(lines.iter().all(|line| line.kind == MessageKind::Text && !line.text.contains('\n')));

    // From another thread, and without a safepoint.
    // SAFETY: as above.
    std::thread::spawn(|| unsafe { sys::mi_stats_print(ptr::null_mut::<c_void>()) }).join().unwrap();
    engine::deliver_messages();
    assert!(heard.lock().unwrap().len() > 5);
    heard.lock().unwrap().clear();

    // More than there is room for: the rest is lost, and said to be.
    for _ in 0..100 {
        // SAFETY: as above.
        unsafe { sys::mi_stats_print(ptr::null_mut::<c_void>()) };
    }
    mutator.safepoint();
    let last = heard.lock().unwrap().last().cloned().unwrap();
    assert_eq!(last.kind, MessageKind::Warning);
    assert!(last.text.contains("lost"), "{last}");
    heard.lock().unwrap().clear();

    // A handler that is gone is not called.
    drop(handler);
    // SAFETY: as above.
    unsafe { sys::mi_stats_print(ptr::null_mut::<c_void>()) };
    mutator.safepoint();
    assert!(heard.lock().unwrap().is_empty());
}

#[test]
fn a_handler_that_panics_keeps_nobody_from_being_told() {
    let _alone = alone();
    let panics = engine::on_message(|_| panic!("a handler's panic")).unwrap();
    let (heard, _handler) = listen();
    let mutator = mutator();
    // SAFETY: null, as it must be.
    unsafe { sys::mi_stats_print(ptr::null_mut::<c_void>()) };
    let result = catch_unwind(AssertUnwindSafe(|| mutator.safepoint()));
    assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), "a handler's panic");
    assert!(heard.lock().unwrap().len() > 5);
    mutator.safepoint();
    drop(panics);
}

/// What a handler removes while messages are told is dropped when they have been: each by itself, whatever panics.
#[test]
fn handlers_that_are_removed_meanwhile_may_panic_in_their_drops() {
    struct Bomb(Arc<Mutex<u32>>);
    impl Drop for Bomb {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
            panic!("a capture's panic");
        }
    }
    let _alone = alone();
    let dropped = Arc::<Mutex<u32>>::default();
    let registered = Arc::<Mutex<Vec<MessageHandler>>>::default();
    let handlers = [false, true, true].map(|bombed| {
        let (bomb, removes) = (bombed.then(|| Bomb(Arc::clone(&dropped))), Arc::clone(&registered));
        engine::on_message(move |_| {
            let _bomb = &bomb;
            let handlers = std::mem::take(&mut *removes.lock().unwrap());
            drop(handlers);
        })
        .unwrap()
    });
    registered.lock().unwrap().extend(handlers);
    // SAFETY: a size that no engine has.
    assert!(unsafe { sys::mi_malloc(usize::MAX / 2) }.is_null());
    let result = catch_unwind(engine::deliver_messages);
    assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), "a capture's panic");
    assert_eq!(*dropped.lock().unwrap(), 2);
}

/// One panic comes out of a safepoint. Those of others wait for the next one, and so for the next poll.
#[test]
fn of_panics_that_come_together_none_is_lost() {
    let _alone = alone();
    for polls in [false, true] {
        let mutator = Runtime::new().unwrap().attaching().beat_bytes(1024).unwrap().attach().unwrap();
        let _message = engine::on_message(|_| panic!("of a message")).unwrap();
        let forced = |call| assert!(call != HookCall::ForcedElsewhere, "of a forced call");
        let _forced = register_deferred_free(forced).unwrap();
        mutator.on_beat(When::Every(1), |_, _| panic!("of a beat")).unwrap();
        let mut told = Vec::new();
        for _ in 0..2 {
            // SAFETY: may be called by anyone at any time.
            unsafe { sys::mi_collect(true) };
            // SAFETY: a size that no engine has.
            assert!(unsafe { sys::mi_malloc(usize::MAX / 2) }.is_null());
            mutator.charge(1024);
            for _ in 0..4 {
                let tells = || if polls { mutator.poll(1).unwrap() } else { mutator.safepoint() };
                if let Err(payload) = catch_unwind(AssertUnwindSafe(tells)) {
                    told.push(*payload.downcast::<&str>().unwrap());
                }
            }
        }
        let all = ["of a beat", "of a forced call", "of a message"];
        assert_eq!(told, [all, all].concat(), "polls: {polls}");
    }
}

thread_local! {
    /// Two mutators, for a handler that must be `Send`.
    static MUTATORS: RefCell<Option<(Rc<Mutator>, Mutator)>> = const { RefCell::new(None) };
}

/// The row of the table "What a handler may do" in the crate's documentation.
#[test]
fn a_handler_may_do_everything() {
    let _alone = alone();
    let done = Arc::<Mutex<Vec<Did>>>::default();
    let does = Arc::clone(&done);
    let _handler = engine::on_message(move |_| {
        if let Some((own, another)) = MUTATORS.take() {
            does.lock().unwrap().push(do_everything(&own, another));
            // Of a safepoint it is not the last share, as that borrows it.
            drop(own);
        }
    })
    .unwrap();
    let own = Rc::new(mutator());
    own.safepoint();
    let say_something = || {
        // SAFETY: null, as it must be.
        unsafe { sys::mi_stats_print(ptr::null_mut::<c_void>()) }
    };
    MUTATORS.set(Some((Rc::clone(&own), mutator())));
    say_something();
    own.safepoint();
    // Outside of a safepoint nobody has the mutator borrowed, and the handler may take it away.
    let gone = Rc::downgrade(&own);
    MUTATORS.set(Some((own, mutator())));
    say_something();
    engine::deliver_messages();
    assert_eq!(*done.lock().unwrap(), [ALL, ALL]);
    assert!(gone.upgrade().is_none());
}

#[test]
fn errors_are_told_as_errors() {
    let _alone = alone();
    let (heard, _handler) = listen();
    // SAFETY: a size that no engine has.
    assert!(unsafe { sys::mi_malloc(usize::MAX / 2) }.is_null());
    engine::deliver_messages();
    let heard = heard.lock().unwrap();
    assert!(heard.iter().any(|message| message.kind == MessageKind::Error), "{heard:?}");
}

// ---- the profiler ----

#[test]
#[cfg_attr(small_tests, ignore = "tools lose track of the blocks that the profiler samples")]
fn the_profiler_writes_a_snapshot() {
    let _alone = alone();
    let folder = std::env::temp_dir().join(format!("mimalloc-runtime-profile-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let settings = ProfilerSettings::new(folder.join("heap.text")).sample_bytes(4096);
    let bad = ProfilerSettings::new("with\0zero").start();
    let started = settings.clone().start();
    if V2 {
        assert_eq!(bad.unwrap_err().kind(), ErrorKind::InvalidSetting);
        assert_eq!(started.unwrap_err().kind(), ErrorKind::Unsupported);
        return;
    }
    assert_eq!(bad.unwrap_err().kind(), ErrorKind::InvalidSetting);
    let profiler = started.unwrap();
    let mutator = mutator();
    let kept: Vec<Ref<[u64; 127]>> = (0..10_000).map(|value| mutator.alloc([value; 127]).unwrap()).collect();
    profiler.snapshot();
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(!files.is_empty());
    let text = std::fs::read_to_string(&files[0]).unwrap();
    assert!(text.contains("heap profile"), "{text}");
    drop(profiler);
    // One for the process: with the same settings it goes on, with others not.
    let other = ProfilerSettings::new(folder.join("other")).start();
    assert_eq!(other.unwrap_err().kind(), ErrorKind::SettingConflict);
    drop(settings.start().unwrap());
    // What was sampled may be freed after the end.
    drop(kept);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_node_of_a_heap_is_taken_where_there_are_such() {
    let _alone = alone();
    let runtime = Runtime::new().unwrap();
    match runtime.attaching().numa_node(0) {
        Ok(attaching) => {
            let mutator = attaching.attach().unwrap();
            assert_eq!(*mutator.alloc(1).unwrap(), 1);
        }
        Err(error) => assert!(V2 && error.kind() == ErrorKind::Unsupported, "{error}"),
    }
}
