//! Objects that outlive their mutator: what becomes garbage is freed with the release that makes it so, and a release costs little.

use std::cell::OnceCell;
use std::collections::HashSet;

use mimalloc_runtime::cell::{Cell, RefCell};
use mimalloc_runtime::{Mutator, Ref, Runtime, Slots, Trace, Tracer, Watch, Weak, raw};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::SCALE;

fn units(watch: &Watch) -> u64 {
    watch.metrics().steps.units
}

fn live(watch: &Watch) -> u64 {
    watch.metrics().live.now.objects
}

/// An object of two slots.
#[derive(Trace, Default)]
struct Link {
    next: Cell<Option<Ref<Link>>>,
    previous: Cell<Option<Ref<Link>>>,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    /// One list, linked both ways.
    List,
    /// One chain, linked one way, which no cycle is in.
    Chain,
    /// Rings of ten.
    Rings,
    /// Rings of ten, each of which refers to the next ring.
    RingsInARow,
}

/// Handles to `length` objects, one each.
fn handles(mutator: &Mutator, shape: Shape, length: usize) -> Vec<Ref<Link>> {
    let links: Vec<_> = (0..length).map(|_| mutator.alloc(Link::default()).unwrap()).collect();
    for (at, link) in links.iter().enumerate() {
        let ring = at / 10 * 10;
        let next = match shape {
            Shape::List | Shape::Chain => at + 1,
            Shape::Rings | Shape::RingsInARow => ring + (at + 1) % 10,
        };
        link.next.set(links.get(next).cloned());
        match shape {
            Shape::List if at > 0 => link.previous.set(Some(links[at - 1].clone())),
            Shape::RingsInARow if at % 10 == 3 => link.previous.set(links.get(ring + 10).cloned()),
            _ => {}
        }
    }
    links
}

/// In which order handles are dropped.
const ORDERS: [fn(usize, usize) -> usize; 4] = [
    |at, _| at,
    |at, length| length - 1 - at,
    |at, length| at * 7_919 % length,
    |at, length| {
        // From all rings in turn.
        at % (length / 10) * 10 + at / (length / 10)
    },
];

/// The units of dropping `length` handles after the mutator.
fn cost(shape: Shape, length: usize, order: fn(usize, usize) -> usize) -> u64 {
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attach().unwrap();
    let mut links: Vec<_> = handles(&mutator, shape, length).into_iter().map(Some).collect();
    let watch = mutator.watch();
    assert_eq!(mutator.detach().live.objects, length as u64);
    let before = units(&watch);
    for at in 0..length {
        let link = links[order(at, length)].take();
        assert!(link.is_some());
        if at + 1 == length {
            assert!(live(&watch) > 0);
        }
    }
    assert_eq!((live(&watch), runtime.metrics().lingering), (0, 0));
    units(&watch) - before
}

#[test]
fn twice_as_many_handles_cost_twice_as_much() {
    for shape in [Shape::List, Shape::Chain, Shape::Rings, Shape::RingsInARow] {
        for order in ORDERS {
            // A multiple of 10, and of no factor of 7,919.
            let [once, twice] = [1, 2].map(|times| cost(shape, times * 10_000 / SCALE, order));
            assert!(once >= 10_000 / SCALE as u64 && once < 200_000 / SCALE as u64, "{shape:?}: {once}");
            assert!(twice * 10 > once * 19 && twice * 10 < once * 21, "{shape:?}: {once}, {twice}");
        }
    }
}

/// Where objects refer to what others are held through, their deaths give references up as handles do.
#[test]
fn what_dies_gives_references_up_at_the_same_cost() {
    let cost = |length: usize| {
        let runtime = Runtime::new().unwrap();
        let mutator = runtime.attach().unwrap();
        let holders: Vec<_> = handles(&mutator, Shape::List, length)
            .into_iter()
            .map(|link| mutator.alloc((link, RefCell::new(None::<Ref<Link>>))).unwrap())
            .collect();
        let watch = mutator.watch();
        drop(mutator);
        let before = units(&watch);
        drop(holders);
        assert_eq!((live(&watch), runtime.metrics().lingering), (0, 0));
        units(&watch) - before
    };
    let [once, twice] = [1, 2].map(|times| cost(times * 10_000 / SCALE));
    assert!(twice * 10 < once * 21, "{once}, {twice}");
}

/// A cell that is empty when it is looked at may be filled, and nobody is told.
#[test]
fn a_cell_that_is_filled_once_closes_a_cycle() {
    #[derive(Trace, Default)]
    struct Lazy {
        next: Cell<Option<Ref<Lazy>>>,
        once: OnceCell<Ref<Lazy>>,
    }
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attach().unwrap();
    let [first, second] = [(); 2].map(|()| mutator.alloc(Lazy::default()).unwrap());
    first.next.set(Some(second.clone()));
    second.next.set(Some(first.clone()));
    drop(mutator);
    drop(first.clone());
    drop(second.clone());
    assert!(first.once.set(second).is_ok());
    assert_eq!(runtime.metrics().lingering, 1);
    drop(first);
    assert_eq!(runtime.metrics().lingering, 0);
}

/// Cells that are not those which were looked at, put in their place by who has borrowed the object.
#[test]
fn a_cell_that_is_exchanged_closes_a_cycle() {
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attach().unwrap();
    let [mut first, second] = [(); 2].map(|()| mutator.alloc(Link::default()).unwrap());
    first.next.set(Some(second.clone()));
    drop(mutator);
    drop(first.clone()); // `first` is known to be alone, until it is a part of something
    *Ref::get_mut(&mut first).unwrap() = Link::default();
    first.next.set(Some(first.clone()));
    drop(first);
    drop(second);
    assert_eq!(runtime.metrics().lingering, 0);
}

#[test]
fn a_cell_that_is_borrowed_meanwhile_is_looked_at_later() {
    #[derive(Trace, Default)]
    struct Knot {
        next: RefCell<Option<Ref<Knot>>>,
    }
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attach().unwrap();
    let knot = mutator.alloc(Knot::default()).unwrap();
    let other = knot.clone();
    let moved = knot.clone();
    drop(mutator);
    let mut next = knot.next.borrow_mut();
    drop(other);
    *next = Some(moved);
    drop(next);
    assert_eq!(runtime.metrics().lingering, 1);
    drop(knot);
    assert_eq!(runtime.metrics().lingering, 0);
}

/// Handles that go one after the other when it dies: within the drain of its mutator's objects, where nothing is searched for meanwhile.
#[derive(Trace)]
struct Bell<T: 'static> {
    #[trace(skip)]
    handles: std::cell::RefCell<Vec<T>>,
}

impl<T> Bell<T> {
    fn new(mutator: &Mutator) -> Ref<Bell<T>> {
        mutator.alloc(Bell { handles: Default::default() }).unwrap_or_else(|_| panic!("no memory"))
    }
}

/// Of two that lead to each other one is let go, and before it is looked at, the other is found to have a reference more than was known.
#[test]
fn a_group_of_which_one_was_let_go_is_held_no_more() {
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attach().unwrap();
    let [first, second] = [(); 2].map(|()| mutator.alloc(Link::default()).unwrap());
    first.next.set(Some(second.clone()));
    second.next.set(Some(first.clone()));
    let weak = Ref::downgrade(&first).unwrap();
    let bell = Bell::new(&mutator);
    drop(mutator);
    drop(first); // from now on both are known to be held by one reference, `second`
    let [one, other] = [(); 2].map(|()| weak.upgrade().unwrap());
    bell.handles.borrow_mut().extend([second, one]);
    drop(bell);
    assert_eq!(runtime.metrics().lingering, 1);
    drop((other, weak));
    assert_eq!(runtime.metrics().lingering, 0);
}

/// A reference to a node of any of these kinds.
#[derive(Trace)]
enum Any {
    Told(Ref<Told>),
    Untold(Ref<Untold>),
    Words(Ref<Words>),
}

type Values = Vec<Option<Any>>;

/// Its cells tell of changes.
#[derive(Trace)]
struct Told {
    id: usize,
    slots: RefCell<Values>,
}

/// Its cells do not.
#[derive(Trace)]
struct Untold {
    id: usize,
    slots: std::cell::RefCell<Values>,
}

/// Its cells do not, and whoever changes them does.
struct Words {
    id: usize,
    slots: std::cell::RefCell<Values>,
}

// SAFETY: 1: all items, once, in order. 2: varying. 3, 4: what is left is the buffer. 5: reads a cell. 6: `Any::change` tells.
unsafe impl Trace for Words {
    const SLOTS: Slots = Slots::Varying;
    const RESIDUE: bool = true;
    fn trace(&self, tracer: &mut Tracer<'_>) {
        match self.slots.try_borrow() {
            Ok(slots) => tracer.slice(&slots),
            Err(_) => tracer.busy(),
        }
    }
    unsafe fn drop_residue(&mut self) {
        // SAFETY: 1: not used again.
        unsafe { self.slots.get_mut().drop_residue() }
    }
}

impl Clone for Any {
    fn clone(&self) -> Any {
        match self {
            Any::Told(node) => Any::Told(node.clone()),
            Any::Untold(node) => Any::Untold(node.clone()),
            Any::Words(node) => Any::Words(node.clone()),
        }
    }
}

impl Any {
    fn new(mutator: &Mutator, kind: u8, id: usize) -> Any {
        match kind {
            0 => Any::Told(mutator.alloc(Told { id, slots: RefCell::default() }).unwrap()),
            1 => Any::Words(mutator.alloc(Words { id, slots: Default::default() }).unwrap()),
            _ => Any::Untold(mutator.alloc(Untold { id, slots: Default::default() }).unwrap()),
        }
    }

    fn id(&self) -> usize {
        match self {
            Any::Told(node) => node.id,
            Any::Untold(node) => node.id,
            Any::Words(node) => node.id,
        }
    }

    fn change<R>(&self, change: impl FnOnce(&mut Values) -> R) -> R {
        match self {
            Any::Told(node) => change(&mut node.slots.borrow_mut()),
            Any::Untold(node) => change(&mut node.slots.borrow_mut()),
            Any::Words(node) => {
                // SAFETY: 1: alive, the handle's.
                unsafe { raw::changing(Ref::as_raw(node)) };
                change(&mut node.slots.borrow_mut())
            }
        }
    }

    fn peek(&self, slot: usize) -> Option<Any> {
        match self {
            Any::Told(node) => node.slots.borrow()[slot].clone(),
            Any::Untold(node) => node.slots.borrow()[slot].clone(),
            Any::Words(node) => node.slots.borrow()[slot].clone(),
        }
    }

    fn take(&self, slot: usize) -> Option<Any> {
        self.change(|slots| slots[slot].take())
    }

    /// Cells that were never looked at, with what was in the old ones, if nobody else refers to it.
    fn exchange(&mut self) -> bool {
        match self {
            Any::Told(node) => Ref::get_mut(node)
                .map(|node| node.slots = RefCell::new(core::mem::take(node.slots.get_mut())))
                .is_some(),
            Any::Untold(node) => Ref::get_mut(node).is_some(),
            Any::Words(node) => Ref::get_mut(node).is_some(),
        }
    }
}

/// What a group is led to by others is counted when they are looked at, though it is not looked into again.
#[test]
fn a_group_is_held_by_what_was_found_to_lead_to_it_since() {
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attach().unwrap();
    let [first, second, third] = [0, 1, 2].map(|id| Any::new(&mutator, 1, id));
    let untold = Any::new(&mutator, 2, 3);
    first.change(|slots| slots.push(Some(second.clone())));
    second.change(|slots| slots.push(Some(first.clone())));
    drop(mutator);
    drop(second); // the first two are held by `first`
    let second = first.peek(0);
    third.change(|slots| slots.push(second));
    drop(third.clone()); // leads to them, and nothing to it
    drop(untold.clone()); // the next search is a trial
    let second = first.peek(0).unwrap();
    drop(first);
    second.change(|slots| slots.push(Some(third.clone())));
    drop((second, third));
    assert_eq!(runtime.metrics().lingering, 1);
    drop(untold);
    assert_eq!(runtime.metrics().lingering, 0);
}

/// What a program does to a graph.
#[derive(Clone, Debug)]
enum Op {
    /// Ties one root to another.
    Tie(Index, Index),
    /// Follows a slot of a root: what is there becomes a root.
    Follow(Index, Index),
    /// Takes what is in a slot of a root out of it: the reference moves.
    Take(Index, Index),
    /// Puts a root into a slot of another: the reference moves.
    Put(Index, Index),
    /// One root more to the same object.
    Clone(Index),
    Forget(Index),
    Exchange(Index),
    /// A weak reference to a root, one of which is made a root again.
    Weaken(Index),
    Upgrade(Index),
    /// Forgets a root while another one is being changed, into which it moves a third one.
    Hold(Index, Index, Index),
    /// All roots to one object but one go.
    ForgetAll(Index),
    /// In the drain some roots go, or one more to the same object.
    Toll(Vec<(Index, bool)>),
}

fn op() -> impl Strategy<Value = Op> {
    use any as index;
    prop_oneof![
        3 => (index::<Index>(), index::<Index>()).prop_map(|(from, to)| Op::Tie(from, to)),
        2 => (index::<Index>(), index::<Index>()).prop_map(|(from, slot)| Op::Follow(from, slot)),
        2 => (index::<Index>(), index::<Index>()).prop_map(|(from, slot)| Op::Take(from, slot)),
        3 => (index::<Index>(), index::<Index>()).prop_map(|(from, to)| Op::Put(from, to)),
        2 => index::<Index>().prop_map(Op::Clone),
        6 => index::<Index>().prop_map(Op::Forget),
        1 => index::<Index>().prop_map(Op::Exchange),
        1 => index::<Index>().prop_map(Op::Weaken),
        1 => index::<Index>().prop_map(Op::Upgrade),
        1 => (index::<Index>(), index::<Index>(), index::<Index>()).prop_map(|(forget, of, put)| Op::Hold(forget, of, put)),
        1 => index::<Index>().prop_map(Op::ForgetAll),
        1 => proptest::collection::vec((index::<Index>(), any::<bool>()), 1..5).prop_map(Op::Toll),
    ]
}

/// The program, and what it should come to.
#[derive(Default)]
struct Program {
    roots: Vec<Any>,
    weak: Vec<(usize, Weak<Told>)>,
    /// What is counted is shown to others when an object dies: some to die.
    bells: Vec<Ref<Bell<Any>>>,
    /// Objects that have a cell for weak references.
    hosts: HashSet<usize>,
    /// What each object refers to, by number.
    slots: Vec<Vec<Option<usize>>>,
}

impl Program {
    /// How many objects can be reached, cells of weak references included.
    fn reachable(&self) -> u64 {
        let mut todo: Vec<usize> = self.roots.iter().map(Any::id).collect();
        let mut seen = HashSet::new();
        while let Some(id) = todo.pop() {
            if seen.insert(id) {
                todo.extend(self.slots[id].iter().flatten());
            }
        }
        let mut cells: HashSet<usize> = self.weak.iter().map(|(id, _)| *id).collect();
        cells.extend(self.hosts.intersection(&seen));
        (seen.len() + cells.len()) as u64
    }

    fn run(&mut self, op: &Op) {
        let count = self.roots.len();
        if count == 0 {
            return;
        }
        match op {
            Op::Tie(from, to) => {
                let to = self.roots[to.index(count)].clone();
                self.push(from.index(count), to);
            }
            Op::Put(from, to) => {
                let moved = self.roots.swap_remove(from.index(count));
                if count > 1 {
                    self.push(to.index(count - 1), moved);
                }
            }
            Op::Follow(from, slot) => {
                if let Some((from, slot)) = self.place(from, slot) {
                    let found = self.roots[from].peek(slot);
                    self.roots.extend(found);
                }
            }
            Op::Take(from, slot) => {
                if let Some((from, slot)) = self.place(from, slot) {
                    self.slots[self.roots[from].id()][slot] = None;
                    let found = self.roots[from].take(slot);
                    self.roots.extend(found);
                }
            }
            Op::Clone(root) => self.roots.push(self.roots[root.index(count)].clone()),
            Op::Forget(root) => drop(self.roots.swap_remove(root.index(count))),
            Op::Exchange(root) => {
                let root = &mut self.roots[root.index(count)];
                if root.exchange() {
                    self.hosts.remove(&root.id());
                }
            }
            Op::Weaken(root) => {
                if let Any::Told(node) = &self.roots[root.index(count)] {
                    self.weak.push((node.id, Ref::downgrade(node).unwrap()));
                    self.hosts.insert(node.id);
                }
            }
            Op::Upgrade(index) => {
                if !self.weak.is_empty() {
                    let (_, weak) = self.weak.swap_remove(index.index(self.weak.len()));
                    self.roots.extend(weak.upgrade().map(Any::Told));
                }
            }
            Op::Hold(forget, of, put) => {
                if count > 2 {
                    let forgotten = self.roots.swap_remove(forget.index(count));
                    let put = self.roots.swap_remove(put.index(count - 1));
                    let of = self.roots[of.index(count - 2)].clone();
                    self.slots[of.id()].push(Some(put.id()));
                    of.change(|slots| {
                        drop(forgotten);
                        slots.push(Some(put));
                    });
                }
            }
            Op::Toll(some) => {
                let Some(bell) = self.bells.pop() else { return };
                for (root, is_one_more) in some {
                    if !self.roots.is_empty() {
                        let root = root.index(self.roots.len());
                        let goes = if *is_one_more { self.roots[root].clone() } else { self.roots.swap_remove(root) };
                        bell.handles.borrow_mut().push(goes);
                    }
                }
            }
            Op::ForgetAll(root) => {
                let kept = self.roots.swap_remove(root.index(count));
                self.roots.retain(|root| root.id() != kept.id());
                self.roots.push(kept);
            }
        }
    }

    /// A slot of a root.
    fn place(&self, root: &Index, slot: &Index) -> Option<(usize, usize)> {
        let root = root.index(self.roots.len());
        let slots = self.slots[self.roots[root].id()].len();
        (slots > 0).then(|| (root, slot.index(slots)))
    }

    fn push(&mut self, root: usize, what: Any) {
        self.slots[self.roots[root].id()].push(Some(what.id()));
        self.roots[root].change(|slots| slots.push(Some(what)));
    }
}

/// Makes objects of these kinds, does some of `ops` before the mutator goes and the others after it, and looks at what lives after each.
fn run(kinds: &[u8], ops: &[Op], gone: usize) {
    let runtime = Runtime::new().unwrap();
    let mutator = runtime.attach().unwrap();
    let mut program = Program::default();
    for (id, kind) in kinds.iter().enumerate() {
        program.roots.push(Any::new(&mutator, *kind, id));
        program.slots.push(Vec::new());
    }
    program.bells.extend(ops.iter().map(|_| Bell::new(&mutator)));
    let watch = mutator.watch();
    let gone = gone.min(ops.len());
    ops[..gone].iter().for_each(|op| program.run(op));
    mutator.detach();
    for op in &ops[gone..] {
        program.run(op);
        if let (Op::Hold(..), Some(root)) = (op, program.roots.first()) {
            // Another release, for what could not be looked at during that one.
            drop(root.clone());
        }
        if let Op::Weaken(_) = op {
            program.bells.pop();
        }
        assert_eq!(live(&watch), program.reachable() + program.bells.len() as u64, "{op:?}");
    }
    program.bells.clear();
    program.weak.clear();
    while let Some(root) = program.roots.pop() {
        drop(root);
        assert_eq!(live(&watch), program.reachable());
    }
    let metrics = runtime.metrics();
    assert_eq!((metrics.lingering, metrics.ended, metrics.live.objects), (0, 1, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000 / SCALE as u32, ..ProptestConfig::default() })]

    #[test]
    fn exactly_what_cannot_be_reached_is_freed_with_the_release_that_makes_it_so(
        kinds in prop_oneof![
            proptest::collection::vec(0u8..1, 1..12),
            proptest::collection::vec(0u8..2, 1..12),
            proptest::collection::vec(0u8..3, 1..12),
        ],
        ops in proptest::collection::vec(op(), 1..150),
        gone in 0usize..60,
    ) {
        run(&kinds, &ops, gone);
    }
}
