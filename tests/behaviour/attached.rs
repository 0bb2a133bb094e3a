//! Random programs that change a graph between steps of any size, with weak references, finalizers, keys and values in it.

use std::cell::RefCell as StdRefCell;
use std::collections::{BTreeMap, HashMap, HashSet};

use mimalloc_runtime::cell::RefCell;
use mimalloc_runtime::{Budget, EphemeronMap, FinalizerError, Mutator, Pacing, Ref, Runtime, SLACK_UNITS, Trace, Weak};
use proptest::prelude::*;
use proptest::sample::Index;

thread_local! {
    /// The finalizers that have run.
    static FINALIZED: StdRefCell<Vec<u32>> = const { StdRefCell::new(Vec::new()) };
    /// What one of them has taken out.
    static TAKEN: StdRefCell<Vec<Ref<Node>>> = const { StdRefCell::new(Vec::new()) };
}

#[derive(Trace)]
struct Node {
    name: u32,
    slots: RefCell<Vec<Option<Ref<Node>>>>,
}

#[derive(Clone, Debug)]
enum Op {
    Make,
    Tie(Index, Index),
    Follow(Index, Index),
    Take(Index, Index),
    Forget(Index),
    Weaken(Index),
    Strengthen(Index),
    /// The last: whether the finalizer takes something out.
    Finalize(Index, bool),
    /// Key and value.
    Note(Index, Index),
    Collect(u64),
    Poll,
}

fn op() -> impl Strategy<Value = Op> {
    use any as index;
    prop_oneof![
        3 => Just(Op::Make),
        4 => (index::<Index>(), index::<Index>()).prop_map(|(from, to)| Op::Tie(from, to)),
        2 => (index::<Index>(), index::<Index>()).prop_map(|(from, slot)| Op::Follow(from, slot)),
        2 => (index::<Index>(), index::<Index>()).prop_map(|(from, slot)| Op::Take(from, slot)),
        4 => index::<Index>().prop_map(Op::Forget),
        2 => index::<Index>().prop_map(Op::Weaken),
        2 => index::<Index>().prop_map(Op::Strengthen),
        2 => (index::<Index>(), any::<bool>()).prop_map(|(of, takes)| Op::Finalize(of, takes)),
        2 => (index::<Index>(), index::<Index>()).prop_map(|(key, value)| Op::Note(key, value)),
        5 => (1u64..40).prop_map(Op::Collect),
        2 => Just(Op::Poll),
    ]
}

/// What is known of the program besides its roots.
struct World {
    mutator: Mutator,
    roots: Vec<Ref<Node>>,
    notes: EphemeronMap<Node>,
    weak: Vec<(u32, Weak<Node>)>,
    /// Those with a finalizer, by name.
    registered: HashSet<u32>,
    /// Those whose weak references have to be gone: found to be garbage once.
    gone: HashSet<u32>,
}

impl World {
    /// The names of what can be reached from the roots: through slots, and from keys to values.
    fn reachable(&self) -> BTreeMap<u32, Ref<Node>> {
        let mut seen = BTreeMap::new();
        let mut todo = self.roots.clone();
        while let Some(node) = todo.pop() {
            if seen.insert(node.name, node.clone()).is_none() {
                todo.extend(node.slots.borrow().iter().flatten().cloned());
                todo.extend(self.notes.get(&node));
            }
        }
        seen
    }

    /// Each finalizer that has run was registered, once, and its object is not in use but by what has been taken out since.
    fn look(&mut self, reachable: &BTreeMap<u32, Ref<Node>>) {
        for name in FINALIZED.take() {
            assert!(self.registered.remove(&name), "{name} was finalized twice, or without a finalizer");
            assert!(!reachable.contains_key(&name), "{name} was in use");
            self.gone.insert(name);
        }
        self.roots.extend(TAKEN.take());
        for (name, weak) in &self.weak {
            let lives = weak.upgrade().is_some_and(|node| node.name == *name);
            assert!(!(lives && self.gone.contains(name)), "{name} was resurrected");
            assert!(lives || self.gone.contains(name) || !reachable.contains_key(name), "{name} is in use");
            if !lives {
                self.gone.insert(*name);
            }
        }
    }

    fn run(&mut self, op: &Op, name: u32) {
        let count = self.roots.len();
        match op {
            Op::Make => {
                let node = Node { name, slots: RefCell::default() };
                self.roots.push(self.mutator.alloc(node).unwrap());
            }
            Op::Collect(units) => {
                let before = self.reachable();
                let progress = self.mutator.collect(Budget::Units(*units));
                assert!(progress.units <= units + SLACK_UNITS);
                self.look(&before);
            }
            Op::Poll => {
                let before = self.reachable();
                self.mutator.poll(1).unwrap();
                self.look(&before);
            }
            Op::Strengthen(index) if !self.weak.is_empty() => {
                let (_, weak) = &self.weak[index.index(self.weak.len())];
                self.roots.extend(weak.upgrade());
            }
            _ if count == 0 => {}
            Op::Strengthen(_) => {}
            Op::Tie(from, to) => {
                let to = self.roots[to.index(count)].clone();
                self.roots[from.index(count)].slots.borrow_mut().push(Some(to));
            }
            Op::Follow(from, slot) => {
                let from = self.roots[from.index(count)].clone();
                let slots = from.slots.borrow();
                self.roots.extend((!slots.is_empty()).then(|| slots[slot.index(slots.len())].clone()).flatten());
            }
            Op::Take(from, slot) => {
                let from = self.roots[from.index(count)].clone();
                let mut slots = from.slots.borrow_mut();
                let slot = (!slots.is_empty()).then(|| slot.index(slots.len()));
                self.roots.extend(slot.and_then(|slot| slots[slot].take()));
            }
            Op::Forget(index) => drop(self.roots.swap_remove(index.index(count))),
            Op::Weaken(index) => {
                let node = &self.roots[index.index(count)];
                if !self.gone.contains(&node.name) {
                    self.weak.push((node.name, Ref::downgrade(node).unwrap()));
                }
            }
            Op::Finalize(index, takes) => {
                let node = &self.roots[index.index(count)];
                let finalize = |node: &Node, takes: bool, _: &Mutator| {
                    FINALIZED.with_borrow_mut(|all| all.push(node.name));
                    if takes {
                        TAKEN.with_borrow_mut(|all| all.extend(node.slots.borrow().iter().flatten().next().cloned()));
                    }
                };
                // What was taken out of a cycle is as any object is, but for its weak references.
                match Ref::set_finalizer(node, *takes, finalize) {
                    Ok(()) => assert!(self.registered.insert(node.name)),
                    Err(FinalizerError::Exists(_)) => assert!(self.registered.contains(&node.name)),
                    Err(FinalizerError::OutOfMemory(error)) => panic!("{error}"),
                }
            }
            Op::Note(key, value) => {
                let (key, value) = (&self.roots[key.index(count)], self.roots[value.index(count)].clone());
                self.notes.insert(&self.mutator, key, value).unwrap();
            }
        }
    }

    /// Until nothing changes any more.
    fn settle(&mut self) {
        loop {
            let before = self.reachable();
            self.mutator.collect(Budget::Unbounded);
            self.mutator.run_finalizers(u64::MAX);
            let ran = FINALIZED.with_borrow(Vec::len);
            self.look(&before);
            if ran == 0 {
                break;
            }
        }
        self.notes.sweep(1 << 20);
        self.mutator.collect(Budget::Unbounded);
    }
}

fn run(ops: &[Op], pacing: Pacing) {
    let mutator = Runtime::new().unwrap().attaching().pacing(pacing).attach().unwrap();
    let mut world = World {
        mutator,
        roots: Vec::new(),
        notes: EphemeronMap::new(),
        weak: Vec::new(),
        registered: HashSet::new(),
        gone: HashSet::new(),
    };
    for (name, op) in ops.iter().enumerate() {
        world.run(op, name as u32);
    }
    world.settle();
    // Everything that can be reached is there, and nothing else: of nodes, as the census counts them.
    let reachable = world.reachable();
    let mut census = world.mutator.census();
    while census.step(Budget::Unbounded).unwrap() != mimalloc_runtime::Stop::Done {}
    let found: u64 =
        census.types().filter(|found| found.name.ends_with("::Node")).map(|found| found.live.objects).sum();
    assert_eq!(found, reachable.len() as u64);
    let finalizers: HashMap<u32, bool> =
        world.registered.iter().map(|name| (*name, reachable.contains_key(name))).collect();
    assert!(finalizers.values().all(|lives| *lives), "{finalizers:?}");
    assert_eq!(world.mutator.finalizers().registered, finalizers.len() as u64);
    drop(reachable);
    // And then nothing at all, each finalizer having run once.
    world.roots.clear();
    while !world.registered.is_empty() {
        let before = world.registered.len();
        world.settle();
        world.roots.clear();
        assert!(world.registered.len() < before);
    }
    world.settle();
    world.weak.clear();
    world.notes = EphemeronMap::new();
    world.mutator.collect(Budget::Unbounded);
    let metrics = world.mutator.metrics();
    assert_eq!((metrics.live.now.objects, metrics.pending.now.objects, metrics.in_use_bytes), (0, 0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_found_twice_or_resurrected(ops in proptest::collection::vec(op(), 1..200)) {
        run(&ops, Pacing::default());
        run(&ops, Pacing::stress());
    }
}
