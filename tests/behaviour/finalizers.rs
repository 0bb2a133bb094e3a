//! Finalizers: a test for each row of the table in the documentation of `Finalize`.

use std::cell::RefCell as StdRefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mimalloc_runtime::cell::Cell;
use mimalloc_runtime::{
    Budget, EphemeronMap, Finalize, FinalizerError, Mutator, OutOfMemory, Pacing, Ref, Runtime, Trace, Weak, When,
};

use crate::everything::{ALL, do_everything};

thread_local! {
    /// What finalizers have said.
    static SAID: StdRefCell<Vec<u32>> = const { StdRefCell::new(Vec::new()) };
}

fn say(number: u32) {
    SAID.with_borrow_mut(|said| said.push(number));
}

fn said() -> Vec<u32> {
    SAID.take()
}

/// Says its number.
#[derive(Trace, Default)]
struct Node {
    number: u32,
    next: Cell<Option<Ref<Node>>>,
    other: Cell<Option<Ref<Node>>>,
}

impl Finalize for Node {
    fn finalize(&self, _: &Mutator) {
        say(self.number);
    }
}

fn attach() -> Mutator {
    Runtime::new().unwrap().attach().unwrap()
}

fn node(mutator: &Mutator, number: u32) -> Ref<Node> {
    mutator.alloc_finalized(Node { number, ..Node::default() }).unwrap()
}

fn plain(mutator: &Mutator, number: u32) -> Ref<Node> {
    mutator.alloc(Node { number, ..Node::default() }).unwrap()
}

fn ring(mutator: &Mutator, numbers: core::ops::Range<u32>) -> Ref<Node> {
    let nodes: Vec<_> = numbers.map(|number| node(mutator, number)).collect();
    for (index, node) in nodes.iter().enumerate() {
        node.next.set(Some(nodes[(index + 1) % nodes.len()].clone()));
    }
    nodes[0].clone()
}

fn live(mutator: &Mutator) -> u64 {
    mutator.metrics().live.now.objects
}

/// Collects and lets finalizers run until nothing is left to do.
fn settle(mutator: &Mutator) {
    loop {
        mutator.collect(Budget::Unbounded);
        if mutator.run_finalizers(u64::MAX) == 0 && mutator.collect(Budget::Unbounded).is_done() {
            break;
        }
    }
}

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

#[test]
fn nothing_is_resurrected() {
    #[derive(Trace)]
    struct Ghost {
        own: Cell<Option<Weak<Ghost>>>,
        child: Ref<Node>,
    }
    thread_local! {
        static TAKEN: StdRefCell<Option<Ref<Node>>> = const { StdRefCell::new(None) };
    }
    impl Finalize for Ghost {
        fn finalize(&self, _: &Mutator) {
            assert!(self.own.take().unwrap().upgrade().is_none());
            TAKEN.set(Some(self.child.clone()));
            say(1);
        }
    }
    let mutator = attach();
    let ghost = mutator.alloc_finalized(Ghost { own: Cell::default(), child: node(&mutator, 2) }).unwrap();
    ghost.own.set(Some(Ref::downgrade(&ghost).unwrap()));
    drop(ghost);
    settle(&mutator);
    // It has gone; what it referred to was taken, and is as it was.
    assert_eq!(said(), [1]);
    let child = TAKEN.take().unwrap();
    assert_eq!((child.number, Ref::is_unique(&child), mutator.metrics().finalizers.registered), (2, true, 1));
    drop(child);
    settle(&mutator);
    assert_eq!((said(), live(&mutator)), (vec![2], 0));
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

#[test]
fn a_finalizer_may_do_everything() {
    thread_local! {
        static ANOTHER: StdRefCell<Option<Mutator>> = const { StdRefCell::new(None) };
    }
    #[derive(Trace)]
    struct Busy;
    impl Finalize for Busy {
        fn finalize(&self, mutator: &Mutator) {
            assert_eq!(do_everything(mutator, ANOTHER.take().unwrap()), ALL);
            say(1);
        }
    }
    let mutator = attach();
    ANOTHER.set(Some(attach()));
    drop(mutator.alloc_finalized(Busy).unwrap());
    mutator.safepoint();
    assert_eq!(said(), [1]);
}

#[test]
fn a_finalizer_may_allocate_to_the_limit() {
    #[derive(Trace)]
    struct Greedy;
    impl Finalize for Greedy {
        fn finalize(&self, mutator: &Mutator) {
            let mut all = Vec::new();
            let refused = loop {
                match mutator.alloc([0u8; 1000]) {
                    Ok(object) => all.push(object),
                    Err(OutOfMemory { bytes, .. }) => break bytes,
                }
            };
            assert!(refused >= 1000 && mutator.in_use() <= 100_000);
            say(1);
        }
    }
    let mutator = Runtime::new().unwrap().attaching().limit(Some(100_000)).attach().unwrap();
    drop(mutator.alloc_finalized(Greedy).unwrap());
    mutator.safepoint();
    assert_eq!(said(), [1]);
    settle(&mutator);
    assert_eq!(mutator.in_use(), 0);
}

#[test]
fn a_panic_is_kept() {
    #[derive(Trace)]
    struct Bomb;
    impl Finalize for Bomb {
        fn finalize(&self, _: &Mutator) {
            panic!("a finalizer");
        }
    }
    let mutator = attach();
    drop((mutator.alloc_finalized(Bomb).unwrap(), node(&mutator, 1)));
    // Those that are due at the same safepoint run all the same, then it comes out.
    let payload = catch_unwind(AssertUnwindSafe(|| mutator.safepoint())).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"a finalizer"));
    mutator.safepoint();
    assert_eq!((said(), live(&mutator)), (vec![1], 0));
    drop(mutator.alloc_finalized(Bomb).unwrap());
    assert_eq!(mutator.run_finalizers(1), 1);
    assert_eq!((mutator.metrics().panics, mutator.metrics().finalizers.run), (2, 3));
    assert!(catch_unwind(AssertUnwindSafe(|| mutator.detach())).is_err());
}

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

/// An object that could be in no cycle was in one by what went with its finalizer, and was suspected.
#[test]
fn a_leaf_that_was_suspected_is_one_no_more_when_it_is_freed() {
    for steps in 0..20 {
        let mutator = attach();
        let leaf = mutator.alloc(5u64).unwrap();
        Ref::set_finalizer(&leaf, plain(&mutator, 1), |_, _, _| say(1)).unwrap();
        drop(leaf.clone());
        for _ in 0..steps {
            mutator.collect(Budget::Units(1));
        }
        assert!(Ref::clear_finalizer(&leaf));
        drop(leaf);
        // What lies in its place now was never suspected.
        let other = mutator.alloc(7u64).unwrap();
        let before = mutator.metrics().trials.members;
        mutator.collect(Budget::Unbounded);
        assert!(mutator.metrics().trials.members <= before + 1, "{steps}");
        assert_eq!(*other, 7);
        drop(other);
        mutator.collect(Budget::Unbounded);
        assert_eq!(mutator.metrics().trials.members, before, "{steps}: it is no candidate");
        assert_eq!((live(&mutator), mutator.detach().live.objects), (0, 0));
    }
}

/// What goes with a finalizer is a part of the object: references in it keep nothing alive that the object would not.
#[test]
fn the_payload_may_refer_to_the_object() {
    let mutator = attach();
    let object = plain(&mutator, 1);
    Ref::set_finalizer(&object, object.clone(), |object, payload, _| say(object.number + payload.number)).unwrap();
    drop(object);
    settle(&mutator);
    assert_eq!((said(), live(&mutator)), (vec![2], 0));
}

#[test]
fn one_for_each_object() {
    let mutator = attach();
    let object = node(&mutator, 1);
    let Err(FinalizerError::Exists(payload)) = Ref::set_finalizer(&object, 5u32, |_, _, _| say(0)) else {
        panic!("it has one");
    };
    assert_eq!(payload, 5);
    assert!(Ref::clear_finalizer(&object) && !Ref::clear_finalizer(&object));
    Ref::set_finalizer(&object, payload, |_, payload, _| say(payload)).unwrap();
    drop(object);
    mutator.safepoint();
    assert_eq!((said(), live(&mutator)), (vec![5], 0));
}

#[test]
fn without_memory_nothing_is_lost() {
    let mutator = attach();
    for nth in 1..3 {
        mutator.fail_allocation(nth);
        let error = mutator.alloc_finalized(Node { number: 1, ..Node::default() }).err().unwrap();
        assert_eq!(error.value.number, 1);
    }
    let object = plain(&mutator, 1);
    mutator.fail_allocation(1);
    let Err(FinalizerError::OutOfMemory(error)) = Ref::set_finalizer(&object, 5u32, |_, _, _| say(0)) else {
        panic!("there is no memory");
    };
    assert_eq!(error.value, 5);
    drop(object);
    settle(&mutator);
    assert_eq!((said(), mutator.metrics().in_use_bytes), (vec![], 0));
}
