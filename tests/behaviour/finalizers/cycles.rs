//! Finalizers of objects in garbage cycles.

use std::cell::{Cell as Plain, RefCell as StdRefCell};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mimalloc_runtime::cell::{Cell, RefCell};
use mimalloc_runtime::{Budget, EphemeronMap, Finalize, Mutator, Ref, Slots, Trace, Tracer, Weak};

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

fn next(node: &Node) -> Ref<Node> {
    let next = node.next.take().unwrap();
    node.next.set(Some(next.clone()));
    next
}

/// Says the numbers of so many nodes, each of which is whole, and takes what one of them has besides.
fn walk(mut at: Ref<Node>, count: u32) -> Option<Ref<Node>> {
    let mut other = None;
    for _ in 0..count {
        say(at.number);
        other = other.or(at.other.take());
        at = next(&at);
    }
    other
}

/// What only a key keeps, among garbage with finalizers, is finalized with it, whole, whenever the key is parted from it.
#[test]
fn values_of_keys_that_have_finalizers_are_finalized_too() {
    for units in 1..60 {
        let mutator = attach();
        mutator.set_finalizers_per_safepoint(0);
        let mut notes = EphemeronMap::new();
        let (keys, values) = (plain_ring(&mutator, 0..5), plain_ring(&mutator, 10..15));
        let loose = plain_ring(&mutator, 20..25);
        // To it leads the map alone, so it dies when the key is parted; and it was no candidate, so the search comes to it after the key.
        let value = plain(&mutator, 9);
        value.next.set(Some(values[0].clone()));
        Ref::set_finalizer(&value, (), |node, (), _| _ = walk(next(node), 4)).unwrap();
        notes.insert(&mutator, &keys[1], value).unwrap();
        notes.insert(&mutator, &keys[4], loose[0].clone()).unwrap();
        Ref::set_finalizer(&keys[3], (), |node, (), _| _ = walk(next(node), 4)).unwrap();
        drop((keys, values, loose));
        while mutator.metrics().finalizers.due == 0 {
            mutator.collect(Budget::Units(units));
        }
        while mutator.metrics().finalizers.due == 1 {
            assert!(!mutator.collect(Budget::Units(units)).is_done());
        }
        assert_eq!(mutator.run_finalizers(2), 2);
        let mut heard = said();
        heard.sort_unstable();
        assert_eq!(heard, [0, 1, 2, 4, 10, 11, 12, 13], "{units}");
        settle(&mutator);
        drop(notes);
        settle(&mutator);
        assert_eq!(live(&mutator), 0);
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

/// Nodes without finalizers that refer to each other in a ring.
fn plain_ring(mutator: &Mutator, numbers: Range<u32>) -> Vec<Ref<Node>> {
    let nodes: Vec<_> = numbers.map(|number| plain(mutator, number)).collect();
    for (index, node) in nodes.iter().enumerate() {
        node.next.set(Some(nodes[(index + 1) % nodes.len()].clone()));
    }
    nodes
}

/// What a finalizer cannot reach goes at once, whether it leads to what that can reach or was only looked at with it.
#[test]
fn garbage_that_no_finalizer_reaches_does_not_wait() {
    for units in [1, 2, 7, 50, 10_000] {
        let mutator = attach();
        mutator.set_finalizers_per_safepoint(0);
        let [beside, before, own, behind] =
            [0..10, 10..20, 20..30, 30..40].map(|numbers| plain_ring(&mutator, numbers));
        before[3].other.set(Some(own[7].clone()));
        before[4].other.set(Some(behind[4].clone()));
        own[5].other.set(Some(behind[2].clone()));
        Ref::set_finalizer(&own[2], (), |node, (), _| {
            let behind = walk(next(node), 9).unwrap();
            walk(behind, 10);
        })
        .unwrap();
        let weaks: Vec<_> =
            [&beside, &before, &own, &behind].into_iter().flatten().map(|node| Ref::downgrade(node).unwrap()).collect();
        drop((beside, before, own, behind));
        while !mutator.collect(Budget::Units(units)).is_done() {}
        assert!(weaks.iter().all(|weak| weak.upgrade().is_none()));
        drop(weaks);
        // The two rings, and the finalizer.
        let metrics = mutator.metrics();
        assert_eq!((live(&mutator), metrics.trials.garbage, metrics.finalizers.due), (21, 20, 1), "{units}");
        mutator.run_finalizers(1);
        assert_eq!(said(), [23, 24, 25, 26, 27, 28, 29, 20, 21, 32, 33, 34, 35, 36, 37, 38, 39, 30, 31]);
        settle(&mutator);
        assert_eq!((live(&mutator), mutator.metrics().trials.garbage), (0, 40));
    }
}

/// Where some of all garbage has finalizers, and there is new garbage all the time.
#[test]
fn garbage_with_finalizers_does_not_pile_up() {
    let rings = if cfg!(small_tests) { 20_000 } else { 200_000 };
    for every in [1, 3, 10, 1_000] {
        let mutator = attach();
        let (mut most, mut finalized) = (0, 0);
        for number in 0..rings {
            let one = plain(&mutator, 0);
            let two = if number % every == 0 { node(&mutator, 1) } else { plain(&mutator, 1) };
            finalized += u64::from(number % every == 0);
            one.next.set(Some(two.clone()));
            two.next.set(Some(one));
            drop(two);
            mutator.poll(1).unwrap();
            most = most.max(live(&mutator));
        }
        // Two for each ring, and one for each finalizer.
        let made = 2 * rings + finalized;
        assert!(most < made / 2 && most < 60_000, "{most} of {made}, where one of {every} has a finalizer");
        settle(&mutator);
        assert_eq!((said().len() as u64, live(&mutator)), (finalized, 0));
    }
}

/// Where one of a garbage cycle leads is not known then, so all of it is kept whole until the finalizers have run.
#[test]
fn a_trace_that_panics_while_finalizers_are_looked_for() {
    thread_local! {
        /// How often shy ones can be looked at from now on before one panics.
        static LEFT: Plain<u32> = const { Plain::new(u32::MAX) };
    }
    struct Shy {
        slot: RefCell<Option<Ref<Shy>>>,
        is_shy: bool,
    }
    // SAFETY: 1, 2: the one slot. 3, 4: the residue of the cell. 5: changes nothing of it. 6: a cell of the crate.
    unsafe impl Trace for Shy {
        const SLOTS: Slots = Slots::Fixed(1);
        const RESIDUE: bool = false;
        fn trace(&self, tracer: &mut Tracer<'_>) {
            if self.is_shy && LEFT.replace(LEFT.get().wrapping_sub(1)) == 0 {
                panic!("a trace's panic");
            }
            self.slot.trace(tracer);
        }
        unsafe fn drop_residue(&mut self) {}
    }
    let mut panicked_late = 0;
    for (left, units) in (0..20).flat_map(|left| [1, 10, 10_000].map(|units| (left, units))) {
        let mutator = attach();
        mutator.set_finalizers_per_safepoint(0);
        let shy = |number| mutator.alloc(Shy { slot: RefCell::default(), is_shy: number == 5 }).unwrap();
        let all: Vec<_> = (0..10).map(shy).collect();
        for (number, one) in all.iter().enumerate() {
            one.slot.replace(Some(all[(number + 1) % 10].clone()));
        }
        for number in [2, 8] {
            Ref::set_finalizer(&all[number], (), |shy, (), _| {
                let mut at = shy.slot.borrow().clone().unwrap();
                for _ in 0..9 {
                    at = { at.slot.borrow().clone() }.unwrap();
                }
                say(1);
            })
            .unwrap();
        }
        let weak = Ref::downgrade(&all[5]).unwrap();
        drop(all);
        LEFT.set(left);
        loop {
            match catch_unwind(AssertUnwindSafe(|| mutator.collect(Budget::Units(units)).is_done())) {
                Ok(true) => break,
                Ok(false) => {}
                // While finalizers are looked for no trial is given up.
                Err(_) => panicked_late += u32::from(mutator.metrics().trials.given_up == 0),
            }
        }
        LEFT.set(u32::MAX);
        drop(weak);
        settle(&mutator);
        assert_eq!((said(), live(&mutator)), (vec![1, 1], 0), "{left} {units}");
    }
    assert!(panicked_late > 2, "{panicked_late}");
}
