//! What lives and what dies: as many objects of both, all in cycles.

use std::fmt;

use serde::Serialize;

use crate::word::{self, Word};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// Two objects that refer to each other.
    Pairs,
    /// A hundred, each of which refers to the next, and the last to the first. Those that die refer to what lives besides, one each.
    Rings,
    /// One list of all, linked both ways.
    List,
}

impl Word for Shape {
    const KIND: &'static str = "shape";
    const ALL: &'static [Shape] = &[Shape::Pairs, Shape::Rings, Shape::List];

    fn word(self) -> &'static str {
        match self {
            Shape::Pairs => "pairs",
            Shape::Rings => "rings",
            Shape::List => "list",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Scene {
    #[serde(serialize_with = "word::serialize")]
    pub(crate) shape: Shape,
    /// So many live, and so many die.
    pub(crate) objects: u32,
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shape {
            Shape::Pairs => f.write_str("pairs"),
            Shape::Rings => f.write_str("rings of a hundred that refer to what lives"),
            Shape::List => f.write_str("a list linked both ways"),
        }
    }
}

/// One object of each structure.
pub(super) struct Built<N> {
    pub(super) live: Vec<N>,
    pub(super) dead: Vec<N>,
}

impl Scene {
    pub(crate) fn all(objects: u32) -> impl Iterator<Item = Scene> {
        Shape::ALL.iter().map(move |&shape| Scene { shape, objects })
    }

    /// The objects of one structure.
    fn size(self) -> u32 {
        match self.shape {
            Shape::Pairs => 2,
            Shape::Rings => 100,
            Shape::List => self.objects,
        }
    }

    /// Builds what is to live and what is to die, object by object in turn, so that they lie among each other in memory. All but one
    /// handle to each structure are given up.
    ///
    /// `make` allocates an object; `link` has one refer to another through one of its two slots, each of which is linked once.
    pub(super) fn build<N>(self, mut make: impl FnMut(u64) -> N, link: impl Fn(&N, usize, &N)) -> Built<N> {
        let mut built = Built { live: Vec::new(), dead: Vec::new() };
        let mut left = self.objects;
        while left > 0 {
            let size = self.size().min(left);
            left -= size;
            let (mut live, mut dead) = (Vec::new(), Vec::new());
            for number in 0..u64::from(size) {
                live.push(make(number));
                dead.push(make(number));
            }
            if self.shape == Shape::Rings {
                dead.iter().zip(&live).for_each(|(dead, live)| link(dead, 1, live));
            }
            for (mut nodes, heads) in [(live, &mut built.live), (dead, &mut built.dead)] {
                for pair in nodes.windows(2) {
                    link(&pair[0], 0, &pair[1]);
                    if self.shape == Shape::List {
                        link(&pair[1], 1, &pair[0]);
                    }
                }
                if let (Shape::Pairs | Shape::Rings, [first, .., last]) = (self.shape, &nodes[..]) {
                    link(last, 0, first);
                }
                nodes.truncate(1);
                heads.append(&mut nodes);
            }
        }
        built
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;
    use std::rc::{Rc, Weak};

    use super::*;

    struct Node {
        links: [RefCell<Option<Rc<Node>>>; 2],
    }

    /// What a node leads to, itself included.
    fn reach(node: &Rc<Node>) -> usize {
        let (mut seen, mut stack) = (BTreeSet::new(), vec![Rc::clone(node)]);
        while let Some(node) = stack.pop() {
            if seen.insert(Rc::as_ptr(&node)) {
                stack.extend(node.links.iter().filter_map(|link| link.borrow().clone()));
            }
        }
        seen.len()
    }

    #[test]
    fn every_object_is_in_a_cycle_of_a_structure_that_one_handle_leads_to() {
        for scene in Scene::all(1000) {
            let all: RefCell<Vec<Weak<Node>>> = RefCell::default();
            let built = scene.build(
                |_| {
                    let node = Rc::new(Node { links: [const { RefCell::new(None) }; 2] });
                    all.borrow_mut().push(Rc::downgrade(&node));
                    node
                },
                |from, slot, to| assert!(from.links[slot].replace(Some(Rc::clone(to))).is_none()),
            );
            let reached = |heads: &[Rc<Node>]| heads.iter().map(reach).sum::<usize>();
            // A ring that dies leads to one that lives.
            let dead = if scene.shape == Shape::Rings { 2000 } else { 1000 };
            assert_eq!((reached(&built.live), reached(&built.dead)), (1000, dead), "{scene}");
            drop(built);
            // Counts alone free none of them.
            assert!(all.borrow().iter().all(|node| node.strong_count() > 0), "{scene}");
            // So that this test leaks nothing itself.
            for node in all.borrow().iter().filter_map(Weak::upgrade) {
                node.links.iter().for_each(|link| drop(link.take()));
            }
        }
    }
}
