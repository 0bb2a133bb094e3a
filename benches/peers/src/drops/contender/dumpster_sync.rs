//! dumpster's `Gc` for several threads. Its drop recurses, so a list needs a deep stack (`process::stack`).

use std::sync::OnceLock;

use dumpster::Trace;
use dumpster::sync::Gc;

use super::{Sample, Scene, at_once};

#[derive(Trace)]
struct Node<const SLOTS: usize> {
    _value: u64,
    links: [OnceLock<Gc<Node<SLOTS>>>; SLOTS],
}

/// The drop, which frees everything.
pub(super) fn eager<const SLOTS: usize>(scene: Scene) -> Sample {
    let root = scene.build(
        |value| Gc::new(Node::<SLOTS> { _value: value, links: [const { OnceLock::new() }; SLOTS] }),
        |parent, slot, child| drop(parent.links[slot].set(child)),
    );
    at_once(root)
}
