//! dumpster's `Gc` for several threads. It recurses, so a long list needs a deep stack (`process::stack`).

use std::error::Error;
use std::sync::OnceLock;

use dumpster::Trace;
use dumpster::sync::{Gc, collect};

use super::Seen;
use crate::cost::Sample;
use crate::cycles::scene::{Built, Scene};

#[derive(Trace)]
struct Node {
    _value: u64,
    links: [OnceLock<Gc<Node>>; 2],
    _seen: Seen,
}

/// In the middle of its life: one collection has found everything alive.
fn build(scene: Scene) -> Built<Gc<Node>> {
    let built = scene.build(
        |value| Gc::new(Node { _value: value, links: [const { OnceLock::new() }; 2], _seen: Seen }),
        |from, slot, to| drop(from.links[slot].set(to.clone())),
    );
    collect();
    built
}

/// One collection of everything.
pub(super) fn at_once(scene: Scene) -> Result<Sample, Box<dyn Error>> {
    super::at_once(scene, build(scene), collect)
}
