//! Random programs: what cannot be reached is freed, and nothing else.

use std::collections::HashSet;

use mimalloc_runtime::{Budget, Pacing, Ref, Runtime, SLACK_UNITS, Stress};
use proptest::prelude::*;
use proptest::sample::Index;

use super::{Knot, knot, live, tie};
use crate::SCALE;

/// What a program does to a graph.
#[derive(Clone, Debug)]
enum Op {
    Make,
    /// Ties one root to another.
    Tie(Index, Index),
    /// The same, where it may be borrowed by `Hold`.
    TieMore(Index, Index),
    /// Follows a slot of a root: what is there becomes a root.
    Follow(Index, Index),
    /// Takes what is in a slot of a root out of it: the reference moves.
    Take(Index, Index),
    /// Puts a root into a slot of another: the reference moves.
    Put(Index, Index),
    Forget(Index),
    /// Borrows a root mutably, if nobody else refers to it, and empties it.
    Empty(Index),
    /// Collects while a part of a root is borrowed to be changed, and then empties it or not.
    Hold(Index, u64, bool),
    Collect(u64),
}

fn op() -> impl Strategy<Value = Op> {
    use any as index;
    prop_oneof![
        3 => Just(Op::Make),
        3 => (index::<Index>(), index::<Index>()).prop_map(|(from, to)| Op::Tie(from, to)),
        2 => (index::<Index>(), index::<Index>()).prop_map(|(from, slot)| Op::Follow(from, slot)),
        2 => (index::<Index>(), index::<Index>()).prop_map(|(from, slot)| Op::Take(from, slot)),
        2 => (index::<Index>(), index::<Index>()).prop_map(|(from, to)| Op::Put(from, to)),
        3 => index::<Index>().prop_map(Op::Forget),
        1 => index::<Index>().prop_map(Op::Empty),
        1 => (index::<Index>(), index::<Index>()).prop_map(|(from, to)| Op::TieMore(from, to)),
        1 => (index::<Index>(), 1u64..200, any::<bool>()).prop_map(|(root, units, empty)| Op::Hold(root, units, empty)),
        4 => (1u64..40).prop_map(Op::Collect),
    ]
}

/// How many objects can be reached from the roots.
fn reachable(roots: &[Ref<Knot>]) -> u64 {
    let mut seen = HashSet::new();
    let mut todo: Vec<Ref<Knot>> = roots.to_vec();
    while let Some(knot) = todo.pop() {
        if seen.insert(Ref::as_raw(&knot)) {
            todo.extend(knot.slots.borrow().iter().flatten().cloned());
            todo.extend(knot.more.borrow().iter().cloned());
        }
    }
    seen.len() as u64
}

fn run(ops: &[Op], pacing: Pacing, stress: Option<Stress>) {
    let mutator = Runtime::new().unwrap().attaching().pacing(pacing).stress(stress).attach().unwrap();
    let mut roots: Vec<Ref<Knot>> = Vec::new();
    for op in ops {
        let count = roots.len();
        match op {
            Op::Make => roots.push(knot(&mutator)),
            Op::Collect(units) => {
                let progress = mutator.collect(Budget::Units(*units));
                assert!(progress.units <= units + SLACK_UNITS);
            }
            _ if count == 0 => {}
            Op::Tie(from, to) => tie(&roots[from.index(count)], &roots[to.index(count)]),
            Op::TieMore(from, to) => roots[from.index(count)].more.borrow_mut().push(roots[to.index(count)].clone()),
            Op::Hold(root, units, empty) => {
                let root = &roots[root.index(count)];
                let mut more = root.more.borrow_mut();
                // Larger ones get through a whole search at once.
                let progress = mutator.collect(Budget::Units(*units));
                assert!(progress.units <= units + SLACK_UNITS);
                if *empty {
                    more.clear();
                }
            }
            Op::Follow(from, slot) => {
                let from = &roots[from.index(count)];
                let slots = from.slots.borrow();
                let found = (!slots.is_empty()).then(|| slots[slot.index(slots.len())].clone()).flatten();
                drop(slots);
                roots.extend(found);
            }
            Op::Take(from, slot) => {
                let mut slots = roots[from.index(count)].slots.borrow_mut();
                let found = (!slots.is_empty()).then(|| slot.index(slots.len())).and_then(|slot| slots[slot].take());
                drop(slots);
                roots.extend(found);
            }
            Op::Put(from, to) => {
                let moved = roots.swap_remove(from.index(count));
                if let Some(to) = (count > 1).then(|| to.index(count - 1)) {
                    roots[to].slots.borrow_mut().push(Some(moved));
                }
            }
            Op::Forget(index) => drop(roots.swap_remove(index.index(count))),
            Op::Empty(index) => {
                if let Some(knot) = Ref::get_mut(&mut roots[index.index(count)]) {
                    mutator.collect(Budget::Units(5));
                    knot.slots.get_mut().clear();
                }
            }
        }
    }
    // Whatever a trial has found in use by mistake is tried again.
    mutator.collect(Budget::Unbounded);
    assert_eq!(live(&mutator), reachable(&roots));
    drop(roots);
    mutator.collect(Budget::Unbounded);
    let metrics = mutator.metrics();
    assert_eq!((metrics.live.now.objects, metrics.pending.now.objects, metrics.in_use_bytes), (0, 0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000 / SCALE as u32, ..ProptestConfig::default() })]

    #[test]
    fn exactly_what_cannot_be_reached_is_freed(ops in proptest::collection::vec(op(), 1..200)) {
        run(&ops, Pacing::default(), None);
        run(&ops, Pacing::stress(), None);
        // Lists have hardly any room.
        run(&ops, Pacing::default(), Some(Stress::new()));
    }
}
