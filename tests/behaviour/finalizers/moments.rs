//! When finalizers run: how often, where, in which order, and how many at once.

use mimalloc_runtime::{Budget, Finalize, Mutator, Pacing, Runtime, Trace, When};

use super::{attach, live, node, plain, ring, said, say, settle};

#[test]
fn each_runs_once() {
    for pacing in [Pacing::default(), Pacing::stress(), Pacing::eager()] {
        let mutator = Runtime::new().unwrap().attaching().pacing(pacing).attach().unwrap();
        let one = node(&mutator, 1);
        one.next.set(Some(node(&mutator, 2)));
        // What is dead is known when it is reached: the other one by the step after the first finalizer.
        drop((one, ring(&mutator, 3..6), plain(&mutator, 7)));
        settle(&mutator);
        let mut numbers = said();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2, 3, 4, 5]);
        assert_eq!((live(&mutator), mutator.metrics().in_use_bytes), (0, 0));
        let finalizers = mutator.metrics().finalizers;
        assert_eq!((finalizers.registered, finalizers.due, finalizers.run), (0, 0, 5));
    }
}

#[test]
fn only_at_safepoints() {
    for pacing in [Pacing::default(), Pacing::eager()] {
        let mutator = Runtime::new().unwrap().attaching().pacing(pacing).attach().unwrap();
        drop(node(&mutator, 1));
        // Neither by allocations, with all beats and steps of them, nor by drops.
        for _ in 0..10_000 {
            drop(mutator.alloc([0u64; 16]).unwrap());
        }
        assert_eq!((said(), mutator.metrics().finalizers.due), (vec![], 1));
        mutator.poll(1).unwrap();
        assert_eq!(said(), [1]);
        drop(node(&mutator, 2));
        mutator.safepoint();
        assert_eq!(said(), [2]);
        drop(node(&mutator, 3));
        mutator.collect(Budget::Units(0));
        assert_eq!(said(), [3]);
        drop(node(&mutator, 4));
        assert_eq!((mutator.run_finalizers(7), mutator.run_finalizers(7)), (1, 0));
        assert_eq!(said(), [4]);
    }
}

/// Wherever the object dies: the next poll knows of it without being told by anything else.
#[test]
fn a_poll_knows_that_one_is_due() {
    let mutator = attach();
    // In the drop of an object that is freed at once, which refers to it.
    let parent = plain(&mutator, 0);
    parent.next.set(Some(node(&mutator, 1)));
    drop(parent);
    mutator.poll(1).unwrap();
    assert_eq!(said(), [1]);
    // In a step that allocation pays for.
    let (grandparent, parent) = (plain(&mutator, 0), plain(&mutator, 0));
    parent.next.set(Some(node(&mutator, 2)));
    grandparent.next.set(Some(parent));
    drop(grandparent);
    while mutator.metrics().finalizers.due == 0 {
        drop(mutator.alloc([0u64; 16]).unwrap());
    }
    mutator.poll(1).unwrap();
    assert_eq!(said(), [2]);
    // In a search that polls work on.
    drop(ring(&mutator, 3..5));
    for _ in 0..100_000 {
        drop(mutator.alloc([0u64; 16]).unwrap());
        mutator.poll(1).unwrap();
    }
    assert_eq!(said().len(), 2);
}

#[test]
fn never_within_other_code() {
    let mutator = Runtime::new().unwrap().attaching().beat_bytes(1024).unwrap().attach().unwrap();
    mutator
        .on_beat(When::At(10), |mutator, _| {
            drop(node(mutator, 1));
            mutator.safepoint();
            assert_eq!((mutator.poll(1), mutator.run_finalizers(1)), (Ok(()), 0));
            say(0);
        })
        .unwrap();
    mutator.charge(10 * 1024);
    assert_eq!(said(), [0]);
    mutator.safepoint();
    assert_eq!(said(), [1]);
}

#[test]
fn never_within_another_one() {
    #[derive(Trace)]
    struct Outer;
    impl Finalize for Outer {
        fn finalize(&self, mutator: &Mutator) {
            say(1);
            drop(node(mutator, 3));
            mutator.collect(Budget::Unbounded);
            mutator.safepoint();
            assert_eq!((mutator.poll(1), mutator.run_finalizers(9)), (Ok(()), 0));
            say(2);
        }
    }
    let mutator = attach();
    drop(mutator.alloc_finalized(Outer).unwrap());
    mutator.set_finalizers_per_safepoint(1);
    mutator.safepoint();
    assert_eq!(said(), [1, 2]);
    mutator.safepoint();
    assert_eq!(said(), [3]);
}

#[test]
fn so_many_at_a_safepoint() {
    let mutator = attach();
    (0..100).for_each(|number| drop(node(&mutator, number)));
    mutator.poll(1).unwrap();
    assert_eq!(said().len(), 16);
    mutator.set_finalizers_per_safepoint(30);
    mutator.poll(1).unwrap();
    assert_eq!(said().len(), 30);
    mutator.set_finalizers_per_safepoint(0);
    mutator.poll(1).unwrap();
    assert_eq!(said().len(), 0);
    assert_eq!(mutator.run_finalizers(4), 4);
    mutator.set_finalizers_per_safepoint(100);
    // It needs no other news for the next poll to go on.
    mutator.poll(1).unwrap();
    assert_eq!(said().len(), 54);
}

/// Each makes another one. A safepoint ends all the same, and so does the end.
#[test]
fn garbage_without_end() {
    #[derive(Trace)]
    struct Hydra(u32);
    impl Finalize for Hydra {
        fn finalize(&self, mutator: &Mutator) {
            say(self.0);
            drop(mutator.alloc_finalized(Hydra(self.0 + 1)).unwrap());
            drop(mutator.alloc_finalized(Hydra(self.0 + 1)).unwrap());
        }
    }
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attach().unwrap();
    drop(mutator.alloc_finalized(Hydra(0)).unwrap());
    for round in 0..10 {
        mutator.poll(1).unwrap();
        assert!(said().len() <= 16, "{round}");
    }
    let due = mutator.metrics().finalizers.due;
    assert!(due > 100);
    let left = mutator.detach();
    assert_eq!((said().len() as u64, left.finalizers), (due, 2 * due));
    // The next one on the thread runs them, without end.
    let mutator = runtime.attach().unwrap();
    mutator.poll(1).unwrap();
    assert_eq!(said().len(), 16);
    mutator.set_finalizers_per_safepoint(0);
}

#[test]
fn in_order() {
    let mutator = attach();
    // As last references are given up, here ...
    let (one, two, three) = (node(&mutator, 1), node(&mutator, 2), node(&mutator, 3));
    drop(two);
    drop(one);
    // ... and in a step: an object before those that it alone refers to, these in the order of its slots.
    let parent = node(&mutator, 10);
    for (slot, number) in [(&parent.next, 11), (&parent.other, 12)] {
        let child = node(&mutator, number);
        child.next.set(Some(node(&mutator, number + 10)));
        slot.set(Some(child));
    }
    drop(parent);
    drop(three);
    settle(&mutator);
    assert_eq!(said(), [2, 1, 10, 3, 11, 12, 21, 22]);
    // Of a cycle as the search comes to them, from the candidate on.
    drop(ring(&mutator, 0..5));
    settle(&mutator);
    let first = said();
    drop(ring(&mutator, 0..5));
    settle(&mutator);
    assert_eq!(first, said());
    assert_eq!(first.len(), 5);
}
