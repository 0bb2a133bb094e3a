//! bacon_rajan_cc's `Cc`. It recurses, so a long list needs a deep stack (`process::stack`).

use std::cell::OnceCell;
use std::error::Error;

use bacon_rajan_cc::{Cc, Trace, Tracer, collect_cycles};

use super::Seen;
use crate::cost::Sample;
use crate::cycles::scene::{Built, Scene};

struct Node {
    _value: u64,
    links: [OnceCell<Cc<Node>>; 2],
    _seen: Seen,
}

impl Trace for Node {
    fn trace(&self, tracer: &mut Tracer<'_>) {
        for link in self.links.iter().filter_map(OnceCell::get) {
            link.trace(tracer);
        }
    }
}

/// In the middle of its life: one collection has found everything alive.
fn build(scene: Scene) -> Built<Cc<Node>> {
    let built = scene.build(
        |value| Cc::new(Node { _value: value, links: [const { OnceCell::new() }; 2], _seen: Seen }),
        |from, slot, to| drop(from.links[slot].set(to.clone())),
    );
    collect_cycles();
    built
}

/// One collection of everything.
pub(super) fn at_once(scene: Scene) -> Result<Sample, Box<dyn Error>> {
    super::at_once(scene, build(scene), collect_cycles)
}
