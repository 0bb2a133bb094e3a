//! Walks under settings of the engine that hold for the whole process, each in a process of its own.

#[allow(dead_code, reason = "the tests of traps need more of it")]
#[path = "traps/process.rs"]
mod process;

use mimalloc_runtime::cell::RefCell;
use mimalloc_runtime::engine::{self, ProfilerSettings, SizeClass};
use mimalloc_runtime::{Budget, ErrorKind, Mutator, Ref, Runtime, Stop, Stress, Tail, Tally, Trace, sys};

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

/// Objects whose alignment is larger than that of blocks.
#[derive(Trace)]
#[repr(align(64))]
struct Wide(Option<Ref<Node>>);

#[derive(Trace)]
#[repr(align(4096))]
struct Aligned(#[trace(skip)] u8);

/// What refers to others, also in cycles.
#[derive(Trace)]
struct Node {
    text: Bytes,
    next: RefCell<Option<Ref<Node>>>,
}

/// A heap with objects of all kinds.
#[derive(Default)]
struct World {
    tails: Vec<Bytes>,
    numbers: Vec<Ref<[u64; 30]>>,
    wide: Vec<Ref<Wide>>,
    aligned: Vec<Ref<Aligned>>,
    turn: usize,
}

impl World {
    /// Makes some objects, and drops as many of those that there are, in another order; but in `more` of 50 turns none.
    fn turn(&mut self, mutator: &Mutator, more: usize) {
        let turn = self.turn;
        self.turn += 1;
        let len = [1, 30, 300, 1_000, 1_100, 5_000, 9_000, 70_000][turn % 8] + turn % 5 * 16;
        self.tails.push(bytes(mutator, len));
        self.numbers.push(mutator.alloc([turn as u64; 30]).unwrap());
        let node = |len| Node { text: bytes(mutator, len), next: RefCell::default() };
        let [first, second] = [turn % 3_000, 10].map(|len| mutator.alloc(node(len)).unwrap());
        first.next.replace(Some(second.clone()));
        second.next.replace(Some(first.clone()));
        self.wide.push(mutator.alloc(Wide(Some(first))).unwrap());
        self.aligned.push(mutator.alloc(Aligned(1)).unwrap());
        if turn % 50 == 0 {
            let tail = self.tails.swap_remove(turn % self.tails.len());
            self.tails.push(mutator.grow_tail(tail, 3 * len, |_| 2).unwrap());
        }
        if turn % 50 >= more {
            self.tails.swap_remove(turn % self.tails.len());
            self.numbers.swap_remove(turn % self.numbers.len());
            self.wide.swap_remove(turn % self.wide.len());
            self.aligned.swap_remove(turn % self.aligned.len());
        }
    }
}

/// All that goes through the whole heap finds what lives, whatever the engine has sampled.
fn everything_is_found(mutator: &Mutator) {
    let live = mutator.metrics().live.now;
    for budget in [Budget::Unbounded, Budget::Units(1), Budget::Bytes(1_000)] {
        assert_eq!(census(mutator, budget, || {}).0, live, "{budget:?}");
    }
    let verified = mutator.verify().unwrap();
    assert!(verified.problems.is_empty(), "{:?}", verified.problems.first());
    assert_eq!(verified.objects, live.objects);
    assert_eq!(mutator.survey().leaks().unwrap().total, live);
    let mut snapshot = Vec::new();
    mutator.survey().write_heap_snapshot(&mut snapshot, &mut ()).unwrap();
    let snapshot: serde_json::Value = serde_json::from_slice(&snapshot).unwrap();
    // The root of all, what garbage cycles hang from, and what is dead.
    assert_eq!(snapshot["snapshot"]["node_count"], live.objects + 3);
}

/// How many allocations were sampled so far.
fn samples(mutator: &Mutator) -> i64 {
    // Has the engine add up what was counted on this thread.
    mutator.engine_stats().unwrap();
    #[cfg(not(feature = "v2"))]
    {
        let mut stats = sys::mi_stats_t::new();
        // SAFETY: statistics to fill.
        assert!(unsafe { sys::mi_stats_get(&raw mut stats) });
        stats.profile_samples.total
    }
    #[cfg(feature = "v2")]
    0
}

/// Blocks that the profiler samples begin with what it notes of them. Here that is as many as the engine will sample, and the profiler comes
/// and goes.
#[test]
#[cfg_attr(small_tests, ignore = "tools lose track of the blocks that the profiler samples")]
fn sampled_objects_are_walked() {
    alone(|| {
        let folder = std::env::temp_dir().join(format!("mimalloc-runtime-census-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let settings = ProfilerSettings::new(folder.join("heap.text")).sample_bytes(1);
        if V2 {
            assert_eq!(settings.start().unwrap_err().kind(), ErrorKind::Unsupported);
            return;
        }
        let mutator = Runtime::new().unwrap().attach().unwrap();
        let mut world = World::default();
        let mut sampled = 0;
        for round in 0..6 {
            // In the first round there is none.
            let profiler = (round % 3 > 0).then(|| settings.clone().start().unwrap());
            for turn in 0..3_000 {
                world.turn(&mutator, 10);
                if turn % 1_500 == 700 {
                    everything_is_found(&mutator);
                }
            }
            let before = std::mem::replace(&mut sampled, samples(&mutator));
            assert!(
                if profiler.is_some() { sampled > before + 3_000 } else { sampled < before + 1_000 },
                "{before}, {sampled}"
            );
            drop(profiler);
            mutator.collect(Budget::Unbounded);
            everything_is_found(&mutator);
        }
        // What lives throughout a census is found once in it, also when others come and go.
        let profiler = settings.clone().start().unwrap();
        let live = mutator.metrics().live.now.objects;
        let mut others = World::default();
        let (total, steps) = census(&mutator, Budget::Units(1_000), || others.turn(&mutator, 25));
        assert!(total.objects >= live && steps > 5, "{total:?} of {live} in {steps}");
        drop(others);
        mutator.collect(Budget::Unbounded);
        everything_is_found(&mutator);
        // An object that is being made is none.
        let live = mutator.metrics().live.now.objects;
        let made = mutator.alloc_tail((), 10_000, |index| {
            if index % 5_000 == 0 {
                assert_eq!(census(&mutator, Budget::Unbounded, || {}).0.objects, live);
            }
            0u8
        });
        drop(made.unwrap());
        assert!(live > 10_000, "{live}");
        world = World::default();
        mutator.collect(Budget::Unbounded);
        assert_eq!(mutator.metrics().live.now, Tally::default());
        everything_is_found(&mutator);
        // It may end with all of them as soon as nothing outside refers to any.
        world.turn(&mutator, 50);
        let node = world.wide.pop().unwrap().0.clone();
        drop(world);
        mutator.collect(Budget::Unbounded);
        let error = mutator.destroy(0).unwrap_err();
        assert_eq!(error.error.kind(), ErrorKind::InUse);
        drop(node);
        let destroyed = error.mutator.destroy(0).unwrap();
        assert_eq!(destroyed.live.objects, 4, "a cycle of two nodes, and their texts");
        drop(profiler);
        std::fs::remove_dir_all(&folder).unwrap();
    });
}

/// Under stress the counts are compared with the heap all the time; for a sample the engine takes more than is counted.
#[test]
#[cfg_attr(small_tests, ignore = "tools lose track of the blocks that the profiler samples")]
fn sampled_objects_are_as_many_as_are_counted() {
    alone(|| {
        if V2 {
            return;
        }
        let folder = std::env::temp_dir().join(format!("mimalloc-runtime-stress-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let profiler = ProfilerSettings::new(folder.join("heap.text")).sample_bytes(1).start().unwrap();
        let mutator = Runtime::new().unwrap().attaching().stress(Some(Stress::new())).attach().unwrap();
        let mut world = World::default();
        for _ in 0..5_000 {
            world.turn(&mutator, 2);
            mutator.poll(1).unwrap();
        }
        let sampled = samples(&mutator);
        assert!(sampled > 3_000, "{sampled}");
        drop(world);
        mutator.collect(Budget::Unbounded);
        mutator.safepoint();
        assert_eq!(mutator.in_use(), 0);
        drop(profiler);
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
