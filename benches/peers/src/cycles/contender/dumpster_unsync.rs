//! dumpster's `Gc` for one thread. It recurses, so a long list needs a deep stack (`process::stack`).

use std::cell::OnceCell;
use std::error::Error;
use std::time::{Duration, Instant};

use dumpster::Trace;
use dumpster::unsync::{Gc, collect};

use super::{DROPPED, Seen, TURN, check, give_up};
use crate::cost::{Sample, Trial};
use crate::cycles::scene::{Built, Scene};

#[derive(Trace)]
struct Node {
    _value: u64,
    links: [OnceCell<Gc<Node>>; 2],
    _seen: Seen,
}

/// In the middle of its life: one collection has found everything alive.
fn build(scene: Scene) -> Built<Gc<Node>> {
    let built = scene.build(
        |value| Gc::new(Node { _value: value, links: [const { OnceCell::new() }; 2], _seen: Seen }),
        |from, slot, to| drop(from.links[slot].set(to.clone())),
    );
    collect();
    built
}

/// One collection of everything.
pub(super) fn at_once(scene: Scene) -> Result<Sample, Box<dyn Error>> {
    super::at_once(scene, build(scene), collect)
}

/// The program goes on, with short-lived objects, until dumpster has collected by itself.
pub(super) fn automatic(scene: Scene) -> Result<Sample, Box<dyn Error>> {
    let Built { live, dead } = build(scene);
    let mut trial = Trial::begin();
    give_up(&mut trial, dead);
    while DROPPED.get() < u64::from(scene.objects) {
        trial.watch.turn(|| {
            let (before, start) = (DROPPED.get(), Instant::now());
            for value in 0..TURN as u64 {
                drop(std::hint::black_box(Gc::new([value; 2])));
            }
            // The collection is somewhere in there; without one there is nothing to be added.
            if DROPPED.get() > before { start.elapsed() } else { Duration::ZERO }
        });
    }
    let sample = trial.end();
    check(scene, DROPPED.get())?;
    drop(live);
    Ok(sample)
}
