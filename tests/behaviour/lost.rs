//! P5: nothing is lost when user code panics, when a mutator is detached with work pending, when handles outlive it.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use mimalloc_runtime::{Budget, Mutator, Pacing, Ref, Runtime, Slots, Stop, Tally, Trace, Tracer, When};

use crate::graph::{self, Node, node};

/// Panics when dropped, if it is told to.
struct Bomb {
    armed: bool,
    dropped: Rc<Cell<u64>>,
}

impl Drop for Bomb {
    fn drop(&mut self) {
        self.dropped.set(self.dropped.get() + 1);
        assert!(!self.armed, "a drop's panic");
    }
}

#[derive(Trace)]
struct Carrier {
    #[trace(skip)]
    first: Bomb,
    next: Option<Ref<Carrier>>,
    #[trace(skip)]
    second: Bomb,
}

fn carriers(mutator: &Mutator, length: u64, dropped: &Rc<Cell<u64>>) -> Option<Ref<Carrier>> {
    let mut head = None;
    for index in 0..length {
        let bomb = |armed| Bomb { armed, dropped: Rc::clone(dropped) };
        head = Some(mutator.alloc(Carrier { first: bomb(index % 3 == 0), next: head, second: bomb(false) }).unwrap());
    }
    head
}

#[test]
fn every_drop_runs_once_though_every_third_panics() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let dropped = Rc::new(Cell::new(0));
    drop(carriers(&mutator, 3_000, &dropped));
    let result = catch_unwind(AssertUnwindSafe(|| mutator.collect(Budget::Unbounded)));
    assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), "a drop's panic");
    assert_eq!(dropped.get(), 6_000);
    let metrics = mutator.metrics();
    assert_eq!((metrics.freed, metrics.panics), (metrics.allocated, 1_000));
    assert_eq!(Rc::strong_count(&dropped), 1);
    // Told once.
    assert!(mutator.collect(Budget::Unbounded).is_done());
}

/// An allocation is no place for another object's panic: it waits for a safepoint.
#[test]
fn a_panic_in_a_paced_step_waits_for_the_safepoint() {
    let mutator = Runtime::new().unwrap().attaching().pacing(Pacing::stress()).attach().unwrap();
    let dropped = Rc::new(Cell::new(0));
    drop(carriers(&mutator, 1, &dropped));
    while dropped.get() < 2 {
        node(&mutator, None, None);
    }
    let result = catch_unwind(AssertUnwindSafe(|| mutator.safepoint()));
    assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), "a drop's panic");
    mutator.safepoint();
}

#[test]
fn a_panic_under_eager_freeing_does_not_come_out_of_the_drop() {
    let mutator = Runtime::new().unwrap().attaching().pacing(Pacing::eager()).attach().unwrap();
    let dropped = Rc::new(Cell::new(0));
    drop(carriers(&mutator, 30, &dropped));
    assert_eq!((dropped.get(), mutator.metrics().live.now.objects), (60, 0));
    assert!(catch_unwind(AssertUnwindSafe(|| mutator.safepoint())).is_err());
}

/// Traces its slots and panics at one of them, as often as it is told to.
struct Reluctant {
    children: Vec<Ref<Node>>,
    at: usize,
    times: Cell<u32>,
}

// SAFETY: 1: every child once; a visit that panics has passed those before it. 2: varying. 3, 4: the vector's residue.
// 5: changes a cell that no slot depends on.
unsafe impl Trace for Reluctant {
    const SLOTS: Slots = Slots::Varying;
    const RESIDUE: bool = true;
    fn trace(&self, tracer: &mut Tracer<'_>) {
        let (front, back) = self.children.split_at(self.at);
        tracer.slice(front);
        if self.times.get() > 0 {
            self.times.set(self.times.get() - 1);
            panic!("a trace's panic");
        }
        tracer.slice(back);
    }
    unsafe fn drop_residue(&mut self) {
        // SAFETY: not used again.
        unsafe { self.children.drop_residue() }
    }
}

fn reluctant(mutator: &Mutator, times: u32) -> Ref<Reluctant> {
    let children = (0..100).map(|_| node(mutator, None, None)).collect();
    mutator.alloc(Reluctant { children, at: 40, times: Cell::new(times) }).unwrap()
}

#[test]
fn a_trace_that_panics_once_is_taken_up_where_it_stopped() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    drop(reluctant(&mutator, 1));
    let result = catch_unwind(AssertUnwindSafe(|| mutator.collect(Budget::Unbounded)));
    assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), "a trace's panic");
    let metrics = mutator.metrics();
    assert_eq!((metrics.freed.objects, metrics.live.now), (101, Tally::default()));
}

#[test]
fn a_trace_that_always_panics_is_given_up_and_counted() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    drop((reluctant(&mutator, u32::MAX), reluctant(&mutator, 0)));
    assert!(catch_unwind(AssertUnwindSafe(|| mutator.collect(Budget::Unbounded))).is_err());
    let metrics = mutator.metrics();
    assert_eq!(metrics.abandoned.objects, 1);
    // The sixty children behind the slot leak with it; everything else is gone.
    assert_eq!((metrics.freed.objects, metrics.live.now.objects, metrics.pending.now.objects), (40 + 101, 60, 0));
}

#[test]
fn a_handler_that_panics_stays_and_its_panic_waits() {
    let mutator = Runtime::new().unwrap().attaching().beat_bytes(1024).unwrap().attach().unwrap();
    let calls = Rc::new(Cell::new(0));
    let seen = Rc::clone(&calls);
    let panics = mutator.on_beat(When::Every(1), move |_, _| {
        seen.set(seen.get() + 1);
        panic!("a handler's panic");
    });
    panics.unwrap();
    for _ in 0..320 {
        node(&mutator, None, None);
    }
    assert_eq!(calls.get(), 10);
    assert!(catch_unwind(AssertUnwindSafe(|| mutator.safepoint())).is_err());
}

/// A `Drop` may do what any code may: allocate, drop, collect.
struct Busybody {
    mutator: Rc<Mutator>,
    collected: Rc<RefCell<Vec<Stop>>>,
}

impl Drop for Busybody {
    fn drop(&mut self) {
        drop(graph::chain(&self.mutator, 10).root);
        self.collected.borrow_mut().push(self.mutator.collect(Budget::Unbounded).stop);
        self.mutator.safepoint();
    }
}

#[derive(Trace)]
struct Holder(#[trace(skip)] Busybody);

#[test]
fn a_drop_may_allocate_and_a_collection_within_a_collection_says_that_it_is_busy() {
    let mutator = Rc::new(Runtime::new().unwrap().attach().unwrap());
    let collected = Rc::new(RefCell::new(Vec::new()));
    for _ in 0..5 {
        let busybody = Busybody { mutator: Rc::clone(&mutator), collected: Rc::clone(&collected) };
        drop(mutator.alloc(Holder(busybody)).unwrap());
    }
    assert!(mutator.collect(Budget::Unbounded).is_done());
    assert_eq!(*collected.borrow(), [Stop::Busy; 5]);
    assert_eq!(mutator.metrics().freed.objects, 5 * 11);
}

/// The last handle on the mutator dies inside its own drain.
#[test]
fn a_mutator_may_be_detached_by_an_object_of_its_own() {
    for pacing in [Pacing::eager(), Pacing::default()] {
        let runtime = Runtime::new().unwrap();
        let mutator = Rc::new(runtime.attaching().pacing(pacing).attach().unwrap());
        let collected = Rc::new(RefCell::new(Vec::new()));
        let busybody = Busybody { mutator: Rc::clone(&mutator), collected: Rc::clone(&collected) };
        let holder = mutator.alloc(Holder(busybody)).unwrap();
        let weak = Rc::downgrade(&mutator);
        if pacing == Pacing::eager() {
            drop(mutator);
            drop(holder);
        } else {
            drop(holder);
            mutator.collect(Budget::Unbounded);
            drop(mutator);
        }
        assert!(weak.upgrade().is_none());
        assert_eq!(runtime.idle_heaps(), usize::from(!cfg!(feature = "v2")));
    }
}

/// The drop of a handle visits the object at once; what dies of it belongs to an eager mutator, and detaches the first.
#[test]
fn a_mutator_may_be_detached_while_an_object_of_its_own_gives_up_its_slots() {
    struct Detacher(Rc<RefCell<Option<Mutator>>>);
    impl Drop for Detacher {
        fn drop(&mut self) {
            drop(self.0.take());
        }
    }
    #[derive(Trace)]
    struct Detaches(#[trace(skip)] Detacher);
    #[derive(Trace)]
    struct Parent(Ref<Detaches>, Option<Ref<Node>>);

    let runtime = Runtime::new().unwrap();
    let eager = runtime.attaching().pacing(Pacing::eager()).attach().unwrap();
    let first = Rc::new(RefCell::new(Some(runtime.attach().unwrap())));
    let child = eager.alloc(Detaches(Detacher(Rc::clone(&first)))).unwrap();
    let parent = {
        let borrowed = first.borrow();
        let mutator = borrowed.as_ref().unwrap();
        mutator.alloc(Parent(child, Some(node(mutator, Some(node(mutator, None, None)), None)))).unwrap()
    };
    drop(parent);
    assert!(first.borrow().is_none());
    // Everything of the first is gone, and its heap waits for the next.
    assert_eq!(runtime.idle_heaps(), usize::from(!cfg!(feature = "v2")));
    assert_eq!(eager.metrics().live.now.objects, 0);
}

#[test]
fn detaching_with_work_pending_frees_it_all() {
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attach().unwrap();
    drop(graph::chain(&mutator, 100_000).root);
    drop(graph::texts(&mutator, 1).root);
    mutator.collect(Budget::Units(1_000));
    assert!(mutator.metrics().pending.now.objects > 0);
    assert_eq!(mutator.detach().live, Tally::default());
}

#[test]
fn a_panic_at_detach_comes_out_of_it_after_all_is_freed() {
    let runtime = Runtime::new().unwrap();
    for explicit in [true, false] {
        let mutator = runtime.attach().unwrap();
        let dropped = Rc::new(Cell::new(0));
        drop(carriers(&mutator, 100, &dropped));
        let result = catch_unwind(AssertUnwindSafe(|| match explicit {
            true => _ = mutator.detach(),
            false => drop(mutator),
        }));
        assert!(result.is_err());
        assert_eq!(dropped.get(), 200);
    }
}

/// One panics while the list of handlers is being dropped, and then the next: each by itself, or the process would end.
#[test]
fn handlers_whose_captures_panic_are_all_dropped() {
    let runtime = Runtime::new().unwrap();
    for explicit in [true, false] {
        let mutator = runtime.attach().unwrap();
        let dropped = Rc::new(Cell::new(0));
        for armed in [true, false, true] {
            let bomb = || Bomb { armed, dropped: Rc::clone(&dropped) };
            let [on_beat, on_pressure] = [bomb(), bomb()];
            mutator.on_beat(When::Every(1), move |_, _| _ = &on_beat).unwrap();
            mutator.on_pressure(move |_, _| _ = &on_pressure).unwrap();
        }
        let result = catch_unwind(AssertUnwindSafe(|| match explicit {
            true => _ = mutator.detach(),
            false => drop(mutator),
        }));
        assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), "a drop's panic");
        assert_eq!(dropped.get(), 6);
    }
}

#[test]
fn handles_outlive_their_mutator_and_free_what_they_hold_when_they_go() {
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attach().unwrap();
    let dropped = Rc::new(Cell::new(0));
    let built = graph::tree(&mutator, 10_000);
    let carrier = carriers(&mutator, 100, &dropped);
    let left = mutator.detach();
    assert_eq!(left.live.objects, 10_100);
    assert_eq!(runtime.idle_heaps(), 0, "its heap is not handed on while objects of it live");
    drop(built.root);
    // The hundred panics: one comes out, as from any drop.
    assert!(catch_unwind(AssertUnwindSafe(|| drop(carrier))).is_err());
    assert_eq!(dropped.get(), 200);
    assert_eq!(runtime.idle_heaps(), usize::from(!cfg!(feature = "v2")));
}

/// As simple as an object can be with a slot, so that it takes the short way through the drain; its trace panics.
struct Touchy {
    next: Option<Ref<Touchy>>,
    times: Cell<u32>,
}

// SAFETY: 1, 2: the one slot. 3, 4: nothing else to drop. 5: changes a cell that no slot depends on.
unsafe impl Trace for Touchy {
    const SLOTS: Slots = Slots::Fixed(1);
    const RESIDUE: bool = false;
    fn trace(&self, tracer: &mut Tracer<'_>) {
        if self.times.get() > 0 {
            self.times.set(self.times.get() - 1);
            panic!("a trace's panic");
        }
        self.next.trace(tracer);
    }
    unsafe fn drop_residue(&mut self) {}
}

/// Ten in a row, of which the one at `at` panics so many times. The first of a chain is taken from the queue, the others are
/// carried.
fn touchy(mutator: &Mutator, at: u32, times: u32) -> Option<Ref<Touchy>> {
    let mut head = None;
    for index in (0..10).rev() {
        let times = Cell::new(if index == at { times } else { 0 });
        head = Some(mutator.alloc(Touchy { next: head, times }).unwrap());
    }
    head
}

#[test]
fn a_simple_object_whose_trace_panics_is_taken_up_again_or_given_up() {
    for (at, budget) in [(0, Budget::Unbounded), (5, Budget::Unbounded), (5, Budget::Units(3)), (9, Budget::Units(1))] {
        let runtime = Runtime::new().unwrap();
        let mutator = runtime.attach().unwrap();
        drop(touchy(&mutator, at, 1));
        let mut panics = 0;
        while mutator.metrics().pending.now.objects > 0 {
            panics += u32::from(catch_unwind(AssertUnwindSafe(|| mutator.collect(budget))).is_err());
        }
        let metrics = mutator.metrics();
        assert_eq!(
            (panics, metrics.freed, metrics.live.now),
            (1, metrics.allocated, Tally::default()),
            "{at} {budget:?}"
        );

        drop(touchy(&mutator, at, u32::MAX));
        while mutator.metrics().pending.now.objects > 0 {
            let _ = catch_unwind(AssertUnwindSafe(|| mutator.collect(budget)));
        }
        let metrics = mutator.metrics();
        assert_eq!(metrics.abandoned.objects, 1);
        assert_eq!(metrics.freed.objects, 10 + u64::from(at));
        assert_eq!(metrics.live.now.objects, u64::from(9 - at), "what only the abandoned one refers to leaks with it");
        drop(mutator);
        // With live objects the heap waits for them. Without, it goes to the next mutator, and never to the engine.
        let idle = usize::from(at == 9 && !cfg!(feature = "v2"));
        assert_eq!([runtime.idle_heaps(), runtime.lost_heaps(), runtime.release_idle_heaps()], [idle, idle, 0]);
    }
}
