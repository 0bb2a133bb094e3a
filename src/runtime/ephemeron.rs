//! A map whose keys keep its values alive.

use core::any::Any;
use core::cell::Cell as StdCell;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::cell::Cell;
use crate::deferred::{Attachment, Object, Slots, Trace, Tracer};
use crate::error::OutOfMemory;

use super::attachment::{Attached, Kind};
use super::handle::{Ref, Untyped};
use super::mutator::Mutator;
use super::state::Attaching;
use super::thread;
use super::weak::Weak;
use super::weak_set::{End, Table};

/// A map from objects, by identity, to objects, that keeps no key alive: a value lives as long as its key and the map do (an *ephemeron*, B. Hayes,
/// *Ephemerons: A New Finalization Mechanism*, OOPSLA 1997).
///
/// For what is to be noted of an object without a field for it. A value may refer to its key, and to other keys: that keeps them alive no
/// more than the key's own slots would, so a key and a value that refer to each other are found as garbage cycles are.
///
/// ```
/// use mimalloc_runtime::{Budget, EphemeronMap, Ref, Runtime, Tail, Trace, cell::Cell};
///
/// #[derive(Trace)]
/// struct Instance(u32);
/// #[derive(Trace)]
/// struct Note(Ref<Instance>);
///
/// let mutator = Runtime::new()?.attach()?;
/// let mut notes = EphemeronMap::new();
/// let key = mutator.alloc(Instance(7)).unwrap();
/// let note = mutator.alloc(Note(key.clone())).unwrap();
/// assert!(notes.insert(&mutator, &key, note).unwrap().is_none());
/// assert_eq!(notes.get(&key).unwrap().0.0, 7);
///
/// drop(key);
/// mutator.collect(Budget::Unbounded);
/// assert_eq!(notes.sweep(1000), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # How
/// A value belongs to its key: an *attachment* of the key leads to an entry for each map that it is a key of, and that to the value. The map
/// has weak references to the entries. When the key dies, its attachment and all that hangs on it are freed in steps; when the map does,
/// so are its references, and each takes the value out of its entry.
///
/// What is left of an entry then, some 80 bytes, stays with the key until that gets an entry in another map, or dies.
///
/// What is known to be garbage goes by the key alone: a map that only its own values refer to lives until its keys have gone, or it is emptied.
///
/// # Cost
/// To find a value takes two looks into hash tables. An entry takes some 200 bytes in five objects. An insertion passes over the entries of
/// other maps that the key has, and a removal too. Bounds are those of a [`WeakSet`](crate::WeakSet).
pub struct EphemeronMap<V: ?Sized> {
    id: u64,
    table: Table<Entry, TakeOut>,
    _values: PhantomData<Ref<V>>,
}

/// A number that no other map or key of this thread has.
fn fresh() -> u64 {
    thread_local! {
        static LAST: StdCell<u64> = const { StdCell::new(0) };
    }
    LAST.set(LAST.get() + 1);
    LAST.get()
}

/// The entry of one key in one map.
struct Entry {
    map: u64,
    /// The key's, which stands for it: its address may be another object's when this is not gone yet.
    key: u64,
    value: Cell<Option<Ref<Untyped>>>,
    /// The next one of the key.
    next: Cell<Option<Ref<Entry>>>,
}

/// What is attached to a key.
struct Key;

impl Kind for Key {
    const KIND: Attachment = Attachment::Key;
}

struct Entries {
    id: u64,
    first: Cell<Option<Ref<Entry>>>,
}

type KeyEntries = Attached<Key, Entries>;

/// When the map or its part of an entry goes, the value goes.
struct TakeOut(Weak<Entry>);

impl End for TakeOut {
    const KEEPS: Option<fn(&Self) -> NonNull<Object>> = Some(|this| this.0.as_raw());
}

impl Drop for TakeOut {
    fn drop(&mut self) {
        if let Some(entry) = self.0.upgrade() {
            entry.value.take();
        }
    }
}

fn linked(link: &Cell<Option<Ref<Entry>>>) -> Option<Ref<Entry>> {
    let entry = link.take();
    let linked = entry.clone();
    link.set(entry);
    linked
}

impl Entries {
    /// Takes entries off the key that fulfil this.
    fn remove(&self, mut is: impl FnMut(&Entry) -> bool) {
        let mut previous: Option<Ref<Entry>> = None;
        let mut at = linked(&self.first);
        while let Some(entry) = at {
            at = linked(&entry.next);
            if is(&entry) {
                let link = previous.as_ref().map_or(&self.first, |previous| &previous.next);
                link.set(entry.next.take());
            } else {
                previous = Some(entry);
            }
        }
    }
}

/// What is attached to a key, if it is one.
fn entries<K: ?Sized>(key: &Ref<K>) -> Option<&Entries> {
    let object = Ref::as_raw(key);
    // SAFETY: alive: the handle's.
    let state = unsafe { thread::state_of(object) };
    // SAFETY: alive, its own.
    let attached = unsafe { state.attachment(object, Attachment::Key) }?;
    // SAFETY: an attachment of this kind is of this type; the key has it for as long as it lives.
    Some(unsafe { KeyEntries::value(attached) })
}

/// The key's, made if there is none.
fn entries_or_new<K: ?Sized>(key: &Ref<K>) -> Result<&Entries, OutOfMemory> {
    if let Some(entries) = entries(key) {
        return Ok(entries);
    }
    let object = Ref::as_raw(key);
    // SAFETY: alive: the handle's.
    let state = unsafe { thread::state_of(object) };
    let new = Entries { id: fresh(), first: Cell::new(None) };
    // SAFETY: alive, its own; no attachment, as none is handed out as a `Ref`.
    match unsafe { state.attach(object, KeyEntries::new(new)) } {
        // SAFETY: as in `entries`.
        Ok(Attaching::Done(attached) | Attaching::Exists(attached, _)) => Ok(unsafe { KeyEntries::value(attached) }),
        Err(error) => Err(error.map(drop)),
    }
}

impl<V: ?Sized + Any> EphemeronMap<V> {
    /// Without entries. Takes no memory.
    pub fn new() -> EphemeronMap<V> {
        EphemeronMap { id: fresh(), table: Table::new(), _values: PhantomData }
    }

    /// How many entries there are, those included whose keys have gone and that have not been swept yet.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn entry(&self, key: u64) -> Option<Ref<Entry>> {
        self.table.find(key, |entry| entry.key == key && entry.map == self.id)
    }

    /// The value of a key.
    pub fn get<K: ?Sized>(&self, key: &Ref<K>) -> Option<Ref<V>> {
        let entry = self.entry(entries(key)?.id)?;
        let value = entry.value.take();
        entry.value.set(value.clone());
        // SAFETY: a value of this map is a `V`, and the reference is ours.
        value.map(|value| unsafe { Ref::from_raw(Ref::into_raw(value)) })
    }

    /// Sets the value of a key, and returns the one before. `mutator` is any of the thread: the map's part of the entry is allocated from it.
    ///
    /// # Errors
    /// [`OutOfMemory`], with the value. The map is as it was.
    pub fn insert<K: ?Sized>(
        &mut self,
        mutator: &Mutator,
        key: &Ref<K>,
        value: Ref<V>,
    ) -> Result<Option<Ref<V>>, OutOfMemory<Ref<V>>> {
        let of_key = match entries_or_new(key) {
            Ok(of_key) => of_key,
            Err(error) => return Err(error.map(|()| value)),
        };
        if let Some(entry) = self.entry(of_key.id) {
            let before = entry.value.replace(Some(Ref::erase(value)));
            // SAFETY: a value of this map is a `V`, and the reference is ours.
            return Ok(before.map(|value| unsafe { Ref::from_raw(Ref::into_raw(value)) }));
        }
        match self.new_entry(mutator, of_key.id) {
            Err(error) => Err(error.map(|()| value)),
            Ok(entry) => {
                entry.value.set(Some(Ref::erase(value)));
                // Those of maps that have gone, or that have removed the key.
                of_key.remove(|entry| entry.is_empty());
                entry.next.set(of_key.first.take());
                of_key.first.set(Some(entry));
                Ok(None)
            }
        }
    }

    /// An entry, in the table, and not yet the key's.
    fn new_entry(&mut self, mutator: &Mutator, key: u64) -> Result<Ref<Entry>, OutOfMemory> {
        let entry = Entry { map: self.id, key, value: Cell::new(None), next: Cell::new(None) };
        let entry = mutator.alloc(entry).map_err(|error| error.map(drop))?;
        let weak = Ref::downgrade(&entry)?;
        self.table.insert(mutator, key, weak.clone(), TakeOut(weak))?;
        Ok(entry)
    }

    /// Takes a key out, and returns its value.
    pub fn remove<K: ?Sized>(&mut self, key: &Ref<K>) -> Option<Ref<V>> {
        let of_key = entries(key)?;
        let (id, map) = (of_key.id, self.id);
        let entry = self.entry(id)?;
        let value = entry.value.take();
        self.table.remove(id, |entry| entry.key == id && entry.map == map);
        of_key.remove(|other| core::ptr::eq(other, &*entry));
        // SAFETY: a value of this map is a `V`, and the reference is ours.
        value.map(|value| unsafe { Ref::from_raw(Ref::into_raw(value)) })
    }

    /// As [`WeakSet::sweep`](crate::WeakSet::sweep): clears entries whose keys have gone.
    pub fn sweep(&mut self, buckets: usize) -> usize {
        self.table.sweep(buckets)
    }
}

impl Entry {
    fn is_empty(&self) -> bool {
        let value = self.value.take();
        let is_empty = value.is_none();
        self.value.set(value);
        is_empty
    }
}

impl<V: ?Sized + Any> Default for EphemeronMap<V> {
    fn default() -> Self {
        EphemeronMap::new()
    }
}

impl<V: ?Sized + Any> fmt::Debug for EphemeronMap<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EphemeronMap").field("len", &self.len()).finish_non_exhaustive()
    }
}

// SAFETY: 1-6: those of the table; the rest owns nothing.
unsafe impl<V: ?Sized + Any> Trace for EphemeronMap<V> {
    const SLOTS: Slots = <Table<Entry, TakeOut>>::SLOTS;
    const RESIDUE: bool = true;
    // Values belong to their keys.
    const ACYCLIC: bool = true;
    fn trace(&self, tracer: &mut Tracer<'_>) {
        self.table.trace(tracer);
    }
    unsafe fn drop_residue(&mut self) {
        // SAFETY: not used again (1).
        unsafe { self.table.drop_residue() }
    }
}

// SAFETY: 1, 2: the two references, each in one slot. 3, 4: nothing else to drop. 5: does nothing else. 6: in cells that tell.
unsafe impl Trace for Entry {
    const SLOTS: Slots = Slots::Fixed(2);
    const RESIDUE: bool = false;
    fn trace(&self, tracer: &mut Tracer<'_>) {
        self.value.trace(tracer);
        self.next.trace(tracer);
    }
    unsafe fn drop_residue(&mut self) {}
}

// SAFETY: as for the entry.
unsafe impl Trace for Entries {
    const SLOTS: Slots = Slots::Fixed(1);
    const RESIDUE: bool = false;
    fn trace(&self, tracer: &mut Tracer<'_>) {
        self.first.trace(tracer);
    }
    unsafe fn drop_residue(&mut self) {}
}
