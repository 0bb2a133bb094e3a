//! What lives by type, and what keeps it alive.

use core::fmt;

use crate::aside::aside;
use crate::deferred::{Tally, TypeKey};
use crate::error::Error;
#[cfg(doc)]
use crate::error::ErrorKind;

use super::graph::{self, Access, Graph, filled, push};
use super::reach::{Hold, NONE, Reach};
use super::survey::Survey;

/// At most so many links of a path are told, half of them from its beginning.
const MOST_LINKS: usize = 32;

/// What lives, by type, with an example of each and what keeps that alive: what [`Survey::leaks`] has found. Its `Display` is a report
/// for people.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Leaks {
    /// All that lives.
    pub total: Tally,
    /// By type: those with the most bytes first, then by name.
    pub types: Vec<Leaked>,
    /// Objects of which not all references could be looked at, as somebody was changing them.
    pub busy: u64,
    /// Objects that were not looked into, as somebody may have borrowed them ([`Survey`]). What they refer to counts as held outside.
    pub closed: u64,
}

/// The live objects of one type.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Leaked {
    /// The type's key, as [`raw::key`](crate::raw::key) gives it.
    pub key: TypeKey,
    /// The type's name, for people.
    pub name: &'static str,
    /// Its objects, and the bytes that they [count for](crate::counted_bytes).
    pub live: Tally,
    /// How many of them are held outside.
    pub held: u64,
    /// How many of them are in cycles that nothing outside refers to, or are reached from these alone.
    pub cyclic: u64,
    /// What keeps one of them alive.
    pub example: RetainingPath,
}

/// What keeps an object alive, and how that leads to the object.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct RetainingPath {
    /// The bytes that the object counts for.
    pub bytes: u64,
    /// What keeps the path's first object alive.
    pub held_by: HeldBy,
    /// The name of the type of the path's first object: of the object itself if there are no links.
    pub first: &'static str,
    /// From the first object to the one that it is about, by a shortest way. A long path has the first and last links alone.
    pub links: Vec<Link>,
    /// How many links are left out in the middle.
    pub left_out: u64,
}

/// What keeps an object alive that no path from outside leads through.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum HeldBy {
    /// References that lie in no object that was looked into: in variables, in fields marked `#[trace(skip)]`, in objects of other
    /// mutators, in what could not be looked into.
    Outside {
        /// How many.
        references: u32,
    },
    /// It is [not counted](crate::CountState).
    Uncounted,
    /// It is in a cycle that nothing outside refers to: garbage that was not collected yet, or cannot be, as its type is marked
    /// `#[trace(acyclic)]`.
    Cycle {
        /// Once round, from the object to itself. A long cycle has the first and last links alone.
        links: Vec<Link>,
        /// How many links are left out in the middle.
        left_out: u64,
    },
    /// Only what is dead and not freed yet refers to it.
    Dying,
}

/// A reference on a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// The slot that it lies in, counted as `trace` passes them. None if it lies in none: a weak cell, what a key keeps alive, a finalizer.
    pub slot: Option<u32>,
    /// The name of the type that it leads to.
    pub name: &'static str,
}

impl Survey<'_> {
    /// Says what lives, by type, and for an example of each what keeps it alive: a shortest path from what is held outside, or from a cycle
    /// that nothing outside refers to. [Roots](Survey::root) are held outside like all else; they are told so that they can be looked into.
    ///
    /// The same for the same program in every run, save where examples are chosen among objects that lie outside of the engine's arenas
    /// (version 2: among all).
    ///
    /// ```
    /// # use mimalloc_runtime::{HeldBy, Ref, Runtime, Trace};
    /// #[derive(Trace)]
    /// struct Node {
    ///     next: Option<Ref<Node>>,
    /// }
    /// let mutator = Runtime::new()?.attach()?;
    /// let last = mutator.alloc(Node { next: None }).unwrap();
    /// let forgotten = mutator.alloc(Node { next: Some(last) }).unwrap();
    ///
    /// let leaks = mutator.survey().root(&forgotten).leaks()?;
    /// assert_eq!(leaks.total.objects, 2);
    /// assert_eq!(leaks.types[0].example.held_by, HeldBy::Outside { references: 1 });
    /// println!("{leaks}");
    /// # Ok::<(), mimalloc_runtime::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`verify`](Survey::verify).
    ///
    /// # Cost
    /// **Not bounded**: as [`verify`](Survey::verify).
    pub fn leaks(self) -> Result<Leaks, Error> {
        let graph = self.gather()?;
        aside(|| leaks(&graph))
    }
}

fn leaks(graph: &Graph) -> Result<Leaks, Error> {
    let reach = Reach::new(graph)?;
    // What is reached from entries that are held outside comes first, and then what is from each of the others.
    let mut inner = reach.entries.iter().filter(|entry| matches!(entry.hold, Hold::Cycle | Hold::Dying)).peekable();
    let mut is_cyclic = false;
    let mut row_of = filled(usize::from(u16::MAX) + 1, NONE)?;
    // With the node of its example.
    let mut rows: Vec<(Leaked, u32)> = Vec::new();
    let mut total = Tally::default();
    for &number in &reach.order {
        if let Some(entry) = inner.next_if(|entry| entry.node == number) {
            is_cyclic = entry.hold == Hold::Cycle;
        }
        let node = &graph.nodes[number as usize];
        let row = &mut row_of[usize::from(node.key.get())];
        if *row == NONE {
            *row = rows.len() as u32;
            let example = RetainingPath {
                bytes: node.bytes,
                held_by: HeldBy::Dying,
                first: node.name(),
                links: Vec::new(),
                left_out: 0,
            };
            let (key, name, live) = (node.key, node.name(), Tally::default());
            push(&mut rows, (Leaked { key, name, live, held: 0, cyclic: 0, example }, number))?;
        }
        let (leaked, _) = &mut rows[*row as usize];
        leaked.live = leaked.live.plus(node.bytes);
        leaked.held += u64::from(node.outside() > 0);
        leaked.cyclic += u64::from(is_cyclic);
        total = total.plus(node.bytes);
    }
    rows.sort_unstable_by(|(one, _), (other, _)| {
        other.live.bytes.cmp(&one.live.bytes).then(one.name.cmp(other.name)).then(one.key.get().cmp(&other.key.get()))
    });
    let mut types = Vec::new();
    for (mut leaked, number) in rows {
        leaked.example = path(graph, &reach, number)?;
        push(&mut types, leaked)?;
    }
    Ok(Leaks { total, types, busy: graph.count(Access::Busy), closed: graph.count(Access::Closed) })
}

/// The path to a node.
fn path(graph: &Graph, reach: &Reach, number: u32) -> Result<RetainingPath, Error> {
    let mut first = number;
    while let Some((before, _)) = reach.before(first) {
        first = before;
    }
    let (links, left_out) = links(graph, number, |at| reach.before(at))?;
    let node = &graph.nodes[first as usize];
    let hold = reach.entries.iter().find(|entry| entry.node == first).map(|entry| entry.hold);
    let held_by = match hold {
        Some(Hold::Outside(references)) => HeldBy::Outside { references },
        Some(Hold::Uncounted) => HeldBy::Uncounted,
        Some(Hold::Dying) | None => HeldBy::Dying,
        Some(Hold::Cycle) => {
            let mut is_round = false;
            let (links, left_out) = self::links(graph, first, |at| {
                (!core::mem::replace(&mut is_round, reach.referrer(at).0 == first)).then(|| reach.referrer(at))
            })?;
            HeldBy::Cycle { links, left_out }
        }
    };
    let bytes = graph.nodes[number as usize].bytes;
    Ok(RetainingPath { bytes, held_by, first: node.name(), links, left_out })
}

/// The links of a path that ends in `last`, of which `before` says what comes before; and how many are left out.
fn links(
    graph: &Graph,
    last: u32,
    mut before: impl FnMut(u32) -> Option<(u32, u32)>,
) -> Result<(Vec<Link>, u64), Error> {
    let mut links = Vec::new();
    links.try_reserve_exact(MOST_LINKS).map_err(|_| crate::fallible::out_of_memory())?;
    let mut left_out = 0;
    let mut at = last;
    while let Some((from, slot)) = before(at) {
        if links.len() == MOST_LINKS {
            // From here on, those that are kept are the last ones seen: the path's beginning.
            links.remove(MOST_LINKS / 2);
            left_out += 1;
        }
        links.push(Link { slot: (slot != graph::ATTACHED).then_some(slot), name: graph.nodes[at as usize].name() });
        at = from;
    }
    links.reverse();
    Ok((links, left_out))
}

/// `<first> [slot] <second> ...`
fn write_links(f: &mut fmt::Formatter<'_>, first: &str, links: &[Link], left_out: u64) -> fmt::Result {
    f.write_str(first)?;
    for (index, link) in links.iter().enumerate() {
        if left_out > 0 && index == MOST_LINKS / 2 {
            write!(f, " ... {left_out} more ...")?;
        }
        match link.slot {
            Some(slot) => write!(f, " [{slot}] {}", link.name)?,
            None => write!(f, " [attached] {}", link.name)?,
        }
    }
    Ok(())
}

impl fmt::Display for RetainingPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.held_by {
            HeldBy::Outside { references } => write!(f, "held outside by {references}: ")?,
            HeldBy::Uncounted => f.write_str("not counted: ")?,
            HeldBy::Cycle { links, left_out } => {
                f.write_str("in a cycle: ")?;
                write_links(f, self.first, links, *left_out)?;
                if self.links.is_empty() {
                    return Ok(());
                }
                f.write_str("; which leads to it: ")?;
            }
            HeldBy::Dying => f.write_str("held by what is dead and not freed yet: ")?,
        }
        write_links(f, self.first, &self.links, self.left_out)
    }
}

/// Objects and bytes in words.
struct Amount(Tally);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { objects, bytes } = self.0;
        write!(f, "{objects} object{}, {bytes} bytes", if objects == 1 { "" } else { "s" })
    }
}

impl fmt::Display for Leaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.total.objects == 0 {
            return f.write_str("nothing lives\n");
        }
        writeln!(f, "{} live", Amount(self.total))?;
        for leaked in &self.types {
            write!(f, "{}: {}", Amount(leaked.live), leaked.name)?;
            match (leaked.held, leaked.cyclic) {
                (0, 0) => writeln!(f)?,
                (held, 0) => writeln!(f, " ({held} held outside)")?,
                (0, cyclic) => writeln!(f, " ({cyclic} by garbage cycles)")?,
                (held, cyclic) => writeln!(f, " ({held} held outside, {cyclic} by garbage cycles)")?,
            }
            writeln!(f, "    {}", leaked.example)?;
        }
        if self.busy + self.closed > 0 {
            let Leaks { busy, closed, .. } = self;
            writeln!(
                f,
                "{closed} objects were not looked into as they may be borrowed, and {busy} as they were being changed"
            )?;
        }
        Ok(())
    }
}
