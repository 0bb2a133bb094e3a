//! Finalizers at the end of a mutator: those that run, those that are handed over, and what they keep from going.

use std::cell::RefCell as StdRefCell;

use mimalloc_runtime::{Budget, EphemeronMap, Mutator, Ref, Runtime, When};

use super::{Node, attach, live, node, plain, ring, said, say};

#[test]
fn handed_over() {
    let runtime = Runtime::new().unwrap();
    let (mutator, host) = (runtime.attach().unwrap(), runtime.attach().unwrap());
    // Detached within a handler: nothing runs there.
    drop((node(&mutator, 1), ring(&mutator, 2..5)));
    let kept = node(&mutator, 5);
    let mut mutator = Some(mutator);
    let (sends, left) = std::sync::mpsc::channel();
    host.on_beat(When::Every(1), move |_, _| {
        if let Some(mutator) = mutator.take() {
            sends.send(mutator.detach()).unwrap();
        }
    })
    .unwrap();
    host.charge(1 << 20);
    let left = left.recv().unwrap();
    assert_eq!((said(), left.finalizers), (vec![], 4));
    assert_eq!(runtime.metrics().lingering, 1);
    host.poll(1).unwrap();
    let mut numbers = said();
    numbers.sort_unstable();
    assert_eq!((numbers, host.metrics().finalizers.run), (vec![1, 2, 3, 4], 0));
    // One that comes to be garbage only now; and with no mutator on the thread, the next one runs it.
    host.detach();
    drop(kept);
    assert_eq!((said(), runtime.metrics().lingering), (vec![], 1));
    let host = runtime.attach().unwrap();
    host.poll(1).unwrap();
    assert_eq!((said(), runtime.metrics().lingering), (vec![5], 0));
}

/// What they subscribe on the way goes with the mutator, like all handlers, and keeps none of its objects alive.
#[test]
fn what_is_subscribed_while_the_mutator_is_detached_goes_with_it() {
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attach().unwrap();
    let one = plain(&mutator, 1);
    one.next.set(Some(plain(&mutator, 2)));
    Ref::set_finalizer(&one, (), |one, (), mutator| {
        let two = one.next.take().unwrap();
        mutator.on_beat(When::Every(1), move |_, _| say(two.number)).unwrap();
    })
    .unwrap();
    drop(one);
    let left = mutator.detach();
    assert_eq!((left.live.objects, left.finalizers, said()), (0, 0, vec![]));
    assert_eq!(runtime.metrics().lingering, 0);
}

/// Where no finalizer may run, none is lost: nothing is destroyed.
#[test]
fn within_other_code_nothing_is_destroyed_before_its_finalizers_run() {
    let (mutator, host) = (attach(), attach());
    drop((node(&mutator, 1), ring(&mutator, 2..4)));
    let mut mutator = Some(mutator);
    let (sends, refused) = std::sync::mpsc::channel();
    host.on_beat(When::At(1), move |_, _| {
        let refused = mutator.take().unwrap().destroy(9).unwrap_err();
        assert_eq!(refused.error.kind(), mimalloc_runtime::ErrorKind::InUse);
        sends.send(refused.mutator).unwrap();
    })
    .unwrap();
    host.charge(1 << 20);
    host.safepoint();
    let mutator = refused.recv().unwrap();
    assert_eq!(said().len(), 0);
    mutator.destroy(9).unwrap();
    assert_eq!(said().len(), 3);
}

#[test]
fn detaching_runs_those_that_are_due() {
    let mutator = attach();
    drop((node(&mutator, 1), ring(&mutator, 2..5)));
    let left = mutator.detach();
    assert_eq!((left.live.objects, left.finalizers, said().len()), (0, 0, 4));
}

/// With objects that are dead, live, and in cycles; weak references among them, and values of keys.
#[test]
fn destroying_runs_so_many() {
    let mut notes_left = 0;
    for (most, runs) in [(0, 0), (2, 2), (5, 5), (100, 5)] {
        let mutator = attach();
        let mut notes = EphemeronMap::new();
        drop(node(&mutator, 1));
        let first = ring(&mutator, 2..6);
        let key = plain(&mutator, 7);
        first.other.set(Some(key.clone()));
        notes.insert(&mutator, &key, first.clone()).unwrap();
        drop((first, key, notes));
        let gone = mutator.destroy(most).unwrap();
        assert_eq!(said().len() as u64, runs);
        notes_left += gone.live.objects;
    }
    assert!(notes_left > 0);
}

#[test]
fn what_a_finalizer_takes_out_is_not_destroyed() {
    thread_local! {
        static TAKEN: StdRefCell<Vec<Ref<Node>>> = const { StdRefCell::new(Vec::new()) };
    }
    let mutator = attach();
    let (one, two) = (plain(&mutator, 1), plain(&mutator, 2));
    one.next.set(Some(two.clone()));
    two.next.set(Some(one.clone()));
    Ref::set_finalizer(&one, (), |one, (), _| {
        let two = one.next.take().unwrap();
        TAKEN.with_borrow_mut(|taken| taken.push(two));
        say(1);
    })
    .unwrap();
    // While somebody has a weak reference, nothing is even asked to go.
    let weak = Ref::downgrade(&one).unwrap();
    drop((one, two));
    let refused = mutator.destroy(10).unwrap_err();
    assert_eq!((said(), weak.upgrade().is_some()), (vec![], true));
    drop(weak);
    let refused = refused.mutator.destroy(10).unwrap_err();
    assert_eq!((refused.error.kind(), said()), (mimalloc_runtime::ErrorKind::InUse, vec![1]));
    let two = TAKEN.with_borrow_mut(|taken| taken.pop()).unwrap();
    assert_eq!((two.number, two.next.take().unwrap().number), (2, 1));
    drop(two);
    refused.mutator.destroy(10).unwrap();
    assert_eq!(said(), Vec::<u32>::new());
}

/// Wherever the search for garbage cycles has come to with them: what it has found to be garbage is none any more.
#[test]
fn what_a_finalizer_takes_out_is_in_use_for_a_search_under_way() {
    thread_local! {
        static TAKEN: StdRefCell<Vec<Ref<Node>>> = const { StdRefCell::new(Vec::new()) };
    }
    fn take_out(one: &Node, (): (), mutator: &Mutator) {
        let two = one.next.take().unwrap();
        one.next.set(Some(two.clone()));
        TAKEN.with_borrow_mut(|taken| taken.push(two));
        // The search goes on while the finalizer runs.
        for _ in 0..one.number {
            mutator.collect(Budget::Units(1));
        }
    }
    let mut taken_out = 0;
    // Within the finalizer too, it goes on for so many steps.
    for within in [0, 1, 2, 5, 100] {
        for steps in 0..60 {
            let mutator = attach();
            mutator.set_finalizers_per_safepoint(0);
            let nodes: Vec<_> = [within, 2, 3].map(|number| plain(&mutator, number)).into();
            for (index, node) in nodes.iter().enumerate() {
                node.next.set(Some(nodes[(index + 1) % nodes.len()].clone()));
            }
            Ref::set_finalizer(&nodes[0], (), take_out).unwrap();
            drop(nodes);
            for _ in 0..steps {
                mutator.collect(Budget::Units(1));
            }
            let refused = mutator.destroy(1).unwrap_err();
            assert_eq!(refused.error.kind(), mimalloc_runtime::ErrorKind::InUse);
            let two = TAKEN.with_borrow_mut(|taken| taken.pop()).unwrap();
            let mutator = refused.mutator;
            while !mutator.collect(Budget::Units(1)).is_done() {}
            mutator.collect(Budget::Unbounded);
            assert_eq!(live(&mutator), 3, "{within} {steps}");
            let three = two.next.take().unwrap();
            assert_eq!((two.number, three.number), (2, 3));
            drop((two, three));
            taken_out += 1;
            mutator.destroy(1).unwrap();
        }
    }
    assert_eq!(taken_out, 300);
}
