//! P1 and P3: no collection does more units than its budget and the slack, whatever died, on a stack of 64 KiB.

use std::time::Duration;

use mimalloc_runtime::{Budget, Mutator, Pacing, Runtime, SLACK_UNITS, Schedule, Stop, Tally};

use crate::SCALE;
use crate::graph::{self, Built};

const BUDGETS: [Budget; 5] = [
    Budget::Units(1),
    Budget::Units(2),
    Budget::Units(64),
    Budget::Units(10_000),
    Budget::Time(Duration::from_micros(50)),
];

/// Runs `f` on a thread with as little stack as the platform gives.
pub(crate) fn on_a_small_stack(f: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(64 << 10).spawn(f).unwrap();
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Drops what `build` builds and collects it under `budget`, checking each step and the sum.
fn dies_within(budget: Budget, mutator: &Mutator, built: Built) {
    let before = mutator.metrics();
    assert_eq!(before.pending.now.objects, 0);
    drop(built.root);
    let mut freed = mutator.metrics().freed;
    freed.objects -= before.freed.objects;
    assert!(freed.objects <= 1, "the drop itself frees at most the object that was dropped");
    assert_eq!(mutator.metrics().steps.count, before.steps.count);
    let mut units = freed.objects * built.root_units;
    loop {
        let progress = mutator.collect(budget);
        if let Budget::Units(limit) = budget {
            assert!(progress.units <= limit + SLACK_UNITS, "{} units for {budget:?}", progress.units);
        }
        assert!(progress.units > 0, "a step makes progress");
        units += progress.units - progress.search_units;
        freed.objects += progress.freed.objects;
        if progress.is_done() {
            assert_eq!((progress.stop, progress.large.objects), (Stop::Done, built.large));
            break;
        }
    }
    // To set a large block aside is its unit here; its free is the unit of the call that may wait.
    assert_eq!(units, built.units);
    let rest = mutator.release_memory();
    assert_eq!(rest.large_freed, built.large);
    assert_eq!(rest.units, built.large);
    assert_eq!(freed.objects + rest.freed.objects, built.objects);
    let after = mutator.metrics();
    assert_eq!(after.live.now, Tally::default());
    assert_eq!(after.freed, after.allocated);
}

fn dies_within_every_budget(build: fn(&Mutator) -> Built) {
    on_a_small_stack(move || {
        let mutator = Runtime::new().unwrap().attach().unwrap();
        for budget in BUDGETS {
            dies_within(budget, &mutator, build(&mutator));
        }
    });
}

#[test]
fn a_chain_of_ten_million() {
    dies_within_every_budget(|mutator| graph::chain(mutator, 10_000_000 / SCALE as u64));
}

#[test]
fn a_tree_of_ten_million() {
    dies_within_every_budget(|mutator| graph::tree(mutator, 10_000_000 / SCALE));
}

#[test]
fn one_object_of_ten_million_slots() {
    dies_within_every_budget(|mutator| graph::one_wide(mutator, 10_000_000 / SCALE));
}

#[test]
fn a_comb_of_ten_thousand_teeth_with_a_thousand_slots_each() {
    dies_within_every_budget(|mutator| graph::comb(mutator, 10_000 / SCALE as u64, 1_000));
}

#[test]
fn strings_of_64_mib_among_objects_of_16_bytes() {
    dies_within_every_budget(|mutator| graph::texts(mutator, 4));
}

/// Without anyone asking: every step that allocation causes keeps to the pause cap.
#[test]
fn paced_steps_keep_to_the_pause_cap() {
    on_a_small_stack(|| {
        let pacing = Pacing::default().with_pause_cap(Budget::Units(500)).unwrap();
        let mutator = Runtime::new().unwrap().attaching().pacing(pacing).attach().unwrap();
        let built = graph::comb(&mutator, 1_000, 1_000);
        drop(built.root);
        let mut kept = Vec::new();
        while mutator.metrics().pending.now.objects > 0 {
            kept.push(graph::node(&mutator, None, None));
        }
        let metrics = mutator.metrics();
        assert!(metrics.steps.count > built.units / 508);
        assert!(metrics.steps.max_units <= 500 + SLACK_UNITS, "{}", metrics.steps.max_units);
        assert_eq!(metrics.live.now.objects, kept.len() as u64);
    });
}

/// Eager freeing has no bound, but no recursion either.
#[test]
fn eager_freeing_needs_no_stack() {
    on_a_small_stack(|| {
        let mutator = Runtime::new().unwrap().attaching().pacing(Pacing::eager()).attach().unwrap();
        assert_eq!(Pacing::eager().schedule(), Schedule::Eager);
        for build in
            [|m: &Mutator| graph::chain(m, 1_000_000 / SCALE as u64), |m: &Mutator| graph::tree(m, 1_000_000 / SCALE)]
        {
            let built = build(&mutator);
            drop(built.root);
            let metrics = mutator.metrics();
            assert_eq!((metrics.pending.now.objects, metrics.live.now.objects), (0, 0));
        }
    });
}

#[test]
fn a_budget_of_nothing_does_nothing() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    drop(graph::chain(&mutator, 100).root);
    for budget in [Budget::Units(0), Budget::Bytes(0), Budget::Time(Duration::ZERO)] {
        let progress = mutator.collect(budget);
        assert_eq!((progress.units, progress.stop), (0, Stop::Budget), "{budget:?}");
    }
}

#[test]
fn a_budget_of_bytes_frees_at_least_that_and_at_most_one_object_more() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    drop(graph::chain(&mutator, 1000).root);
    let progress = mutator.collect(Budget::Bytes(100));
    assert_eq!(progress.freed.bytes, 128, "four nodes of 32 bytes");
    let progress = mutator.collect(Budget::Bytes(u64::MAX));
    assert!(progress.is_done());
}
