//! The table of all strings, which keeps none of them alive.
//!
//! An open-addressed table of addresses. It is Rust's own memory, not an object: it is asked and changed while strings die,
//! when the mutator is in the middle of a step. Growing rehashes all of it at once, which is not a step of the collector and
//! no budget bounds: with a million strings it takes some ten milliseconds. It never shrinks.

use std::cell::RefCell;
use std::ptr::NonNull;
use std::rc::Rc;

use mimalloc_runtime::{Mutator, Object, OutOfMemory, raw};

use crate::hash;
use crate::object::Str;

/// The strings of one machine.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    /// Borrowed only where nothing is allocated and no object can die: either may end in [`Interner::remove`].
    places: RefCell<Places>,
}

/// Invariant INTERNED: every entry is a string whose memory has not been freed. It may have died: until its registration
/// is dropped, which comes before its memory is freed, its entry stands here and is passed over.
#[derive(Debug, Default)]
struct Places {
    /// A power of two of them, at least a quarter empty; or none.
    places: Vec<Option<Entry>>,
    entries: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u32,
    string: NonNull<Object>,
}

const FIRST_PLACES: usize = 64;

impl Interner {
    /// The string with this text: the one that there is, or a new one.
    pub(crate) fn intern(self: &Rc<Self>, mutator: &Mutator, text: &str) -> Result<Str, OutOfMemory> {
        let hash = hash::text(text);
        if let Some(found) = self.places.borrow().find(hash, text) {
            return Ok(found);
        }
        self.places.borrow_mut().reserve()?;
        let string = Str::new(mutator, self, hash, text)?;
        // From here on nothing can fail, so what is entered is also removed.
        self.places.borrow_mut().insert(Entry { hash, string: string.promise_removal() });
        Ok(string)
    }

    /// Removes the entry of a string that is dying, if it is `string`'s own.
    pub(crate) fn remove(&self, hash: u32, string: NonNull<Object>) {
        self.places.borrow_mut().remove(hash, string);
    }

    /// How many strings it knows.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.places.borrow().entries
    }
}

impl Places {
    fn mask(&self) -> usize {
        self.places.len() - 1
    }

    fn home(&self, hash: u32) -> usize {
        hash as usize & self.mask()
    }

    fn find(&self, hash: u32, text: &str) -> Option<Str> {
        if self.places.is_empty() {
            return None;
        }
        let mut at = self.home(hash);
        while let Some(entry) = self.places[at] {
            if entry.hash == hash {
                // SAFETY: INTERNED.
                if unsafe { raw::try_retain(entry.string) } {
                    // SAFETY: alive, with the reference just taken. If it is not the one that is wanted, giving that up
                    // does not kill it: it had another.
                    let string = unsafe { Str::from_raw(entry.string) };
                    if string.as_str() == text {
                        return Some(string);
                    }
                }
            }
            at = (at + 1) & self.mask();
        }
        None
    }

    /// Makes room for one more.
    fn reserve(&mut self) -> Result<(), OutOfMemory> {
        if (self.entries + 1) * 4 <= self.places.len() * 3 {
            return Ok(());
        }
        let wanted = (self.places.len() * 2).max(FIRST_PLACES);
        let mut places = Vec::new();
        let out_of_memory = |_| OutOfMemory { value: (), bytes: wanted * size_of::<Option<Entry>>() };
        places.try_reserve_exact(wanted).map_err(out_of_memory)?;
        places.resize(wanted, None);
        let old = std::mem::replace(self, Places { places, entries: 0 });
        for entry in old.places.into_iter().flatten() {
            self.insert(entry);
        }
        Ok(())
    }

    /// Adds a string for which there is room.
    fn insert(&mut self, entry: Entry) {
        let mut at = self.home(entry.hash);
        while self.places[at].is_some() {
            at = (at + 1) & self.mask();
        }
        self.places[at] = Some(entry);
        self.entries += 1;
    }

    fn remove(&mut self, hash: u32, string: NonNull<Object>) {
        let mut hole = self.home(hash);
        loop {
            match self.places[hole] {
                None => return,
                Some(entry) if entry.string == string => break,
                Some(_) => hole = (hole + 1) & self.mask(),
            }
        }
        self.places[hole] = None;
        self.entries -= 1;
        // An entry behind the hole whose search would pass the hole moves into it: no search may end too early.
        let mut at = (hole + 1) & self.mask();
        while let Some(entry) = self.places[at] {
            let distance_from = |place: usize| at.wrapping_sub(place) & self.mask();
            if distance_from(self.home(entry.hash)) >= distance_from(hole) {
                self.places[hole] = self.places[at].take();
                hole = at;
            }
            at = (at + 1) & self.mask();
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
        let first = interner.intern(&mutator, "lox").unwrap();
        let second = interner.intern(&mutator, "lox").unwrap();
        let other = interner.intern(&mutator, "lax").unwrap();
        assert!(first == second && first != other);
        assert_eq!((first.as_str(), interner.len()), ("lox", 2));
        drop(first);
        assert!(interner.intern(&mutator, "lox").unwrap() == second);
        drop((second, other));
        mutator.collect(Budget::Unbounded);
        assert_eq!(interner.len(), 0);
    }

    #[test]
    fn a_dead_string_that_is_not_freed_yet_is_replaced_and_takes_only_its_own_entry_along() {
        let mutator = mutator(Pacing::default());
        let interner = Rc::new(Interner::default());
        let first = interner.intern(&mutator, "phoenix").unwrap();
        drop(first);
        // The dead one waits in the queue: no step has run.
        let second = interner.intern(&mutator, "phoenix").unwrap();
        assert_eq!((second.as_str(), interner.len()), ("phoenix", 2));
        mutator.collect(Budget::Unbounded);
        assert_eq!(interner.len(), 1);
        assert!(interner.intern(&mutator, "phoenix").unwrap() == second);
    }

    #[test]
    fn entries_are_found_whatever_was_removed_before_them() {
        for pacing in [Pacing::default(), Pacing::eager(), Pacing::stress()] {
            let mutator = mutator(pacing);
            let interner = Rc::new(Interner::default());
            let mut kept = Vec::new();
            for round in 0..5u32 {
                for number in 0..1000u32 {
                    let string = interner.intern(&mutator, &format!("{round}-{number}")).unwrap();
                    if number % 3 == round % 3 {
                        kept.push(string);
                    }
                }
                for string in &kept {
                    assert!(interner.intern(&mutator, string.as_str()).unwrap() == *string);
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
    fn strings_may_outlive_mutator_and_table() {
        let mutator = mutator(Pacing::default());
        let interner = Rc::new(Interner::default());
        let string = interner.intern(&mutator, "survivor").unwrap();
        drop((interner, mutator));
        assert_eq!(string.as_str(), "survivor");
    }
}
