//! `Mutator::destroy`: what goes, what stands in the way of it, and that nothing is lost.

use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use mimalloc_runtime::cell::RefCell as Watched;
use mimalloc_runtime::{
    Budget, DestroyError, Destroyed, ErrorKind, Mutator, Object, Pacing, Ref, Residues, Runtime, Slots, Tail, Trace,
    Tracer, When, raw,
};

use crate::SCALE;

/// Counts its drops, and panics in some.
struct Counted {
    dropped: Rc<Cell<u64>>,
    panics: bool,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.dropped.set(self.dropped.get() + 1);
        assert!(!self.panics, "a drop's panic");
    }
}

/// Two types: of one of them objects are borrowed mutably somewhere, which makes another way of the proof.
#[derive(Trace)]
struct Node<const LENT: bool = false> {
    others: Watched<Vec<Ref<Node<LENT>>>>,
    #[trace(skip)]
    _counted: Counted,
}

/// Makes nodes, and knows what became of them.
#[derive(Default)]
struct Nodes<const LENT: bool = false> {
    made: Cell<u64>,
    dropped: Rc<Cell<u64>>,
}

fn nodes() -> Nodes {
    Nodes::default()
}

impl<const LENT: bool> Nodes<LENT> {
    fn node_that(&self, mutator: &Mutator, panics: bool) -> Ref<Node<LENT>> {
        self.made.set(self.made.get() + 1);
        let counted = Counted { dropped: Rc::clone(&self.dropped), panics };
        mutator.alloc(Node { others: Watched::default(), _counted: counted }).map_err(|e| e.map(drop)).unwrap()
    }

    fn node(&self, mutator: &Mutator) -> Ref<Node<LENT>> {
        self.node_that(mutator, false)
    }

    fn ring(&self, mutator: &Mutator, length: usize) -> Ref<Node<LENT>> {
        let all: Vec<_> = (0..length).map(|_| self.node(mutator)).collect();
        for (index, node) in all.iter().enumerate() {
            node.others.borrow_mut().push(all[(index + 1) % length].clone());
        }
        all[0].clone()
    }

    fn are_gone(&self) {
        assert_eq!(self.dropped.get(), self.made.get(), "each was dropped once");
        assert_eq!(Rc::strong_count(&self.dropped), 1);
    }
}

#[derive(Trace)]
struct Pair(Option<Ref<Pair>>, Option<Ref<Pair>>);

/// In which the object lies further on in its block.
#[derive(Trace)]
#[repr(align(256))]
struct Aligned(Watched<Option<Ref<Aligned>>>);

fn chain(mutator: &Mutator, length: usize) -> Ref<Pair> {
    let mut head = mutator.alloc(Pair(None, None)).unwrap();
    for _ in 1..length {
        head = mutator.alloc(Pair(Some(head), None)).map_err(|e| e.map(drop)).unwrap();
    }
    head
}

fn attach() -> Mutator {
    Runtime::new().unwrap().attach().unwrap()
}

/// Destroys it, and checks that everything is told to have been freed.
#[track_caller]
fn gone(mutator: Mutator) -> Destroyed {
    let (watch, before) = (mutator.watch(), mutator.metrics());
    let gone = mutator.destroy(0).unwrap();
    let after = watch.metrics();
    assert!(!watch.is_attached());
    assert_eq!((after.freed, after.allocated), (before.allocated, before.allocated));
    assert_eq!(
        (after.live.now.objects, after.pending.now.objects, after.in_use_bytes, after.block_bytes),
        (0, 0, 0, 0)
    );
    assert_eq!((gone.live, gone.pending, gone.block_bytes), (before.live.now, before.pending.now, before.block_bytes));
    gone
}

/// It is refused, and the mutator does its work as before.
#[track_caller]
fn refused(mutator: Mutator, kind: ErrorKind, why: &str) -> Mutator {
    let before = mutator.metrics();
    let DestroyError { mutator, error } = mutator.destroy(0).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(why), "{error}");
    let after = mutator.metrics();
    assert_eq!(
        (after.live, after.pending, after.freed, after.steps),
        (before.live, before.pending, before.freed, before.steps)
    );
    let extra = chain(&mutator, 10);
    assert_eq!(extra.0.as_ref().map(|next| next.1.is_none()), Some(true));
    mutator
}

#[test]
fn a_heap_of_everything_goes_at_once() {
    let runtime = Runtime::new().unwrap();
    let nodes = nodes();
    let mutator = runtime.attach().unwrap();
    // A large block that is dead, one that is not, and one that waits only for its memory to be freed.
    let bytes = 17 << 20;
    let large = || -> Ref<Tail<(), u8>> { mutator.alloc_tail_copy((), &vec![1u8; bytes]).unwrap() };
    drop(large());
    while !mutator.collect(Budget::Units(1000)).is_done() {}
    assert_eq!(mutator.metrics().large.objects, 1);
    drop(mutator.alloc_tail((), 5, |_| large()).unwrap());
    drop(nodes.ring(&mutator, 100_000 / SCALE));
    drop(chain(&mutator, 100_000 / SCALE));
    let hub = nodes.node(&mutator);
    for _ in 0..1000 / SCALE {
        let spoke = nodes.ring(&mutator, 3);
        spoke.others.borrow_mut().push(hub.clone());
        hub.others.borrow_mut().push(spoke);
    }
    drop(hub);
    let aligned = mutator.alloc(Aligned(Watched::default())).map_err(|e| e.map(drop)).unwrap();
    *aligned.0.borrow_mut() = Some(aligned.clone());
    drop(aligned);
    for size in [1, 100, 5000, 20 << 20] {
        let block = mutator.allocate(Layout::from_size_align(size, 8).unwrap()).unwrap();
        // SAFETY: of this size.
        unsafe { block.write_bytes(7, size) };
    }
    let gone = gone(mutator);
    assert!(gone.block_bytes > 20 << 20 && gone.pending.bytes > 17 << 20);
    nodes.are_gone();
    // The next one finds nothing of it.
    assert_eq!((runtime.metrics().ended, runtime.metrics().in_use_bytes, runtime.idle_heaps()), (1, 0, 0));
    let next = runtime.attach().unwrap();
    assert_eq!(next.areas().unwrap().iter().map(|area| area.used).sum::<usize>(), 0);
    assert_eq!(next.destroy(0).unwrap().live.objects, 0);
}

/// After every number of units of draining and searching, so at every point of a trial and in the middle of objects.
fn it_goes_from_wherever<const LENT: bool>() {
    for pacing in [Pacing::default(), Pacing::stress()] {
        let mut done = 0;
        for units in 0.. {
            let mutator = Runtime::new().unwrap().attaching().pacing(pacing).attach().unwrap();
            let nodes = Nodes::<LENT>::default();
            if LENT {
                lend(&mutator, &nodes);
            }
            // Garbage that leads to garbage, to what is dead, and to what waits.
            let ring = nodes.ring(&mutator, 5);
            let other = nodes.ring(&mutator, 3);
            ring.others.borrow_mut().push(other.clone());
            other.others.borrow_mut().push(nodes.node(&mutator));
            drop((ring, other));
            let wide = nodes.node(&mutator);
            for _ in 0..20 {
                wide.others.borrow_mut().push(nodes.node(&mutator));
            }
            drop((wide, chain(&mutator, 10)));
            for _ in 0..units {
                mutator.collect(Budget::Units(1));
            }
            let metrics = mutator.metrics();
            gone(mutator);
            nodes.are_gone();
            done += u64::from(metrics.live.now.objects == 0 && metrics.pending.now.objects == 0);
            if done > 3 {
                assert!(units > 50);
                break;
            }
        }
    }
}

#[test]
fn it_goes_from_wherever_collections_have_come_to() {
    it_goes_from_wherever::<false>();
    it_goes_from_wherever::<true>();
}

/// Borrows one mutably, for a moment.
fn lend<const LENT: bool>(mutator: &Mutator, nodes: &Nodes<LENT>) {
    let mut node = nodes.node(mutator);
    assert!(Ref::get_mut(&mut node).unwrap().others.get_mut().is_empty());
}

/// A handle somewhere keeps everything, at whatever point of a collection; and what it refers to lives on.
#[test]
fn one_handle_stands_in_the_way() {
    for units in 0..150 {
        let nodes = nodes();
        let mut mutator = attach();
        let ring = nodes.ring(&mutator, 5);
        drop(nodes.ring(&mutator, 4));
        let kept = ring.others.borrow()[0].clone();
        drop((ring, chain(&mutator, 5)));
        for _ in 0..units {
            mutator.collect(Budget::Units(1));
        }
        mutator = refused(mutator, ErrorKind::InUse, "refers to objects");
        assert_eq!(kept.others.borrow().len(), 1);
        while !mutator.collect(Budget::Units(7)).is_done() {}
        assert_eq!(nodes.made.get() - nodes.dropped.get(), 5, "the garbage has gone");
        drop(kept);
        gone(mutator);
        nodes.are_gone();
    }
}

#[test]
fn what_may_refer_to_it_from_elsewhere_stands_in_the_way() {
    let nodes = nodes();
    // A handler.
    let mut mutator = attach();
    let held = nodes.node(&mutator);
    let handler = mutator.on_beat(When::Every(1), move |_, _| assert!(held.others.borrow().is_empty())).unwrap();
    mutator = refused(mutator, ErrorKind::InUse, "handlers");
    mutator.charge(100_000);
    mutator.unsubscribe(handler);
    gone(mutator);

    // An object of another mutator.
    let (mut mutator, other) = (attach(), attach());
    let elsewhere = other.alloc(Some(nodes.node(&mutator))).unwrap();
    mutator = refused(mutator, ErrorKind::InUse, "refers to objects");
    drop(elsewhere);
    other.collect(Budget::Unbounded);
    gone(mutator);

    // A field that is not traced.
    #[derive(Trace)]
    struct Skipping(#[trace(skip)] Option<Ref<Node>>);
    let mut mutator = attach();
    let object = mutator.alloc(Skipping(Some(nodes.node(&mutator)))).unwrap();
    let pair = mutator.alloc((object.clone(), 1)).unwrap();
    assert!(object.0.is_some());
    drop((object, pair));
    mutator = refused(mutator, ErrorKind::InUse, "skipped fields");
    mutator.collect(Budget::Unbounded);
    gone(mutator);

    // Other threads.
    let mut mutator = attach();
    let remote = mutator.remote_free();
    mutator = refused(mutator, ErrorKind::NotAlone, "RemoteFree");
    drop(remote);
    gone(mutator);

    // What is not counted.
    let mut mutator = attach();
    let immortal = mutator.alloc(7u64).unwrap();
    // SAFETY: alive.
    unsafe { raw::make_immortal(Ref::as_raw(&immortal)) };
    mutator = refused(mutator, ErrorKind::InUse, "immortal");
    assert_eq!(*immortal, 7);
    // SAFETY: neither the immortal object nor anything else is used again; the handle is not dropped before.
    unsafe { mutator.destroy_unchecked(Residues::Drop) }.unwrap();
    std::mem::forget(immortal);
    nodes.are_gone();
}

#[test]
fn blocks_of_earlier_mutators_stand_in_the_way() {
    let runtime = Runtime::new().unwrap();
    let (layout, first) = (Layout::new::<u64>(), runtime.attach().unwrap());
    let (block, remote) = (first.allocate(layout).unwrap(), first.remote_free());
    drop(first);
    let mut second = runtime.attach().unwrap();
    if cfg!(feature = "v2") {
        // Its heap was bound to the first.
        gone(second);
    } else {
        second = refused(second, ErrorKind::NotAlone, "earlier mutators");
        // SAFETY: allocated above with this layout.
        unsafe { remote.free(block, layout) };
        gone(second);
    }
}

/// Nobody looks at what is borrowed mutably: this runs under tools that would see a read of what is being written.
#[test]
fn what_is_borrowed_is_not_looked_at() {
    let mutator = attach();
    let mut pair = mutator.alloc(Pair(Some(chain(&mutator, 3)), None)).map_err(|e| e.map(drop)).unwrap();
    let borrowed = Ref::get_mut(&mut pair).unwrap();
    let mutator = refused(mutator, ErrorKind::InUse, "refers to objects");
    borrowed.1 = borrowed.0.take();
    assert!(pair.0.is_none() && pair.1.is_some());
    drop(pair);
    gone(mutator);

    // A borrow that never ends, of an object that nobody refers to.
    let nodes = nodes();
    let mutator = attach();
    let ring = nodes.ring(&mutator, 2);
    std::mem::forget(ring.others.borrow_mut());
    drop(ring);
    let mutator = refused(mutator, ErrorKind::InUse, "refers to objects");
    assert_eq!(mutator.detach().live.objects, 2);
}

thread_local! {
    static OWN: RefCell<Option<Mutator>> = const { RefCell::new(None) };
    static ANSWERS: RefCell<Vec<ErrorKind>> = const { RefCell::new(Vec::new()) };
}

/// Destroys the mutator of its thread, if it can.
struct Destroys;

impl Drop for Destroys {
    fn drop(&mut self) {
        let Some(mutator) = OWN.take() else { return };
        let DestroyError { mutator, error } = mutator.destroy(0).unwrap_err();
        ANSWERS.with_borrow_mut(|answers| answers.push(error.kind()));
        OWN.set(Some(mutator));
    }
}

#[test]
fn code_that_it_has_called_cannot_destroy_it() {
    #[derive(Trace)]
    struct Holder(#[trace(skip)] Destroys);
    let mutator = Runtime::new().unwrap().attaching().pacing(Pacing::eager()).attach().unwrap();
    let holder = mutator.alloc(Holder(Destroys)).map_err(|e| e.map(drop)).unwrap();
    let other = mutator.alloc(Holder(Destroys)).map_err(|e| e.map(drop)).unwrap();
    OWN.set(Some(mutator));
    drop(holder);
    assert_eq!(ANSWERS.take(), [ErrorKind::InUse]);
    drop(other);
    assert_eq!(ANSWERS.take(), [ErrorKind::InUse]);
    gone(OWN.take().unwrap());
}

#[test]
fn a_panic_that_was_kept_comes_first() {
    let nodes = nodes();
    let mut mutator = Runtime::new().unwrap().attaching().pacing(Pacing::eager()).attach().unwrap();
    drop(nodes.node_that(&mutator, true));
    mutator = refused(mutator, ErrorKind::InUse, "panic");
    assert!(catch_unwind(AssertUnwindSafe(|| mutator.safepoint())).is_err());
    gone(mutator);
    nodes.are_gone();
}

#[test]
fn drops_that_panic_keep_nothing_from_being_dropped() {
    let nodes = nodes();
    let mutator = attach();
    let hub = nodes.node(&mutator);
    for index in 0..100 {
        let node = nodes.node_that(&mutator, index % 3 == 0);
        node.others.borrow_mut().push(hub.clone());
        hub.others.borrow_mut().push(node);
    }
    drop((hub, nodes.node_that(&mutator, true)));
    let watch = mutator.watch();
    let panic = catch_unwind(AssertUnwindSafe(|| mutator.destroy(0))).unwrap_err();
    assert_eq!(*panic.downcast::<&str>().unwrap(), "a drop's panic");
    assert_eq!((watch.metrics().panics, watch.is_attached()), (35, false));
    nodes.are_gone();
}

/// A type whose `trace` panics as often as it is told to.
struct Panics(Rc<Cell<u32>>, Option<Ref<u64>>);

// SAFETY: 1, 2: one slot. 3, 4: the rest is dropped. 5, 6: nothing is changed, or can be.
unsafe impl Trace for Panics {
    const SLOTS: Slots = Slots::Fixed(1);
    const RESIDUE: bool = true;
    fn trace(&self, tracer: &mut Tracer<'_>) {
        if let Some(left) = self.0.get().checked_sub(1) {
            self.0.set(left);
            panic!("a trace's panic");
        }
        self.1.trace(tracer);
    }
    unsafe fn drop_residue(&mut self) {
        // SAFETY: not used again, not even dropped.
        drop(unsafe { std::ptr::read(&self.0) });
    }
}

#[test]
fn a_trace_that_panics_stands_in_the_way() {
    let mutator = attach();
    let panics = Rc::new(Cell::new(1));
    let leaf = mutator.alloc(5u64).unwrap();
    drop(mutator.alloc(Panics(Rc::clone(&panics), Some(leaf))).map_err(|e| e.map(drop)).unwrap());
    let mutator = refused(mutator, ErrorKind::InUse, "trace has panicked");
    assert!(catch_unwind(AssertUnwindSafe(|| mutator.safepoint())).is_err());
    // Given up, with what it refers to: where it panics twice at one slot.
    panics.set(2);
    for _ in 0..2 {
        _ = catch_unwind(AssertUnwindSafe(|| mutator.collect(Budget::Unbounded)));
    }
    assert_eq!(mutator.metrics().abandoned.objects, 1);
    let mutator = refused(mutator, ErrorKind::InUse, "refers to objects");
    mutator.collect(Budget::Unbounded);
    // SAFETY: nobody uses anything of it again.
    let gone = unsafe { mutator.destroy_unchecked(Residues::Drop) }.unwrap();
    assert_eq!((gone.live.objects, gone.residues, Rc::strong_count(&panics)), (1, 0, 2), "what was given up is leaked");
}

/// References to objects of others are given up, and those die, at once or later.
#[test]
fn what_it_holds_of_others_is_let_go() {
    for (pacing, checked) in [(Pacing::default(), true), (Pacing::eager(), true), (Pacing::default(), false)] {
        let nodes = nodes();
        let runtime = Runtime::new().unwrap();
        let other = runtime.attaching().pacing(pacing).attach().unwrap();
        let mutator = runtime.attach().unwrap();
        let (shared, alone) = (nodes.node(&other), nodes.node(&other));
        let own: Ref<Tail<(), Ref<Node>>> = mutator.alloc_tail((), 100, |_| shared.clone()).unwrap();
        let more = mutator.alloc((own, alone)).unwrap();
        // Half way through it.
        drop(more);
        mutator.collect(Budget::Units(40));
        match checked {
            true => _ = gone(mutator),
            // SAFETY: nobody has a handle to an object of it.
            false => _ = unsafe { mutator.destroy_unchecked(Residues::Drop) }.unwrap(),
        }
        assert!(Ref::is_unique(&shared));
        other.collect(Budget::Unbounded);
        assert_eq!((nodes.dropped.get(), nodes.made.get()), (1, 2), "one has died of it");
        drop(shared);
        gone(other);
        nodes.are_gone();
    }
}

/// A table that knows objects without counting them, as of strings: nothing is taken up from it while the heap goes.
/// Objects of a mutator that has gone are dropped where the last reference is given up, and so is what panics then.
#[test]
fn what_others_panic_with_keeps_nothing_from_being_let_go() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("dropped");
            }
        }
    }
    #[derive(Trace)]
    struct Held {
        #[trace(skip)]
        _panics: Panics,
    }
    let runtime = Runtime::new().unwrap();
    let (gone, mutator) = (runtime.attach().unwrap(), runtime.attach().unwrap());
    let held = |_| gone.alloc(Held { _panics: Panics }).map_err(drop).unwrap();
    drop(mutator.alloc_tail((), 5, held).unwrap());
    let holds: Vec<_> = (0..3).map(|_| mutator.alloc_tail((), 5, held).unwrap()).collect();
    // So that they are found in objects.
    drop(mutator.alloc_tail((), 3, |index| holds[index].clone()).unwrap());
    drop(holds);
    assert_eq!(gone.detach().live.objects, 20);
    let caught = catch_unwind(AssertUnwindSafe(|| mutator.destroy(0).map(drop).map_err(drop)));
    assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"dropped"));
    assert_eq!(runtime.metrics().lingering, 0);
}

#[test]
fn what_goes_is_not_taken_up_again() {
    type Table = Rc<RefCell<Vec<std::ptr::NonNull<Object>>>>;
    struct Entry(Table, Cell<Option<std::ptr::NonNull<Object>>>);
    impl Drop for Entry {
        fn drop(&mut self) {
            let mut table = self.0.borrow_mut();
            table.retain(|other| Some(*other) != self.1.get());
            for other in table.iter() {
                // SAFETY: in the table, so its value was not dropped yet.
                assert!(!unsafe { raw::try_retain(*other) });
            }
        }
    }
    #[derive(Trace)]
    struct Known {
        others: Watched<Vec<Ref<Known>>>,
        #[trace(skip)]
        entry: Entry,
    }
    let (mutator, table) = (attach(), Table::default());
    let known = || {
        let entry = Entry(Rc::clone(&table), Cell::new(None));
        let known = mutator.alloc(Known { others: Watched::default(), entry }).map_err(|e| e.map(drop)).unwrap();
        known.entry.1.set(Some(Ref::as_raw(&known)));
        table.borrow_mut().push(Ref::as_raw(&known));
        known
    };
    let (first, second) = (known(), known());
    first.others.borrow_mut().extend([second.clone(), known()]);
    second.others.borrow_mut().push(first.clone());
    drop((first, second));
    assert_eq!((gone(mutator).residues, table.borrow().len()), (3, 0));
}

#[test]
fn unchecked_leaks_or_drops_as_it_is_told_to() {
    for (residues, dropped) in [(Residues::Drop, 10), (Residues::Leak, 0)] {
        let nodes = nodes();
        let mutator = attach();
        let kept: Vec<_> = (0..7).map(|_| nodes.node(&mutator)).collect();
        drop(nodes.ring(&mutator, 3));
        let watch = mutator.watch();
        // SAFETY: the handles are forgotten.
        let gone = unsafe { mutator.destroy_unchecked(residues) }.unwrap();
        std::mem::forget(kept);
        assert_eq!((gone.residues, nodes.dropped.get(), gone.live.objects), (dropped, dropped, 10));
        assert_eq!((watch.is_attached(), watch.metrics().freed.objects), (false, 10));
    }
}

/// Programs that make, link, unlink and drop, and collect a little, against what is known of their handles.
#[test]
fn it_is_refused_exactly_if_there_is_a_handle() {
    programs::<false>();
    programs::<true>();
}

fn programs<const LENT: bool>() {
    let mut random = 7u64;
    let mut below = |most: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % most.max(1)
    };
    let mut most_live = 0;
    for _ in 0..2_000 / SCALE {
        let nodes = Nodes::<LENT>::default();
        let mut mutator = attach();
        let mut handles: Vec<Ref<Node<LENT>>> = Vec::new();
        for _ in 0..below(200) {
            match below(8) {
                0..=2 => handles.push(nodes.node(&mutator)),
                3 | 4 if !handles.is_empty() => {
                    let (from, to) = (below(handles.len()), below(handles.len()));
                    handles[from].others.borrow_mut().push(handles[to].clone());
                }
                5 if !handles.is_empty() => _ = handles.swap_remove(below(handles.len())),
                6 if !handles.is_empty() => {
                    let at = below(handles.len());
                    // Leaves no trace of itself but a borrow.
                    if !LENT || Ref::get_mut(&mut handles[at]).is_none() {
                        handles[at].others.borrow_mut().pop();
                    }
                }
                _ => _ = mutator.collect(Budget::Units(below(20) as u64)),
            }
        }
        while !handles.is_empty() {
            mutator = refused(mutator, ErrorKind::InUse, "refers to objects");
            handles.truncate(below(handles.len()));
        }
        let gone = gone(mutator);
        most_live = gone.live.objects.max(most_live);
        nodes.are_gone();
    }
    assert!(most_live > 20, "some were garbage in cycles");
}
