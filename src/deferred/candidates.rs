//! The candidates: objects that a release has left alive, and that may be part of a garbage cycle.

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;
use std::alloc::{alloc_zeroed, dealloc};

use super::object::Object;

/// How many candidates there can be.
const MOST: usize = 1 << 13;

/// Places in the index: twice as many, so that what is sought is found near its home.
const INDEX: usize = 2 * MOST;

/// A set of objects in a fixed memory of 96 KiB, in which one is entered and struck off in constant time, and which is gone through
/// from the one entered last. The order does not depend on where objects lie, so that searches do the same work in every run.
///
/// Which objects are in it, their headers say.
#[derive(Debug)]
pub(crate) struct Candidates {
    /// Invariant TABLE OF CANDIDATES: from `alloc_zeroed` with the layout of `Tables`, this set's alone.
    tables: NonNull<Tables>,
    /// A bit for each place, set if there is an object.
    used: [Cell<u64>; MOST / 64],
    len: Cell<usize>,
    /// Where the last object was entered.
    last: Cell<usize>,
}

struct Tables {
    places: [Cell<Option<NonNull<Object>>>; MOST],
    /// One more than an object's place, at the first free position from the object's home on; 0 for none.
    index: [Cell<u16>; INDEX],
}

const LAYOUT: Layout = Layout::new::<Tables>();

/// A hash of an object's address, of which the upper bits are the best.
pub(crate) fn spread(address: usize) -> u64 {
    (address as u64 >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn home(object: NonNull<Object>) -> usize {
    (spread(object.addr().get()) >> (64 - INDEX.trailing_zeros())) as usize
}

impl Candidates {
    /// `None` if there is no memory. Pages that are not used are not taken from the system.
    pub(crate) fn new() -> Option<Candidates> {
        // SAFETY: of a size that is not zero.
        let tables = NonNull::new(unsafe { alloc_zeroed(LAYOUT) })?.cast();
        let used = core::array::from_fn(|_| Cell::new(0));
        Some(Candidates { tables, used, len: Cell::new(0), last: Cell::new(0) })
    }

    pub(super) fn len(&self) -> usize {
        self.len.get()
    }

    fn tables(&self) -> &Tables {
        // SAFETY: TABLE OF CANDIDATES; zeros are empty places.
        unsafe { self.tables.as_ref() }
    }

    /// Enters an object that is not in the set, if the place that comes next is free. It mostly is.
    #[inline(always)]
    pub(super) fn add_next(&self, object: NonNull<Object>) -> bool {
        let place = (self.last.get() + 1) % MOST;
        let is_free = self.tables().places[place].get().is_none();
        if is_free {
            self.put(object, place);
        }
        is_free
    }

    /// Enters an object that is not in the set. Returns another one that had to make room for it: the one that has been in it longest, as
    /// far as it knows.
    pub(super) fn add(&self, object: NonNull<Object>) -> Option<NonNull<Object>> {
        let mut place = (self.last.get() + 1) % MOST;
        let victim = if self.len.get() < MOST {
            while self.used[place / 64].get() & 1 << (place % 64) != 0 {
                let free = !self.used[place / 64].get() >> (place % 64);
                place = match free {
                    0 => (place / 64 + 1) * 64 % MOST,
                    free => place + free.trailing_zeros() as usize,
                };
            }
            None
        } else {
            let victim = self.tables().places[place].get();
            if let Some(victim) = victim {
                self.remove(victim);
            }
            victim
        };
        self.put(object, place);
        victim
    }

    #[inline(always)]
    fn put(&self, object: NonNull<Object>, place: usize) {
        let Tables { places, index } = self.tables();
        places[place].set(Some(object));
        let used = &self.used[place / 64];
        used.set(used.get() | 1 << (place % 64));
        self.last.set(place);
        self.len.set(self.len.get() + 1);
        let mut at = home(object);
        while index[at].get() != 0 {
            at = (at + 1) % INDEX;
        }
        index[at].set(place as u16 + 1);
    }

    /// Strikes off an object that is in the set.
    pub(super) fn remove(&self, object: NonNull<Object>) {
        let Tables { places, index } = self.tables();
        let mut at = home(object);
        let place = loop {
            let place = (index[at].get() as usize).wrapping_sub(1);
            debug_assert!(place < MOST, "a candidate stands in the index");
            if places[place].get() == Some(object) {
                break place;
            }
            at = (at + 1) % INDEX;
        };
        places[place].set(None);
        self.used[place / 64].set(self.used[place / 64].get() & !(1 << (place % 64)));
        self.len.set(self.len.get() - 1);
        // What stands behind it moves up, so that it is found from its home.
        let (mut hole, mut next) = (at, at);
        loop {
            next = (next + 1) % INDEX;
            let entry = index[next].get();
            let Some(object) = (entry as usize).checked_sub(1).and_then(|place| places[place].get()) else { break };
            let distance = |from: usize| next.wrapping_sub(from) % INDEX;
            if distance(home(object)) >= distance(hole) {
                index[hole].set(entry);
                hole = next;
            }
        }
        index[hole].set(0);
    }

    /// Where to begin to go through all of them.
    pub(super) fn newest(&self) -> usize {
        self.last.get()
    }

    /// The next object from `place` on towards the older ones, of the `left` places that are left; and where it goes on.
    pub(super) fn next(&self, place: usize, left: usize) -> Option<(NonNull<Object>, usize, usize)> {
        let (mut place, mut left) = (place, left);
        while left > 0 {
            // The bits from this one down, the highest first.
            let bits = self.used[place / 64].get() << (63 - place % 64);
            let step = (bits.leading_zeros() as usize).min(place % 64 + 1);
            if step >= left {
                return None;
            }
            left -= step;
            place = place.wrapping_sub(step) % MOST;
            if bits != 0 && step <= 63 && self.used[place / 64].get() & 1 << (place % 64) != 0 {
                let object = self.tables().places[place].get()?;
                return Some((object, place.wrapping_sub(1) % MOST, left - 1));
            }
        }
        None
    }

    /// Places to go through.
    pub(super) const PLACES: usize = MOST;
}

impl Drop for Candidates {
    fn drop(&mut self) {
        // SAFETY: TABLE OF CANDIDATES.
        unsafe { dealloc(self.tables.as_ptr().cast(), LAYOUT) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    fn all(candidates: &Candidates) -> Vec<usize> {
        let (mut place, mut left) = (candidates.newest(), Candidates::PLACES);
        let mut found = Vec::new();
        while let Some((object, next, rest)) = candidates.next(place, left) {
            found.push(object.addr().get());
            (place, left) = (next, rest);
        }
        found
    }

    /// Against a queue; objects in any order, of which many share a home.
    #[test]
    fn what_was_entered_is_found_from_the_newest_on() {
        let candidates = Candidates::new().unwrap();
        let mut model = VecDeque::new();
        let object = |number: usize| NonNull::new(core::ptr::without_provenance_mut::<Object>(number * 16)).unwrap();
        let mut random = 1u64;
        for number in 1..50_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let entered = object(number * (1 + (number % 3) * 1024));
            let victim = if candidates.add_next(entered) { None } else { candidates.add(entered) };
            assert_eq!(victim.is_some(), model.len() == MOST);
            if let Some(victim) = victim {
                model.retain(|known| *known != victim.addr().get());
            }
            model.push_front(number * (1 + (number % 3) * 1024) * 16);
            if number > 20_000 && random >> 60 != 0 || number < 5_000 && random >> 63 == 0 {
                let known = model.remove((random >> 33) as usize % model.len()).unwrap();
                candidates.remove(object(known / 16));
            }
            assert_eq!(candidates.len(), model.len());
            if number % 997 == 0 {
                let mut found = all(&candidates);
                if number < 8_000 {
                    // Not yet gone round: in order.
                    assert_eq!(found, model.iter().copied().collect::<Vec<_>>());
                }
                let mut known: Vec<usize> = model.iter().copied().collect();
                found.sort_unstable();
                known.sort_unstable();
                assert_eq!(found, known);
            }
        }
    }
}
