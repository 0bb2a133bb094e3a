//! A mutator at its wall, and the others.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::thread;

use mimalloc_runtime::{Budget, EngineCalls, Metrics, Mutator, Pacing, Ref, Runtime, Trace, When};

use crate::process::alone;
use crate::{Block, MIB, all, attach};

#[derive(Trace)]
struct Pair(Option<Ref<Pair>>, Option<Ref<Pair>>);

/// Allocates, drops and collects, for a while; `between` is called now and then.
fn program(vm: &Mutator, mut between: impl FnMut()) -> Metrics {
    vm.on_beat(When::Every(8), |vm, _| _ = vm.collect(Budget::Units(50))).unwrap();
    let mut kept = Vec::new();
    for round in 0..if cfg!(small_tests) { 80 } else { 400 } {
        let mut tree = None;
        for index in 0..500 {
            let other = (index % 7 == 0).then(|| vm.alloc(Pair(None, None)).unwrap());
            tree = Some(vm.alloc(Pair(tree, other)).unwrap());
        }
        kept.push(tree);
        if round % 3 == 0 {
            kept.swap_remove(round % kept.len());
            drop(Block::of(vm, 300 * round));
        }
        between();
    }
    let metrics = vm.metrics();
    // How often the engine calls depends on how it finds its pages.
    Metrics { engine_calls: EngineCalls::default(), ..metrics }
}

/// Fills the wall anew whenever it is told to, and runs into it.
fn run_into_the_wall(vm: &Mutator, blocks: &mut Vec<Ref<[u64; 100]>>) {
    blocks.truncate(blocks.len() / 2);
    while let Ok(block) = vm.alloc([7; 100]) {
        blocks.push(block);
        assert!(blocks.len() * 800 < 32 * MIB);
    }
}

fn pacing() -> Pacing {
    Pacing::default().with_pause_cap(Budget::Units(500)).unwrap()
}

#[test]
fn a_full_mutator_changes_nothing_for_another_one() {
    alone(|| {
        let runtime = Runtime::new().unwrap();
        for wall in [None, Some(256 << 20)] {
            let other = || runtime.attaching().pacing(pacing()).wall(wall).unwrap().attach().unwrap();
            // On one thread, where what dies is looked up among the mutators; so the first to compare with is idle.
            let full = attach(&runtime, 32);
            let beside = program(&other(), || ());
            let mut blocks = Vec::new();
            assert_eq!(program(&other(), || run_into_the_wall(&full, &mut blocks)), beside);
            drop((blocks, full));

            // On two.
            let by_itself = program(&other(), || ());
            assert!(by_itself.steps.count > 10 && by_itself.beats > 10);
            let (ran, done) = (AtomicU32::new(0), AtomicBool::new(false));
            thread::scope(|scope| {
                scope.spawn(|| {
                    let full = attach(&runtime, 32);
                    let mut blocks = Vec::new();
                    while !done.load(SeqCst) {
                        run_into_the_wall(&full, &mut blocks);
                        ran.fetch_add(1, SeqCst);
                    }
                });
                let wait = |runs| {
                    while ran.load(SeqCst) < runs {
                        thread::yield_now()
                    }
                };
                wait(1);
                let mutator = other();
                let beside = program(&mutator, || ());
                wait(2);
                done.store(true, SeqCst);
                assert_eq!(beside, by_itself);
            });
        }
    });
}

#[test]
fn the_others_go_on_when_one_is_full() {
    alone(|| {
        let runtime = Runtime::new().unwrap();
        let [full, walled] = [attach(&runtime, 32), attach(&runtime, 32)];
        let plain = runtime.attach().unwrap();
        let mut blocks = all(|| Block::of(&full, 1_000));
        let goes_on = |vm: &Mutator| (0..8_000).map_while(|_| Block::of(vm, 1_000)).count() == 8_000;
        assert!(goes_on(&walled) && goes_on(&plain));
        thread::scope(|scope| {
            scope.spawn(|| assert!(goes_on(&runtime.attach().unwrap()) && goes_on(&attach(&runtime, 32))));
        });
        assert!(Block::of(&full, 1_000).is_none());
        // Rust's own allocations are none of its.
        assert_eq!(vec![7u8; 64 * MIB].len(), 64 * MIB);
        blocks.truncate(blocks.len() / 2);
        assert!(goes_on(&full));
    });
}

#[test]
fn a_child_has_a_wall_of_its_own_as_large_as_was_asked_for() {
    alone(|| {
        let runtime = Runtime::new().unwrap();
        let parent = attach(&runtime, 40);
        let child = parent.child().attach().unwrap();
        assert_eq!([parent.wall(), child.wall()], [Some(64 << 20); 2]);
        assert_eq!(crate::walls(), [2, 0, 0, 0]);
        assert_eq!(parent.child().wall(None).unwrap().attach().unwrap().wall(), None);
        let _full = all(|| Block::of(&parent, MIB));
        assert!(Block::of(&child, MIB).is_some());
    });
}
