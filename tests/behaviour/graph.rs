//! Structures of objects, built without recursion, that know how many objects and slots they have.

use mimalloc_runtime::{Mutator, Ref, Tail, Trace};

/// Two slots, one unit to free: 24 bytes.
#[derive(Trace)]
pub(crate) struct Node {
    pub(crate) left: Option<Ref<Node>>,
    pub(crate) right: Option<Ref<Node>>,
}

/// An array of references.
pub(crate) type Wide = Tail<(), Option<Ref<Node>>>;

/// A link of a chain whose every link holds an array.
#[derive(Trace)]
pub(crate) struct Tooth {
    pub(crate) next: Option<Ref<Tooth>>,
    pub(crate) wide: Ref<Wide>,
}

/// A link of a chain that holds bytes.
#[derive(Trace)]
pub(crate) struct Text {
    pub(crate) next: Option<Ref<Text>>,
    pub(crate) bytes: Option<Ref<Tail<(), u8>>>,
    pub(crate) small: [Option<Ref<Small>>; 2],
}

/// 16 bytes with its header, and not a leaf, so that it is queued.
#[derive(Trace)]
pub(crate) struct Small {
    pub(crate) next: Option<Ref<Small>>,
}

/// A structure that only its root holds.
pub(crate) struct Built {
    pub(crate) root: Box<dyn core::any::Any>,
    /// Slots and objects: the units that freeing all of it takes.
    pub(crate) units: u64,
    pub(crate) objects: u64,
    /// Those of the root, if its drop frees it.
    pub(crate) root_units: u64,
    /// Objects whose free is left for a place that may wait.
    pub(crate) large: u64,
}

impl Built {
    /// The root is an object of two slots, or not one that its drop frees.
    fn new<T: 'static>(root: T, slots: u64, objects: u64) -> Built {
        Built { root: Box::new(root), units: slots + objects, objects, root_units: 3, large: 0 }
    }
}

pub(crate) fn node(mutator: &Mutator, left: Option<Ref<Node>>, right: Option<Ref<Node>>) -> Ref<Node> {
    mutator.alloc(Node { left, right }).unwrap()
}

pub(crate) fn chain(mutator: &Mutator, length: u64) -> Built {
    let mut head = None;
    for _ in 0..length {
        head = Some(node(mutator, head, None));
    }
    Built::new(head, 2 * length, length)
}

pub(crate) fn tree(mutator: &Mutator, size: usize) -> Built {
    let mut nodes: Vec<Option<Ref<Node>>> = (0..size).map(|_| None).collect();
    for at in (0..size).rev() {
        let mut child = |side: usize| nodes.get_mut(2 * at + side).and_then(Option::take);
        let (left, right) = (child(1), child(2));
        nodes[at] = Some(node(mutator, left, right));
    }
    Built::new(nodes.swap_remove(0), 2 * size as u64, size as u64)
}

/// Every tenth slot holds an object of its own, the one after it is empty, the others share one.
pub(crate) fn wide(mutator: &Mutator, slots: usize) -> (Ref<Wide>, u64) {
    let shared = node(mutator, None, None);
    let tail = mutator.alloc_tail((), slots, |index| match index % 10 {
        0 => Some(node(mutator, None, None)),
        1 => None,
        _ => Some(shared.clone()),
    });
    (tail.unwrap(), slots.div_ceil(10) as u64 + u64::from(slots > 2))
}

pub(crate) fn one_wide(mutator: &Mutator, slots: usize) -> Built {
    let (root, leaves) = wide(mutator, slots);
    let mut built = Built::new(root, slots as u64 + 2 * leaves, 1 + leaves);
    // 80 MB of slots: set aside when its slots are done, which is a unit too.
    built.large = u64::from(slots * 8 >= 16 << 20);
    built
}

pub(crate) fn comb(mutator: &Mutator, teeth: u64, slots: usize) -> Built {
    let (mut head, mut units, mut objects) = (None, 0, 0);
    for _ in 0..teeth {
        let (wide, leaves) = wide(mutator, slots);
        head = Some(mutator.alloc(Tooth { next: head, wide }).unwrap());
        units += 2 + slots as u64 + 2 * leaves;
        objects += 2 + leaves;
    }
    Built::new(head, units, objects)
}

/// Blocks of 64 MiB among objects of 16 bytes.
pub(crate) fn texts(mutator: &Mutator, texts: u64) -> Built {
    let mut head = None;
    for _ in 0..texts {
        let bytes = mutator.alloc_tail((), 64 << 20, |_| 0u8).unwrap();
        let small = || Some(mutator.alloc(Small { next: None }).unwrap());
        head = Some(mutator.alloc(Text { next: head, bytes: Some(bytes), small: [small(), small()] }).unwrap());
    }
    let mut built = Built::new(head, texts * (4 + 2), texts * 4);
    built.root_units = 5;
    built.large = texts;
    built
}
