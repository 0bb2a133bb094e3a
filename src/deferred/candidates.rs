//! The candidates: objects that a release has left alive, and that may be part of a garbage cycle.

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;
use std::alloc::{alloc_zeroed, dealloc};

use super::object::{OBJECT_ALIGN, Object};

/// Places.
const PLACES: usize = 1 << 13;

/// From so many candidates on, whoever has the place that comes next makes room; before, a free one is sought, of which an eighth are.
const MOST: usize = PLACES / 8 * 7;

/// Entries of the near index: one for each multiple of 16 in 512 KiB. The engine makes its pages of 64 KiB, so objects of one never contend for one,
/// and those of pages that follow each other hardly do.
const NEAR: usize = 1 << 15;

/// Entries of the far index: twice as many as places, so that what is sought is found near its home.
const FAR: usize = 2 * PLACES;

/// A set of objects in a fixed memory of 160 KiB, in which one is entered and struck off in constant time, and which is gone through
/// from the one entered last. The order does not depend on where objects lie, so that searches do the same work in every run.
///
/// Most candidates die soon after they have become some. So where one stands is noted under its address within 512 KiB, where it is looked for when it dies;
/// if another one's place is noted there, that moves to a hash table.
///
/// Which objects are in it, their headers say.
#[derive(Debug)]
pub(crate) struct Candidates {
    /// Invariant TABLE OF CANDIDATES: from `alloc_zeroed` with the layout of `Tables`, this set's alone.
    tables: NonNull<Tables>,
    len: Cell<usize>,
    /// Where the last object was entered.
    last: Cell<usize>,
}

struct Tables {
    places: [Cell<Option<NonNull<Object>>>; PLACES],
    /// One more than the place of an object with this address within 512 KiB; 0 for none.
    near: [Cell<u16>; NEAR],
    /// One more than the place of an object that is not there, at the first free entry from its home on; 0 for none.
    far: [Cell<u16>; FAR],
}

/// Where somebody who goes through all of them has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Cursor {
    place: usize,
    /// Places that are left, from this one down.
    left: usize,
}

const LAYOUT: Layout = Layout::new::<Tables>();

/// A hash of an object's address, of which the upper bits are the best.
pub(crate) fn spread(address: usize) -> u64 {
    (address as u64 >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn home(object: NonNull<Object>) -> usize {
    (spread(object.addr().get()) >> (64 - FAR.trailing_zeros())) as usize
}

fn address(object: Option<NonNull<Object>>) -> usize {
    object.map_or(0, |object| object.addr().get())
}

fn near(object: NonNull<Object>) -> usize {
    object.addr().get() / OBJECT_ALIGN % NEAR
}

impl Candidates {
    /// `None` if there is no memory. Pages that are not used are not taken from the system.
    pub(crate) fn new() -> Option<Candidates> {
        // SAFETY: of a size that is not zero.
        let tables = NonNull::new(unsafe { alloc_zeroed(LAYOUT) })?.cast();
        Some(Candidates { tables, len: Cell::new(0), last: Cell::new(0) })
    }

    pub(super) fn len(&self) -> usize {
        self.len.get()
    }

    fn tables(&self) -> &Tables {
        // SAFETY: TABLE OF CANDIDATES; zeros are empty places.
        unsafe { self.tables.as_ref() }
    }

    /// Enters an object that is not in the set, if the place and the entry that come next are free. They mostly are.
    #[inline(always)]
    pub(super) fn add_next(&self, object: NonNull<Object>) -> bool {
        let Tables { places, near: entries, .. } = self.tables();
        let place = (self.last.get() + 1) % PLACES;
        let is_free = places[place].get().is_none() && entries[near(object)].get() == 0;
        if is_free {
            self.put(object, place);
        }
        is_free
    }

    /// Enters an object at a place, and in the near index.
    #[inline(always)]
    fn put(&self, object: NonNull<Object>, place: usize) {
        let Tables { places, near: entries, .. } = self.tables();
        places[place].set(Some(object));
        entries[near(object)].set(place as u16 + 1);
        self.last.set(place);
        self.len.set(self.len.get() + 1);
    }

    /// Enters an object that is not in the set. Returns another one that had to make room for it: the one that has been in it longest, as
    /// far as it knows. Passes the places that are taken up to the next free one; in a round of all, no more than eight for each that is entered.
    pub(super) fn add(&self, object: NonNull<Object>) -> Option<NonNull<Object>> {
        let Tables { places, near: entries, .. } = self.tables();
        let mut place = (self.last.get() + 1) % PLACES;
        let mut victim = None;
        while let Some(other) = places[place].get() {
            if self.len.get() >= MOST {
                self.remove(other);
                victim = Some(other);
            } else {
                place = (place + 1) % PLACES;
            }
        }
        if let Some(other) = (entries[near(object)].get() as usize).checked_sub(1) {
            self.move_away(other);
        }
        self.put(object, place);
        victim
    }

    /// Notes the object of a place in the far index.
    fn move_away(&self, place: usize) {
        let Tables { places, far, .. } = self.tables();
        let Some(object) = places[place].get() else { return };
        let mut at = home(object);
        while far[at].get() != 0 {
            at = (at + 1) % FAR;
        }
        far[at].set(place as u16 + 1);
    }

    /// Strikes off an object that is in the set.
    #[inline(always)]
    pub(super) fn remove(&self, object: NonNull<Object>) {
        if !self.remove_near(object) {
            self.remove_far(object);
        }
    }

    /// Strikes off an object that is in the set, if it stands in the near index. It mostly does.
    #[inline(always)]
    pub(super) fn remove_near(&self, object: NonNull<Object>) -> bool {
        let Tables { places, near: entries, .. } = self.tables();
        let entry = &entries[near(object)];
        let place = (entry.get() as usize).wrapping_sub(1);
        let is_there = place < PLACES && places[place].get() == Some(object);
        if is_there {
            places[place].set(None);
            entry.set(0);
            self.len.set(self.len.get() - 1);
        }
        is_there
    }

    #[cold]
    #[inline(never)]
    fn remove_far(&self, object: NonNull<Object>) {
        let Tables { places, far, .. } = self.tables();
        let mut at = home(object);
        let place = loop {
            let place = (far[at].get() as usize).wrapping_sub(1);
            debug_assert!(place < PLACES, "a candidate stands in an index");
            if places[place].get() == Some(object) {
                break place;
            }
            at = (at + 1) % FAR;
        };
        places[place].set(None);
        self.len.set(self.len.get() - 1);
        // What stands behind it moves up, so that it is found from its home.
        let (mut hole, mut next) = (at, at);
        loop {
            next = (next + 1) % FAR;
            let entry = far[next].get();
            let Some(object) = (entry as usize).checked_sub(1).and_then(|place| places[place].get()) else { break };
            let distance = |from: usize| next.wrapping_sub(from) % FAR;
            if distance(home(object)) >= distance(hole) {
                far[hole].set(entry);
                hole = next;
            }
        }
        far[hole].set(0);
    }

    /// Where to begin to go through all of them.
    pub(super) fn all(&self) -> Cursor {
        Cursor { place: self.last.get(), left: PLACES }
    }

    /// The next of them, towards those that were entered before. None is passed over that stays in the set. Passes at most all empty places.
    pub(super) fn next(&self, cursor: &mut Cursor) -> Option<NonNull<Object>> {
        if self.len.get() == 0 {
            cursor.left = 0;
        }
        let places = &self.tables().places;
        while cursor.left > 0 {
            // Empty places are many, so they are passed by eights where they can.
            while cursor.place % 8 == 7 && cursor.left >= 8 {
                let eight = &places[cursor.place - 7..=cursor.place];
                if eight.iter().fold(0, |all, place| all | address(place.get())) != 0 {
                    break;
                }
                *cursor = Cursor { place: cursor.place.wrapping_sub(8) % PLACES, left: cursor.left - 8 };
            }
            if cursor.left == 0 {
                break;
            }
            let object = places[cursor.place].get();
            *cursor = Cursor { place: cursor.place.wrapping_sub(1) % PLACES, left: cursor.left - 1 };
            if object.is_some() {
                return object;
            }
        }
        None
    }

    /// Shows all of them.
    pub(super) fn each(&self, visit: &mut dyn FnMut(NonNull<Object>)) {
        let mut cursor = self.all();
        while let Some(object) = self.next(&mut cursor) {
            visit(object);
        }
    }
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
        let mut found = Vec::new();
        candidates.each(&mut |object| found.push(object.addr().get()));
        found
    }

    fn object(address: usize) -> NonNull<Object> {
        NonNull::new(core::ptr::without_provenance_mut(address)).unwrap()
    }

    struct Random(u64);

    impl Random {
        fn below(&mut self, end: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % end
        }
    }

    /// Against a queue; objects in any order, of which many contend for an entry of the near index, or share a home in the far one.
    #[test]
    fn what_was_entered_is_found_from_the_newest_on() {
        // Next to each other, some apart, and all with one entry.
        for apart in [16, 16 * 1024, 1 << 19] {
            let candidates = Candidates::new().unwrap();
            let mut model = VecDeque::new();
            let mut random = Random(1);
            for number in 1..50_000 {
                let address = number * (1 + (number % 3) * 1024) * apart;
                let entered = object(address);
                let victim = if candidates.add_next(entered) { None } else { candidates.add(entered) };
                assert!(if victim.is_some() { model.len() >= MOST } else { model.len() < PLACES });
                if let Some(victim) = victim {
                    model.retain(|known| *known != victim.addr().get());
                }
                model.push_front(address);
                let is_removing = match number {
                    ..5_000 => random.below(2) == 0,
                    20_000.. => random.below(16) != 0,
                    _ => false,
                };
                if is_removing {
                    let at = random.below(model.len());
                    candidates.remove(object(model.remove(at).unwrap()));
                }
                assert_eq!(candidates.len(), model.len());
                if number % 997 == 0 {
                    let mut found = all(&candidates);
                    if number < PLACES {
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

    /// The order is that of arrival, wherever they lie.
    #[test]
    fn addresses_do_not_matter() {
        let mut random = Random(3);
        let run = |apart: usize| {
            let candidates = Candidates::new().unwrap();
            let mut order = Vec::new();
            for number in 1..30_000_usize {
                let entered = object(number * apart);
                let victim = if candidates.add_next(entered) { None } else { candidates.add(entered) };
                order.extend(victim.map(|victim| victim.addr().get() / apart));
                if number % 5 == 0 && candidates.len() < MOST {
                    candidates.remove(entered);
                }
            }
            order.extend(all(&candidates).iter().map(|address| address / apart));
            order
        };
        let near = run(16);
        assert!(near.len() > MOST);
        for _ in 0..5 {
            assert!(near == run(16 + 16 * random.below(1 << 16)));
        }
    }

    /// Whoever is there all the time is met once at least, whatever comes and goes meanwhile; then all are struck off.
    #[test]
    fn nobody_who_stays_is_passed_over() {
        let mut random = Random(7);
        for _ in 0..50 {
            let candidates = Candidates::new().unwrap();
            let address = |random: &mut Random, staying: usize| (1 + random.below(1 << 16)) << 5 | staying << 4;
            let mut staying: Vec<usize> = (0..random.below(5_000)).map(|_| address(&mut random, 1)).collect();
            staying.sort_unstable();
            staying.dedup();
            staying.iter().for_each(|address| assert!(candidates.add(object(*address)).is_none()));
            let (mut cursor, mut met, mut others) = (candidates.all(), Vec::new(), Vec::new());
            while let Some(found) = candidates.next(&mut cursor) {
                met.push(found.addr().get());
                for _ in 0..random.below(3) {
                    let other = address(&mut random, 0);
                    if others.len() < 1_000 && !others.contains(&other) {
                        assert!(candidates.add(object(other)).is_none());
                        others.push(other);
                    }
                }
                if !others.is_empty() && random.below(2) == 0 {
                    let at = random.below(others.len());
                    candidates.remove(object(others.swap_remove(at)));
                }
            }
            met.retain(|address| address & 1 << 4 != 0);
            met.sort_unstable();
            met.dedup();
            assert_eq!(met, staying);
            staying.iter().chain(&others).for_each(|address| candidates.remove(object(*address)));
            assert_eq!((candidates.len(), all(&candidates)), (0, Vec::new()));
        }
    }
}
