//! Weak references: a test for each row of the table in the documentation of `Weak`.

use std::cell::RefCell as StdRefCell;
use std::rc::Rc;

use mimalloc_runtime::cell::{Cell, RefCell};
use mimalloc_runtime::{
    Budget, EphemeronMap, GrowError, Mutator, Pacing, Ref, Runtime, Stop, Tail, Trace, Untyped, Weak, When, raw,
};

use crate::SCALE;

fn attach() -> Mutator {
    Runtime::new().unwrap().attach().unwrap()
}

fn live(mutator: &Mutator) -> u64 {
    mutator.metrics().live.now.objects
}

#[derive(Trace, Default)]
struct Node {
    next: Cell<Option<Ref<Node>>>,
    weak: RefCell<Option<Weak<Node>>>,
    #[trace(skip)]
    told: Option<Tell>,
}

/// Calls something when it is dropped.
struct Tell(Box<dyn Fn()>);

impl Drop for Tell {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn node(mutator: &Mutator) -> Ref<Node> {
    mutator.alloc(Node::default()).unwrap()
}

#[test]
fn the_last_reference_takes_weak_ones_with_it() {
    for pacing in [Pacing::default(), Pacing::eager()] {
        let mutator = Runtime::new().unwrap().attaching().pacing(pacing).attach().unwrap();
        // One that is freed at once, one that is queued, and one whose block has another size.
        let (leaf, queued) = (mutator.alloc(5u64).unwrap(), mutator.alloc(Node::default()).unwrap());
        let text: Ref<Tail<(), u8>> = mutator.alloc_tail_copy((), b"text").unwrap();
        let weak = Ref::downgrade(&leaf).unwrap();
        let weak_node = Ref::downgrade(&queued).unwrap();
        let weak_text = Weak::erase(Ref::downgrade(&text).unwrap());
        let another = leaf.clone();
        drop(leaf);
        assert_eq!(*weak.upgrade().unwrap(), 5);
        assert!(Weak::refers_to(&weak, &another) && !Weak::refers_to(&weak, &queued));
        drop((another, queued, text));
        assert!(weak.upgrade().is_none() && weak_node.upgrade().is_none() && weak_text.upgrade().is_none());
        drop((weak, weak_node, weak_text));
        mutator.collect(Budget::Unbounded);
        assert_eq!((live(&mutator), mutator.metrics().in_use_bytes), (0, 0));
    }
}

#[test]
fn they_are_empty_before_anything_of_the_object_is_dropped() {
    let mutator = attach();
    let weak: Rc<StdRefCell<Option<Weak<Node>>>> = Rc::default();
    let (seen, asks) = (Rc::new(std::cell::Cell::new(0)), Rc::clone(&weak));
    let sees = Rc::clone(&seen);
    let tell = Tell(Box::new(move || {
        assert!(asks.borrow().as_ref().unwrap().upgrade().is_none());
        sees.set(sees.get() + 1);
    }));
    let object = mutator.alloc(Node { told: Some(tell), ..Node::default() }).unwrap();
    weak.replace(Some(Ref::downgrade(&object).unwrap()));
    drop(object);
    mutator.collect(Budget::Unbounded);
    assert_eq!(seen.get(), 1);
    drop(weak);
    assert_eq!(live(&mutator), 0);
}

/// All of a cycle's weak references end before the first of its objects is taken apart, at whatever step the program looks.
#[test]
fn a_cycle_is_whole_or_out_of_reach() {
    const LENGTH: usize = 10;
    let mut ended = false;
    for steps in 0.. {
        let mutator = attach();
        let dropped = Rc::new(std::cell::Cell::new(0));
        let mut weaks = Vec::new();
        let nodes: Vec<Ref<Node>> = (0..LENGTH)
            .map(|_| {
                let counts = Rc::clone(&dropped);
                let tell = Tell(Box::new(move || counts.set(counts.get() + 1)));
                let node = mutator.alloc(Node { told: Some(tell), ..Node::default() }).unwrap();
                weaks.push(Ref::downgrade(&node).unwrap());
                node
            })
            .collect();
        for (index, node) in nodes.iter().enumerate() {
            node.next.set(Some(nodes[(index + 1) % LENGTH].clone()));
        }
        drop(nodes);
        let mut stop = Stop::Budget;
        for _ in 0..steps {
            stop = mutator.collect(Budget::Units(1)).stop;
        }
        let taken: Vec<_> = weaks.iter().filter_map(Weak::upgrade).collect();
        if dropped.get() > 0 {
            assert_eq!(taken.len(), 0, "after {steps} steps");
        }
        assert!(taken.is_empty() || taken.len() == LENGTH, "{} after {steps} steps", taken.len());
        let alive = taken.len();
        // What was taken up stays, whatever a search had thought of it.
        mutator.collect(Budget::Unbounded);
        assert_eq!(live(&mutator), (alive + LENGTH) as u64);
        drop(taken);
        mutator.collect(Budget::Unbounded);
        assert_eq!((live(&mutator), dropped.get()), (LENGTH as u64, LENGTH));
        assert!(weaks.iter().all(|weak| weak.upgrade().is_none()));
        drop(weaks);
        mutator.collect(Budget::Unbounded);
        assert_eq!(mutator.metrics().in_use_bytes, 0);
        if stop == Stop::Done {
            ended = true;
            break;
        }
    }
    assert!(ended);
}

#[test]
fn an_upgrade_while_it_is_suspected_saves_it() {
    for steps in 1..60 {
        let mutator = attach();
        let (one, other) = (node(&mutator), node(&mutator));
        let weak = Ref::downgrade(&one).unwrap();
        one.next.set(Some(other.clone()));
        other.next.set(Some(one.clone()));
        drop((one, other));
        for _ in 0..steps {
            mutator.collect(Budget::Units(1));
            // Taken and given up again: the counts are as they were, and somebody was there.
            drop(weak.upgrade());
        }
        let kept = weak.upgrade();
        mutator.collect(Budget::Unbounded);
        assert_eq!(weak.upgrade().is_some(), kept.is_some());
        drop(kept);
        mutator.collect(Budget::Unbounded);
        assert!(weak.upgrade().is_none());
    }
}

#[test]
fn nobody_borrows_what_is_referred_to_weakly() {
    let mutator = attach();
    let mut object = node(&mutator);
    let weak = Ref::downgrade(&object).unwrap();
    assert!(Ref::get_mut(&mut object).is_none());
    let another = weak.clone();
    drop(weak);
    assert!(Ref::get_mut(&mut object).is_none());
    drop(another);
    // The last one has gone, and its cell goes now.
    assert_eq!(live(&mutator), 2);
    assert!(Ref::get_mut(&mut object).is_some());
    assert_eq!(live(&mutator), 1);
    let mut text: Ref<Tail<(), u8>> = mutator.alloc_tail_copy((), b"text").unwrap();
    let weak = Ref::downgrade(&text).unwrap();
    assert!(text.parts_mut().is_none());
    let Err(GrowError::Shared(text)) = mutator.grow_tail(text, 100, |_| 0) else {
        panic!("it would leave them behind")
    };
    drop(weak);
    assert_eq!(mutator.grow_tail(text, 100, |_| 0).unwrap().items().len(), 100);
}

#[test]
fn weak_references_make_no_cycles() {
    let mutator = attach();
    let (one, other) = (node(&mutator), node(&mutator));
    one.weak.replace(Some(Ref::downgrade(&one).unwrap()));
    one.next.set(Some(other.clone()));
    other.weak.replace(Some(Ref::downgrade(&one).unwrap()));
    drop((one, other));
    assert_eq!(mutator.collect(Budget::Unbounded).freed.objects, 3);
    assert_eq!((live(&mutator), mutator.metrics().trials.garbage), (0, 0));
    const { assert!(<Weak<Node> as Trace>::ACYCLIC) };
}

#[test]
fn after_the_mutator_has_gone() {
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attach().unwrap();
    let object = node(&mutator);
    let weak = Ref::downgrade(&object).unwrap();
    let gone = mutator.alloc(1u8).unwrap();
    let weak_of_gone = Ref::downgrade(&gone).unwrap();
    drop(gone);
    assert_eq!(mutator.detach().live.objects, 3);
    // Also another one of the same object.
    let later = Ref::downgrade(&weak.upgrade().unwrap()).unwrap();
    assert!(Weak::ptr_eq(&weak, &later));
    drop(object);
    assert!(weak.upgrade().is_none() && weak_of_gone.upgrade().is_none());
    assert_eq!(runtime.metrics().lingering, 1);
    drop((weak, later, weak_of_gone));
    assert_eq!((runtime.metrics().lingering, runtime.metrics().ended), (0, 1));
}

/// All that can be attached, for the first time, to what is left of a mutator.
#[test]
fn it_may_be_the_first_after_the_mutator_has_gone() {
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attach().unwrap();
    let (one, other) = (node(&mutator), node(&mutator));
    assert_eq!(mutator.detach().live.objects, 2);
    let weak = Ref::downgrade(&one).unwrap();
    one.weak.replace(Some(Ref::downgrade(&other).unwrap()));
    Ref::set_finalizer(&one, other.clone(), |one, other, _| {
        assert!(Ref::ptr_eq(&one.weak.borrow().as_ref().unwrap().upgrade().unwrap(), &other));
    })
    .unwrap();
    let host = runtime.attach().unwrap();
    let mut notes = EphemeronMap::new();
    notes.insert(&host, &other, one.clone()).unwrap();
    assert!(Ref::ptr_eq(&weak.upgrade().unwrap(), &notes.get(&other).unwrap()));
    drop(one);
    assert!(weak.upgrade().is_some());
    drop(notes);
    host.collect(Budget::Unbounded);
    assert!(weak.upgrade().is_none());
    assert_eq!(host.metrics().panics, 0);
    assert_eq!(runtime.metrics().lingering, 1);
    drop((weak, other));
    host.collect(Budget::Unbounded);
    assert_eq!((runtime.metrics().lingering, live(&host)), (0, 0));
}

/// No handle of the mutator is needed to make one, so that what the allocation calls may detach it.
#[test]
fn a_handler_may_detach_the_mutator_while_one_is_made() {
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attaching().beat_bytes(1024).unwrap().attach().unwrap();
    let objects: Vec<_> = (0..200).map(|_| node(&mutator)).collect();
    let place: Rc<StdRefCell<Option<Mutator>>> = Rc::default();
    let taken = Rc::clone(&place);
    mutator.on_beat(When::Every(1), move |_, _| drop(taken.take())).unwrap();
    place.replace(Some(mutator));
    let weak: Vec<_> = objects.iter().map(|object| Ref::downgrade(object).unwrap()).collect();
    assert!(place.borrow().is_none() && Rc::strong_count(&place) == 1, "the handler has run, and gone");
    assert!(weak.iter().zip(&objects).all(|(weak, object)| Ref::ptr_eq(&weak.upgrade().unwrap(), object)));
    drop(objects);
    assert!(weak.iter().all(|weak| weak.upgrade().is_none()));
    assert_eq!(runtime.metrics().lingering, 1);
    drop(weak);
    assert_eq!(runtime.metrics().lingering, 0);
}

#[test]
fn a_vm_keeps_the_cell_in_its_own_words() {
    let mutator = attach();
    let object: Ref<Untyped> = Ref::erase(mutator.alloc(5u32).unwrap());
    // SAFETY: 1: alive, the handle's.
    let cell = unsafe { raw::downgrade(Ref::as_raw(&object)) }.unwrap();
    // SAFETY: 1: a cell, alive.
    let taken = unsafe { raw::upgrade(cell) };
    assert_eq!(taken, Some(Ref::as_raw(&object)));
    // SAFETY: 1: the reference just taken.
    taken.into_iter().for_each(|object| unsafe { raw::release(object) });
    drop(object);
    // SAFETY: 1: a cell, alive.
    assert_eq!(unsafe { raw::upgrade(cell) }, None);
    // SAFETY: 1, 2: of an `u32`, with the reference that `downgrade` gave.
    drop(unsafe { Weak::<u32>::from_raw(cell) });
    assert_eq!(live(&mutator), 0);
}

#[test]
#[should_panic(expected = "attachments of its own")]
fn a_cell_has_no_cell() {
    let mutator = attach();
    let object = mutator.alloc(5u32).unwrap();
    let cell = Weak::into_raw(Ref::downgrade(&object).unwrap());
    // SAFETY: 1: alive.
    _ = unsafe { raw::downgrade(cell) };
}

#[test]
fn without_memory_for_a_cell_there_is_an_error() {
    let mutator = attach();
    let object = mutator.alloc(5u32).unwrap();
    mutator.fail_allocation(1);
    assert!(Ref::downgrade(&object).is_err());
    let weak = Ref::downgrade(&object).unwrap();
    mutator.fail_allocation(1);
    assert!(Weak::ptr_eq(&weak, &Ref::downgrade(&object).unwrap()));
    mutator.fail_allocation(0);
}

/// Far more than the table has buckets at first; made, looked for and given up in different orders.
#[test]
fn a_million_of_them() {
    let mutator = attach();
    let count = 1_000_000 / SCALE;
    let objects: Vec<_> = (0..count).map(|index| mutator.alloc(index).unwrap()).collect();
    let weaks: Vec<_> = objects.iter().map(|object| Ref::downgrade(object).unwrap()).collect();
    for (object, weak) in objects.iter().zip(&weaks).step_by(7) {
        assert!(Weak::ptr_eq(weak, &Ref::downgrade(object).unwrap()));
    }
    let mut objects: Vec<_> = objects.into_iter().map(Some).collect();
    for index in 0..count {
        objects[index * 17 % count] = if index % 3 == 0 { objects[index * 17 % count].take() } else { None };
    }
    for (index, weak) in weaks.iter().enumerate() {
        assert_eq!(weak.upgrade().map(|object| *object), objects[index].as_deref().copied());
    }
    drop((objects, weaks));
    mutator.collect(Budget::Unbounded);
    assert_eq!(mutator.metrics().in_use_bytes, 0);
}
