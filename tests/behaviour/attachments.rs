//! Everything that is attached to objects, at once and at random: among several mutators of a thread, some of which go; with finalizers and
//! `Drop`s that do the same, and panic. What must hold whatever happens is asked of `Mutator::verify`, and that nothing is left in the end.

use std::cell::{Cell as StdCell, RefCell as StdRefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use mimalloc_runtime::cell::{Cell, RefCell};
use mimalloc_runtime::{
    Budget, EphemeronMap, Mutator, Names, ObjectKind, Pacing, Ref, Runtime, Stress, Trace, Untyped, Weak, WeakSet,
};

use crate::SCALE;

thread_local! {
    static SEED: StdCell<u64> = const { StdCell::new(1) };
    /// What finalizers and `Drop`s have come upon.
    static FOUND: StdRefCell<Vec<Ref<Node>>> = const { StdRefCell::new(Vec::new()) };
    /// What they can come upon.
    static KNOWN: StdRefCell<Vec<Weak<Node>>> = const { StdRefCell::new(Vec::new()) };
    static FINALIZED: StdCell<u64> = const { StdCell::new(0) };
}

/// What a panic of the test's own carries.
struct Planned;

fn any(below: usize) -> usize {
    let mut seed = SEED.get();
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    SEED.set(seed);
    (seed >> 16) as usize % below.max(1)
}

/// One of some.
fn one_of<T>(some: &[T]) -> Option<&T> {
    some.get(any(some.len()))
}

#[derive(Trace)]
struct Node {
    /// The number of its mutator: it refers to objects of this one and of later ones, so that no cycle leads through two.
    rank: u32,
    slots: RefCell<Vec<Ref<Node>>>,
    weak: Cell<Option<Weak<Node>>>,
    leaf: Cell<Option<Ref<u64>>>,
    #[trace(skip)]
    meddles: Option<Meddles>,
}

struct Meddles;

impl Drop for Meddles {
    fn drop(&mut self) {
        come_upon_something();
        if any(40) == 0 && !std::thread::panicking() {
            resume_unwind(Box::new(Planned));
        }
    }
}

/// It can be come upon from now on.
fn know(node: &Ref<Node>) {
    // Which may call a `Drop`.
    let weak = Ref::downgrade(node).unwrap();
    KNOWN.with_borrow_mut(|known| known.push(weak));
}

fn come_upon_something() {
    let found = KNOWN.with_borrow(|known| one_of(known).and_then(Weak::upgrade));
    if any(3) == 0 {
        FOUND.with_borrow_mut(|all| all.extend(found));
    }
}

fn finalize(node: &Node, payload: Option<Ref<Node>>, mutator: &Mutator) {
    FINALIZED.set(FINALIZED.get() + 1);
    come_upon_something();
    let next = one_of(&node.slots.borrow()).cloned();
    match any(9) {
        0 => FOUND.with_borrow_mut(|all| all.extend(next)),
        1 => FOUND.with_borrow_mut(|all| all.extend(payload)),
        2 => drop(next.map(|next| Ref::set_finalizer(&next, None, finalize))),
        3 => _ = mutator.collect(Budget::Units(any(30) as u64)),
        4 => _ = mutator.collect(Budget::Unbounded),
        5 => drop(next.map(|next| know(&next))),
        6 => node.slots.borrow_mut().clear(),
        7 => resume_unwind(Box::new(Planned)),
        _ => drop(mutator.alloc([0u64; 100]).unwrap()),
    }
}

fn finalize_leaf(_: &u64, payload: Ref<Node>, _: &Mutator) {
    FINALIZED.set(FINALIZED.get() + 1);
    if any(3) == 0 {
        FOUND.with_borrow_mut(|all| all.push(payload));
    }
}

/// Keeps some of what it is handed.
struct Keeps(Vec<Ref<Untyped>>);

impl Names for Keeps {
    fn object(&mut self, object: &Ref<Untyped>, _: &mut String) -> ObjectKind {
        if any(4) == 0 {
            self.0.push(object.clone());
            drop(Ref::downgrade(object).unwrap());
        }
        ObjectKind::Object
    }
}

struct World {
    runtime: Runtime,
    mutators: Vec<(u32, Mutator)>,
    next_rank: u32,
    nodes: Vec<Ref<Node>>,
    leaves: Vec<(u32, Ref<u64>)>,
    weak: Vec<Weak<Untyped>>,
    notes: [EphemeronMap<Node>; 2],
    known: WeakSet<Node>,
}

impl World {
    fn attach(&mut self) {
        let pacing = [Pacing::default(), Pacing::eager(), Pacing::stress()][any(3)];
        let stress = (any(3) == 0).then(Stress::new);
        let mutator = self.runtime.attaching().pacing(pacing).stress(stress).attach().unwrap();
        self.next_rank += 1;
        self.mutators.push((self.next_rank, mutator));
    }

    /// Two nodes, of which the first may refer to the second.
    fn pair(&self) -> Option<(Ref<Node>, Ref<Node>)> {
        let (one, other) = (one_of(&self.nodes)?.clone(), one_of(&self.nodes)?.clone());
        Some(if one.rank <= other.rank { (one, other) } else { (other, one) })
    }

    fn mutator(&self) -> &Mutator {
        &self.mutators[any(self.mutators.len())].1
    }

    /// Of the same mutator as the key if that is there still, or else none.
    fn mutator_of(&self, node: &Node) -> Option<&Mutator> {
        self.mutators.iter().find(|(rank, _)| *rank == node.rank).map(|(_, mutator)| mutator)
    }

    fn step(&mut self) -> Option<()> {
        match any(46) {
            0..=7 => {
                let (rank, mutator) = &self.mutators[any(self.mutators.len())];
                let meddles = (any(3) == 0).then(|| Meddles);
                let node = Node {
                    rank: *rank,
                    slots: RefCell::default(),
                    weak: Cell::default(),
                    leaf: Cell::default(),
                    meddles,
                };
                self.nodes.push(mutator.alloc(node).unwrap());
            }
            8 => {
                let (rank, mutator) = &self.mutators[any(self.mutators.len())];
                self.leaves.push((*rank, mutator.alloc(7u64).unwrap()));
            }
            9..=14 => {
                let (from, to) = self.pair()?;
                from.slots.borrow_mut().push(to);
            }
            15 => {
                let next = one_of(&one_of(&self.nodes)?.slots.borrow()).cloned();
                self.nodes.extend(next);
            }
            16 => {
                let from = one_of(&self.nodes)?.clone();
                let taken = from.slots.borrow_mut().pop();
                drop(taken);
            }
            17 => {
                let (rank, leaf) = one_of(&self.leaves)?;
                let node = one_of(&self.nodes)?;
                if node.rank <= *rank {
                    node.leaf.set(Some(leaf.clone()));
                }
            }
            18 => {
                let (from, to) = self.pair()?;
                from.weak.set(Some(Ref::downgrade(&to).unwrap()));
            }
            19 => self.weak.push(Weak::erase(Ref::downgrade(one_of(&self.nodes)?).unwrap())),
            20 => self.weak.push(Weak::erase(Ref::downgrade(&one_of(&self.leaves)?.1).unwrap())),
            21 => {
                let found = one_of(&self.weak)?.upgrade()?;
                self.nodes.extend(Ref::downcast::<Node>(found).ok());
            }
            22 => know(one_of(&self.nodes)?),
            23..=25 => {
                let (host, payload) = self.pair()?;
                drop(Ref::set_finalizer(&host, (any(2) == 0).then_some(payload), finalize));
            }
            26 | 27 => {
                let (rank, leaf) = one_of(&self.leaves)?;
                let payload = one_of(&self.nodes)?.clone();
                if *rank <= payload.rank {
                    drop(Ref::set_finalizer(leaf, payload, finalize_leaf));
                }
                drop(leaf.clone());
            }
            28 => _ = Ref::clear_finalizer(one_of(&self.nodes)?),
            29 | 30 => _ = Ref::clear_finalizer(&one_of(&self.leaves)?.1),
            31 | 32 => {
                let (key, value) = self.pair()?;
                self.mutator_of(&key)?;
                let mut map = std::mem::take(&mut self.notes[any(2)]);
                map.insert(self.mutator_of(&key)?, &key, value).unwrap();
                drop(std::mem::replace(&mut self.notes[any(2)], map));
            }
            33 => {
                let map = any(2);
                let found = self.notes[map].remove(one_of(&self.nodes)?);
                self.nodes.extend(found);
            }
            34 => self.nodes.extend(self.notes[any(2)].get(one_of(&self.nodes)?)),
            35 => {
                let mut known = std::mem::take(&mut self.known);
                known.insert(self.mutator(), any(20) as u64, one_of(&self.nodes)?).unwrap();
                self.known = known;
            }
            36 => self.nodes.extend(self.known.find(any(20) as u64, |_| any(2) == 0)),
            37 => drop(self.known.remove(any(20) as u64, |_| any(2) == 0)),
            38 => {
                self.weak.truncate(any(20));
                drop(KNOWN.with_borrow_mut(|all| all.split_off(any(all.len()))));
            }
            39 => {
                let mut names = Keeps(Vec::new());
                self.mutator().survey().write_heap_snapshot(&mut Vec::new(), &mut names).unwrap();
                let some = names.0.into_iter().take(3);
                self.nodes.extend(some.filter_map(|object| Ref::downcast::<Node>(object).ok()));
            }
            40 if any(4) == 0 => {
                let (_, mutator) = self.mutators.swap_remove(any(self.mutators.len()));
                self.attach();
                mutator.detach();
            }
            41 if any(2) == 0 => {
                // So that nothing stands in the way now and then.
                let (rank, mutator) = self.mutators.swap_remove(any(self.mutators.len()));
                if any(2) == 0 {
                    self.nodes.retain(|node| node.rank != rank);
                    self.leaves.retain(|leaf| leaf.0 != rank);
                    self.weak.clear();
                    self.notes = Default::default();
                    self.known = WeakSet::new();
                    KNOWN.take();
                }
                match mutator.destroy(any(4) as u64) {
                    Ok(_) => self.attach(),
                    Err(refused) => self.mutators.push((rank, refused.mutator)),
                }
            }
            42 => {
                let at = any(self.nodes.len());
                if let Some(slots) = self.nodes.get_mut(at).and_then(Ref::get_mut) {
                    slots.slots.get_mut().truncate(1);
                }
            }
            43 => _ = self.mutator().run_finalizers(any(3) as u64),
            _ => _ = self.mutator().collect(Budget::Units(any(25) as u64)),
        }
        Some(())
    }

    /// Panics of the test's own may come out of anything.
    fn caught(&mut self, act: impl FnOnce(&mut World)) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| act(self))) {
            if !payload.is::<Planned>() {
                resume_unwind(payload);
            }
        }
    }

    fn look(&self) {
        for (_, mutator) in &self.mutators {
            let verified = mutator.verify().unwrap();
            assert!(verified.problems.is_empty(), "{:?}", verified.problems);
        }
        for node in &self.nodes {
            assert!(node.rank <= self.next_rank);
            assert!(node.slots.borrow().iter().all(|next| next.rank >= node.rank));
        }
    }
}

#[test]
fn whatever_is_attached_and_goes_the_heap_is_in_order() {
    for seed in 1..=200 / SCALE.min(20) as u64 {
        SEED.set(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut world = World {
            runtime: Runtime::new().unwrap(),
            mutators: Vec::new(),
            next_rank: 0,
            nodes: Vec::new(),
            leaves: Vec::new(),
            weak: Vec::new(),
            notes: Default::default(),
            known: WeakSet::new(),
        };
        (0..3).for_each(|_| world.attach());
        for step in 0..2_000 {
            world.caught(|world| _ = world.step());
            while world.mutators.len() < 3 {
                world.attach();
            }
            world.nodes.extend(FOUND.take());
            while world.nodes.len() > 25 {
                let at = any(world.nodes.len());
                let node = world.nodes.swap_remove(at);
                world.caught(|_| drop(node));
            }
            while world.leaves.len() > 5 {
                let leaf = world.leaves.swap_remove(any(5));
                world.caught(|_| drop(leaf));
            }
            if step % 50 == 0 {
                world.look();
            }
        }
        // Nothing is left, however long finalizers go on.
        for _ in 0..100 {
            for (_, leaf) in world.leaves.split_off(0) {
                world.caught(|_| drop(leaf));
            }
            for node in world.nodes.split_off(0).into_iter().chain(FOUND.take()) {
                world.caught(|_| drop(node));
            }
            KNOWN.take();
            world.weak.clear();
            let (notes, known) = (std::mem::take(&mut world.notes), std::mem::take(&mut world.known));
            world.caught(|_| drop(notes));
            world.caught(|_| drop(known));
            for at in 0..world.mutators.len() {
                world.caught(|world| _ = world.mutators[at].1.collect(Budget::Unbounded));
                world.caught(|world| _ = world.mutators[at].1.run_finalizers(1_000));
            }
        }
        world.look();
        let left: Vec<_> = world.mutators.iter().map(|(_, mutator)| mutator.metrics().live.now.objects).collect();
        let all = world.runtime.metrics();
        assert_eq!((left, all.lingering), (vec![0; 3], 0), "seed {seed}: {:?} {:?}", all.trials, all.finalizers);
    }
    assert!(FINALIZED.get() > 100);
}
