//! Whether the heap is as it should be.

use core::fmt;
use core::ptr::NonNull;

use crate::aside::aside;
use crate::deferred::{Budget, Colour, Object, Stop, Tally, TypeKey};
use crate::error::Error;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::fallible::out_of_memory;
use crate::sys::engine;

use super::graph::{Access, Graph, Node, filled, push};
use super::mutator::Mutator;
use super::state::State;
use super::survey::{Survey, Words};
use super::thread;
use super::walk::Walk;

/// At most so many problems are told one by one.
const MOST_PROBLEMS: usize = 100;

/// What [`Survey::verify`] has found.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Verified {
    /// What is not as it should be, at most 100 of them.
    pub problems: Vec<Problem>,
    /// How many more there were.
    pub more: u64,
    /// Live objects.
    pub objects: u64,
    /// Those of which not all references could be looked at, as somebody was changing them.
    pub busy: u64,
    /// Those that were not looked into, as somebody may have borrowed them ([`Survey`]).
    pub closed: u64,
}

/// An object that something is said of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Where it lies. It may be gone by the time that this is read.
    pub address: usize,
    /// Its type's key, as [`raw::key`](crate::raw::key) gives it.
    pub key: TypeKey,
    /// Its type's name, for people.
    pub name: &'static str,
}

/// Something that is not as it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Problem {
    /// The object has fewer counts than references lead to it: it will be freed while it is in use. A reference was given up twice, or
    /// was made without being counted, or a `trace` reports one that is not counted.
    CountTooLow {
        /// Which.
        object: Place,
        /// Its count.
        count: u32,
        /// References in objects.
        found: u32,
        /// References that the embedder said it holds.
        told: u32,
    },
    /// The object has more counts than references lead to it: it will never be freed. Found only if all roots were told
    /// ([`Survey::complete`]), and every object could be looked into.
    CountTooHigh {
        /// Which.
        object: Place,
        /// Its count.
        count: u32,
        /// References in objects.
        found: u32,
        /// References that the embedder said it holds.
        told: u32,
    },
    /// All roots were told, and yet nothing that could be looked into leads to this object: somebody holds a reference to it, or to an object
    /// that leads to it, or a count is too high.
    NotTold {
        /// Which.
        object: Place,
    },
    /// The object refers to what is dead, was freed, or never was an object.
    Dangling {
        /// Which.
        object: Place,
        /// In which slot.
        slot: u32,
        /// To where.
        to: usize,
    },
    /// A word in the object's memory is the address of a live object that its `trace` does not report. It may be that the reference lies in a
    /// field marked `#[trace(skip)]`, which may, or that the word is a left-over that nobody reads, such as one in padding: a suspicion. Found only with
    /// [`Survey::words`].
    NotTraced {
        /// Which.
        object: Place,
        /// Bytes from the object's beginning, of which its header are the first 8.
        offset: usize,
        /// What it seems to refer to.
        to: Place,
    },
    /// In the queue of dead objects stands something that is no dead object, or stands there twice.
    NotDead {
        /// Where.
        address: usize,
    },
    /// Objects are not as many as were counted.
    Tally {
        /// Of which kind.
        of: Counted,
        /// What [`Metrics`](crate::Metrics) say.
        counted: Tally,
        /// What there is.
        found: Tally,
    },
    /// The object's header says that it is a candidate for garbage cycles and the set of candidates does not have it, or the other way
    /// round.
    Candidate {
        /// Where.
        address: usize,
    },
}

/// A kind of objects that is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counted {
    /// What lives.
    Live,
    /// What is dead and not yet freed.
    Pending,
}

impl Place {
    fn of(node: &Node) -> Place {
        Place { address: node.object.addr().get(), key: node.key, name: node.name() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:#x}", self.name, self.address)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Problem::CountTooLow { object, count, found, told } => {
                write!(f, "{object} has a count of {count}, and {found} references within and {told} outside")
            }
            Problem::CountTooHigh { object, count, found, told } => {
                write!(f, "{object} has a count of {count}, and only {found} references within and {told} outside")
            }
            Problem::NotTold { object } => write!(f, "{object} is held by something that was not told of"),
            Problem::Dangling { object, slot, to } => {
                write!(f, "{object} refers in slot {slot} to {to:#x}, where no object lives")
            }
            Problem::NotTraced { object, offset, to } => {
                write!(f, "{object} has at offset {offset} the address of {to}, which its trace does not report")
            }
            Problem::NotDead { address } => write!(f, "{address:#x} is in the queue of the dead and no dead object"),
            Problem::Tally { of, counted, found } => {
                let of = match of {
                    Counted::Live => "live",
                    Counted::Pending => "pending",
                };
                write!(
                    f,
                    "{} {of} objects of {} bytes were counted, and there are {} of {}",
                    counted.objects, counted.bytes, found.objects, found.bytes
                )
            }
            Problem::Candidate { address } => {
                write!(
                    f,
                    "{address:#x} is a candidate for garbage cycles by its header or by the set of them, and not by both"
                )
            }
        }
    }
}

impl Mutator {
    /// Checks the whole heap: [`Survey::verify`] without roots. **Not bounded.**
    ///
    /// # Errors
    /// As there.
    pub fn verify(&self) -> Result<Verified, Error> {
        self.survey().verify()
    }
}

impl Survey<'_> {
    /// Also looks at every word of each object's memory for references that its `trace` does not report
    /// ([`Problem::NotTraced`]), which is how a `trace` written by hand is tried out. What it finds is a suspicion.
    pub fn words(mut self) -> Self {
        self.words = Words::Scan;
        self
    }

    /// Checks the whole heap:
    /// - no object has fewer counts than references lead to it from objects and [roots](Survey::root); if all roots were
    ///   [told](Survey::complete) and all objects could be looked into, none has more either. Objects that are not counted
    ///   ([`CountState`](crate::CountState)) are left out;
    /// - no object refers to what is dead or freed. References to objects of other mutators of the thread are no problem, and not counted;
    /// - what stands in the queue of the dead is dead;
    /// - what lives and what is pending is as [`Metrics`](crate::Metrics) say;
    /// - the candidates for garbage cycles are those whose headers say so.
    ///
    /// It holds wherever code of the user's runs, also in the middle of a search for garbage cycles, save where it is an [error](ErrorKind::Busy),
    /// and where the items of a tail are being made: what they refer to is held outside then.
    ///
    /// # Errors
    /// - [`ErrorKind::Busy`] in code that a collection of this mutator has called, such as a `Drop`.
    /// - [`ErrorKind::OutOfMemory`], as the graph is Rust's own.
    /// - [`ErrorKind::EngineMismatch`], as for [`Census::step`](crate::Census::step).
    ///
    /// # Cost
    /// **Not bounded**: below a microsecond an object with two references, more where memory is far. `cargo run --release -p layers --
    /// --survey` measures it.
    pub fn verify(self) -> Result<Verified, Error> {
        let graph = self.gather()?;
        let state = self.mutator.state();
        aside(|| {
            let mut check = Check { state, graph: &graph, problems: Vec::new(), more: 0 };
            check.counts(self.is_complete)?;
            check.strays()?;
            check.tallies()?;
            check.candidates()?;
            if self.words == Words::Scan {
                check.words()?;
            }
            let Check { problems, more, .. } = check;
            Ok(Verified {
                problems,
                more,
                objects: graph.live().count() as u64,
                busy: graph.count(Access::Busy),
                closed: graph.count(Access::Closed),
            })
        })
    }
}

/// A check that is going on. None of it runs code of the user's.
struct Check<'a> {
    state: &'a State,
    graph: &'a Graph,
    problems: Vec<Problem>,
    more: u64,
}

impl Check<'_> {
    fn found(&mut self, problem: Problem) -> Result<(), Error> {
        if self.problems.len() == MOST_PROBLEMS {
            self.more += 1;
            return Ok(());
        }
        push(&mut self.problems, problem)
    }

    fn counts(&mut self, is_complete: bool) -> Result<(), Error> {
        let graph = self.graph;
        let is_busy = graph.nodes.iter().any(|node| node.access == Access::Busy);
        let is_closed = graph.nodes.iter().any(|node| node.access == Access::Closed);
        for (_, node) in graph.live() {
            let Some(count) = node.count else { continue };
            let (object, found, told) = (Place::of(node), node.found, node.told);
            let sum = found.saturating_add(told);
            if count < sum {
                self.found(Problem::CountTooLow { object, count, found, told })?;
            } else if is_complete && !is_busy && !is_closed && count > sum {
                self.found(Problem::CountTooHigh { object, count, found, told })?;
            } else if is_complete && !is_busy && node.access == Access::Closed {
                self.found(Problem::NotTold { object })?;
            }
        }
        Ok(())
    }

    /// References that lead to no live object.
    fn strays(&mut self) -> Result<(), Error> {
        let graph = self.graph;
        for (_, node) in graph.live() {
            // SAFETY: alive.
            if self.state.cycles().is_found(unsafe { node.object.as_ref() }.word()) {
                // Garbage of which a part is condemned already.
                continue;
            }
            for edge in graph.edges(node) {
                let to = &graph.nodes[edge.to as usize];
                if !to.is_live {
                    let to = to.object.addr().get();
                    self.found(Problem::Dangling { object: Place::of(node), slot: edge.slot, to })?;
                }
            }
        }
        if graph.strays.is_empty() {
            return Ok(());
        }
        let Some(foreign) = foreign(self.state)? else { return Ok(()) };
        for stray in &graph.strays {
            let node = &graph.nodes[stray.from as usize];
            // What is dead gives its references up in its time.
            if node.is_live && foreign.binary_search(&stray.to.addr().get()).is_err() {
                let to = stray.to.addr().get();
                self.found(Problem::Dangling { object: Place::of(node), slot: stray.slot, to })?;
            }
        }
        Ok(())
    }

    fn tallies(&mut self) -> Result<(), Error> {
        for object in &self.graph.misplaced {
            self.found(Problem::NotDead { address: object.addr().get() })?;
        }
        let sum =
            |nodes: &mut dyn Iterator<Item = &Node>| nodes.fold(Tally::default(), |sum, node| sum.plus(node.bytes));
        let mut live = sum(&mut self.graph.live().map(|(_, node)| node));
        let counted = self.state.live();
        // What is being made is counted, and how much it is nobody knows.
        live.objects += self.graph.unfinished;
        if self.graph.unfinished > 0 {
            live.bytes = counted.bytes;
        }
        if live != counted {
            self.found(Problem::Tally { of: Counted::Live, counted, found: live })?;
        }
        let mut pending = sum(&mut self.graph.nodes.iter().filter(|node| node.is_pending));
        // The old place of an object that has moved is memory alone.
        pending.objects -= self.graph.nodes.iter().filter(|node| node.is_pending && is_moved(node)).count() as u64;
        let counted = self.state.pending().tally();
        if pending != counted {
            self.found(Problem::Tally { of: Counted::Pending, counted, found: pending })?;
        }
        Ok(())
    }

    fn candidates(&mut self) -> Result<(), Error> {
        let graph = self.graph;
        let mut is_entered = filled(graph.nodes.len(), false)?;
        let mut wrong = Vec::new();
        let mut failed = false;
        self.state.cycles().each_candidate(&mut |object| match graph.find(object) {
            Some(number) => is_entered[number as usize] = true,
            None => failed |= push(&mut wrong, object).is_err(),
        });
        if failed {
            return Err(out_of_memory());
        }
        for (node, is_entered) in graph.nodes.iter().zip(is_entered) {
            // SAFETY: not freed.
            let word = unsafe { node.object.as_ref() }.word();
            let is_candidate = node.is_live && word.is_buffered() && word.colour() == Colour::None;
            if is_candidate != is_entered {
                push(&mut wrong, node.object)?;
            }
        }
        for object in wrong {
            self.found(Problem::Candidate { address: object.addr().get() })?;
        }
        Ok(())
    }

    /// Words in objects.
    fn words(&mut self) -> Result<(), Error> {
        const WORD: usize = size_of::<usize>();
        let graph = self.graph;
        // For each object one more than the number of the last one whose `trace` reported it.
        let mut reported = filled(graph.nodes.len(), 0u32)?;
        for (number, node) in graph.live().filter(|(_, node)| node.access == Access::Open) {
            for edge in graph.edges(node) {
                reported[edge.to as usize] = number + 1;
            }
            let info = node.key.info();
            if info.attachment.is_some() {
                // It names its host, and the next one in the table, and has a reference to neither.
                continue;
            }
            // SAFETY: alive, of this type.
            let bytes = unsafe { info.bytes_of(node.object) } - info.padding;
            let mut offset = size_of::<Object>();
            let mut words = [0; 64];
            while offset + WORD <= bytes {
                let some = ((bytes - offset) / WORD).min(words.len());
                // SAFETY: within the object.
                let from = unsafe { node.object.cast::<u8>().add(offset) };
                // SAFETY: so many words of the object, which nobody has borrowed mutably, as it was looked into.
                unsafe { engine::copy_words(from.cast(), &mut words[..some]) };
                for (at, word) in words[..some].iter().enumerate() {
                    let Some(to) = NonNull::new(core::ptr::without_provenance_mut(*word)) else { continue };
                    let Some(to) = graph.find(to) else { continue };
                    let target = &graph.nodes[to as usize];
                    if target.is_live && reported[to as usize] != number + 1 {
                        let (object, offset) = (Place::of(node), offset + at * WORD);
                        self.found(Problem::NotTraced { object, offset, to: Place::of(target) })?;
                    }
                }
                offset += some * WORD;
            }
        }
        Ok(())
    }
}

fn is_moved(node: &Node) -> bool {
    // SAFETY: dead and not freed.
    let word = unsafe { node.object.as_ref() }.word();
    word.is_dead() && word.is_moved()
}

/// The addresses of what lives in other mutators of the thread, in order. `None` if that cannot be said, as one is collecting.
fn foreign(state: &State) -> Result<Option<Vec<usize>>, Error> {
    let mut addresses = Vec::new();
    let (mut failed, mut is_known) = (false, true);
    let mut error = None;
    thread::each_other(state, |other| {
        let visit = |object: NonNull<Object>| {
            failed |= push(&mut addresses, object.addr().get()).is_err();
            0
        };
        // SAFETY: allocates from Rust's own heap alone.
        match unsafe { other.walk(&mut Walk::new(), Budget::Unbounded, visit) } {
            Ok(stop) => is_known &= stop == Stop::Done,
            Err(other) => error = Some(other),
        }
    });
    match error {
        Some(error) => Err(error),
        None if failed => Err(out_of_memory()),
        None => {
            addresses.sort_unstable();
            Ok(is_known.then_some(addresses))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ref, Runtime};

    fn problems(mutator: &Mutator) -> Vec<Problem> {
        mutator.verify().unwrap().problems
    }

    /// A header with a bit too many, and one with a bit too few.
    #[test]
    fn candidates_that_their_headers_do_not_know_are_found() {
        let mutator = Runtime::new().unwrap().attach().unwrap();
        let object: Ref<Vec<Ref<u8>>> = mutator.alloc(Vec::new()).unwrap();
        let address = Ref::as_raw(&object).addr().get();
        // SAFETY: alive.
        let header = unsafe { Ref::as_raw(&object).as_ref() };
        let word = header.word();
        assert_eq!(problems(&mutator), []);
        header.set_word(word.buffered());
        assert_eq!(problems(&mutator), [Problem::Candidate { address }]);
        header.set_word(word);
        drop(object.clone());
        let word = header.word();
        assert!(word.is_buffered());
        assert_eq!(problems(&mutator), []);
        header.set_word(word.unbuffered());
        assert_eq!(problems(&mutator), [Problem::Candidate { address }]);
        header.set_word(word);
        assert_eq!(problems(&mutator), []);
    }

    #[test]
    fn tallies_that_are_wrong_are_found() {
        let mutator = Runtime::new().unwrap().attach().unwrap();
        let kept = [mutator.alloc(5u64).unwrap(), mutator.alloc(6u64).unwrap()];
        let [one, two] = [1, 2].map(|objects| Tally { objects, bytes: objects * 16 });
        mutator.state().pending().count_freed(one);
        assert_eq!(problems(&mutator), [Problem::Tally { of: Counted::Live, counted: one, found: two }]);
        // So that what the mutator ends with is right: one goes without being counted again.
        let [taken, kept] = kept;
        let block = Ref::into_raw(taken).cast();
        // SAFETY: of this heap, with this size, and nobody uses it again.
        unsafe { crate::deferred::Memory::free_small(&mutator.state().heap, block, 16) };
        assert_eq!(problems(&mutator), []);
        drop(kept);
        assert_eq!(mutator.detach().live, Tally::default());
    }

    /// An object on the queue that says that it lives, and a queue that bites its tail.
    #[test]
    fn what_is_queued_and_not_dead_is_found() {
        let mutator = Runtime::new().unwrap().attach().unwrap();
        let [first, second] = [1, 2].map(|_| mutator.alloc(String::from("dead")).unwrap());
        let (one, two) = (Ref::as_raw(&first), Ref::as_raw(&second));
        // SAFETY: alive.
        let alive = unsafe { one.as_ref() }.word();
        drop((first, second));
        // The last to die is the first in the queue.
        // SAFETY: dead and not freed.
        let [first, second] = [one, two].map(|object| unsafe { object.as_ref() });
        assert_eq!(second.word().link(), one.addr().get());
        assert_eq!(problems(&mutator), []);
        let dead = first.word();
        first.set_word(alive);
        let found = problems(&mutator);
        assert!(found.contains(&Problem::NotDead { address: one.addr().get() }), "{found:?}");
        assert!(found.iter().any(|problem| matches!(problem, Problem::Tally { of: Counted::Pending, .. })));
        first.set_word(dead.dead(two.addr().get()));
        let found = problems(&mutator);
        assert_eq!(found, [Problem::NotDead { address: two.addr().get() }]);
        first.set_word(dead);
        assert_eq!(problems(&mutator), []);
    }
}
