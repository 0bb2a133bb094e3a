//! gc-arena: everything in one arena, whose collector marks and sweeps in steps.

use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;

use gc_arena::{Arena, Collect, Gc, Rootable, lock::Lock};

use super::{HANDLES, check};
use crate::arena::{self, Sentinel};
use crate::cost::{Sample, Trial};
use crate::cycles::scene::{Built, Scene};

#[derive(Clone, Copy, Collect)]
#[collect(no_drop)]
struct Node<'gc> {
    value: u64,
    links: [Option<Gc<'gc, Lock<Node<'gc>>>>; 2],
}

#[derive(Collect)]
#[collect(no_drop)]
struct Root<'gc> {
    live: Vec<Gc<'gc, Lock<Node<'gc>>>>,
    dead: Vec<Gc<'gc, Lock<Node<'gc>>>>,
    sentinel: Option<Gc<'gc, Sentinel>>,
}

type World = Arena<Rootable![Root<'_>]>;

/// The arena in the middle of its life: one cycle has found everything alive. The flag is set when everything that died has
/// been freed: the sweep goes from the newest object to the oldest, and the sentinel is the oldest.
fn build(scene: Scene) -> (World, Rc<Cell<bool>>) {
    let freed = Rc::new(Cell::new(false));
    let mut arena = World::new(|mc| {
        let sentinel = Some(Gc::new(mc, Sentinel(Rc::clone(&freed))));
        let Built { live, dead } = scene.build(
            |value| Gc::new(mc, Lock::new(Node { value, links: [None; 2] })),
            |from, slot, to| {
                let mut node = from.get();
                node.links[slot] = Some(*to);
                from.set(mc, node);
            },
        );
        Root { live, dead, sentinel }
    });
    arena.finish_cycle();
    (arena, freed)
}

fn give_up(arena: &mut World, trial: &mut Trial) {
    while !arena.mutate(|_, root| root.dead.is_empty()) {
        trial.watch.step(|| arena.mutate_root(|_, root| root.dead.truncate(root.dead.len().saturating_sub(HANDLES))));
    }
    trial.watch.step(|| arena.mutate_root(|_, root| root.sentinel = None));
}

/// Objects that the arena has, short-lived ones included.
fn count(arena: &World) -> u64 {
    arena.metrics().total_gc_count() as u64
}

/// One cycle collects everything.
pub(super) fn cycle(scene: Scene) -> Result<Sample, Box<dyn Error>> {
    let (mut arena, freed) = build(scene);
    let before = count(&arena);
    let mut trial = Trial::begin();
    give_up(&mut arena, &mut trial);
    while !freed.get() {
        trial.watch.step(|| arena.finish_cycle());
    }
    let sample = trial.end();
    // The sentinel was one of them.
    check(scene, before - count(&arena) - 1)?;
    Ok(sample)
}

/// The collector is called as its documentation asks, while the program allocates.
pub(super) fn paced(scene: Scene) -> Result<Sample, Box<dyn Error>> {
    let (mut arena, freed) = build(scene);
    let before = count(&arena);
    let mut trial = Trial::begin();
    give_up(&mut arena, &mut trial);
    while !freed.get() {
        trial.watch.turn(|| arena::turn(&mut arena));
    }
    let sample = trial.end();
    // The short-lived ones go too.
    arena.finish_cycle();
    check(scene, before - count(&arena) - 1)?;
    Ok(sample)
}
