//! What dies: lists and trees, in order and scattered.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

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

impl Shape {
    const ALL: [Shape; 2] = [Shape::List, Shape::Tree];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Shape::List => "list",
            Shape::Tree => "tree",
        }
    }
}

impl Layout {
    const ALL: [Layout; 2] = [Layout::Sequence, Layout::Scattered];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Layout::Sequence => "sequence",
            Layout::Scattered => "scattered",
        }
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Shape, String> {
        Shape::ALL.into_iter().find(|shape| shape.word() == text).ok_or_else(|| format!("'{text}' is not a shape"))
    }
}

impl FromStr for Layout {
    type Err = String;

    fn from_str(text: &str) -> Result<Layout, String> {
        Layout::ALL.into_iter().find(|layout| layout.word() == text).ok_or_else(|| format!("'{text}' is not a layout"))
    }
}

/// What is built and dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Scene {
    pub(crate) shape: Shape,
    pub(crate) layout: Layout,
    pub(crate) nodes: u32,
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.shape.word(), self.layout.word())
    }
}

impl Serialize for Scene {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut fields = serializer.serialize_struct("Scene", 3)?;
        fields.serialize_field("shape", self.shape.word())?;
        fields.serialize_field("layout", self.layout.word())?;
        fields.serialize_field("nodes", &self.nodes)?;
        fields.end()
    }
}

impl Scene {
    pub(crate) fn all(nodes: u32) -> impl Iterator<Item = Scene> {
        Shape::ALL.into_iter().flat_map(move |shape| Layout::ALL.map(|layout| Scene { shape, layout, nodes }))
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
