//! All strings, found by their text, none of them kept alive.
//!
//! Trees that consist of the strings themselves: each has in its object two links ([`Node`]), the root of a tree is chosen by some bits of a
//! hash, and the way through it by the others, one a level. So what all this takes counts with the strings, to find or enter one needs
//! no memory of the heap besides, and nothing takes longer than the hash has bits, save for strings of the same hash.
//!
//! The roots alone are Rust's own memory. Their number doubles with that of the strings, up to [`MOST_TREES`]: then each tree is parted at
//! its root, which is not a step of the collector and no budget bounds, but takes a few milliseconds at most.

use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::rc::Rc;

use mimalloc_runtime::{Mutator, Object, OutOfMemory, raw};

use crate::halves::Halves;
use crate::hash;
use crate::object::Str;

/// A link to a string.
type Link = Cell<Option<NonNull<Node>>>;

const FIRST_TREES: usize = 1 << 8;

/// 512 KiB of links. A million strings are some four levels deep in them.
const MOST_TREES: usize = 1 << 16;

/// The strings of one machine.
///
/// Invariant INTERNED: every node that can be reached is in the head of a string whose memory has not been freed. The string may have
/// died: until its registration is dropped, which comes before its memory is freed, its node stands here and is passed over.
#[derive(Debug)]
pub(crate) struct Interner {
    /// A power of two of roots; the lower bits of a hash say which. Borrowed only where nothing is allocated from the heap and no object can
    /// die: either may end in [`Interner::remove`].
    trees: RefCell<Vec<Link>>,
    len: Cell<usize>,
}

/// A string's place in a tree. Those below it have the same hash as far as the way to it has used its bits.
#[derive(Debug)]
pub(crate) struct Node {
    hash: u32,
    /// The string.
    object: Cell<Option<NonNull<Object>>>,
    below: [Link; 2],
}

impl Node {
    pub(crate) fn new(hash: u32) -> Node {
        Node { hash, object: Cell::new(None), below: [Cell::new(None), Cell::new(None)] }
    }
}

/// The bits of a hash that say the way through a tree, one after the other; zeros when they are used up.
struct Way(u32);

impl Way {
    fn next(&mut self) -> usize {
        let bit = self.0 & 1;
        self.0 >>= 1;
        bit as usize
    }
}

impl Default for Interner {
    fn default() -> Self {
        Interner { trees: RefCell::new(vec![Cell::new(None); FIRST_TREES]), len: Cell::new(0) }
    }
}

impl Interner {
    /// The string with this text, in two halves: the one that there is, or a new one.
    pub(crate) fn intern(self: &Rc<Self>, mutator: &Mutator, text: Halves<'_>) -> Result<Str, OutOfMemory> {
        let hash = hash::text(text);
        if let Some(found) = self.find(hash, text) {
            return Ok(found);
        }
        // What dies meanwhile changes the trees.
        let string = Str::new(mutator, self, hash, text)?;
        self.enter(&string);
        Ok(string)
    }

    fn find(&self, hash: u32, text: Halves<'_>) -> Option<Str> {
        let trees = self.trees.borrow();
        let (mut link, mut way) = tree(&trees, hash);
        while let Some(node) = link.get() {
            // SAFETY: INTERNED; nothing dies here: see below.
            let node = unsafe { node.as_ref() };
            if let Some(object) = node.object.get().filter(|_| node.hash == hash) {
                // SAFETY: INTERNED.
                if unsafe { raw::try_retain(object) } {
                    // SAFETY: alive, with the reference just taken. If it is not the one that is wanted, giving that up
                    // does not kill it: it had another.
                    let string = unsafe { Str::from_raw(object) };
                    if text.is(string.as_str()) {
                        return Some(string);
                    }
                }
            }
            link = &node.below[way.next()];
        }
        None
    }

    /// Enters a new string.
    fn enter(&self, string: &Str) {
        let (node, object) = string.node();
        enter(&self.trees.borrow(), node);
        node.object.set(Some(object));
        self.len.set(self.len.get() + 1);
        if self.len.get() > self.trees.borrow().len() {
            self.double();
        }
    }

    /// Makes two trees of each, if there may be so many. If there is no memory for them, these have to do.
    #[cold]
    fn double(&self) {
        let mut trees = self.trees.borrow_mut();
        let count = trees.len();
        if count == MOST_TREES || trees.try_reserve_exact(count).is_err() {
            return;
        }
        trees.resize_with(2 * count, Link::default);
        for index in 0..count {
            let Some(root) = trees[index].take() else { continue };
            // SAFETY: INTERNED; nothing dies here.
            let root = unsafe { root.as_ref() };
            // What the first bit of the way has told apart is now told apart by the tree.
            for (half, below) in root.below.iter().enumerate() {
                trees[index + half * count].set(below.take());
            }
            enter(&trees, root);
        }
    }

    /// Takes a string's node out, if it was entered. The string is dying.
    pub(crate) fn remove(&self, node: &Node) {
        if node.object.take().is_none() {
            return;
        }
        let trees = self.trees.borrow();
        let (mut link, mut way) = tree(&trees, node.hash);
        while let Some(above) = link.get().filter(|found| *found != NonNull::from(node)) {
            // SAFETY: INTERNED; nothing dies here, as what is dying was dead.
            link = &unsafe { above.as_ref() }.below[way.next()];
        }
        debug_assert!(link.get().is_some(), "what was entered is found");
        let heir = take_leaf(node);
        if let Some(heir) = heir {
            // SAFETY: INTERNED, as above.
            let heir = unsafe { heir.as_ref() };
            // The way to it led through this place, so it is on the way to all that were below.
            for (link, below) in heir.below.iter().zip(&node.below) {
                link.set(below.take());
            }
        }
        link.set(heir);
        self.len.set(self.len.get() - 1);
    }

    /// How many strings it knows.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len.get()
    }
}

/// The tree for a hash, and the way through it.
fn tree(trees: &[Link], hash: u32) -> (&Link, Way) {
    (&trees[hash as usize & (trees.len() - 1)], Way(hash >> trees.len().ilog2()))
}

/// Puts a node that stands nowhere into its tree.
fn enter(trees: &[Link], node: &Node) {
    let (mut link, mut way) = tree(trees, node.hash);
    while let Some(above) = link.get() {
        // SAFETY: INTERNED; nothing dies here.
        link = &unsafe { above.as_ref() }.below[way.next()];
    }
    link.set(Some(NonNull::from(node)));
}

/// Takes out a node below this one, and below which there is none; nothing if there is none.
fn take_leaf(node: &Node) -> Option<NonNull<Node>> {
    let below = |node: &Node| node.below.iter().position(|link| link.get().is_some());
    let mut link = &node.below[below(node)?];
    loop {
        // SAFETY: INTERNED, of what was entered; nothing dies here.
        let node = unsafe { link.get()?.as_ref() };
        match below(node) {
            Some(side) => link = &node.below[side],
            None => return link.take(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mimalloc_runtime::{Budget, Pacing, Runtime};

    fn mutator(pacing: Pacing) -> Mutator {
        Runtime::new().unwrap().attaching().pacing(pacing).attach().unwrap()
    }

    #[test]
    fn equal_text_is_one_string_for_as_long_as_it_lives() {
        let mutator = mutator(Pacing::default());
        let interner = Rc::new(Interner::default());
        let first = interner.intern(&mutator, "lox".into()).unwrap();
        let second = interner.intern(&mutator, "lox".into()).unwrap();
        let other = interner.intern(&mutator, "lax".into()).unwrap();
        assert!(first == second && first != other);
        assert_eq!((first.as_str(), interner.len()), ("lox", 2));
        drop(first);
        assert!(interner.intern(&mutator, "lox".into()).unwrap() == second);
        drop((second, other));
        mutator.collect(Budget::Unbounded);
        assert_eq!(interner.len(), 0);
    }

    #[test]
    fn a_dead_string_that_is_not_freed_yet_is_replaced_and_takes_only_its_own_entry_along() {
        let mutator = mutator(Pacing::default());
        let interner = Rc::new(Interner::default());
        let first = interner.intern(&mutator, "phoenix".into()).unwrap();
        drop(first);
        // The dead one waits in the queue: no step has run.
        let second = interner.intern(&mutator, "phoenix".into()).unwrap();
        assert_eq!((second.as_str(), interner.len()), ("phoenix", 2));
        mutator.collect(Budget::Unbounded);
        assert_eq!(interner.len(), 1);
        assert!(interner.intern(&mutator, "phoenix".into()).unwrap() == second);
    }

    #[test]
    fn entries_are_found_whatever_was_removed_before_them() {
        for pacing in [Pacing::default(), Pacing::eager(), Pacing::stress()] {
            let mutator = mutator(pacing);
            let interner = Rc::new(Interner::default());
            let mut kept = Vec::new();
            for round in 0..5u32 {
                for number in 0..1000u32 {
                    let string = interner.intern(&mutator, format!("{round}-{number}").as_str().into()).unwrap();
                    if number % 3 == round % 3 {
                        kept.push(string);
                    }
                }
                for string in &kept {
                    assert!(interner.intern(&mutator, string.as_str().into()).unwrap() == *string);
                }
                kept.retain(|string| !string.as_str().ends_with('7'));
            }
            mutator.collect(Budget::Unbounded);
            assert_eq!(interner.len(), kept.len());
            drop(kept);
            mutator.collect(Budget::Unbounded);
            assert_eq!(interner.len(), 0);
        }
    }

    #[test]
    fn strings_of_one_hash_are_told_apart() {
        let mut seen = std::collections::HashMap::new();
        let texts = (0..400_000u32).map(|number| format!("{number:x}"));
        let same = texts.filter_map(|text| Some((seen.insert(hash::text(text.as_str().into()), text.clone())?, text)));
        let same: Vec<(String, String)> = same.take(4).collect();
        assert_eq!(same.len(), 4);
        for pacing in [Pacing::default(), Pacing::eager()] {
            for (first, second) in same.iter().flat_map(|(a, b)| [(a, b), (b, a)]) {
                let mutator = mutator(pacing);
                let interner = Rc::new(Interner::default());
                let intern = |text: &str| interner.intern(&mutator, text.into()).unwrap();
                let (one, other) = (intern(first), intern(second));
                assert!(one != other && intern(first) == one && intern(second) == other);
                drop(one);
                mutator.collect(Budget::Unbounded);
                assert!(interner.len() == 1 && intern(second) == other);
                assert_eq!(intern(first).as_str(), first);
            }
        }
    }

    #[test]
    fn trees_double_up_to_their_most() {
        let mutator = mutator(Pacing::default());
        let interner = Rc::new(Interner::default());
        let texts: Vec<String> = (0..2 * MOST_TREES + 10).map(|number| format!("text {number}")).collect();
        let mut kept: Vec<Str> = Vec::new();
        for text in &texts {
            kept.push(interner.intern(&mutator, text.as_str().into()).unwrap());
            let trees = interner.trees.borrow().len();
            assert_eq!(trees, kept.len().next_power_of_two().clamp(FIRST_TREES, MOST_TREES));
        }
        for (text, string) in texts.iter().zip(&kept) {
            assert!(interner.intern(&mutator, text.as_str().into()).unwrap() == *string);
        }
        kept.clear();
        mutator.collect(Budget::Unbounded);
        assert_eq!(interner.len(), 0);
        assert!(interner.trees.borrow().iter().all(|link| link.get().is_none()));
    }

    #[test]
    fn strings_may_outlive_mutator_and_table() {
        let mutator = mutator(Pacing::default());
        let interner = Rc::new(Interner::default());
        let string = interner.intern(&mutator, "survivor".into()).unwrap();
        drop((interner, mutator));
        assert_eq!(string.as_str(), "survivor");
    }
}
