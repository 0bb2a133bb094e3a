//! Programs that make no garbage cycles: what the search for them costs such a program.
//!
//! Each is compiled twice: with types that may be part of cycles, and with the same types marked `#[trace(acyclic)]`, which is as if
//! there were no search. They share references, as it is the release of a shared one that makes a candidate.

use std::error::Error;
use std::str::FromStr;

use mimalloc_runtime::{Mutator, Pacing, Runtime};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Program {
    /// Binary trees that grow, whose subtrees are replaced and fetched; the names of their nodes and their classes are shared.
    Tree,
    /// Lists that grow at the head and share their tails. A list is given up while others refer to its tail.
    Lists,
    /// A stack of references to objects that live, pushed and popped, as an interpreter's.
    Stack,
    /// Objects that are put into a table of slots, over those that are there, by way of a handle that is given up last: the worst that
    /// can be, since each object becomes a candidate and dies.
    Slots,
}

/// Whether the types of a program may be part of cycles.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Types {
    Cyclic,
    Acyclic,
}

impl Program {
    pub(crate) const ALL: [Program; 4] = [Program::Tree, Program::Lists, Program::Stack, Program::Slots];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Program::Tree => "trees with shared names and classes",
            Program::Lists => "lists with shared tails",
            Program::Stack => "a stack of references",
            Program::Slots => "each object shared once, and replaced",
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Program::Tree => "tree",
            Program::Lists => "lists",
            Program::Stack => "stack",
            Program::Slots => "slots",
        }
    }

    /// Runs it with a mutator of its own.
    pub(crate) fn run(self, types: Types, rounds: u64) -> Result<(), Box<dyn Error>> {
        let mutator = Runtime::new()?.attaching().pacing(Pacing::default()).attach()?;
        self.run_in(&mutator, types, rounds);
        Ok(())
    }

    /// Runs it. What it allocates is given up at the end.
    #[inline(never)]
    pub(crate) fn run_in(self, mutator: &Mutator, types: Types, rounds: u64) {
        match (self, types) {
            (Program::Tree, Types::Cyclic) => cyclic::repeat_tree(mutator, rounds),
            (Program::Tree, Types::Acyclic) => acyclic::repeat_tree(mutator, rounds),
            (Program::Lists, Types::Cyclic) => cyclic::repeat_lists(mutator, rounds),
            (Program::Lists, Types::Acyclic) => acyclic::repeat_lists(mutator, rounds),
            (Program::Stack, Types::Cyclic) => cyclic::repeat_stack(mutator, rounds),
            (Program::Stack, Types::Acyclic) => acyclic::repeat_stack(mutator, rounds),
            (Program::Slots, Types::Cyclic) => cyclic::repeat_slots(mutator, rounds),
            (Program::Slots, Types::Acyclic) => acyclic::repeat_slots(mutator, rounds),
        }
    }
}

impl FromStr for Program {
    type Err = String;

    fn from_str(text: &str) -> Result<Program, String> {
        let found = Program::ALL.into_iter().find(|program| program.word() == text);
        found.ok_or_else(|| format!("'{text}' is not a program"))
    }
}

impl Types {
    pub(crate) const BOTH: [Types; 2] = [Types::Cyclic, Types::Acyclic];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Types::Cyclic => "cyclic",
            Types::Acyclic => "acyclic",
        }
    }
}

impl FromStr for Types {
    type Err = String;

    fn from_str(text: &str) -> Result<Types, String> {
        Types::BOTH
            .into_iter()
            .find(|types| types.word() == text)
            .ok_or_else(|| format!("'{text}' is no kind of types"))
    }
}

/// The same numbers in every run.
struct Random(u64);

impl Random {
    /// Below `end`, a power of two.
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

/// The programs, with an attribute for all their types or none. Their loops are the functions `repeat_…`, which is what is counted.
macro_rules! programs {
    ($name:ident $(, #[$attribute:meta])?) => {
        mod $name {
            use std::hint::black_box;

            use mimalloc_runtime::cell::Cell;
            use mimalloc_runtime::{Mutator, Ref, Tail, Trace};

            use super::Random;

            type Text = Tail<(), u8>;
            type Link<T> = Cell<Option<Ref<T>>>;

            #[derive(Trace)]
            $(#[$attribute])?
            struct Class {
                parent: Option<Ref<Class>>,
                name: Ref<Text>,
            }

            #[derive(Trace)]
            $(#[$attribute])?
            struct Node {
                class: Ref<Class>,
                name: Ref<Text>,
                links: [Link<Node>; 2],
            }

            #[derive(Trace)]
            $(#[$attribute])?
            struct Pair {
                first: Link<Pair>,
                rest: Link<Pair>,
            }

            fn alloc<T: Trace>(mutator: &Mutator, value: T) -> Ref<T> {
                mutator.alloc(value).unwrap_or_else(|_| panic!("out of memory"))
            }

            fn text(mutator: &Mutator, number: usize) -> Ref<Text> {
                let bytes = format!("name {number}");
                mutator.alloc_tail_copy((), bytes.as_bytes()).unwrap_or_else(|_| panic!("out of memory"))
            }

            /// What the cell holds; it holds it still.
            fn peek<T: Trace>(link: &Link<T>) -> Option<Ref<T>> {
                let held = link.take();
                link.set(held.clone());
                held
            }

            struct Names {
                classes: Vec<Ref<Class>>,
                texts: Vec<Ref<Text>>,
            }

            impl Names {
                fn new(mutator: &Mutator) -> Names {
                    let texts: Vec<_> = (0..64).map(|number| text(mutator, number)).collect();
                    let mut classes: Vec<Ref<Class>> = Vec::new();
                    for name in &texts[..16] {
                        let class = Class { parent: classes.last().cloned(), name: name.clone() };
                        classes.push(alloc(mutator, class));
                    }
                    Names { classes, texts }
                }
            }

            fn grow(mutator: &Mutator, names: &Names, random: &mut Random, depth: u32) -> Ref<Node> {
                let links = [(); 2].map(|()| Cell::new((depth > 1).then(|| grow(mutator, names, random, depth - 1))));
                let class = names.classes[random.below(16)].clone();
                let name = names.texts[random.below(64)].clone();
                alloc(mutator, Node { class, name, links })
            }

            #[inline(never)]
            pub(super) fn repeat_tree(mutator: &Mutator, rounds: u64) {
                let (names, mut random) = (Names::new(mutator), Random(1));
                let root = grow(mutator, &names, &mut random, 12);
                for _ in 0..rounds {
                    // To a node somewhere, by way of references on the stack; the names on the way are looked at as an interpreter would.
                    let mut at = root.clone();
                    for _ in 0..8 {
                        let Some(next) = peek(&at.links[random.below(2)]) else { break };
                        let (class, name) = (at.class.clone(), at.name.clone());
                        black_box((class.name.items().len() + name.items().len(), class.parent.is_some()));
                        at = next;
                    }
                    at.links[random.below(2)].set(Some(grow(mutator, &names, &mut random, 3)));
                    _ = black_box(mutator.poll(1));
                }
            }

            #[inline(never)]
            pub(super) fn repeat_lists(mutator: &Mutator, rounds: u64) {
                let mut random = Random(1);
                let mut lists: Vec<Option<Ref<Pair>>> = vec![None; 1024];
                for _ in 0..rounds {
                    // A list becomes another one's, with up to four more before it.
                    let mut list = lists[random.below(1024)].clone();
                    for _ in 0..=random.below(4) {
                        list = Some(alloc(mutator, Pair { first: Cell::new(None), rest: Cell::new(list) }));
                    }
                    lists[random.below(1024)] = list;
                    // What is shared by many would grow for ever.
                    lists[random.below(1024)] = None;
                    _ = black_box(mutator.poll(1));
                }
            }

            #[inline(never)]
            pub(super) fn repeat_stack(mutator: &Mutator, rounds: u64) {
                let mut random = Random(1);
                let pair = |_| alloc(mutator, Pair { first: Cell::new(None), rest: Cell::new(None) });
                let objects: Vec<Ref<Pair>> = (0..1024).map(pair).collect();
                let mut stack = Vec::new();
                for _ in 0..rounds {
                    for _ in 0..8 {
                        stack.push(objects[random.below(1024)].clone());
                    }
                    // Something is computed, which takes memory.
                    stack.push(pair(0));
                    black_box(&stack);
                    stack.clear();
                    _ = black_box(mutator.poll(1));
                }
            }

            #[inline(never)]
            pub(super) fn repeat_slots(mutator: &Mutator, rounds: u64) {
                let mut random = Random(1);
                let slots: Vec<Link<Pair>> = (0..1024).map(|_| Cell::new(None)).collect();
                for _ in 0..rounds {
                    let pair = alloc(mutator, Pair { first: Cell::new(None), rest: Cell::new(None) });
                    slots[random.below(1024)].set(Some(pair.clone()));
                    drop(black_box(pair));
                    _ = black_box(mutator.poll(1));
                }
            }
        }
    };
}

programs!(cyclic);
programs!(acyclic, #[trace(acyclic)]);
