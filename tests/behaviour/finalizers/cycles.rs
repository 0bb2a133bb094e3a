//! Finalizers of objects in garbage cycles.

use std::cell::RefCell as StdRefCell;

use mimalloc_runtime::cell::Cell;
use mimalloc_runtime::{Budget, EphemeronMap, Finalize, Mutator, Ref, Trace, Weak};

use super::{Node, attach, live, node, plain, ring, said, say, settle};

/// Also that of a value which goes because its key is parted from it, while others of the cycle are still to be.
#[test]
fn those_of_a_cycle_are_due_together() {
    for keys in 0..20 {
        let mutator = attach();
        mutator.set_finalizers_per_safepoint(0);
        let mut notes = EphemeronMap::new();
        let first = ring(&mutator, 0..20);
        let mut key = first.clone();
        for number in 0..keys {
            let value = node(&mutator, 100 + number);
            value.next.set(Some(first.clone()));
            notes.insert(&mutator, &key, value).unwrap();
            let next = key.next.take().unwrap();
            key.next.set(Some(next.clone()));
            key = next;
        }
        drop((first, key));
        let all = u64::from(20 + keys);
        while mutator.metrics().finalizers.due == 0 {
            mutator.collect(Budget::Units(1));
        }
        assert_eq!(mutator.metrics().finalizers.due, all);
        drop(notes);
        settle(&mutator);
        assert_eq!((said().len() as u64, live(&mutator)), (all, 0));
    }
}

#[test]
fn a_cycle_is_whole_while_its_finalizers_run() {
    #[derive(Trace)]
    struct Part {
        next: Cell<Option<Ref<Part>>>,
        weak: Cell<Option<Weak<Part>>>,
        value: Vec<u32>,
    }
    impl Finalize for Part {
        fn finalize(&self, _: &Mutator) {
            // All round, however far others are.
            let mut at = self.next.take().unwrap();
            self.next.set(Some(at.clone()));
            for _ in 0..9 {
                assert_eq!(at.value, [7; 100]);
                // Cleared, all of them, before the first finalizer runs.
                let weak = at.weak.take().unwrap();
                assert!(weak.is_gone() && weak.upgrade().is_none());
                at.weak.set(Some(weak));
                let next = at.next.take().unwrap();
                at.next.set(Some(next.clone()));
                at = next;
            }
            say(1);
        }
    }
    for units in 1..40 {
        let mutator = attach();
        let part = |_| Part { next: Cell::default(), weak: Cell::default(), value: vec![7; 100] };
        let parts: Vec<_> = (0..10).map(|index| mutator.alloc_finalized(part(index)).unwrap()).collect();
        for (index, part) in parts.iter().enumerate() {
            part.next.set(Some(parts[(index + 1) % 10].clone()));
            part.weak.set(Some(Ref::downgrade(&parts[index * 7 % 10]).unwrap()));
        }
        drop(parts);
        mutator.set_finalizers_per_safepoint(1);
        let mut steps = 0;
        while live(&mutator) > 0 {
            mutator.collect(Budget::Units(units));
            steps += 1;
            assert!(steps < 5_000);
        }
        assert_eq!(said(), [1; 10]);
    }
}

/// At whatever step somebody takes up one of a garbage cycle, all of it can be had, and none is finalized while it is; or none can.
#[test]
fn a_cycle_is_in_use_or_finalized() {
    let mut ends = [0; 2];
    for steps in 0.. {
        let mutator = attach();
        mutator.set_finalizers_per_safepoint(0);
        let first = ring(&mutator, 0..10);
        let mut weaks = Vec::new();
        let mut at = first.clone();
        for _ in 0..10 {
            weaks.push(Ref::downgrade(&at).unwrap());
            let next = at.next.take().unwrap();
            at.next.set(Some(next.clone()));
            at = next;
        }
        drop((first, at));
        let is_done = (0..steps).fold(false, |_, _| mutator.collect(Budget::Units(1)).is_done());
        let taken: Vec<_> = weaks.iter().filter_map(Weak::upgrade).collect();
        assert!(taken.is_empty() || taken.len() == 10, "{} after {steps} steps", taken.len());
        ends[usize::from(taken.is_empty())] += 1;
        settle(&mutator);
        let heard = said();
        assert_eq!(
            heard.len(),
            10 - taken.len(),
            "after {steps} steps {heard:?} {:?} {:?}",
            mutator.metrics().trials,
            weaks.iter().map(Weak::is_gone).collect::<Vec<_>>()
        );
        assert!(weaks.iter().all(|weak| weak.upgrade().is_some() != taken.is_empty()));
        drop(taken);
        settle(&mutator);
        said();
        drop(weaks);
        assert_eq!(live(&mutator), 0);
        if is_done {
            break;
        }
    }
    assert!(ends[0] > 20 && ends[1] > 20, "{ends:?}");
}

/// It stays whole, its weak references stay empty, and when it goes nothing is finalized twice.
#[test]
fn what_is_taken_out_of_a_cycle_lives_on_and_is_not_finalized_again() {
    thread_local! {
        static TAKEN: StdRefCell<Vec<Ref<Node>>> = const { StdRefCell::new(Vec::new()) };
    }
    let mutator = attach();
    let (one, two) = (plain(&mutator, 1), plain(&mutator, 2));
    one.next.set(Some(two.clone()));
    two.next.set(Some(one.clone()));
    let weak = Ref::downgrade(&one).unwrap();
    Ref::set_finalizer(&one, (), |one, (), _| {
        say(one.number);
        let two = one.next.take().unwrap();
        one.next.set(Some(two.clone()));
        TAKEN.with_borrow_mut(|taken| taken.push(two));
    })
    .unwrap();
    drop((one, two));
    settle(&mutator);
    assert_eq!(said(), [1]);
    let two = TAKEN.with_borrow_mut(|taken| taken.pop()).unwrap();
    let one = two.next.take().unwrap();
    assert_eq!((one.number, two.number), (1, 2));
    assert!(weak.upgrade().is_none());
    two.next.set(Some(one.clone()));
    drop((one, two, weak));
    settle(&mutator);
    assert_eq!((said(), live(&mutator)), (vec![], 0));
}
