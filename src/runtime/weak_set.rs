//! A hash table of weak references.

use core::cell::Cell;
use core::fmt;
use core::mem::needs_drop;
use core::ptr::NonNull;

use crate::deferred::{Object, Slots, Trace, Tracer};
use crate::error::OutOfMemory;
use crate::linear;

use super::handle::Ref;
use super::mutator::Mutator;
use super::tail::Tail;
use super::weak::Weak;

/// A hash table of objects that it does not keep alive, for interning and caches.
///
/// The caller hashes and compares, so that something can be looked for that is no object yet:
///
/// ```
/// use mimalloc_runtime::{Mutator, OutOfMemory, Ref, Runtime, Tail, WeakSet};
/// use std::hash::{BuildHasher, RandomState};
///
/// type Text = Tail<(), u8>;
///
/// fn intern(mutator: &Mutator, table: &mut WeakSet<Text>, hasher: &RandomState, text: &[u8]) -> Result<Ref<Text>, OutOfMemory> {
///     let hash = hasher.hash_one(text);
///     if let Some(found) = table.find(hash, |known| known.items() == text) {
///         return Ok(found);
///     }
///     let new = mutator.alloc_tail_copy((), text)?;
///     table.insert(mutator, hash, &new)?;
///     Ok(new)
/// }
///
/// let mutator = Runtime::new()?.attach()?;
/// let (mut table, hasher) = (WeakSet::new(), RandomState::new());
/// let one = intern(&mutator, &mut table, &hasher, b"text")?;
/// let two = intern(&mutator, &mut table, &hasher, b"text")?;
/// assert!(Ref::ptr_eq(&one, &two));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Bounds
/// Nothing in it takes longer because there is much in it. It grows and shrinks a bucket at a time. What refers to nothing any more is
/// cleared in steps: each insertion looks at two buckets, of which each has one entry on average, and [`sweep`](WeakSet::sweep) at as many as it
/// is told. So with `n` entries, those that have died are gone after `n / 2` insertions. When the table goes, its entries are freed like
/// other objects, in the steps of the collector. Not bounded is how many entries have one hash.
///
/// # Space
/// An entry is an object of 48 bytes of the mutator that it was inserted with, besides the [cell](Weak) of its object, and its share of the
/// buckets, which are objects too. The list of those, 8 bytes for 256 entries, is Rust's own memory; it is copied where it grows.
pub struct WeakSet<T: ?Sized> {
    table: Table<T, ()>,
}

/// The table of a [`WeakSet`], with something in each entry that is dropped with it.
pub(super) struct Table<T: ?Sized, D> {
    segments: Vec<Ref<Segment<T, D>>>,
    /// How many buckets are in use: 0, or at least [`SEGMENT`].
    buckets: usize,
    len: usize,
    /// The bucket that is swept next.
    next: usize,
}

/// Something in each entry, that is dropped with it.
pub(super) trait End: 'static {
    /// The object to which it has a reference.
    const KEEPS: Option<fn(&Self) -> NonNull<Object>> = None;
}

impl End for () {}

/// Buckets of a segment.
const SEGMENT: usize = 256;

/// Changed by whoever has the table exclusively alone.
type Link<T, D> = Cell<Option<Ref<Entry<T, D>>>>;

type Segment<T, D> = Tail<(), Link<T, D>>;

pub(super) struct Entry<T: ?Sized, D> {
    hash: u64,
    next: Link<T, D>,
    weak: Weak<T>,
    end: D,
}

/// The entry that is linked to. While it is borrowed, so is the table, and nobody changes the link.
///
/// # Safety
/// 1. The table that `link` is of is borrowed for as long as the result.
unsafe fn follow<T: ?Sized, D>(link: &Link<T, D>) -> Option<&Entry<T, D>>
where
    Entry<T, D>: Trace,
{
    // SAFETY: not changed meanwhile (1).
    let entry = unsafe { &*link.as_ptr() };
    entry.as_deref()
}

impl<T: ?Sized + 'static, D: End> Table<T, D> {
    pub(super) const fn new() -> Table<T, D> {
        Table { segments: Vec::new(), buckets: 0, len: 0, next: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn bucket(&self, bucket: usize) -> &Link<T, D> {
        &self.segments[bucket / SEGMENT].items()[bucket % SEGMENT]
    }

    fn place(&self, hash: u64) -> Option<usize> {
        // Whoever has made the hash may have left some bits alike.
        let spread = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        (self.buckets > 0).then(|| linear::bucket(spread as usize, self.buckets))
    }

    /// The first entry of this hash of which the object lives and passes the test.
    pub(super) fn find(&self, hash: u64, mut is: impl FnMut(&Ref<T>) -> bool) -> Option<Ref<T>> {
        let mut link = self.bucket(self.place(hash)?);
        // SAFETY: `self` is borrowed.
        while let Some(entry) = unsafe { follow(link) } {
            if entry.hash == hash {
                if let Some(object) = entry.weak.upgrade().filter(&mut is) {
                    return Some(object);
                }
            }
            link = &entry.next;
        }
        None
    }

    pub(super) fn insert(&mut self, mutator: &Mutator, hash: u64, weak: Weak<T>, end: D) -> Result<(), OutOfMemory> {
        if self.len >= self.buckets {
            if let (Err(error), 0) = (self.grow(mutator), self.buckets) {
                return Err(error);
            }
        }
        let place = self.place(hash).expect("there are buckets");
        let entry = mutator.alloc(Entry { hash, next: Cell::new(None), weak, end }).map_err(|error| error.map(drop))?;
        // What allocates may have called anything but this table.
        let link = self.bucket(place);
        entry.next.set(link.take());
        link.set(Some(entry));
        self.len += 1;
        self.sweep(2);
        Ok(())
    }

    /// Takes out the first entry of this hash of which the object passes the test.
    pub(super) fn remove(&mut self, hash: u64, mut is: impl FnMut(&Ref<T>) -> bool) -> Option<Ref<T>> {
        let mut link = self.bucket(self.place(hash)?);
        // SAFETY: `self` is borrowed.
        while let Some(entry) = unsafe { follow(link) } {
            let found = if entry.hash == hash { entry.weak.upgrade().filter(&mut is) } else { None };
            if found.is_some() {
                let entry = link.take();
                link.set(entry.as_ref().and_then(|entry| entry.next.take()));
                self.len -= 1;
                self.shrink();
                return found;
            }
            link = &entry.next;
        }
        None
    }

    /// Looks at so many buckets, and takes out entries whose objects have gone. Returns how many.
    pub(super) fn sweep(&mut self, buckets: usize) -> usize {
        let before = self.len;
        for _ in 0..buckets.min(self.buckets) {
            // It may have fewer than it had.
            self.next = if self.next + 1 < self.buckets { self.next + 1 } else { 0 };
            let mut gone = 0;
            let mut link = self.bucket(self.next);
            // SAFETY: `self` is borrowed.
            while let Some(entry) = unsafe { follow(link) } {
                if entry.weak.is_gone() {
                    // Not dropped before the link is whole: what it drops is no affair of the table's, but may be of its owner's.
                    let entry = link.take();
                    link.set(entry.as_ref().and_then(|entry| entry.next.take()));
                    gone += 1;
                } else {
                    link = &entry.next;
                }
            }
            self.len -= gone;
            self.shrink();
        }
        before - self.len
    }

    /// Uses one bucket more.
    fn grow(&mut self, mutator: &Mutator) -> Result<(), OutOfMemory> {
        let new = self.buckets;
        if new % SEGMENT == 0 && new / SEGMENT == self.segments.len() {
            let bytes = size_of::<Ref<Segment<T, D>>>();
            self.segments.try_reserve(1).map_err(|_| OutOfMemory { value: (), bytes })?;
            self.segments.push(mutator.alloc_tail((), SEGMENT, |_| Cell::new(None))?);
        }
        self.buckets += if new == 0 { SEGMENT } else { 1 };
        if new == 0 {
            return Ok(());
        }
        let mut link = self.bucket(linear::parent(new));
        // SAFETY: `self` is borrowed.
        while let Some(entry) = unsafe { follow(link) } {
            if self.place(entry.hash) == Some(new) {
                let entry = link.take();
                link.set(entry.as_ref().and_then(|entry| entry.next.take()));
                let chain = self.bucket(new);
                if let Some(entry) = &entry {
                    entry.next.set(chain.take());
                }
                chain.set(entry);
            } else {
                link = &entry.next;
            }
        }
        Ok(())
    }

    /// Uses one bucket less, if there are more than enough.
    fn shrink(&mut self) {
        let last = self.buckets.saturating_sub(1);
        if last < SEGMENT || self.len >= last / 4 {
            return;
        }
        let mut link = self.bucket(linear::parent(last));
        // SAFETY: `self` is borrowed.
        while let Some(entry) = unsafe { follow(link) } {
            link = &entry.next;
        }
        link.set(self.bucket(last).take());
        self.buckets = last;
        if last % SEGMENT == 0 {
            self.segments.truncate(last / SEGMENT);
        }
    }
}

impl<T: ?Sized + 'static> WeakSet<T> {
    /// Without entries. Takes no memory.
    pub const fn new() -> WeakSet<T> {
        WeakSet { table: Table::new() }
    }

    /// How many entries there are, those included whose objects have gone and that have not been swept yet.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An object that was inserted with this hash, lives, and passes the test.
    ///
    /// The test is called with each such object; one that does not pass it is given up again.
    pub fn find(&self, hash: u64, is: impl FnMut(&Ref<T>) -> bool) -> Option<Ref<T>> {
        self.table.find(hash, is)
    }

    /// Inserts an object, whether or not the same or an equal one is in the table. `mutator` is any of the thread: the entry is allocated from it.
    ///
    /// # Errors
    /// [`OutOfMemory`]. Nothing was inserted.
    pub fn insert(&mut self, mutator: &Mutator, hash: u64, object: &Ref<T>) -> Result<(), OutOfMemory> {
        self.table.insert(mutator, hash, Ref::downgrade(object)?, ())
    }

    /// Takes an object out that was inserted with this hash, lives, and passes the test.
    pub fn remove(&mut self, hash: u64, is: impl FnMut(&Ref<T>) -> bool) -> Option<Ref<T>> {
        self.table.remove(hash, is)
    }

    /// Looks at so many buckets, going round, and clears entries whose objects have gone. Returns how many it has cleared.
    ///
    /// There are about as many buckets as entries, and at least 256. For a program that has stopped inserting: insertions do as much by
    /// themselves as is needed while they go on.
    pub fn sweep(&mut self, buckets: usize) -> usize {
        self.table.sweep(buckets)
    }
}

impl<T: ?Sized + 'static> Default for WeakSet<T> {
    fn default() -> Self {
        WeakSet::new()
    }
}

impl<T: ?Sized + 'static> fmt::Debug for WeakSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakSet").field("len", &self.len()).finish_non_exhaustive()
    }
}

// SAFETY: 1-6: those of the list of segments, the rest owns nothing.
unsafe impl<T: ?Sized + 'static, D: End> Trace for Table<T, D> {
    const SLOTS: Slots = <Vec<Ref<Segment<T, D>>>>::SLOTS;
    const RESIDUE: bool = true;
    // Segments lead to entries, and these to cells.
    const ACYCLIC: bool = true;
    fn trace(&self, tracer: &mut Tracer<'_>) {
        self.segments.trace(tracer);
    }
    unsafe fn drop_residue(&mut self) {
        // SAFETY: not used again (1).
        unsafe { self.segments.drop_residue() }
    }
}

// SAFETY: as for the table.
unsafe impl<T: ?Sized + 'static> Trace for WeakSet<T> {
    const SLOTS: Slots = <Table<T, ()>>::SLOTS;
    const RESIDUE: bool = true;
    const ACYCLIC: bool = true;
    fn trace(&self, tracer: &mut Tracer<'_>) {
        self.table.trace(tracer);
    }
    unsafe fn drop_residue(&mut self) {
        // SAFETY: not used again (1).
        unsafe { self.table.drop_residue() }
    }
}

// SAFETY: 1, 2: the two references, each in one slot. 3, 4: what is left is `end`. 5: does nothing else. 6: never part of a trial, as it is
// acyclic.
unsafe impl<T: ?Sized + 'static, D: End> Trace for Entry<T, D> {
    const SLOTS: Slots = Slots::Fixed(2);
    const RESIDUE: bool = needs_drop::<D>();
    const ACYCLIC: bool = true;
    const KEEPS: Option<fn(&Self) -> NonNull<Object>> =
        if D::KEEPS.is_some() { Some(|entry| D::KEEPS.expect("it has one")(&entry.end)) } else { None };
    fn trace(&self, tracer: &mut Tracer<'_>) {
        self.next.trace(tracer);
        self.weak.trace(tracer);
    }
    unsafe fn drop_residue(&mut self) {
        // SAFETY: not used again (1).
        unsafe { core::ptr::drop_in_place(&raw mut self.end) }
    }
}
