//! P2: live + pending bytes never exceed the peak of live bytes by more than an installment and what is carried over.
//!
//! "Live" is what the model below says is referenced, not what the crate counts as live: the crate finds out about the
//! death of an object only when the drain comes to it.

use std::cell::Cell;

use mimalloc_runtime::{Budget, Mutator, Pacing, Ref, Runtime, Tail, Trace, Untyped};
use proptest::prelude::*;

/// Of 16 bytes.
#[derive(Trace)]
struct Pin {
    to: Cell<Option<Ref<Untyped>>>,
}

type Links = [Cell<Option<Ref<Untyped>>>; 3];
type Blob = Tail<Links, u8>;

#[derive(Clone, Debug)]
enum Op {
    AllocPin,
    /// Of about so many bytes.
    AllocBlob(usize),
    Link(usize, usize, usize),
    Unlink(usize, usize),
    Drop(usize),
    /// Drops several roots at once: a structure dies.
    DropMany(usize, usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let index = any::<u16>().prop_map(usize::from);
    let op = prop_oneof![
        4 => Just(Op::AllocPin),
        4 => (5u32..13, any::<u16>()).prop_map(|(log, jitter)| Op::AllocBlob((1 << log) + usize::from(jitter) % (1 << log))),
        1 => (13u32..20, any::<u16>()).prop_map(|(log, jitter)| Op::AllocBlob((1 << log) + usize::from(jitter) * 8)),
        6 => (index.clone(), 0usize..3, index.clone()).prop_map(|(from, slot, to)| Op::Link(from, slot, to)),
        1 => (index.clone(), 0usize..3).prop_map(|(from, slot)| Op::Unlink(from, slot)),
        4 => index.clone().prop_map(Op::Drop),
        1 => (index, 2usize..20).prop_map(|(from, count)| Op::DropMany(from, count)),
    ];
    prop::collection::vec(op, 1..600)
}

fn pacing() -> impl Strategy<Value = Pacing> {
    let cap = prop_oneof![Just(Budget::Unbounded), (0u32..15).prop_map(|log| Budget::Units(1 << log))];
    (1.0f64..4.0, 0u32..17, cap).prop_map(|(ratio, log, cap)| {
        let pacing = Pacing::default().with_ratio(ratio).unwrap();
        pacing.with_installment(1 << log).unwrap().with_pause_cap(cap).unwrap()
    })
}

/// An object as the model sees it.
struct Known {
    bytes: u64,
    count: u32,
    edges: [Option<usize>; 3],
}

enum Handle {
    Pin(Ref<Pin>),
    Blob(Ref<Blob>),
}

impl Handle {
    fn set(&self, slot: usize, to: Option<Ref<Untyped>>) {
        match self {
            Handle::Pin(pin) => drop(pin.to.replace(to)),
            Handle::Blob(blob) => drop(blob.head()[slot].replace(to)),
        }
    }

    fn untyped(&self) -> Ref<Untyped> {
        match self {
            Handle::Pin(pin) => Ref::erase(pin.clone()),
            Handle::Blob(blob) => Ref::erase(blob.clone()),
        }
    }
}

#[derive(Default)]
struct Model {
    known: Vec<Known>,
    live: u64,
    peak: u64,
}

impl Model {
    fn add(&mut self, bytes: u64) -> usize {
        self.known.push(Known { bytes, count: 1, edges: [None; 3] });
        self.live += bytes;
        self.peak = self.peak.max(self.live);
        self.known.len() - 1
    }

    fn release(&mut self, id: usize) {
        let mut dying = vec![id];
        while let Some(id) = dying.pop() {
            let known = &mut self.known[id];
            known.count -= 1;
            if known.count == 0 {
                self.live -= known.bytes;
                dying.extend(known.edges.iter_mut().filter_map(Option::take));
            }
        }
    }

    fn set(&mut self, from: usize, slot: usize, to: Option<usize>) {
        if let Some(to) = to {
            self.known[to].count += 1;
        }
        if let Some(old) = std::mem::replace(&mut self.known[from].edges[slot], to) {
            self.release(old);
        }
    }
}

/// The roots the program holds, and the model beside them.
#[derive(Default)]
struct World {
    roots: Vec<(Handle, usize)>,
    model: Model,
}

impl World {
    fn run(&mut self, mutator: &Mutator, op: &Op) {
        let before = mutator.metrics().allocated.bytes;
        let handle = match op {
            Op::AllocPin => Some(Handle::Pin(mutator.alloc(Pin { to: Cell::new(None) }).unwrap())),
            Op::AllocBlob(bytes) => {
                let len = bytes.saturating_sub(48);
                Some(Handle::Blob(mutator.alloc_tail(Links::default(), len, |_| 0).unwrap()))
            }
            _ => None,
        };
        if let Some(handle) = handle {
            let bytes = mutator.metrics().allocated.bytes - before;
            self.roots.push((handle, self.model.add(bytes)));
        }
        if self.roots.is_empty() {
            return;
        }
        let count = self.roots.len();
        match *op {
            Op::Link(from, slot, to) => self.set(from % count, slot, Some(to % count)),
            Op::Unlink(from, slot) => self.set(from % count, slot, None),
            Op::Drop(at) => self.drop_root(at % count),
            Op::DropMany(at, many) => (0..many.min(count)).for_each(|_| self.drop_root(at % self.roots.len())),
            Op::AllocPin | Op::AllocBlob(_) => {}
        }
    }

    fn set(&mut self, from: usize, slot: usize, to: Option<usize>) {
        let (handle, id) = &self.roots[from];
        let slot = if matches!(handle, Handle::Pin(_)) { 0 } else { slot };
        handle.set(slot, to.map(|to| self.roots[to].0.untyped()));
        self.model.set(*id, slot, to.map(|to| self.roots[to].1));
    }

    fn drop_root(&mut self, at: usize) {
        let (handle, id) = self.roots.swap_remove(at);
        drop(handle);
        self.model.release(id);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(small_tests) { 20 } else { 200 }, ..ProptestConfig::default() })]

    #[test]
    fn space_is_bounded_by_the_peak_of_live_an_installment_and_what_is_carried_over(ops in ops(), pacing in pacing()) {
        let mutator = Runtime::new().unwrap().attaching().pacing(pacing).attach().unwrap();
        let mut world = World::default();
        for op in &ops {
            world.run(&mutator, op);
            let metrics = mutator.metrics();
            let space = metrics.live.now.bytes + metrics.pending.now.bytes;
            let bound = world.model.peak + pacing.installment() as u64 + metrics.debt;
            prop_assert!(space <= bound, "{space} > {bound} after {op:?}: {metrics:?}");
            prop_assert!(space >= world.model.live);
            if pacing.pause_cap() == Budget::Unbounded {
                // Without a cap nothing is carried over but what is owed to large blocks that wait.
                prop_assert!(metrics.debt == 0 || metrics.large.objects > 0);
            }
        }
        while let Some(at) = world.roots.len().checked_sub(1) {
            world.drop_root(at);
        }
        mutator.collect(Budget::Unbounded);
        prop_assert_eq!(mutator.metrics().live.now.bytes, 0);
    }
}
