//! Programs, read from bytes, that change a graph between steps of any size, with weak references, finalizers, keys and values in it.
//!
//! The one interpreter of the fuzz target `attached` and of a test that runs on any compiler (`tests/behaviour/fuzzed.rs`).

use std::cell::RefCell as StdRefCell;
use std::collections::{BTreeMap, HashMap, HashSet};

use mimalloc_runtime::cell::RefCell;
use mimalloc_runtime::{Budget, EphemeronMap, FinalizerError, Mutator, Ref, Runtime, SLACK_UNITS, Stop, Trace, Weak};

use crate::program::Program;

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

    fn root(&self, program: &mut Program<'_>) -> Option<&Ref<Node>> {
        program.index(self.roots.len()).map(|at| &self.roots[at])
    }

    fn step(&mut self, op: u8, name: u32, program: &mut Program<'_>) -> Option<()> {
        match op % 29 {
            0..=2 => {
                let node = Node { name, slots: RefCell::default() };
                self.roots.push(self.mutator.alloc(node).unwrap());
            }
            3..=6 => {
                let to = self.root(program)?.clone();
                self.root(program)?.slots.borrow_mut().push(Some(to));
            }
            // What is in a slot becomes a root, and stays there or moves.
            op @ 7..=10 => {
                let from = self.root(program)?.clone();
                let mut slots = from.slots.borrow_mut();
                let slot = program.index(slots.len())?;
                let found = if op < 9 { slots[slot].clone() } else { slots[slot].take() };
                drop(slots);
                self.roots.extend(found);
            }
            11..=14 => {
                let at = program.index(self.roots.len())?;
                drop(self.roots.swap_remove(at));
            }
            15 | 16 => {
                let node = self.root(program)?;
                if !self.gone.contains(&node.name) {
                    let weak = (node.name, Ref::downgrade(node).unwrap());
                    self.weak.push(weak);
                }
            }
            17 | 18 => {
                let at = program.index(self.weak.len())?;
                self.roots.extend(self.weak[at].1.upgrade());
            }
            19 => {
                let at = program.index(self.weak.len())?;
                drop(self.weak.swap_remove(at));
            }
            20 | 21 => {
                let takes = program.byte() % 2 == 0;
                let node = self.root(program)?.clone();
                let finalize = |node: &Node, takes: bool, _: &Mutator| {
                    FINALIZED.with_borrow_mut(|all| all.push(node.name));
                    if takes {
                        TAKEN.with_borrow_mut(|all| all.extend(node.slots.borrow().iter().flatten().next().cloned()));
                    }
                };
                match Ref::set_finalizer(&node, takes, finalize) {
                    Ok(()) => assert!(self.registered.insert(node.name)),
                    Err(FinalizerError::Exists(_)) => assert!(self.registered.contains(&node.name)),
                    Err(FinalizerError::OutOfMemory(error)) => panic!("{error}"),
                }
            }
            22 | 23 => {
                let (key, value) = (self.root(program)?.clone(), self.root(program)?.clone());
                self.notes.insert(&self.mutator, &key, value).unwrap();
            }
            // Borrowed mutably, if nobody else refers to it, while a search goes on.
            24 => {
                let at = program.index(self.roots.len())?;
                let is_known = self.weak.iter().any(|(name, _)| *name == self.roots[at].name);
                if let Some(node) = Ref::get_mut(&mut self.roots[at]) {
                    assert!(!is_known || self.gone.contains(&node.name), "{} is borrowed and known weakly", node.name);
                    self.mutator.collect(Budget::Units(5));
                    node.slots.get_mut().clear();
                }
                let before = self.reachable();
                self.look(&before);
            }
            25 => {
                let before = self.reachable();
                self.mutator.poll(1).unwrap();
                self.look(&before);
            }
            _ => {
                let before = self.reachable();
                let units = u64::from(program.byte() % 40);
                let progress = self.mutator.collect(Budget::Units(units));
                assert!(progress.units <= units + SLACK_UNITS);
                self.look(&before);
            }
        }
        Some(())
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

/// Runs the program.
///
/// # Panics
/// When anything is not as it should be.
pub(crate) fn run(program: &[u8]) {
    let mut program = Program::new(program);
    let (pacing, stress) = program.pacing();
    let mutator = Runtime::new().unwrap().attaching().pacing(pacing).stress(stress).attach().unwrap();
    let mut world = World {
        mutator,
        roots: Vec::new(),
        notes: EphemeronMap::new(),
        weak: Vec::new(),
        registered: HashSet::new(),
        gone: HashSet::new(),
    };
    let mut name = 0;
    while let Some(op) = program.next() {
        name += 1;
        _ = world.step(op, name, &mut program);
    }
    world.settle();
    // Everything that can be reached is there, and nothing else: of nodes, as the census counts them.
    let reachable = world.reachable();
    let mut census = world.mutator.census();
    while census.step(Budget::Unbounded).unwrap() != Stop::Done {}
    let found: u64 =
        census.types().filter(|found| found.name.ends_with("::Node")).map(|found| found.live.objects).sum();
    assert_eq!(found, reachable.len() as u64);
    let finalizers: HashMap<u32, bool> =
        world.registered.iter().map(|name| (*name, reachable.contains_key(name))).collect();
    assert!(finalizers.values().all(|lives| *lives), "{finalizers:?}");
    assert_eq!(world.mutator.metrics().finalizers.registered, finalizers.len() as u64);
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
