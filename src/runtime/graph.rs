//! The objects of a mutator and what refers to what among them, gathered at one moment.
//!
//! # What may be looked into
//! Safe code may have borrowed an object mutably at any moment, through a [`RefCell`](crate::cell::RefCell) or the only reference to it
//! ([`Ref::get_mut`](crate::Ref::get_mut)). A cell says so. Of an only reference nothing tells, so an object is looked into only if it
//! is certain that nobody has such a borrow of it ([`Access::Open`]):
//!
//! - there are several references to it, or none are counted: `get_mut` gives nothing then;
//! - it is a candidate for garbage cycles, or a member of a trial that looks at it: `get_mut` takes it off;
//! - no object of its type was ever borrowed so, which is noted for the type;
//! - the caller has the reference, and holds it shared;
//! - the reference lies in an object that is looked into: to borrow it mutably there would take a mutable borrow of that object.
//!
//! What remains are objects that one reference outside leads to, and those that are found through them alone, unless the caller promises
//! that nothing is borrowed.

use core::cell::RefCell;
use core::ptr::NonNull;

use crate::deferred::{
    self, CountState, Look, Object, Pending, Slots, Tracer, TypeKey, counted, is_followed_in_place, spread,
};
use crate::error::{Error, ErrorKind};
use crate::fallible::out_of_memory;

use super::mark::Content;
use super::state::State;

/// Whether an object's references are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Access {
    /// They are not, as somebody may have borrowed it.
    Closed,
    /// They are.
    Open,
    /// Not all are, as a cell of it is being changed, or its `trace` has panicked.
    Busy,
}

/// An object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) object: NonNull<Object>,
    /// The bytes that it counts for.
    pub(super) bytes: u64,
    /// Its count; `None` if it is not counted.
    pub(super) count: Option<u32>,
    /// References to it that were found in objects, dead ones included.
    pub(super) found: u32,
    /// References to it that the caller holds.
    pub(super) told: u32,
    pub(super) key: TypeKey,
    pub(super) access: Access,
    /// Whether it lives. Otherwise it is dead and not freed, or was found to be garbage.
    pub(super) is_live: bool,
    /// Whether it is dead and was found where the dead wait.
    pub(super) is_pending: bool,
    /// Whether the program may be given a handle of it. Not of what is attached to another object: that is the crate's own. Not of what a search
    /// may have proven to be garbage: that is right only as long as nobody comes upon it.
    pub(super) is_presentable: bool,
    /// Where its references begin.
    first: usize,
    slots: u32,
}

impl Node {
    /// References that were not found in objects: somebody holds them outside, or where nothing could be looked into.
    pub(super) fn outside(&self) -> u32 {
        self.count.map_or(0, |count| count.saturating_sub(self.found))
    }

    pub(super) fn name(&self) -> &'static str {
        self.key.info().name()
    }
}

/// A reference from one object to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    /// The number of the slot; `u32::MAX` for all that are larger.
    pub(super) slot: u32,
    /// The number of the node.
    pub(super) to: u32,
}

/// A reference to something that is no object of this mutator.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stray {
    pub(super) from: u32,
    pub(super) slot: u32,
    pub(super) to: NonNull<Object>,
}

/// Which of the objects may be looked into. See the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Borrows {
    /// Those of which it is certain that nobody has borrowed them.
    Possible,
    /// All: somebody has promised that none is borrowed.
    None,
}

/// The slot of what is attached to an object.
pub(super) const ATTACHED: u32 = u32::MAX;

/// Objects in the order of a walk, which depends on what the program did and not on where its memory lies, save for objects that lie in no
/// arena of the engine (version 2: for all).
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    edges: Vec<Edge>,
    pub(super) strays: Vec<Stray>,
    places: Places,
    /// Blocks in which objects were being made.
    pub(super) unfinished: u64,
    /// What stands in the queue of the dead and is no dead object, or stands there twice.
    pub(super) misplaced: Vec<NonNull<Object>>,
}

/// The number of a node by its address: a table in which it stands at the first free place from its home on, one more than its number.
#[derive(Debug, Default)]
struct Places(Vec<u32>);

impl Places {
    fn new(nodes: &[Node]) -> Result<Places, Error> {
        let size = (nodes.len() * 2).next_power_of_two();
        let mut places = Places(filled(size, 0)?);
        for (number, node) in nodes.iter().enumerate() {
            let mut at = places.home(node.object);
            while places.0[at] != 0 {
                at = (at + 1) % size;
            }
            places.0[at] = number as u32 + 1;
        }
        Ok(places)
    }

    fn home(&self, object: NonNull<Object>) -> usize {
        // The upper bits are the best.
        spread(object.addr().get()).rotate_left(32) as usize % self.0.len()
    }
}

/// A vector of `len` times `value`.
pub(super) fn filled<T: Clone>(len: usize, value: T) -> Result<Vec<T>, Error> {
    let mut filled = Vec::new();
    filled.try_reserve_exact(len).map_err(|_| out_of_memory())?;
    filled.resize(len, value);
    Ok(filled)
}

/// Adds to a vector.
pub(super) fn push<T>(vec: &mut Vec<T>, value: T) -> Result<(), Error> {
    vec.try_reserve(1).map_err(|_| out_of_memory())?;
    vec.push(value);
    Ok(())
}

#[cold]
fn is_busy() -> Error {
    Error::new(
        ErrorKind::Busy,
        "a collection of the mutator is running further up the call stack, with an object half taken apart: look at the heap when it is done",
    )
}

/// Passes each reference that an object owns, and its slot: **the** place that says what an object refers to.
///
/// # Safety
/// 1. `object` is whole, save that it has given up the references before the slot `from`, and nobody has borrowed it mutably, save
///    through cells that say so.
unsafe fn each_reference(pending: &Pending, object: NonNull<Object>, from: usize, look: &mut dyn Look) {
    // SAFETY: not freed (1).
    let header = unsafe { object.as_ref() };
    let info = header.info();
    if info.slots != Slots::Fixed(0) {
        let mut tracer = Tracer::look(look, from, usize::MAX);
        // SAFETY: of this type; what is before `from` is passed over (1).
        unsafe { (info.trace)(object, &mut tracer) }
    }
    if let Some(keeps) = info.keeps {
        // SAFETY: of this type; dropped with what is no slot (1).
        let kept = unsafe { keeps(object) };
        // SAFETY: alive, as the object owns a reference to it.
        unsafe { look.reference(kept, deferred::ATTACHED) }
    }
    // What is dead has been parted from its attachments.
    if !header.word().is_over() {
        // SAFETY: of this queue, not freed (1).
        for attachment in unsafe { pending.attachments().of(object) }.into_iter().flatten() {
            // SAFETY: alive, as the object owns a reference to it.
            unsafe { look.reference(attachment, deferred::ATTACHED) }
        }
    }
}

/// Notes the references of one object.
struct Noting<'a> {
    graph: &'a mut Graph,
    from: u32,
    /// Objects that can be looked into as well, as one that is has the only reference to them.
    opened: &'a mut Vec<u32>,
    busy: bool,
    failed: bool,
}

impl Look for Noting<'_> {
    unsafe fn reference(&mut self, child: NonNull<Object>, slot: usize) {
        let slot = u32::try_from(slot).unwrap_or(ATTACHED);
        let Noting { graph, from, opened, .. } = self;
        let noted = match graph.find(child) {
            None => push(&mut graph.strays, Stray { from: *from, slot, to: child }),
            Some(to) => {
                let node = &mut graph.nodes[to as usize];
                node.found = node.found.saturating_add(1);
                let opens = node.access == Access::Closed;
                node.access = if opens { Access::Open } else { node.access };
                let noted = push(&mut graph.edges, Edge { slot, to });
                noted.and_then(|()| if opens { push(opened, to) } else { Ok(()) })
            }
        };
        self.failed |= noted.is_err();
    }

    fn watches(&self) -> u32 {
        0
    }

    fn unwatched(&mut self) {}

    fn busy(&mut self) {
        self.busy = true;
    }
}

impl Graph {
    /// The node of an object.
    pub(super) fn find(&self, object: NonNull<Object>) -> Option<u32> {
        let mut at = self.places.home(object);
        loop {
            let number = self.places.0[at].checked_sub(1)?;
            if self.nodes[number as usize].object == object {
                return Some(number);
            }
            at = (at + 1) % self.places.0.len();
        }
    }

    /// The references of a node to others, in the order of their slots.
    pub(super) fn edges(&self, node: &Node) -> &[Edge] {
        &self.edges[node.first..][..node.slots as usize]
    }

    /// What lives, with its number.
    pub(super) fn live(&self) -> impl Iterator<Item = (u32, &Node)> {
        (0..).zip(&self.nodes).filter(|(_, node)| node.is_live)
    }

    /// How many live objects are of this access.
    pub(super) fn count(&self, access: Access) -> u64 {
        self.live().filter(|(_, node)| node.access == access).count() as u64
    }
}

impl State {
    /// Gathers the graph. `told` are references that the caller holds, none of them borrowed mutably.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`], [`ErrorKind::OutOfMemory`], and those of a [walk](State::walk).
    ///
    /// # Safety
    /// 1. Each of `told` is alive, and nobody has borrowed it mutably. With [`Borrows::None`] nobody has borrowed any object of this state.
    ///    (Through a cell somebody may have.)
    pub(super) unsafe fn gather(&self, told: &[NonNull<Object>], borrows: Borrows) -> Result<Graph, Error> {
        let mut graph = self.nodes()?;
        for object in told {
            if let Some(number) = graph.find(*object) {
                let node = &mut graph.nodes[number as usize];
                node.told = node.told.saturating_add(1);
                node.access = Access::Open;
            }
        }
        // Finalizers that are due have references of their own, which are as if the caller had told them.
        self.pending().attachments().each_due(|object| {
            if let Some(number) = graph.find(object) {
                let node = &mut graph.nodes[number as usize];
                node.told = node.told.saturating_add(1);
                node.access = Access::Open;
            }
        });
        let mut opened = Vec::new();
        for (number, node) in (0..).zip(&mut graph.nodes).filter(|(_, node)| node.is_live) {
            // SAFETY: lives.
            let word = unsafe { node.object.as_ref() }.word();
            if is_followed_in_place(word) || borrows == Borrows::None {
                node.access = Access::Open;
            }
            if node.access == Access::Open {
                push(&mut opened, number)?;
            }
        }
        // From the first on. What is opened by one of them comes before the next, and its references behind its own.
        opened.reverse();
        for (number, from) in self.dead(&mut graph)? {
            // SAFETY: dead, and has given up what is before `from`.
            unsafe { self.note(&mut graph, number, from, &mut opened) }?;
        }
        while let Some(number) = opened.pop() {
            // SAFETY: alive, and as the module has it nobody has borrowed it (1).
            unsafe { self.note(&mut graph, number, 0, &mut opened) }?;
        }
        Ok(graph)
    }

    /// A graph of nodes alone.
    fn nodes(&self) -> Result<Graph, Error> {
        if self.is_collecting() {
            return Err(is_busy());
        }
        let (mut nodes, mut unfinished, mut failed) = (Vec::new(), 0, false);
        let visit = |_, content| {
            let (object, is_live) = match content {
                Content::Live(object) => (object, true),
                Content::Over(object) => (object, false),
                Content::Unfinished => {
                    unfinished += 1;
                    return;
                }
            };
            // SAFETY: not freed.
            let word = unsafe { object.as_ref() }.word();
            let info = word.key().info();
            // SAFETY: not freed, of this type.
            let bytes = counted(unsafe { info.bytes_of(object) }, info.align);
            let is_counted = is_live && word.state() == CountState::Local;
            let is_proven = is_live && self.cycles().may_be_proven(word);
            let node = Node {
                object,
                bytes,
                count: is_counted.then(|| word.count()),
                found: 0,
                told: 0,
                key: word.key(),
                // Nobody has borrowed what is dead.
                access: if is_live { Access::Closed } else { Access::Open },
                is_live,
                is_pending: false,
                is_presentable: is_live && info.attachment.is_none() && !is_proven,
                first: 0,
                slots: 0,
            };
            // Numbers have 32 bits, of which places need one value.
            failed |= nodes.len() == u32::MAX as usize - 1 || push(&mut nodes, node).is_err();
        };
        // It allocates from Rust's own heap alone.
        self.visit_blocks(visit)?;
        if failed {
            return Err(out_of_memory());
        }
        let places = Places::new(&nodes)?;
        Ok(Graph { nodes, edges: Vec::new(), strays: Vec::new(), places, unfinished, misplaced: Vec::new() })
    }

    /// What is dead and not freed, by number, and from which slot on it owns its references; not what owns none.
    fn dead(&self, graph: &mut Graph) -> Result<Vec<(u32, usize)>, Error> {
        let (mut failed, mut lost) = (false, false);
        let graph = RefCell::new(graph);
        let mut owners = Vec::new();
        let mut is_dead = |object| {
            let graph = &mut **graph.borrow_mut();
            let number = graph.find(object);
            let node = number.map(|number| &mut graph.nodes[number as usize]);
            match node {
                Some(node) if !node.is_live && !node.is_pending => true,
                _ => {
                    failed |= push(&mut graph.misplaced, object).is_err();
                    false
                }
            }
        };
        let mut visit = |object, from| {
            let graph = &mut **graph.borrow_mut();
            let Some(number) = graph.find(object) else { return };
            graph.nodes[number as usize].is_pending = true;
            if let Some(from) = from {
                lost |= push(&mut owners, (number, from)).is_err();
            }
        };
        let over = |number: usize| graph.borrow().nodes.get(number).map(|node| (!node.is_live).then_some(node.object));
        self.pending().each_dead(&mut is_dead, &mut (0..).map_while(over).flatten(), &mut visit);
        if failed || lost { Err(out_of_memory()) } else { Ok(owners) }
    }

    /// Notes the references of one node.
    ///
    /// # Safety
    /// 1. As for [`each_reference`].
    unsafe fn note(&self, graph: &mut Graph, number: u32, from: usize, opened: &mut Vec<u32>) -> Result<(), Error> {
        let object = graph.nodes[number as usize].object;
        let first = graph.edges.len();
        let mut noting = Noting { graph, from: number, opened, busy: false, failed: false };
        // SAFETY: handed on (1).
        let whole = self.looked(|| unsafe { each_reference(self.pending(), object, from, &mut noting) });
        let Noting { busy, failed, graph, .. } = noting;
        if failed {
            return Err(out_of_memory());
        }
        let slots = graph.edges.len() - first;
        let node = &mut graph.nodes[number as usize];
        node.first = first;
        node.slots = u32::try_from(slots).map_err(|_| out_of_memory())?;
        if busy || !whole {
            node.access = Access::Busy;
        }
        Ok(())
    }
}
