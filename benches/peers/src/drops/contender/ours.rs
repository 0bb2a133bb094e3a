//! This crate's `Ref`.

use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use mimalloc_runtime::{Budget, Metrics, Mutator, Pacing, Ref, Runtime, Stop, Trace};

use super::{Sample, Scene, TURN, Trial};

#[derive(Trace)]
struct Node<const SLOTS: usize> {
    _value: u64,
    links: [Link<SLOTS>; SLOTS],
}

type Link<const SLOTS: usize> = Cell<Option<Ref<Node<SLOTS>>>>;

/// Short-lived: 32 bytes with its header.
type Small = [u64; 3];

fn build<const SLOTS: usize>(mutator: &Mutator, scene: Scene) -> Ref<Node<SLOTS>> {
    scene.build(
        |value| mutator.alloc(Node { _value: value, links: [const { Cell::new(None) }; SLOTS] }).expect("memory"),
        |parent, slot, child| parent.links[slot].set(Some(child)),
    )
}

/// The drop, then bounded collections until nothing is left.
pub(super) fn lazy<const SLOTS: usize>(scene: Scene) -> Result<Sample, Box<dyn Error>> {
    let mutator = Runtime::new()?.attach()?;
    let root = build::<SLOTS>(&mutator, scene);
    let (mut trial, before) = (Trial::begin(), mutator.metrics());
    trial.watch.step(|| drop(root));
    while trial.watch.step(|| mutator.collect(Budget::Units(1000))).stop != Stop::Done {}
    finish(trial, &before, &mutator, scene)
}

/// The drop, then allocations until nothing is pending.
pub(super) fn paced<const SLOTS: usize>(scene: Scene) -> Result<Sample, Box<dyn Error>> {
    let mutator = Runtime::new()?.attach()?;
    let root = build::<SLOTS>(&mutator, scene);
    // The mutator times its own steps: from out here they cannot be told from the allocations that pay for them.
    let collecting = Rc::new(Cell::new(Duration::ZERO));
    let sum = Rc::clone(&collecting);
    mutator.observe_steps(move |step| sum.set(sum.get() + step.elapsed))?;
    let (mut trial, before) = (Trial::begin(), mutator.metrics());
    trial.watch.step(|| drop(root));
    while mutator.metrics().pending.now.objects > 0 {
        trial.watch.turn(|| {
            for value in 0..TURN as u64 {
                let small: Ref<Small> = mutator.alloc([value; 3]).expect("memory");
                drop(std::hint::black_box(small));
            }
            collecting.take()
        });
    }
    finish(trial, &before, &mutator, scene)
}

/// The drop, which frees everything.
pub(super) fn eager<const SLOTS: usize>(scene: Scene) -> Result<Sample, Box<dyn Error>> {
    let mutator = Runtime::new()?.attaching().pacing(Pacing::eager()).attach()?;
    let root = build::<SLOTS>(&mutator, scene);
    let (mut trial, before) = (Trial::begin(), mutator.metrics());
    trial.watch.step(|| drop(root));
    finish(trial, &before, &mutator, scene)
}

fn finish(trial: Trial, before: &Metrics, mutator: &Mutator, scene: Scene) -> Result<Sample, Box<dyn Error>> {
    let sample = trial.end();
    let after = mutator.metrics();
    let freed = after.freed.objects - before.freed.objects;
    if after.live.now.objects > 0 || freed < u64::from(scene.nodes) {
        return Err(format!("{freed} objects were freed, {} are left", after.live.now.objects).into());
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(Sample {
        // Nothing was collected before the drop: nothing had died.
        longest_units: Some(after.steps.max_units),
        counted_mib: Some(mib(before.live.now.bytes)),
        peak_counted_mib: Some(mib(after.peak_in_use_bytes)),
        ..sample
    })
}
