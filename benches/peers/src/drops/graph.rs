//! What dies: lists and trees, in order and scattered.

use std::fmt;

use serde::Serialize;

use crate::word::{self, Word};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// Each node refers to the next.
    List,
    /// A complete binary tree.
    Tree,
}

/// Where the nodes lie in memory, as far as an allocator keeps to the order of the allocations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Layout {
    /// Allocated in the order in which a depth-first walk comes to them.
    Sequence,
    /// Linked in a random order. The same one in each run.
    Scattered,
}

impl Word for Shape {
    const KIND: &'static str = "shape";
    const ALL: &'static [Shape] = &[Shape::List, Shape::Tree];

    fn word(self) -> &'static str {
        match self {
            Shape::List => "list",
            Shape::Tree => "tree",
        }
    }
}

impl Word for Layout {
    const KIND: &'static str = "layout";
    const ALL: &'static [Layout] = &[Layout::Sequence, Layout::Scattered];

    fn word(self) -> &'static str {
        match self {
            Layout::Sequence => "sequence",
            Layout::Scattered => "scattered",
        }
    }
}

/// What is built and dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Scene {
    #[serde(serialize_with = "word::serialize")]
    pub(crate) shape: Shape,
    #[serde(serialize_with = "word::serialize")]
    pub(crate) layout: Layout,
    pub(crate) nodes: u32,
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.shape.word(), self.layout.word())
    }
}

impl Scene {
    pub(crate) fn all(nodes: u32) -> impl Iterator<Item = Scene> {
        let layouts = move |&shape: &Shape| Layout::ALL.iter().map(move |&layout| Scene { shape, layout, nodes });
        Shape::ALL.iter().flat_map(layouts)
    }

    /// Builds the structure and returns its root.
    ///
    /// `make` allocates a node without children; `link` gives a node the child in one of its slots. All nodes are made
    /// before the first is linked, and a node has all its children when it is linked itself.
    pub(crate) fn build<N>(self, make: impl FnMut(u64) -> N, link: impl Fn(&N, usize, N)) -> N {
        let places = self.places();
        let place = |node: u64| places[node as usize] as usize;
        let mut nodes: Vec<Option<N>> = (0..u64::from(self.nodes)).map(make).map(Some).collect();
        for parent in (0..u64::from(self.nodes)).rev() {
            for (slot, child) in self.children(parent).enumerate() {
                let child = nodes[place(child)].take();
                let parent = nodes[place(parent)].as_ref();
                if let (Some(parent), Some(child)) = (parent, child) {
                    link(parent, slot, child);
                }
            }
        }
        nodes[place(0)].take().expect("the root is nobody's child, and there is at least one node")
    }

    /// The children of a node. Nodes are numbered by level, so that each number is lower than those of its children.
    fn children(self, node: u64) -> impl Iterator<Item = u64> {
        let children = match self.shape {
            Shape::List => node + 1..node + 2,
            Shape::Tree => 2 * node + 1..2 * node + 3,
        };
        let nodes = u64::from(self.nodes);
        children.filter(move |child| *child < nodes)
    }

    /// For each node, how many are allocated before it.
    fn places(self) -> Vec<u32> {
        let mut places: Vec<u32> = (0..self.nodes).collect();
        match self.layout {
            Layout::Scattered => fastrand::Rng::with_seed(1).shuffle(&mut places),
            Layout::Sequence => {
                let mut walk = vec![0u64];
                let mut visited = 0;
                while let Some(node) = walk.pop() {
                    places[node as usize] = visited;
                    visited += 1;
                    let children = walk.len();
                    walk.extend(self.children(node));
                    // The first child is to be popped first.
                    walk[children..].reverse();
                }
            }
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    struct Node {
        number: u64,
        children: RefCell<Vec<Node>>,
    }

    fn build(scene: Scene) -> Node {
        scene.build(
            |number| Node { number, children: RefCell::default() },
            |parent, slot, child| {
                let mut children = parent.children.borrow_mut();
                assert_eq!(children.len(), slot);
                children.push(child);
            },
        )
    }

    /// The numbers of the allocations in the order of a depth-first walk, and the depth.
    fn walk(root: Node) -> (Vec<u64>, usize) {
        let (mut numbers, mut depth, mut stack) = (Vec::new(), 0, vec![(root, 1)]);
        while let Some((node, level)) = stack.pop() {
            numbers.push(node.number);
            depth = depth.max(level);
            stack.extend(node.children.into_inner().into_iter().rev().map(|child| (child, level + 1)));
        }
        (numbers, depth)
    }

    #[test]
    fn every_node_is_linked_once_and_a_sequence_is_one() {
        for nodes in [1, 2, 3, 6, 7, 8, 1000] {
            for scene in Scene::all(nodes) {
                let (mut numbers, depth) = walk(build(scene));
                let expected = match scene.shape {
                    Shape::List => nodes as usize,
                    Shape::Tree => nodes.ilog2() as usize + 1,
                };
                assert_eq!(depth, expected, "{scene}");
                match scene.layout {
                    Layout::Sequence => assert!(numbers.is_sorted(), "{scene}"),
                    Layout::Scattered => assert!(nodes < 1000 || !numbers.is_sorted(), "{scene}"),
                }
                numbers.sort_unstable();
                assert_eq!(numbers, (0..u64::from(nodes)).collect::<Vec<_>>(), "{scene}");
            }
        }
    }
}
