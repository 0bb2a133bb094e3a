//! The graph of what lives as a heap snapshot of V8, which the developer tools of Chromium load.
//!
//! The format is V8's own and documented by its reader alone. A snapshot is one JSON object: `snapshot.meta` names the fields of a node
//! and of an edge; `nodes` and `edges` are arrays of numbers, so many for each; the edges of a node follow those of the node before; strings
//! are numbers in `strings`, which comes last. All numbers have 32 bits in the reader.

use core::hash::Hasher;
use core::mem::ManuallyDrop;
use std::hash::DefaultHasher;
use std::io::{self, Write};

use crate::aside::aside;
use crate::error::{Error, ErrorKind};
use crate::fallible::out_of_memory;
use crate::within::within;

use super::graph::{self, Access, Graph, Node, filled, push};
use super::handle::{Ref, Untyped};
use super::reach::{Hold, Reach};
use super::state::State;
use super::survey::Survey;

/// Bytes that are gathered before they are written.
const BUFFER: usize = 64 << 10;

/// The last two numbers of a node: where in a document it was detached from, which is V8's.
const META: &str = r#"{"snapshot":{"meta":{"node_fields":["type","name","id","self_size","edge_count","detachedness"],"node_types":[["hidden","array","string","object","code","closure","regexp","number","native","synthetic","concatenated string","sliced string","symbol","bigint","object shape"],"string","number","number","number","number"],"edge_fields":["type","name_or_index","to_node"],"edge_types":[["context","element","property","internal","hidden","shortcut","weak"],"string_or_number","node"],"trace_function_info_fields":["function_id","name","script_name","script_id","line","column"],"trace_node_fields":["id","function_info_index","count","size","children"],"sample_fields":["timestamp_us","last_assigned_id"],"location_fields":["object_index","script_id","line","column"]}"#;

/// Numbers of a node.
const NODE_FIELDS: u64 = 6;

/// By its place in `node_types`.
const SYNTHETIC: u32 = 9;

/// By its place in `edge_types`.
const ELEMENT: u32 = 1;
const PROPERTY: u32 = 2;
const INTERNAL: u32 = 3;

/// What an object is shown as.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum ObjectKind {
    /// An object of a class, which its name is: those of one name are shown together.
    #[default]
    Object,
    /// Storage, such as an array. The tools count its bytes as those of the object that refers to it, if there is one alone.
    Array,
    /// A string, of which the name is the text, or its beginning.
    String,
    /// A function with what it has captured.
    Closure,
    /// Code.
    Code,
}

impl ObjectKind {
    /// By its place in `node_types`.
    fn number(self) -> u32 {
        match self {
            ObjectKind::Array => 1,
            ObjectKind::String => 2,
            ObjectKind::Object => 3,
            ObjectKind::Code => 4,
            ObjectKind::Closure => 5,
        }
    }
}

/// Names for what a [heap snapshot](Survey::write_heap_snapshot) shows. `()` gives none.
///
/// Called when all references have been gathered, once for each live object that could be looked into, in the order in which they
/// stand in the file: first [`object`](Names::object) for all, then [`slot`](Names::slot) for all. Not for what is attached to another object (a
/// weak cell, a finalizer), nor for what a search for garbage cycles that is under way suspects: these have the names of their types. It may do what it likes, also change
/// and drop objects: the snapshot shows what was gathered, and what was gathered stays alive until the snapshot is written. Collections
/// do nothing meanwhile. A panic of it comes out of the call.
pub trait Names {
    /// Names an object, by writing to `name`, which is empty; if it stays so, the name of the type is taken. Of a long string its beginning
    /// will do, as all names are kept until the end.
    fn object(&mut self, object: &Ref<Untyped>, name: &mut String) -> ObjectKind {
        let _ = (object, name);
        ObjectKind::Object
    }

    /// Names a slot of an object that holds a reference; if `name` stays empty, the number of the slot is taken. That of what is attached to
    /// the object (a weak cell, a finalizer) is the largest there is.
    fn slot(&mut self, object: &Ref<Untyped>, slot: u32, name: &mut String) {
        let _ = (object, slot, name);
    }
}

impl Names for () {}

impl Survey<'_> {
    /// Writes what lives, and what refers to what, in the format of V8's heap snapshots: saved in a file whose name ends in `.heapsnapshot`,
    /// the *Memory* panel of Chromium's developer tools loads it, and shows what there is of each class, what is retained by what, and
    /// what has come between two snapshots.
    ///
    /// - A node is a live object. Its size is what it [counts for](crate::counted_bytes), up to 4 GiB. Its id stays the same from one snapshot of
    ///   a process to the next (as it is its address, cut to what the format holds, two that lie 32 GiB apart may change theirs).
    /// - An edge is a slot that holds a reference, by its number or [name](Names::slot).
    /// - The root's children are the objects that are held outside (a slot's number is how manyeth), and two nodes besides:
    ///   *(garbage cycles)*, which leads to a cycle of each group that nothing outside refers to, and *(dead)*, to what only objects refer
    ///   to that are dead and not yet freed. References to objects of other mutators are left out.
    ///
    /// ```
    /// # use mimalloc_runtime::{Ref, Runtime, Trace};
    /// # #[derive(Trace)]
    /// # struct Node {
    /// #     next: Option<Ref<Node>>,
    /// # }
    /// let mutator = Runtime::new()?.attach()?;
    /// let last = mutator.alloc(Node { next: None }).unwrap();
    /// let first = mutator.alloc(Node { next: Some(last) }).unwrap();
    ///
    /// let mut file = Vec::new(); // or File::create("program.heapsnapshot")
    /// mutator.survey().root(&first).write_heap_snapshot(&mut file, &mut ())?;
    /// assert!(file.starts_with(br#"{"snapshot":{"meta":"#));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of the writer. Those of [`verify`](Survey::verify) as what the error [wraps](io::Error::get_ref), save
    /// [`io::ErrorKind::OutOfMemory`], which wraps nothing. What was written is then of no use.
    ///
    /// # Cost
    /// **Not bounded**: up to twice what [`verify`](Survey::verify) costs, and 48 bytes of the file for an object with two references.
    pub fn write_heap_snapshot(self, to: &mut dyn Write, names: &mut dyn Names) -> io::Result<()> {
        let graph = self.gather().map_err(told)?;
        let reach = aside(|| Reach::new(&graph)).map_err(told)?;
        let mut buffer = Vec::new();
        aside(|| buffer.try_reserve_exact(BUFFER)).map_err(|_| told(out_of_memory()))?;
        let held = Held::new(self.mutator.state(), &graph);
        let (out, strings, name) = (Out { to, buffer }, Strings::default(), String::new());
        let mut writing = Writing { out, held, reach: &reach, names, strings, name };
        // The writer's and the names' code may be anything.
        within(|| writing.all())
    }
}

/// Objects that are kept alive, and collections from beginning, until this is dropped.
///
/// While a name is being made, code of the user's has a handle of an object, and so there must be a count for it, or the object could
/// be freed, or be borrowed mutably through its only reference. The counts are taken in one go: what one object's name is made of may
/// free another.
struct Held<'a> {
    state: &'a State,
    graph: &'a Graph,
}

impl<'a> Held<'a> {
    fn new(state: &'a State, graph: &'a Graph) -> Held<'a> {
        state.pending().set_held(true);
        for (_, node) in graph.live().filter(|(_, node)| is_handed_out(node)) {
            // SAFETY: alive: nothing has run since it was gathered.
            unsafe { node.object.as_ref() }.retain();
        }
        Held { state, graph }
    }

    /// A handle of an object that could be looked into. It has no count of its own: the one that was taken is its.
    fn handle(&self, number: u32) -> Option<ManuallyDrop<Ref<Untyped>>> {
        let node = &self.graph.nodes[number as usize];
        // SAFETY: alive for as long as this is, by the count that was taken, which is not given up before.
        is_handed_out(node).then(|| ManuallyDrop::new(unsafe { Ref::from_raw(node.object) }))
    }
}

/// Whether names are made for an object: it could be looked into, and may come into the program's hands.
fn is_handed_out(node: &Node) -> bool {
    node.access == Access::Open && node.is_presentable
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        for (_, node) in self.graph.live().filter(|(_, node)| is_handed_out(node)) {
            // SAFETY: alive, by the count that was taken.
            let object = unsafe { node.object.as_ref() };
            let word = object.word();
            if node.count.is_none() || word.count() > 1 {
                // What the program has given up meanwhile, it was asked about when it did. This one is as good as never taken.
                object.set_word(word.unretained());
            } else {
                // SAFETY: alive; the last reference is the one that was taken.
                unsafe { super::raw::release(node.object) };
            }
        }
        self.state.pending().set_held(false);
        self.state.catch_up();
    }
}

/// As an error of writing. To wrap one takes memory, which is not there if that is the error.
#[cold]
fn told(error: Error) -> io::Error {
    match error.kind() {
        ErrorKind::OutOfMemory => io::ErrorKind::OutOfMemory.into(),
        _ => io::Error::other(error),
    }
}

#[cold]
fn too_large() -> Error {
    Error::new(ErrorKind::Unsupported, "the heap has more objects or references than a heap snapshot can have")
}

/// What is written, in pieces that are worth a call.
struct Out<'a> {
    to: &'a mut dyn Write,
    buffer: Vec<u8>,
}

impl Out<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.buffer.len() + bytes.len() > BUFFER {
            self.to.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        if bytes.len() > BUFFER {
            return self.to.write_all(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn number(&mut self, before: &[u8], number: u64) -> io::Result<()> {
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = number;
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.bytes(before)?;
        self.bytes(&digits[at..])
    }

    /// Numbers of an array, the first of it or not.
    fn numbers(&mut self, is_first: bool, numbers: &[u64]) -> io::Result<()> {
        for (index, number) in numbers.iter().enumerate() {
            self.number(if is_first && index == 0 { b"" } else { b"," }, *number)?;
        }
        self.bytes(b"\n")
    }

    /// A string as JSON has it.
    fn string(&mut self, text: &str) -> io::Result<()> {
        self.bytes(b"\"")?;
        let mut rest = text.as_bytes();
        while let Some(at) = rest.iter().position(|byte| matches!(byte, 0..0x20 | b'"' | b'\\')) {
            self.bytes(&rest[..at])?;
            let byte = rest[at];
            let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
            self.bytes(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)])?;
            rest = &rest[at + 1..];
        }
        self.bytes(rest)?;
        self.bytes(b"\"")
    }

    fn finish(&mut self) -> io::Result<()> {
        self.to.write_all(&self.buffer)?;
        self.to.flush()
    }
}

/// A snapshot that is being written.
struct Writing<'a> {
    out: Out<'a>,
    held: Held<'a>,
    reach: &'a Reach,
    names: &'a mut dyn Names,
    strings: Strings,
    /// What a name is written to.
    name: String,
}

/// The nodes that are no objects, which come first.
const ROOT: u64 = 0;
const CYCLES: u64 = 1;
const DEAD: u64 = 2;
const NO_OBJECTS: [(u64, &str); 3] = [(ROOT, ""), (CYCLES, "(garbage cycles)"), (DEAD, "(dead)")];

impl Writing<'_> {
    fn all(&mut self) -> io::Result<()> {
        let graph = self.held.graph;
        let places = aside(|| places(graph)).map_err(told)?;
        let ids = aside(|| ids(graph)).map_err(told)?;
        let lives = |to: u32| graph.nodes[to as usize].is_live;
        let slots = |from: u32| graph.edges(&graph.nodes[from as usize]).iter().filter(move |edge| lives(edge.to));
        let node_count = NO_OBJECTS.len() + graph.live().count();
        // Whatever leads to an object from outside, and the two nodes below the root.
        let edge_count =
            self.reach.entries.len() + 2 + graph.live().map(|(from, _)| slots(from).count()).sum::<usize>();
        if node_count as u64 * NODE_FIELDS > u64::from(u32::MAX) || edge_count as u64 * 3 > u64::from(u32::MAX) {
            return Err(told(too_large()));
        }
        self.out.bytes(META.as_bytes())?;
        for (name, count) in [(",\"node_count\":", node_count), (",\"edge_count\":", edge_count)] {
            self.out.number(name.as_bytes(), count as u64)?;
        }
        self.out.bytes(b",\"trace_function_count\":0},\n\"nodes\":[")?;
        let entries =
            |reach: &Reach, below| reach.entries.iter().filter(move |entry| place_of(entry.hold) == below).count();
        for (node, name) in NO_OBJECTS {
            let edges = entries(self.reach, node) + if node == ROOT { 2 } else { 0 };
            let name = self.strings.number(name).map_err(told)?;
            // Ids of objects are larger.
            let fields = [SYNTHETIC.into(), name.into(), node * 2 + 1, 0, edges as u64, 0];
            self.out.numbers(node == ROOT, &fields)?;
        }
        for (number, node) in graph.live() {
            let (kind, name) = self.object(number)?;
            let bytes = node.bytes.min(u32::MAX.into());
            let id = ids[number as usize].into();
            let fields = [kind.number().into(), name.into(), id, bytes, slots(number).count() as u64, 0];
            self.out.numbers(false, &fields)?;
        }
        self.out.bytes(b"],\n\"edges\":[")?;
        let to = |number: u32| u64::from(places[number as usize]) * NODE_FIELDS;
        let mut is_first = true;
        for (below, _) in NO_OBJECTS {
            if below == ROOT {
                for (node, name) in &NO_OBJECTS[1..] {
                    let name = self.strings.number(name).map_err(told)?;
                    self.out.numbers(is_first, &[INTERNAL.into(), name.into(), node * NODE_FIELDS])?;
                    is_first = false;
                }
            }
            let entries = self.reach.entries.iter().filter(|entry| place_of(entry.hold) == below);
            for (index, entry) in entries.enumerate() {
                self.out.numbers(is_first, &[ELEMENT.into(), index as u64, to(entry.node)])?;
            }
        }
        for (number, _) in graph.live() {
            for edge in slots(number) {
                let (kind, name) = match self.slot(number, edge.slot)? {
                    None => (ELEMENT, edge.slot),
                    Some(name) => (PROPERTY, name),
                };
                self.out.numbers(false, &[kind.into(), name.into(), to(edge.to)])?;
            }
        }
        self.out.bytes(
            b"],\n\"trace_function_infos\":[],\n\"trace_tree\":[],\n\"samples\":[],\n\"locations\":[],\n\"strings\":[",
        )?;
        for number in 0..self.strings.ends.len() {
            if number > 0 {
                self.out.bytes(b",\n")?;
            }
            self.out.string(self.strings.text(number))?;
        }
        self.out.bytes(b"]}\n")?;
        self.out.finish()
    }

    /// The kind and the name of an object.
    fn object(&mut self, number: u32) -> io::Result<(ObjectKind, u32)> {
        let mut kind = ObjectKind::Object;
        self.name.clear();
        if let Some(object) = self.held.handle(number) {
            kind = self.names.object(&object, &mut self.name);
        }
        let name = if self.name.is_empty() { self.held.graph.nodes[number as usize].name() } else { &self.name };
        let number = aside(|| self.strings.number(name)).map_err(told)?;
        Ok((kind, number))
    }

    /// The name of a slot, if it is given one.
    fn slot(&mut self, number: u32, slot: u32) -> io::Result<Option<u32>> {
        self.name.clear();
        if let Some(object) = self.held.handle(number) {
            self.names.slot(&object, slot, &mut self.name);
        }
        if self.name.is_empty() && slot == graph::ATTACHED {
            self.name.push_str("attached");
        }
        if self.name.is_empty() {
            return Ok(None);
        }
        aside(|| self.strings.number(&self.name)).map(Some).map_err(told)
    }
}

/// Below which of the nodes that are no objects an object stands.
fn place_of(hold: Hold) -> u64 {
    match hold {
        Hold::Outside(_) | Hold::Uncounted => ROOT,
        Hold::Cycle => CYCLES,
        Hold::Dying => DEAD,
    }
}

/// Where each object stands among the nodes of the file.
fn places(graph: &Graph) -> Result<Vec<u32>, Error> {
    let mut places = filled(graph.nodes.len(), 0)?;
    for (place, (number, _)) in (NO_OBJECTS.len() as u32..).zip(graph.live()) {
        places[number as usize] = place;
    }
    Ok(places)
}

/// An id for each object, by its address alone save where two of them are alike.
fn ids(graph: &Graph) -> Result<Vec<u32>, Error> {
    /// Ids are odd, as V8's are, and have 32 bits: of an address / 16 so many.
    const BITS: u32 = 31;
    let mut order = Vec::new();
    order.try_reserve_exact(graph.nodes.len()).map_err(|_| out_of_memory())?;
    for (number, node) in graph.live() {
        let place = node.object.addr().get() as u64 >> 4;
        order.push((place & ((1 << BITS) - 1), place, number));
    }
    order.sort_unstable();
    let mut ids = filled(graph.nodes.len(), 0)?;
    let mut next = NO_OBJECTS.len() as u64;
    for (home, _, number) in order {
        let place = home.max(next);
        next = place + 1;
        ids[number as usize] = u32::try_from(place * 2 + 1).map_err(|_| too_large())?;
    }
    Ok(ids)
}

/// Each string once, by its number.
#[derive(Debug, Default)]
struct Strings {
    /// All of them, one behind the other.
    texts: String,
    ends: Vec<usize>,
    /// One more than a string's number, at the first free place from its home on; 0 for none.
    table: Vec<u32>,
}

impl Strings {
    fn text(&self, number: usize) -> &str {
        let begin = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.texts[begin..self.ends[number]]
    }

    /// Where a string stands in the table, or would.
    fn find(&self, text: &str) -> usize {
        let mut hasher = DefaultHasher::new();
        hasher.write(text.as_bytes());
        let mut at = hasher.finish() as usize % self.table.len();
        while self.table[at] != 0 && self.text(self.table[at] as usize - 1) != text {
            at = (at + 1) % self.table.len();
        }
        at
    }

    fn number(&mut self, text: &str) -> Result<u32, Error> {
        if self.ends.len() * 2 >= self.table.len() {
            self.table = filled((self.table.len() * 2).max(64), 0)?;
            for number in 0..self.ends.len() {
                let at = self.find(self.text(number));
                self.table[at] = number as u32 + 1;
            }
        }
        let at = self.find(text);
        if let Some(number) = self.table[at].checked_sub(1) {
            return Ok(number);
        }
        let number = u32::try_from(self.ends.len()).map_err(|_| too_large())?;
        self.texts.try_reserve(text.len()).map_err(|_| out_of_memory())?;
        push(&mut self.ends, self.texts.len() + text.len())?;
        self.texts.push_str(text);
        self.table[at] = number.checked_add(1).ok_or_else(too_large)?;
        Ok(number)
    }
}
