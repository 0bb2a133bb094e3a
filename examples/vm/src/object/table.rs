//! Tables from values to values, in the order of insertion.
//!
//! Entries stand in a dense array in the order in which their keys came. A table of few entries is searched from end to
//! end; a larger one has an index besides, an open-addressed table of entry numbers. A removed entry leaves a gap. Gaps
//! are closed when room runs out, or when there are three times as many as entries, so that a walk is no longer than what
//! it finds: entries of a table from which nothing is removed never move, and a [`Hint`] of where a key stood last time
//! is mostly right.
//!
//! Growing moves all entries, and renews the index, at once.

use std::cell::Cell;

use mimalloc_runtime::{Mutator, OutOfMemory, Ref, Survey, Tail, Trace, Untyped};

use super::Buffer;
use crate::hash;
use crate::value::Value;

/// Up to so many entries there is no index.
const UNINDEXED: usize = 8;

/// An entry; a gap if its key is absent.
#[derive(Trace)]
struct Entry {
    key: Value,
    value: Value,
}

impl Default for Entry {
    fn default() -> Self {
        Entry { key: Value::ABSENT, value: Value::NIL }
    }
}

/// Where in a table a key was found last.
#[derive(Debug, Default)]
pub(crate) struct Hint(Cell<usize>);

/// A table.
///
/// Keys are told apart by their bits ([`Value::is_same`]), which for all values but numbers is what `==` does; callers give
/// neither minus zero nor a not-a-number.
#[derive(Default, Trace)]
pub(crate) struct Table {
    /// In order of insertion, with gaps.
    entries: Buffer<Entry>,
    /// How many entries are not gaps.
    live: usize,
    /// One more than the number of each entry that is no gap, and zeros, in a power of two of places, at least half of them
    /// zero. Only this handle refers to it.
    index: Option<Ref<Tail<(), u32>>>,
}

impl Default for Buffer<Entry> {
    fn default() -> Self {
        Buffer::new()
    }
}

impl Table {
    /// Tells of the references that it holds outside of objects.
    pub(crate) fn roots<'a>(&'a self, mut survey: Survey<'a>) -> Survey<'a> {
        if let Some(entries) = self.entries.storage() {
            survey = survey.root(entries);
        }
        if let Some(index) = &self.index {
            survey = survey.root(index);
        }
        survey
    }

    /// What the object is of a table, if it is a part of one.
    pub(crate) fn storage_name(object: &Ref<Untyped>) -> Option<&'static str> {
        if Ref::is::<Tail<usize, Entry>>(object) {
            Some("entries")
        } else if Ref::is::<Tail<(), u32>>(object) {
            Some("index")
        } else {
            None
        }
    }

    /// The key that a slot of a table's entries is about, and whether it holds the key itself.
    pub(crate) fn key_of_slot(object: &Ref<Untyped>, slot: usize) -> Option<(&Value, bool)> {
        let entries = Ref::downcast_ref::<Tail<usize, Entry>>(object)?;
        let entry = entries.items().get(slot / 2)?;
        Some((&entry.key, slot % 2 == 0))
    }

    /// How many keys it has.
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// Bytes of the entries, gaps included: what a walk over them looks at.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.entries.items())
    }

    /// The number of the key's entry.
    #[inline]
    fn find(&self, key: &Value) -> Option<usize> {
        let entries = self.entries.items();
        let Some(index) = &self.index else {
            return entries.iter().position(|entry| entry.key.is_same(key));
        };
        let index = index.items();
        let mut place = hash::word(key.bits());
        loop {
            place &= index.len() - 1;
            let number = (index[place] as usize).checked_sub(1)?;
            if entries[number].key.is_same(key) {
                return Some(number);
            }
            place += 1;
        }
    }

    /// As [`find`](Self::find), first where the hint says.
    #[inline(always)]
    fn find_hinted(&self, key: &Value, hint: &Hint) -> Option<usize> {
        let number = hint.0.get();
        if self.entries.items().get(number).is_some_and(|entry| entry.key.is_same(key)) {
            return Some(number);
        }
        let found = self.find(key)?;
        hint.0.set(found);
        Some(found)
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &Value) -> Option<&Value> {
        let number = self.find(key)?;
        Some(&self.entries.items()[number].value)
    }

    /// The value of a key that is likely to be where the hint says.
    #[inline(always)]
    pub(crate) fn get_hinted(&self, key: &Value, hint: &Hint) -> Option<&Value> {
        let number = self.find_hinted(key, hint)?;
        Some(&self.entries.items()[number].value)
    }

    /// The value of a key that is likely to be where the hint says, to be changed.
    #[inline(always)]
    pub(crate) fn get_mut_hinted(&mut self, key: &Value, hint: &Hint) -> Option<&mut Value> {
        let number = self.find_hinted(key, hint)?;
        Some(&mut self.entries.items_mut()[number].value)
    }

    /// Gives a key a value.
    ///
    /// # Errors
    /// Out of memory; the table is as it was.
    pub(crate) fn set(&mut self, mutator: &Mutator, key: Value, value: Value) -> Result<(), OutOfMemory> {
        if let Some(number) = self.find(&key) {
            self.entries.items_mut()[number].value = value;
            return Ok(());
        }
        self.reserve(mutator)?;
        let number = self.entries.len();
        self.entries.push(mutator, Entry { key, value }).map_err(|error| error.map(drop))?;
        self.live += 1;
        if let Some(index) = &mut self.index {
            enter(index, &self.entries.items()[number].key, number);
        }
        Ok(())
    }

    /// Makes room for one more key.
    fn reserve(&mut self, mutator: &Mutator) -> Result<(), OutOfMemory> {
        let used = self.entries.len();
        if used == self.entries.capacity() && self.live <= used / 2 {
            self.close_gaps();
        }
        self.entries.reserve(mutator)?;
        let capacity = self.entries.capacity();
        let indexed = self.index.as_ref().map_or(0, |index| index.items().len());
        if capacity > UNINDEXED && indexed < 2 * capacity {
            // An entry number and one more must fit into 32 bits.
            let places = (2 * capacity).next_power_of_two();
            if u32::try_from(places).is_err() {
                return Err(OutOfMemory { value: (), bytes: usize::MAX });
            }
            let mut index = mutator.alloc_tail((), places, |_| 0)?;
            self.enter_all(&mut index);
            self.index = Some(index);
        }
        Ok(())
    }

    /// Moves entries together so that there are no gaps, in the same order.
    fn close_gaps(&mut self) {
        let entries = self.entries.items_mut();
        let mut filled = 0;
        for number in 0..entries.len() {
            if entries[number].key.is_absent() {
                continue;
            }
            if filled < number {
                if let Some(index) = &mut self.index {
                    let (places, place) = place(index, &entries[number].key, number);
                    places[place] = filled as u32 + 1;
                }
                entries.swap(filled, number);
            }
            filled += 1;
        }
        self.entries.truncate(filled);
    }

    fn enter_all(&self, index: &mut Ref<Tail<(), u32>>) {
        for (number, entry) in self.entries.items().iter().enumerate() {
            if !entry.key.is_absent() {
                enter(index, &entry.key, number);
            }
        }
    }

    /// Removes a key. The result is its value.
    pub(crate) fn remove(&mut self, key: &Value) -> Option<Value> {
        let number = self.find(key)?;
        if let Some(index) = &mut self.index {
            leave(index, self.entries.items(), number);
        }
        let entry = std::mem::take(&mut self.entries.items_mut()[number]);
        self.live -= 1;
        let used = self.entries.len();
        // As many steps as there were removals since the last time, or a third more.
        if used > UNINDEXED && self.live < used / 4 {
            self.close_gaps();
        }
        Some(entry.value)
    }

    /// Removes all keys. Constant time.
    pub(crate) fn clear(&mut self) {
        *self = Table::default();
    }

    /// Keys and values, in the order in which the keys came.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Value, &Value)> {
        let entries = self.entries.items().iter();
        entries.filter(|entry| !entry.key.is_absent()).map(|entry| (&entry.key, &entry.value))
    }
}

/// Notes in an index, which has room, where a key's entry stands.
fn enter(index: &mut Ref<Tail<(), u32>>, key: &Value, number: usize) {
    let (_, places) = index.parts_mut().expect("the index has one handle");
    let mask = places.len() - 1;
    let mut place = hash::word(key.bits()) & mask;
    while places[place] != 0 {
        place = (place + 1) & mask;
    }
    // `reserve` has seen to it that it fits.
    places[place] = number as u32 + 1;
}

/// The places of an index, and which of them a key's entry has.
fn place<'a>(index: &'a mut Ref<Tail<(), u32>>, key: &Value, number: usize) -> (&'a mut [u32], usize) {
    let (_, places) = index.parts_mut().expect("the index has one handle");
    let mask = places.len() - 1;
    let mut place = hash::word(key.bits()) & mask;
    while places[place] as usize != number + 1 {
        place = (place + 1) & mask;
    }
    (places, place)
}

/// Takes an entry out of an index. Those that would not be found past an empty place move up into it.
fn leave(index: &mut Ref<Tail<(), u32>>, entries: &[Entry], number: usize) {
    let (places, mut empty) = place(index, &entries[number].key, number);
    let mask = places.len() - 1;
    let mut next = empty;
    loop {
        next = (next + 1) & mask;
        let Some(other) = (places[next] as usize).checked_sub(1) else { break };
        let way = next.wrapping_sub(hash::word(entries[other].key.bits())) & mask;
        if way >= next.wrapping_sub(empty) & mask {
            places[empty] = places[next];
            empty = next;
        }
    }
    places[empty] = 0;
}

#[cfg(test)]
mod tests {
    use super::*;
    use mimalloc_runtime::{Budget, Pacing, Runtime};

    fn number(number: u32) -> Value {
        f64::from(number).into()
    }

    /// The entries as plain numbers.
    fn numbers(table: &Table) -> Vec<(u32, u32)> {
        let plain = |value: &Value| value.as_number().unwrap() as u32;
        table.entries().map(|(key, value)| (plain(key), plain(value))).collect()
    }

    /// Against a vector of pairs, under operations that make it grow, shrink, close gaps and start over.
    #[test]
    fn it_does_what_an_ordered_list_of_pairs_does() {
        let mutator = Runtime::new().unwrap().attaching().pacing(Pacing::stress()).attach().unwrap();
        let (mut table, mut model) = (Table::default(), Vec::<(u32, u32)>::new());
        let mut random = 12345u32;
        let mut next = |below: u32| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 8) % below
        };
        for round in 0..20_000 {
            // Phases of few keys and of many.
            let key = next(if round / 1000 % 2 == 0 { 12 } else { 300 });
            let place = model.iter().position(|pair| pair.0 == key);
            match next(100) {
                0 if round % 7 == 0 => {
                    table.clear();
                    model.clear();
                }
                0..50 => {
                    table.set(&mutator, number(key), number(round)).unwrap();
                    match place {
                        Some(place) => model[place].1 = round,
                        None => model.push((key, round)),
                    }
                }
                50..90 => {
                    let removed = place.map(|place| number(model.remove(place).1));
                    assert_eq!(table.remove(&number(key)), removed);
                }
                _ => {
                    let hint = Hint(Cell::new(next(20) as usize));
                    let wanted = place.map(|place| number(model[place].1));
                    assert_eq!(table.get(&number(key)), wanted.as_ref());
                    assert_eq!(table.get_hinted(&number(key), &hint), wanted.as_ref());
                    assert_eq!(table.get_mut_hinted(&number(key), &hint).cloned(), wanted);
                }
            }
            assert_eq!(table.len(), model.len());
            if round % 64 == 0 {
                assert_eq!(numbers(&table), model);
            }
        }
        drop(table);
        mutator.collect(Budget::Unbounded);
        assert_eq!(mutator.metrics().live.now.objects, 0);
    }

    #[test]
    fn a_queue_of_keys_does_not_grow_without_end() {
        let mutator = Runtime::new().unwrap().attach().unwrap();
        let mut table = Table::default();
        for key in 0..10_000 {
            table.set(&mutator, number(key), Value::NIL).unwrap();
            if key >= 10 {
                assert!(table.remove(&number(key - 10)).is_some());
            }
        }
        assert_eq!(table.len(), 10);
        assert!(table.entries.capacity() <= 32);
    }

    /// So a walk over it is about as long as what it holds.
    #[test]
    fn most_of_a_table_is_no_gaps() {
        let mutator = Runtime::new().unwrap().attach().unwrap();
        for stride in [1, 3, 7] {
            let mut table = Table::default();
            for key in 0..1000 {
                table.set(&mutator, number(key), number(key)).unwrap();
            }
            let mut left: Vec<(u32, u32)> = (0..1000).map(|key| (key, key)).collect();
            for key in (0..1000).map(|step| step * stride % 1000) {
                assert_eq!(table.remove(&number(key)), Some(number(key)));
                left.retain(|pair| pair.0 != key);
                assert!(numbers(&table) == left && left.iter().all(|pair| table.get(&number(pair.0)).is_some()));
                assert!(table.entries.len() <= UNINDEXED || table.entries.len() / 4 <= table.len(), "{}", table.len());
            }
            assert!(table.len() == 0 && table.bytes() <= UNINDEXED * size_of::<Entry>());
        }
    }

    #[test]
    fn entries_stay_where_they_are_while_nothing_is_removed() {
        let mutator = Runtime::new().unwrap().attach().unwrap();
        let mut table = Table::default();
        let hint = Hint::default();
        table.set(&mutator, Value::TRUE, number(0)).unwrap();
        table.set(&mutator, Value::FALSE, number(1)).unwrap();
        assert!(table.get_hinted(&Value::FALSE, &hint).is_some());
        assert_eq!(hint.0.get(), 1);
        for key in 0..1000 {
            table.set(&mutator, number(key), number(key)).unwrap();
        }
        assert_eq!(table.find_hinted(&Value::FALSE, &hint), Some(1));
        assert_eq!(hint.0.get(), 1);
    }
}
