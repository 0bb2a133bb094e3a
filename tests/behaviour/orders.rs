//! Orders of events that no program should have and some do: ends before beginnings, handlers and destructors that attach and
//! detach, handles that outlive everything.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use mimalloc_runtime::{Budget, HookCall, Mutator, Pacing, Ref, Runtime, Tally, Trace, When, register_deferred_free};

use crate::graph::{self, Node, node};

/// Idle heaps of a runtime whose only mutator has gone with all its objects. Version 2 has none: its heaps are the thread's.
const ONE_IDLE: usize = if cfg!(feature = "v2") { 0 } else { 1 };

fn nothing_lives(mutator: &Mutator) {
    assert!(mutator.collect(Budget::Unbounded).is_done());
    let metrics = mutator.metrics();
    assert_eq!((metrics.live.now, metrics.freed), (Tally::default(), metrics.allocated));
}

/// Every order in which four mutators of a thread can be detached, each with a handle that goes before, with or after it.
#[test]
fn mutators_of_a_thread_may_be_detached_in_any_order() {
    fn orders(of: usize) -> Vec<Vec<usize>> {
        let Some(last) = of.checked_sub(1) else { return vec![vec![]] };
        let with_last = |order: Vec<usize>| {
            (0..of).map(move |at| {
                let mut order = order.clone();
                order.insert(at, last);
                order
            })
        };
        orders(last).into_iter().flat_map(with_last).collect()
    }
    for (index, order) in orders(4).into_iter().enumerate() {
        let runtime = Runtime::new().unwrap();
        let mut mutators: Vec<Option<Mutator>> = (0..4).map(|_| Some(runtime.attach().unwrap())).collect();
        let mut roots: Vec<_> = mutators.iter().flatten().map(|mutator| Some(graph::tree(mutator, 100).root)).collect();
        // An object of the first that holds one of the last.
        let held = node(mutators[3].as_ref().unwrap(), None, None);
        let holder = node(mutators[0].as_ref().unwrap(), Some(held), None);
        for (step, at) in order.into_iter().enumerate() {
            if (index + step) % 2 == 0 {
                roots[at] = None;
            }
            let left = mutators[at].take().unwrap().detach().live;
            assert_eq!(left.objects > 0, roots[at].is_some() || at % 3 == 0, "{index}, {step}");
        }
        drop(roots);
        drop(holder);
        assert_eq!(runtime.idle_heaps(), 4 * ONE_IDLE);
    }
}

#[test]
fn a_handle_may_outlive_its_mutator_and_its_runtime() {
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attach().unwrap();
    let tail = mutator.alloc_tail(node(&mutator, None, None), 10_000, |index| index).unwrap();
    drop(mutator);
    drop(runtime);
    assert_eq!(tail.items()[9_999], 9_999);
    let other = tail.clone();
    drop(tail);
    assert!(Ref::is_unique(other.head()));
    drop(other);
}

/// A handle that is leaked keeps its mutator's state on the thread for good. Those that come after it are not disturbed.
#[test]
fn a_forgotten_handle_is_reported_and_disturbs_nobody() {
    let runtime = Runtime::new().unwrap();
    let first = runtime.attach().unwrap();
    let kept = graph::tree(&first, 1_000).root;
    std::mem::forget(kept);
    assert_eq!(first.detach().live.objects, 1_000);
    assert_eq!(runtime.idle_heaps(), 0, "the heap of leaked objects is not handed on");
    for _ in 0..3 {
        let next = runtime.attach().unwrap();
        drop(graph::tree(&next, 1_000).root);
        nothing_lives(&next);
    }
    assert_eq!(runtime.idle_heaps(), ONE_IDLE);
}

#[test]
fn a_forgotten_mutator_leaves_the_thread_as_it_was() {
    let runtime = Runtime::new().unwrap();
    let thread = thread::spawn(move || {
        let first = runtime.attach().unwrap();
        let root = graph::tree(&first, 1_000).root;
        std::mem::forget(first);
        let second = runtime.attach().unwrap();
        let other = graph::tree(&second, 1_000).root;
        drop((root, other));
        nothing_lives(&second);
        assert_eq!(second.detach().live, Tally::default());
    });
    thread.join().unwrap();
}

/// Runs when its thread ends, among the destructors of the thread's variables.
struct AtEnd(Option<Box<dyn FnOnce()>>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        self.0.take().unwrap()();
    }
}

thread_local! {
    static AT_END: RefCell<Vec<AtEnd>> = const { RefCell::new(Vec::new()) };
}

fn at_the_end_of_a_thread(f: impl FnOnce(&Runtime) + Send + 'static) {
    let runtime = Runtime::new().unwrap();
    let (sender, receiver) = mpsc::channel();
    let inner = runtime.clone();
    let thread = thread::spawn(move || {
        let f = move || {
            f(&inner);
            sender.send(()).unwrap();
        };
        AT_END.with_borrow_mut(|at_end| at_end.push(AtEnd(Some(Box::new(f)))));
    });
    thread.join().unwrap();
    receiver.recv().expect("the destructor came to its end");
}

#[test]
fn a_mutator_may_be_attached_in_a_thread_local_destructor() {
    at_the_end_of_a_thread(|runtime| {
        let mutator = runtime.attach().unwrap();
        drop(graph::tree(&mutator, 10_000).root);
        nothing_lives(&mutator);
    });
}

#[test]
fn a_mutator_attached_in_a_thread_local_destructor_may_be_forgotten() {
    at_the_end_of_a_thread(|runtime| {
        let mutator = runtime.attach().unwrap();
        drop(graph::tree(&mutator, 10_000).root);
        std::mem::forget((node(&mutator, None, None), mutator));
    });
}

/// A handler cannot take away the mutator that it runs for: whoever allocates has it borrowed. The attempt is a panic like any
/// other, and the handler can do it between allocations.
#[test]
fn a_beat_handler_that_takes_its_own_mutator_away_finds_it_borrowed() {
    let own: Rc<RefCell<Option<Mutator>>> = Rc::default();
    let mutator = Runtime::new().unwrap().attaching().beat_bytes(1024).unwrap().attach().unwrap();
    let (inner, calls) = (Rc::downgrade(&own), Rc::new(Cell::new(0)));
    let seen = Rc::clone(&calls);
    let subscribed = mutator.on_beat(When::Every(1), move |_, _| {
        seen.set(seen.get() + 1);
        drop(inner.upgrade().unwrap().borrow_mut().take());
    });
    subscribed.unwrap();
    own.replace(Some(mutator));
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mutator = own.borrow();
        let mutator = mutator.as_ref().unwrap();
        for _ in 0..100 {
            node(mutator, None, None);
        }
        mutator.safepoint();
    }));
    assert!(result.is_err() && calls.get() == 3, "{calls:?}");
    let mutator = own.take().unwrap();
    nothing_lives(&mutator);
}

/// The drop of an object, under eager freeing, is no borrow of its mutator: there it can be taken away, and is freed when the
/// drop has come back.
#[test]
fn a_drop_may_take_its_own_mutator_away() {
    struct Takes(Rc<RefCell<Option<Mutator>>>);
    impl Drop for Takes {
        fn drop(&mut self) {
            drop(self.0.take());
        }
    }
    #[derive(Trace)]
    struct Object(#[trace(skip)] Takes, Option<Ref<Object>>);
    let runtime = Runtime::new().unwrap();
    let own: Rc<RefCell<Option<Mutator>>> = Rc::default();
    let mutator = runtime.attaching().pacing(Pacing::eager()).attach().unwrap();
    let mut head = None;
    for _ in 0..100 {
        head = Some(mutator.alloc(Object(Takes(Rc::clone(&own)), head)).unwrap());
    }
    own.replace(Some(mutator));
    drop(head);
    assert!(own.borrow().is_none());
    assert_eq!((Rc::strong_count(&own), runtime.idle_heaps()), (1, ONE_IDLE));
}

/// Mutators that a drop has attached, each with an object of its own.
type Attached = Rc<RefCell<Vec<(Mutator, Ref<Node>)>>>;

/// Attaches a mutator in the middle of another one's drain, whose objects had been alone on the thread until then.
#[test]
fn a_drop_may_attach_and_detach_other_mutators() {
    struct Attaches {
        runtime: Runtime,
        kept: Attached,
    }
    impl Drop for Attaches {
        fn drop(&mut self) {
            let mutator = self.runtime.attach().unwrap();
            drop(graph::tree(&mutator, 10).root);
            let node = node(&mutator, None, None);
            let mut kept = self.kept.borrow_mut();
            kept.push((mutator, node));
            if kept.len() > 3 {
                kept.remove(1);
            }
        }
    }
    #[derive(Trace)]
    struct Object(#[trace(skip)] Attaches, [Option<Ref<Node>>; 2], Option<Ref<Object>>);
    for budget in [Budget::Units(1), Budget::Units(10), Budget::Unbounded] {
        let runtime = Runtime::new().unwrap();
        let mutator = runtime.attach().unwrap();
        let kept = Attached::default();
        let mut head = None;
        for _ in 0..20 {
            let attaches = Attaches { runtime: runtime.clone(), kept: Rc::clone(&kept) };
            let mut children = [Some(node(&mutator, None, None)), None];
            // From the second round on some children are another mutator's.
            children[1] = kept.borrow().last().map(|(_, node)| node.clone());
            head = Some(mutator.alloc(Object(attaches, children, head)).unwrap());
        }
        drop(head);
        while !mutator.collect(budget).is_done() {}
        nothing_lives(&mutator);
        assert_eq!(kept.borrow().len(), 3);
        for (mutator, node) in kept.take() {
            drop(node);
            nothing_lives(&mutator);
        }
    }
}

type CallHandler = Box<dyn FnMut(HookCall)>;

thread_local! {
    /// What a process-wide handler, which must be `Send`, can only have from its thread.
    static IN_HANDLER: RefCell<Option<CallHandler>> = const { RefCell::new(None) };
}

/// Runs `f` whenever calls of the engine's hook on this thread are told while `work` runs, and says how often.
pub(crate) fn in_the_hook(f: impl FnMut(HookCall) + 'static, work: impl FnOnce()) -> u64 {
    let calls = Arc::new(AtomicU64::new(0));
    let (seen, here) = (Arc::clone(&calls), thread::current().id());
    let registration = register_deferred_free(move |call| {
        if thread::current().id() == here {
            seen.fetch_add(1, Ordering::Relaxed);
            IN_HANDLER.with_borrow_mut(|f| f.as_mut().unwrap()(call));
        }
    })
    .unwrap();
    IN_HANDLER.replace(Some(Box::new(f)));
    work();
    drop(registration);
    drop(IN_HANDLER.take());
    calls.load(Ordering::Relaxed)
}

/// Allocates until the engine has called the hook.
pub(crate) fn allocate_until_called(mutator: &Mutator) {
    let before = mutator.metrics().engine_calls.routine;
    let mut kept = Vec::new();
    while mutator.metrics().engine_calls.routine == before {
        kept.push(graph::chain(mutator, 10_000).root);
    }
}

/// Has the engine call the hook, and tells of it, so many times.
fn until_told(mutator: &Mutator, times: u64) {
    for _ in 0..times {
        drop(graph::chain(mutator, 10_000).root);
        mutator.release_memory();
    }
}

#[test]
fn a_deferred_free_handler_may_allocate_collect_and_let_go() {
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attach().unwrap();
    let own = Rc::new(runtime.attaching().pacing(Pacing::stress()).attach().unwrap());
    let inner = Rc::clone(&own);
    let mut kept: Vec<Box<dyn std::any::Any>> = Vec::new();
    let work = move |_| {
        kept.push(graph::tree(&inner, 1_000).root);
        kept.push(Box::new(inner.alloc_tail((), 100_000, |index| index as u8).unwrap()));
        if kept.len() > 4 {
            kept.remove(0);
        }
        inner.collect(Budget::Units(100));
    };
    let calls = in_the_hook(work, || until_told(&mutator, 20));
    assert!(calls >= 20, "{calls}");
    nothing_lives(&own);
}

/// The mutator whose safepoint tells of a call is borrowed by that. Any other may go.
#[test]
fn a_deferred_free_handler_may_detach_other_mutators_and_drop_runtimes() {
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attach().unwrap();
    // Some with a handle that goes later, some with a runtime that keeps no heap, so that it is given back at once.
    let mut others = Vec::new();
    for index in 0..30 {
        let runtime = Runtime::builder().idle_heaps(index % 3).build().unwrap();
        let other = runtime.attach().unwrap();
        drop(graph::tree(&other, 1_000).root);
        let kept = (index % 2 == 0).then(|| graph::tree(&other, 100).root);
        others.push((kept, Some(other), runtime));
    }
    let left = Rc::new(Cell::new(others.len()));
    let seen = Rc::clone(&left);
    let work = move |_| {
        // One round takes the mutator, the next its last handle and the runtime.
        let Some((_, other, _)) = others.last_mut() else { return };
        if other.take().is_none() {
            others.pop();
        }
        seen.set(others.len());
    };
    let calls = in_the_hook(work, || until_told(&mutator, 70));
    assert!(calls >= 70 && left.get() == 0, "{calls}, {left:?}");
    drop(graph::tree(&mutator, 1_000).root);
    mutator.collect(Budget::Unbounded);
}
