//! Heap snapshots in the format of V8. That its own reader takes them is `ci/heapsnapshot.sh`'s to show; here, that they hold what they
//! should, and that the heap is in order after whatever happens while one is written.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use mimalloc_runtime::cell::RefCell;
use mimalloc_runtime::{
    Budget, ErrorKind, Mutator, Names, ObjectKind, Pacing, Ref, Runtime, Tail, Trace, Untyped, Weak, raw,
};
use serde_json::{Value, json};

use crate::SCALE;

#[derive(Trace, Default)]
struct Knot {
    text: Option<Ref<Text>>,
    slots: RefCell<Vec<Option<Ref<Knot>>>>,
}

type Text = Tail<(), u8>;

/// An object with one reference is not looked into if its type was ever borrowed mutably, as this one was.
fn attach() -> Mutator {
    let lending = Runtime::new().unwrap().attach().unwrap();
    assert!(Ref::get_mut(&mut named(&lending, "lent")).is_some());
    Runtime::new().unwrap().attach().unwrap()
}

fn knot(mutator: &Mutator) -> Ref<Knot> {
    mutator.alloc(Knot::default()).unwrap()
}

fn named(mutator: &Mutator, text: &str) -> Ref<Knot> {
    let text = mutator.alloc_tail_copy((), text.as_bytes()).unwrap();
    mutator.alloc(Knot { text: Some(text), slots: RefCell::default() }).unwrap()
}

fn tie(from: &Ref<Knot>, to: &Ref<Knot>) {
    from.slots.borrow_mut().push(Some(to.clone()));
}

/// What a reader finds in a snapshot.
struct Read {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    kind: String,
    name: String,
    id: u64,
    size: u64,
    /// Kind, name or number, and the node.
    edges: Vec<(String, Value, usize)>,
}

/// Reads a snapshot by what it says of itself, and checks that it adds up.
fn read(bytes: &[u8]) -> Read {
    let json: Value = serde_json::from_slice(bytes).unwrap();
    let array = |pointer: &str| json.pointer(pointer).and_then(Value::as_array).unwrap();
    let number = |value: &Value| value.as_u64().unwrap();
    let field = |kind: &str, name: &str| {
        array(&format!("/snapshot/meta/{kind}_fields")).iter().position(|field| field == name).unwrap()
    };
    let strings = array("/strings");
    let text = |value: &Value| strings[number(value) as usize].as_str().unwrap().to_owned();
    let kind = |kind: &str, value: &Value| {
        json.pointer(&format!("/snapshot/meta/{kind}_types/0/{value}")).unwrap().as_str().unwrap().to_owned()
    };
    let (nodes, edges) = (array("/nodes"), array("/edges"));
    let (per_node, per_edge) = (array("/snapshot/meta/node_fields").len(), array("/snapshot/meta/edge_fields").len());
    let count = |name: &str| number(json.pointer(name).unwrap()) as usize;
    assert_eq!(nodes.len(), count("/snapshot/node_count") * per_node);
    assert_eq!(edges.len(), count("/snapshot/edge_count") * per_edge);
    assert!(nodes.iter().chain(edges).all(|value| number(value) <= u64::from(u32::MAX)));
    assert_eq!(strings.iter().collect::<HashSet<_>>().len(), strings.len(), "each string once");
    let mut edges = edges.chunks(per_edge);
    let nodes: Vec<_> = nodes
        .chunks(per_node)
        .map(|node| Node {
            kind: kind("node", &node[field("node", "type")]),
            name: text(&node[field("node", "name")]),
            id: number(&node[field("node", "id")]),
            size: number(&node[field("node", "self_size")]),
            edges: edges
                .by_ref()
                .take(number(&node[field("node", "edge_count")]) as usize)
                .map(|edge| {
                    let kind = kind("edge", &edge[field("edge", "type")]);
                    let name = &edge[field("edge", "name_or_index")];
                    let is_number = kind == "element" || kind == "hidden";
                    let name = if is_number { name.clone() } else { text(name).into() };
                    let to = number(&edge[field("edge", "to_node")]) as usize;
                    assert_eq!(to % per_node, 0);
                    (kind, name, to / per_node)
                })
                .collect(),
        })
        .collect();
    assert_eq!(edges.next(), None, "each edge is a node's");
    let ids: HashSet<_> = nodes.iter().map(|node| node.id).collect();
    assert!(ids.len() == nodes.len() && ids.iter().all(|id| id % 2 == 1));
    let read = Read { nodes };
    // The reader wants a root, to which all is connected.
    assert_eq!((read.nodes[0].kind.as_str(), read.nodes[0].name.as_str()), ("synthetic", ""));
    let mut reached = vec![false; read.nodes.len()];
    let mut next = vec![0];
    while let Some(at) = next.pop() {
        if !std::mem::replace(&mut reached[at], true) {
            next.extend(read.nodes[at].edges.iter().map(|(_, _, to)| *to));
        }
    }
    assert!(reached.iter().all(|is_reached| *is_reached));
    read
}

impl Read {
    /// Those with this name.
    fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = usize> + 'a {
        (0..self.nodes.len()).filter(move |index| self.nodes[*index].name == name)
    }

    /// The nodes below one that is no object: the root, the cycles, the dead.
    fn below(&self, name: &str) -> Vec<usize> {
        let node = self.nodes.iter().find(|node| node.kind == "synthetic" && node.name == name).unwrap();
        node.edges.iter().filter(|(kind, ..)| kind == "element").map(|(_, _, to)| *to).collect()
    }

    /// Objects and bytes by name.
    fn classes(&self) -> HashMap<&str, (u64, u64)> {
        let mut classes = HashMap::new();
        for node in self.nodes.iter().filter(|node| node.kind != "synthetic") {
            let class: &mut (u64, u64) = classes.entry(node.name.as_str()).or_default();
            *class = (class.0 + 1, class.1 + node.size);
        }
        classes
    }
}

const NO_OBJECTS: u64 = 3;

/// Random objects, of which these are held.
fn random_heap(mutator: &Mutator) -> Vec<Ref<Untyped>> {
    let mut random = 9u64;
    let mut below = |limit: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % limit as u64) as usize
    };
    let mut knots = vec![knot(mutator)];
    for index in 0..5_000 / SCALE {
        let next = if index % 3 == 0 { named(mutator, &format!("{}", index % 50)) } else { knot(mutator) };
        tie(&knots[below(knots.len())], &next);
        if index % 4 == 0 {
            next.slots.borrow_mut().push(None);
            tie(&next, &knots[below(knots.len())]);
        }
        knots.push(next);
    }
    knots.retain(|_| below(10) == 0);
    knots.into_iter().map(Ref::erase).collect()
}

fn snapshot(mutator: &Mutator, roots: &[Ref<Untyped>], names: &mut dyn Names) -> Vec<u8> {
    let mut bytes = Vec::new();
    let survey = roots.iter().fold(mutator.survey(), |survey, root| survey.root(root));
    survey.write_heap_snapshot(&mut bytes, names).unwrap();
    bytes
}

#[track_caller]
fn in_order(mutator: &Mutator, roots: &[Ref<Untyped>]) {
    let survey = roots.iter().fold(mutator.survey().complete(), |survey, root| survey.root(root));
    let found = survey.verify().unwrap();
    assert_eq!((&found.problems[..], found.closed), (&[][..], 0));
}

#[test]
fn it_holds_what_lives() {
    let mutator = attach();
    for held in [0, 1, 1_000] {
        let mut roots = random_heap(&mutator);
        roots.truncate(held);
        // References from here to there, and trials at some point.
        mutator.collect(Budget::Units(50));
        let live = mutator.metrics().live.now;
        let read = read(&snapshot(&mutator, &roots, &mut ()));
        assert_eq!(read.nodes.len() as u64, live.objects + NO_OBJECTS);
        let mut census = mutator.census();
        census.step(Budget::Unbounded).unwrap();
        let counted = census.types().map(|found| (found.name, (found.live.objects, found.live.bytes)));
        assert_eq!(read.classes(), counted.collect());
        assert_eq!(read.below("").len(), roots.len().min(held));
        // With roots some of it may be garbage too.
        let is_garbage_shown = !read.below("(garbage cycles)").is_empty() || !read.below("(dead)").is_empty();
        assert!(is_garbage_shown || live.objects == 0 || held > 0);
        in_order(&mutator, &roots);
        drop(roots);
        mutator.collect(Budget::Unbounded);
    }
    assert_eq!(read(&snapshot(&mutator, &[], &mut ())).nodes.len() as u64, NO_OBJECTS);
}

#[test]
fn edges_are_slots_by_their_numbers() {
    let mutator = attach();
    let first = named(&mutator, "first");
    let second = knot(&mutator);
    first.slots.borrow_mut().extend([None, Some(second.clone()), None, Some(first.clone())]);
    let roots = [Ref::erase(first)];
    let read = read(&snapshot(&mutator, &roots, &mut ()));
    let node = read.nodes.iter().find(|node| node.edges.len() == 3 && node.kind == "object").unwrap();
    let slots: Vec<_> = node.edges.iter().map(|(kind, slot, _)| (kind.as_str(), slot.as_u64().unwrap())).collect();
    assert_eq!(slots, [("element", 0), ("element", 2), ("element", 4)]);
    let names: Vec<_> = node.edges.iter().map(|(_, _, to)| read.nodes[*to].name.as_str()).collect();
    let (knot_name, text) = (std::any::type_name::<Knot>(), std::any::type_name::<Text>());
    assert_eq!(names, [text, knot_name, knot_name]);
    // The second is held outside too, by one reference: it was a candidate when its other was given up, or may be borrowed.
    assert_eq!(read.below("").len(), 2);
    // A ring that is closed by the first one itself is not garbage.
    assert!(read.below("(garbage cycles)").is_empty());
    let knots: Vec<_> = read.of(knot_name).collect();
    assert_eq!(knots.len(), 2);
    let [root] = roots;
    drop((root, second));
    let read = self::read(&snapshot(&mutator, &[], &mut ()));
    assert_eq!((read.below("").len(), read.below("(garbage cycles)").len()), (0, 1));
}

#[test]
fn what_only_the_dead_refer_to_stands_below_them() {
    #[derive(Trace)]
    struct Slow(Ref<Knot>, #[trace(skip)] String);
    let mutator = attach();
    drop(mutator.alloc(Slow(knot(&mutator), "slow".to_owned())).unwrap());
    let read = read(&snapshot(&mutator, &[], &mut ()));
    assert_eq!(read.below("(dead)").len(), 1);
    assert_eq!(read.nodes.len() as u64, 1 + NO_OBJECTS);
}

/// Texts of knots, also ones that JSON has to say otherwise; every other slot has a name.
struct Texts;

impl Names for Texts {
    fn object(&mut self, object: &Ref<Untyped>, name: &mut String) -> ObjectKind {
        if let Some(text) = Ref::downcast_ref::<Text>(object) {
            name.push_str(std::str::from_utf8(text.items()).unwrap());
            return ObjectKind::String;
        }
        let knot = Ref::downcast_ref::<Knot>(object).unwrap();
        if let Some(text) = &knot.text {
            name.push_str("Knot of ");
            name.push_str(std::str::from_utf8(text.items()).unwrap());
        }
        ObjectKind::Closure
    }

    fn slot(&mut self, object: &Ref<Untyped>, slot: u32, name: &mut String) {
        assert!(Ref::is::<Knot>(object));
        if slot % 2 == 0 {
            *name = format!("slot \"{slot}\"");
        }
    }
}

#[test]
fn names_are_what_they_are_said_to_be() {
    let mutator = attach();
    let long = "ä".repeat(200_000);
    let texts = ["plain", "", "\"quoted\" \\ back", "line\nbreak\ttab\u{0}\u{1f}\u{7f}", "日本語 🦀 ]}", &long];
    let mut knots: Vec<_> = texts.iter().map(|text| named(&mutator, text)).collect();
    let all = knot(&mutator);
    knots.iter().for_each(|knot| tie(&all, knot));
    knots.clear();
    let roots = [Ref::erase(all)];
    let read = read(&snapshot(&mutator, &roots, &mut Texts));
    for text in texts.iter().filter(|text| !text.is_empty()) {
        let string = read.of(text).next().unwrap();
        assert_eq!(read.nodes[string].kind, "string");
        let knot = format!("Knot of {text}");
        let knot = read.of(&knot).next().unwrap();
        assert_eq!(read.nodes[knot].kind, "closure");
        assert_eq!(read.nodes[knot].edges, [("property".to_owned(), "slot \"0\"".into(), string)]);
    }
    // Without a name, that of the type.
    assert_eq!(read.of(std::any::type_name::<Text>()).count(), 1);
    let all = read.of(std::any::type_name::<Knot>()).next().unwrap();
    let names: Vec<_> = read.nodes[all].edges.iter().map(|(kind, name, _)| (kind.as_str(), name.clone())).collect();
    assert_eq!(names[0], ("element", 1.into()));
    assert_eq!(names[1], ("property", "slot \"2\"".into()));
    in_order(&mutator, &roots);
}

/// What lived at the first snapshot and still does at the second has the same id.
#[test]
fn ids_stay() {
    let mutator = attach();
    let mut roots = random_heap(&mutator);
    let ids = |read: &Read| read.nodes.iter().map(|node| node.id).collect::<HashSet<_>>();
    let first = ids(&read(&snapshot(&mutator, &roots, &mut ())));
    let before = mutator.metrics().live.now.objects;
    roots.extend(random_heap(&mutator));
    let second = ids(&read(&snapshot(&mutator, &roots, &mut ())));
    assert!(mutator.metrics().live.now.objects > before);
    assert!(first.is_subset(&second));
}

/// A writer that fails after so many bytes.
struct Full {
    left: usize,
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let some = bytes.len().min(self.left);
        self.left -= some;
        if some == 0 && !bytes.is_empty() {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the disk is full"));
        }
        Ok(some)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn errors_of_the_writer_are_handed_back() {
    let mutator = attach();
    let roots = random_heap(&mutator);
    let length = snapshot(&mutator, &roots, &mut Texts).len();
    for left in (0..length).step_by(length / 23 + 1) {
        let survey = roots.iter().fold(mutator.survey(), |survey, root| survey.root(root));
        let error = survey.write_heap_snapshot(&mut Full { left }, &mut Texts).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (io::ErrorKind::StorageFull, "the disk is full"));
        in_order(&mutator, &roots);
    }
    let survey = roots.iter().fold(mutator.survey(), |survey, root| survey.root(root));
    survey.write_heap_snapshot(&mut Full { left: length }, &mut Texts).unwrap();
}

/// Does to the heap, while it names, whatever can be done.
struct Meddles<'a> {
    mutator: &'a Mutator,
    mine: Vec<Ref<Untyped>>,
    kept: Vec<Ref<Untyped>>,
    unique: Option<Ref<Knot>>,
    turns: usize,
}

impl Meddles<'_> {
    fn meddle(&mut self, object: &Ref<Untyped>) {
        self.turns += 1;
        if let Some(unique) = &mut self.unique {
            assert!(Ref::get_mut(unique).is_none(), "it is looked at");
        }
        match self.turns % 7 {
            0 => self.kept.push(object.clone()),
            1 => drop(self.mine.pop()),
            2 => drop(knot(self.mutator)),
            3 => _ = self.mutator.collect(Budget::Unbounded),
            4 => {
                let Some(knot) = Ref::downcast_ref::<Knot>(object) else { return };
                knot.slots.borrow_mut().clear();
            }
            5 => {
                let error = self.mutator.verify().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Busy);
            }
            _ => drop(object.clone()),
        }
        // Whatever was done, it is whole.
        if let Some(text) = Ref::downcast_ref::<Text>(object) {
            assert!(text.items().iter().all(u8::is_ascii_digit));
        }
    }
}

impl Names for Meddles<'_> {
    fn object(&mut self, object: &Ref<Untyped>, _: &mut String) -> ObjectKind {
        self.meddle(object);
        ObjectKind::Object
    }

    fn slot(&mut self, object: &Ref<Untyped>, _: u32, _: &mut String) {
        self.meddle(object);
    }
}

#[test]
fn whatever_is_done_while_names_are_made_the_snapshot_is_of_before() {
    for pacing in [Pacing::default(), Pacing::eager(), Pacing::stress()] {
        let mutator = Runtime::new().unwrap().attaching().pacing(pacing).attach().unwrap();
        let mine = random_heap(&mutator);
        let unique = knot(&mutator);
        let before = mutator.metrics().live.now.objects;
        let mut names = Meddles { mutator: &mutator, mine, kept: Vec::new(), unique: Some(unique), turns: 0 };
        let mut bytes = Vec::new();
        // SAFETY: nobody has borrowed anything.
        let survey = unsafe { mutator.survey().unborrowed() };
        survey.write_heap_snapshot(&mut bytes, &mut names).unwrap();
        assert_eq!(read(&bytes).nodes.len() as u64, before + NO_OBJECTS);
        let Meddles { mine, kept, unique, turns, .. } = names;
        assert!(turns > 500 / SCALE);
        let held: Vec<Ref<Untyped>> = mine.into_iter().chain(kept).chain(unique.map(Ref::erase)).collect();
        in_order(&mutator, &held);
        mutator.collect(Budget::Unbounded);
        in_order(&mutator, &held);
        assert!(mutator.metrics().live.now.objects < before);
        drop(held);
        mutator.collect(Budget::Unbounded);
        assert_eq!(mutator.metrics().live.now.objects, 0);
    }
}

/// In the middle of a trial: what is counted meanwhile is as if it had never been.
#[test]
fn a_search_for_cycles_is_not_misled() {
    let mutator = attach();
    let kept = knot(&mutator);
    let knots: Vec<_> = (0..30).map(|_| knot(&mutator)).collect();
    for (index, from) in knots.iter().enumerate() {
        tie(from, &knots[(index + 1) % knots.len()]);
    }
    drop(knots);
    let roots = [Ref::erase(kept)];
    while !mutator.collect(Budget::Units(1)).is_done() {
        read(&snapshot(&mutator, &roots, &mut Texts));
        in_order(&mutator, &roots);
    }
    assert_eq!((mutator.metrics().live.now.objects, mutator.metrics().trials.given_up), (1, 0));
}

/// Keeps what it is handed, and has it attached to something.
#[derive(Default)]
struct Keeps {
    kept: Vec<Ref<Untyped>>,
    weak: Vec<Weak<Untyped>>,
}

impl Names for Keeps {
    fn object(&mut self, object: &Ref<Untyped>, _: &mut String) -> ObjectKind {
        self.kept.push(object.clone());
        self.weak.push(Ref::downgrade(object).unwrap());
        ObjectKind::Object
    }
}

/// At whatever step of the search that looks at it.
#[test]
fn what_a_name_keeps_is_garbage_no_more() {
    const LENGTH: usize = 5;
    // What the search had proven to be garbage is handed to nobody.
    let (mut some, mut none) = (0, 0);
    for finalized in [false, true] {
        for steps in 0..150 {
            let mutator = attach();
            mutator.set_finalizers_per_safepoint(0);
            let knots: Vec<_> = (0..LENGTH).map(|_| knot(&mutator)).collect();
            for (index, from) in knots.iter().enumerate() {
                tie(from, &knots[(index + 1) % LENGTH]);
            }
            let weak = Ref::downgrade(&knots[0]).unwrap();
            if finalized {
                Ref::set_finalizer(&knots[1], (), |_, (), _| ()).unwrap();
            }
            drop(knots);
            for _ in 0..steps {
                mutator.collect(Budget::Units(1));
            }
            let mut names = Keeps::default();
            mutator.survey().write_heap_snapshot(&mut Vec::new(), &mut names).unwrap();
            assert!(names.kept.iter().all(Ref::is::<Knot>), "attachments are the crate's own");
            *if names.kept.is_empty() { &mut none } else { &mut some } += 1;
            let before = names.kept.len();
            while !mutator.collect(Budget::Units(1)).is_done() {}
            mutator.collect(Budget::Unbounded);
            let found = names.weak.iter().filter(|weak| weak.upgrade().is_some()).count();
            assert_eq!(found, before, "after {steps} steps");
            for object in &names.kept {
                let next = Ref::downcast_ref::<Knot>(object).unwrap().slots.borrow()[0].clone().unwrap();
                assert_eq!(next.slots.borrow().len(), 1);
            }
            drop((names, weak));
            mutator.collect(Budget::Unbounded);
            mutator.run_finalizers(9);
            mutator.collect(Budget::Unbounded);
            assert_eq!(mutator.metrics().live.now.objects, 0, "after {steps} steps");
        }
    }
    assert!(some > 20 && none > 20, "{some} {none}");
}

#[test]
fn a_panic_of_a_name_comes_out_and_leaves_all_in_order() {
    struct Panics(u32);
    impl Names for Panics {
        fn object(&mut self, _: &Ref<Untyped>, _: &mut String) -> ObjectKind {
            self.0 -= 1;
            assert!(self.0 > 0, "no name");
            ObjectKind::Object
        }
    }
    let mutator = attach();
    let roots = random_heap(&mutator);
    for after in [1, 2, 20] {
        let outcome = catch_unwind(AssertUnwindSafe(|| snapshot(&mutator, &roots, &mut Panics(after))));
        assert!(outcome.is_err());
        in_order(&mutator, &roots);
        assert!(mutator.collect(Budget::Unbounded).is_done());
    }
}

/// Immortal objects, and what may be borrowed: the one is shown, the other not named.
#[test]
fn what_is_not_looked_into_has_the_name_of_its_type() {
    let mutator = attach();
    let immortal = named(&mutator, "immortal");
    // SAFETY: alive.
    unsafe { raw::make_immortal(Ref::as_raw(&immortal)) };
    let closed = named(&mutator, "closed");
    let read = read(&snapshot(&mutator, &[], &mut Texts));
    assert_eq!(read.of("Knot of immortal").count(), 1);
    assert_eq!(read.of("Knot of closed").count(), 0);
    assert_eq!(read.below("").len(), 3);
    drop(closed);
}

/// For `ci/heapsnapshot.sh`: writes snapshots, and beside each what a census has counted.
#[test]
#[ignore = "needs a folder in MIMALLOC_RUNTIME_SNAPSHOTS, and a reader of what it writes there"]
fn snapshots_for_chromium() {
    let folder = std::path::PathBuf::from(std::env::var_os("MIMALLOC_RUNTIME_SNAPSHOTS").unwrap());
    let mutator = attach();
    let write = |name: &str, counted: Value, snapshot: Vec<u8>| {
        std::fs::write(folder.join(format!("{name}.json")), counted.to_string()).unwrap();
        std::fs::write(folder.join(format!("{name}.heapsnapshot")), snapshot).unwrap();
    };
    let mut roots = Vec::new();
    for name in ["empty", "some", "garbage"] {
        let mut census = mutator.census();
        census.step(Budget::Unbounded).unwrap();
        let classes: serde_json::Map<_, _> = census
            .types()
            .map(|found| (found.name.to_owned(), json!([found.live.objects, found.live.bytes])))
            .collect();
        let (nodes, bytes) = (census.total().objects + NO_OBJECTS, census.total().bytes);
        let counted = json!({ "nodes": nodes, "bytes": bytes, "classes": classes });
        write(name, counted, snapshot(&mutator, &roots, &mut ()));
        if name == "empty" {
            roots = random_heap(&mutator);
        } else {
            roots.truncate(1);
        }
    }
    // A few with names, and all references between them.
    roots.clear();
    mutator.collect(Budget::Unbounded);
    let [one, two] = ["one", "\"zwei\" <ö>\n"].map(|text| named(&mutator, text));
    tie(&one, &two);
    tie(&two, &one);
    tie(&two, &two);
    let roots = [Ref::erase(one)];
    drop(two);
    let bytes = mutator.metrics().live.now.bytes;
    let size = bytes / 2 - 64;
    let [one, two] = ["Knot of one", "Knot of \"zwei\" <ö>\n"];
    let edges = json!([
        [one, "slot \"0\"", "one"],
        [one, "1", two],
        [two, "slot \"0\"", "\"zwei\" <ö>\n"],
        [two, "1", one],
        [two, "slot \"2\"", two]
    ]);
    let classes = json!({ "Function": [2, 2 * 64], "(string)": [2, 2 * size] });
    write(
        "named",
        json!({ "nodes": 7, "bytes": bytes, "classes": classes, "edges": edges }),
        snapshot(&mutator, &roots, &mut Texts),
    );
}
