//! gc-arena: everything in one arena, whose collector marks and sweeps in steps.

use std::cell::Cell;
use std::rc::Rc;

use gc_arena::{Arena, Collect, Gc, Rootable, lock::Lock};

use super::{Sample, Scene, Trial};
use crate::arena::{self, Sentinel};

#[derive(Clone, Copy, Collect)]
#[collect(no_drop)]
struct Node<'gc, const SLOTS: usize> {
    value: u64,
    links: [Option<Gc<'gc, Lock<Node<'gc, SLOTS>>>>; SLOTS],
}

#[derive(Collect)]
#[collect(no_drop)]
struct Structure<'gc, const SLOTS: usize> {
    _node: Gc<'gc, Lock<Node<'gc, SLOTS>>>,
    _sentinel: Gc<'gc, Sentinel>,
}

type World<const SLOTS: usize> = Arena<Rootable![Option<Structure<'_, SLOTS>>]>;

/// The arena in the middle of its life: one cycle has found everything alive. The flag is set when everything has died and
/// has been freed: the sweep goes from the newest object to the oldest, and the sentinel is the oldest.
fn build<const SLOTS: usize>(scene: Scene) -> (World<SLOTS>, Rc<Cell<bool>>) {
    let freed = Rc::new(Cell::new(false));
    let mut arena = World::<SLOTS>::new(|mc| {
        let sentinel = Gc::new(mc, Sentinel(Rc::clone(&freed)));
        let node = scene.build(
            |value| Gc::new(mc, Lock::new(Node { value, links: [None; SLOTS] })),
            |parent, slot, child| {
                let mut node = parent.get();
                node.links[slot] = Some(child);
                parent.set(mc, node);
            },
        );
        Some(Structure { _node: node, _sentinel: sentinel })
    });
    arena.finish_cycle();
    (arena, freed)
}

/// The root is let go, and one cycle collects everything.
pub(super) fn cycle<const SLOTS: usize>(scene: Scene) -> Sample {
    let (mut arena, freed) = build::<SLOTS>(scene);
    let mut trial = Trial::begin();
    trial.watch.step(|| arena.mutate_root(|_, root| *root = None));
    while !freed.get() {
        trial.watch.step(|| arena.finish_cycle());
    }
    trial.end()
}

/// The root is let go, and the collector is called as its documentation asks, while the program allocates.
pub(super) fn paced<const SLOTS: usize>(scene: Scene) -> Sample {
    let (mut arena, freed) = build::<SLOTS>(scene);
    let mut trial = Trial::begin();
    trial.watch.step(|| arena.mutate_root(|_, root| *root = None));
    while !freed.get() {
        trial.watch.turn(|| arena::turn(&mut arena));
    }
    trial.end()
}
