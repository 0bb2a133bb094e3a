//! `Rc`, as a careful programmer would use it for long structures: the derived drop would recurse, so nodes that are to be
//! dropped wait on a stack.

use std::cell::Cell;
use std::rc::Rc;

use super::{Sample, Scene, at_once};

struct Node<const SLOTS: usize> {
    _value: u64,
    links: [Cell<Option<Rc<Node<SLOTS>>>>; SLOTS],
}

impl<const SLOTS: usize> Drop for Node<SLOTS> {
    fn drop(&mut self) {
        // An empty vector allocates nothing: nodes that come off the stack are dropped without links.
        let mut stack = Vec::new();
        stack.extend(self.links.iter().rev().filter_map(Cell::take));
        while let Some(node) = stack.pop() {
            if let Some(node) = Rc::into_inner(node) {
                stack.extend(node.links.iter().rev().filter_map(Cell::take));
            }
        }
    }
}

/// The drop, which frees everything.
pub(super) fn eager<const SLOTS: usize>(scene: Scene) -> Sample {
    let root = scene.build(
        |value| Rc::new(Node::<SLOTS> { _value: value, links: [const { Cell::new(None) }; SLOTS] }),
        |parent, slot, child| parent.links[slot].set(Some(child)),
    );
    at_once(root)
}
