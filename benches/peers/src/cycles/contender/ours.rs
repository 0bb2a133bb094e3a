//! This crate's `Ref`.

use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use mimalloc_runtime::{Budget, Metrics, Mutator, Ref, Runtime, Trace, cell};

use super::{TURN, check, give_up};
use crate::cost::{Sample, Trial};
use crate::cycles::scene::{Built, Scene};

#[derive(Trace)]
struct Node {
    value: u64,
    links: [cell::Cell<Option<Ref<Node>>>; 2],
}

/// Short-lived: 32 bytes with its header.
type Small = [u64; 3];

/// In the middle of its life: one collection has found everything alive.
fn build(mutator: &Mutator, scene: Scene) -> Built<Ref<Node>> {
    let built = scene.build(
        |value| mutator.alloc(Node { value, links: [const { cell::Cell::new(None) }; 2] }).expect("memory"),
        |from, slot, to| from.links[slot].set(Some(to.clone())),
    );
    mutator.collect(Budget::Unbounded);
    built
}

/// Objects that have been freed, and come to nothing else.
fn small(mutator: &Mutator, number: usize) {
    for value in 0..number as u64 {
        let small: Ref<Small> = mutator.alloc([value; 3]).expect("memory");
        drop(std::hint::black_box(small));
    }
}

/// What the program does between two steps: short-lived objects, and something with one that lives, whose reference to another is moved.
fn go_on(mutator: &Mutator, live: &[Ref<Node>], turn: usize) {
    small(mutator, 16);
    let node = live[turn.wrapping_mul(7919) % live.len()].clone();
    let link = node.links[0].take();
    std::hint::black_box((node.value, &link));
    node.links[0].set(link);
}

/// As many more objects were freed as are to die.
struct Freed<'a> {
    mutator: &'a Mutator,
    live: u64,
}

impl<'a> Freed<'a> {
    fn new(mutator: &'a Mutator, scene: Scene) -> Freed<'a> {
        Freed { mutator, live: u64::from(scene.objects) }
    }

    fn is_done(&self) -> bool {
        let Metrics { live, pending, .. } = self.mutator.metrics();
        live.now.objects + pending.now.objects <= self.live
    }
}

/// Bounded collections until nothing is left of what died; the program goes on between them.
pub(super) fn lazy(scene: Scene) -> Result<Sample, Box<dyn Error>> {
    let mutator = Runtime::new()?.attach()?;
    let Built { live, dead } = build(&mutator, scene);
    let (mut trial, before) = (Trial::begin(), mutator.metrics());
    give_up(&mut trial, dead);
    let freed = Freed::new(&mutator, scene);
    let (mut turn, mut units) = (0, 0);
    while !freed.is_done() {
        let progress = trial.watch.step(|| mutator.collect(Budget::Units(1000)));
        units = units.max(progress.units);
        go_on(&mutator, &live, turn);
        turn += 1;
    }
    finish(trial, units, &before, &mutator, scene, live)
}

/// Allocations with safepoints until nothing is left of it.
pub(super) fn paced(scene: Scene) -> Result<Sample, Box<dyn Error>> {
    let mutator = Runtime::new()?.attach()?;
    let Built { live, dead } = build(&mutator, scene);
    // The mutator times its own steps: from out here they cannot be told from the allocations that pay for them.
    let (collecting, units) = (Rc::new(Cell::new(Duration::ZERO)), Rc::new(Cell::new(0)));
    let (sum, most) = (Rc::clone(&collecting), Rc::clone(&units));
    mutator.observe_steps(move |step| {
        sum.set(sum.get() + step.elapsed);
        most.set(most.get().max(step.progress.units));
    })?;
    let (mut trial, before) = (Trial::begin(), mutator.metrics());
    give_up(&mut trial, dead);
    let freed = Freed::new(&mutator, scene);
    let mut turn = 0;
    while !freed.is_done() {
        trial.watch.turn(|| {
            small(&mutator, TURN - 16);
            go_on(&mutator, &live, turn);
            mutator.safepoint();
            collecting.take()
        });
        turn += 1;
    }
    finish(trial, units.get(), &before, &mutator, scene, live)
}

/// One collection without a budget.
pub(super) fn unbounded(scene: Scene) -> Result<Sample, Box<dyn Error>> {
    let mutator = Runtime::new()?.attach()?;
    let Built { live, dead } = build(&mutator, scene);
    let (mut trial, before) = (Trial::begin(), mutator.metrics());
    give_up(&mut trial, dead);
    let progress = trial.watch.step(|| mutator.collect(Budget::Unbounded));
    finish(trial, progress.units, &before, &mutator, scene, live)
}

fn finish(
    trial: Trial,
    units: u64,
    before: &Metrics,
    mutator: &Mutator,
    scene: Scene,
    live: Vec<Ref<Node>>,
) -> Result<Sample, Box<dyn Error>> {
    let sample = trial.end();
    let after = mutator.metrics();
    check(scene, before.live.now.objects - after.live.now.objects - after.pending.now.objects)?;
    drop(live);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(Sample {
        longest_units: Some(units),
        counted_mib: Some(mib(before.live.now.bytes)),
        peak_counted_mib: Some(mib(after.peak_in_use_bytes)),
        ..sample
    })
}
