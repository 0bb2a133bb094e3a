//! Walks under settings of the engine that hold for the whole process, each in a process of its own.

#[allow(dead_code, reason = "the tests of traps need more of it")]
#[path = "traps/process.rs"]
mod process;

use mimalloc_runtime::engine::{self, ProfilerSettings, SizeClass};
use mimalloc_runtime::{Budget, ErrorKind, Mutator, Ref, Runtime, Stop, Tail, Tally, sys};

use process::alone;

const V2: bool = cfg!(feature = "v2");

/// The total of a census in steps of this budget, and how many steps it took. The program goes on between them.
fn census(mutator: &Mutator, budget: Budget, mut between: impl FnMut()) -> (Tally, u64) {
    let mut census = mutator.census();
    let mut steps = 1;
    while census.step(budget).unwrap() != Stop::Done {
        steps += 1;
        between();
    }
    (census.total(), steps)
}

type Bytes = Ref<Tail<(), u8>>;

fn bytes(mutator: &Mutator, len: usize) -> Bytes {
    mutator.alloc_tail((), len, |_| 1).unwrap()
}

/// Whatever its size, the engine then maps each page by itself: none is found by going through the arenas.
#[test]
fn pages_that_lie_in_no_arena_are_walked() {
    alone(|| {
        // SAFETY: an option of the engine.
        unsafe { sys::mi_option_set(sys::mi_option_disallow_arena_alloc, 1) };
        // What the process has allocated before may lie in one.
        let arenas = engine::stats().arenas;
        let mutator = Runtime::new().unwrap().attach().unwrap();
        let mut kept: Vec<Bytes> = Vec::new();
        for round in 0..if cfg!(small_tests) { 100 } else { 500 } {
            for len in [10, 100, 1_000, 10_000, 100_000 + 1_000 * (round % 7), 600_000] {
                kept.push(bytes(&mutator, len));
            }
        }
        let pages: usize = SizeClass::of(&mutator.areas().unwrap()).iter().map(|class| class.areas).sum();
        assert!(pages > 100, "{pages}");
        assert_eq!(engine::stats().arenas, arenas);
        let live = mutator.metrics().live.now;
        assert_eq!(census(&mutator, Budget::Unbounded, || {}), (live, 1));
        let (total, steps) = census(&mutator, Budget::Units(1), || {});
        assert!(total == live && steps > 100, "{total:?} in {steps}");
        // Pages come and go between the steps; what lives throughout is found once, and nothing else is alive at a step.
        let mut turn = 0;
        let mut others = Vec::new();
        let (total, _) = census(&mutator, Budget::Units(1), || {
            turn += 1;
            others.push(bytes(&mutator, 50 << (turn % 13)));
            if turn % 10 == 0 {
                others.clear();
                mutator.collect(Budget::Unbounded);
            }
        });
        assert!(total.objects >= live.objects, "{total:?} of {live:?}");
        assert!(total.objects - live.objects <= turn as u64);
        drop(others);
        kept.retain(|tail| tail.items().len() >= 10_000);
        mutator.release_memory();
        assert_eq!(census(&mutator, Budget::Units(3), || {}).0, mutator.metrics().live.now);
        drop(kept);
        mutator.release_memory();
        assert_eq!(census(&mutator, Budget::Units(1), || {}).0, Tally::default());
    });
}

/// Some blocks are too large for any arena, and lie beside those that are not.
#[test]
#[cfg_attr(small_tests, ignore = "much memory")]
fn huge_objects_are_walked() {
    alone(|| {
        let mutator = Runtime::new().unwrap().attach().unwrap();
        let mut kept: Vec<Bytes> =
            [300 << 20, 100, 40 << 20, 20 << 20, 300 << 20].map(|len| bytes(&mutator, len)).into();
        for _ in 0..3 {
            let live = mutator.metrics().live.now;
            assert_eq!(census(&mutator, Budget::Units(1), || {}).0, live);
            assert_eq!(census(&mutator, Budget::Unbounded, || {}).0, live);
            kept.swap_remove(0);
            mutator.release_memory();
        }
    });
}

/// Blocks that the profiler samples begin with what it notes of them, so that objects cannot be told apart.
#[test]
#[cfg_attr(small_tests, ignore = "tools lose track of the blocks that the profiler samples")]
fn sampled_objects_are_not_walked() {
    alone(|| {
        let folder = std::env::temp_dir().join(format!("mimalloc-runtime-census-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let started = ProfilerSettings::new(folder.join("heap.text")).sample_bytes(4096).start();
        if V2 {
            assert_eq!(started.unwrap_err().kind(), ErrorKind::Unsupported);
            return;
        }
        let mutator = Runtime::new().unwrap().attach().unwrap();
        // The engine looks whether there is a profiler only now and then.
        let kept: Vec<_> = (0..200_000u64).map(|value| mutator.alloc([value; 30]).unwrap()).collect();
        let mut census = mutator.census();
        assert_eq!(census.step(Budget::Unbounded).unwrap_err().kind(), ErrorKind::Refused);
        drop(census);
        drop((kept, started.unwrap()));
        // They are gone, and so are their pages.
        mutator.release_memory();
        let kept = mutator.alloc(1).unwrap();
        assert_eq!(mutator.census().step(Budget::Unbounded), Ok(Stop::Done));
        drop(kept);
        std::fs::remove_dir_all(&folder).unwrap();
    });
}

/// `ci/secure.sh` builds it so: another package asks for another engine than the crate knows of. All else works as it does.
#[test]
#[ignore = "needs an engine that is built otherwise than the crate is told: --features libmimalloc-sys3/secure"]
fn an_engine_that_is_built_otherwise_is_not_walked() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let kept = bytes(&mutator, 100);
    assert_eq!(mutator.census().step(Budget::Unbounded).unwrap_err().kind(), ErrorKind::EngineMismatch);
    drop(kept);
    mutator.collect(Budget::Unbounded);
    assert_eq!(mutator.in_use(), 0);
}
