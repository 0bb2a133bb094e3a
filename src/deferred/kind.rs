//! The table of object types: from the 15 bits in a header to what the drain must know about the object.

use core::any::{Any, TypeId};
use core::cell::UnsafeCell;
use core::hash::{Hash, Hasher};
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::lock::Mutex;

use super::attached::Attachment;
use super::object::{Flags, OBJECT_ALIGN, Object};
use super::pending::{Pending, WHOLE};
use super::size::{SMALL, counted};
use super::trace::{Slots, Tracer};

/// What the drain knows of a type of object. Made by the crate, one for each [`Managed`] type.
#[derive(Clone, Copy)]
pub struct TypeInfo {
    pub(crate) name: fn() -> &'static str,
    /// Header and value, without the items of a tail.
    pub(crate) base_bytes: usize,
    /// How many of these, at the end, are no part of the value.
    pub(crate) padding: usize,
    /// The whole object, where that is not `base_bytes`. The argument is a live or dead object of the type.
    pub(crate) bytes: Option<unsafe fn(NonNull<Object>) -> usize>,
    pub(crate) align: usize,
    pub(crate) slots: Slots,
    /// Visits the object's slots. The argument is an object of the type whose value is whole.
    pub(crate) trace: unsafe fn(NonNull<Object>, &mut Tracer<'_>),
    /// Drops what `trace` does not report. Called once, after all slots were released.
    pub(crate) drop_residue: Option<unsafe fn(NonNull<Object>)>,
    pub(crate) quick: Quick,
    /// What a new object's header has besides its type and its count.
    pub(crate) flags: Flags,
    /// What objects of the type are attached to others for. Then their value begins with a [`Link`](super::attached::Link).
    pub(crate) attachment: Option<Attachment>,
    /// A reference that the object owns and that `trace` does not report, as `drop_residue` gives it up.
    pub(crate) keeps: Option<unsafe fn(NonNull<Object>) -> NonNull<Object>>,
}

/// What an object of a simple type takes: no more than [`WHOLE`] slots, no residue, a small block of one size. Most
/// objects of most programs are simple, and their death takes a shorter way through the drain.
#[derive(Clone, Copy)]
pub(crate) struct Quick {
    /// Slots and one free. 0 for a type that is not simple.
    pub(crate) units: u8,
    /// The bytes counted for it.
    pub(crate) bytes: u32,
    /// Releases all its slots at once, and returns the first object that died of it. For a type without slots it does
    /// nothing, and the drain does not call it.
    pub(crate) release: Release,
}

/// See [`Quick::release`]. The argument is an object of the type whose value is whole.
pub(crate) type Release = unsafe fn(NonNull<Object>, &Pending) -> Option<NonNull<Object>>;

impl Quick {
    /// For a type that is not simple.
    pub(crate) const NONE: Quick = Quick { units: 0, bytes: 0, release: |_, _| None };

    /// For a sized type, if it is simple.
    pub(crate) const fn of(bytes: usize, align: usize, slots: Slots, residue: bool, release: Release) -> Quick {
        match slots {
            Slots::Fixed(slots) if slots <= WHOLE && !residue && bytes <= SMALL && align <= OBJECT_ALIGN => {
                Quick { units: slots as u8 + 1, bytes: counted(bytes, align) as u32, release }
            }
            _ => Quick::NONE,
        }
    }

    /// What the header says of it. `cyclic`: whether the type may be part of a cycle.
    pub(crate) const fn flags(&self, cyclic: bool) -> Flags {
        Flags::new(self.bytes as usize, self.units == 1, cyclic)
    }
}

impl TypeInfo {
    /// The type's name, for people.
    pub fn name(&self) -> &'static str {
        (self.name)()
    }

    /// Bytes of the object: header, value and tail.
    ///
    /// # Safety
    /// 1. `object` is of this type and its memory has not been freed.
    #[inline(always)]
    pub(crate) unsafe fn bytes_of(&self, object: NonNull<Object>) -> usize {
        match self.bytes {
            None => self.base_bytes,
            // SAFETY: an object of this type (1).
            Some(bytes) => unsafe { bytes(object) },
        }
    }
}

impl core::fmt::Debug for TypeInfo {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TypeInfo")
            .field("name", &self.name())
            .field("base_bytes", &self.base_bytes)
            .field("align", &self.align)
            .field("slots", &self.slots)
            .finish_non_exhaustive()
    }
}

/// A type that a [`Ref`](crate::Ref) can point to: every [`Trace`](crate::Trace) type, and [`Tail`](crate::Tail).
///
/// # Safety
/// Implemented by this crate alone. `INFO` describes an object that is laid out as this crate lays out `Self`.
pub unsafe trait Managed: Any {
    /// What the drain knows of the type.
    const INFO: &'static TypeInfo;
}

/// The place of a type in the table; what a header stores.
///
/// Never 0: so the uppermost bits of a header are never all 0, and a walk through a heap tells it from the words that the engine
/// begins some blocks with (`vendor/heap_walk.c`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TypeKey(u16);

const TYPES: usize = 1 << 15;

/// The place that stays free.
const NO_TYPE: u16 = 0;

/// A type in the table.
struct Entry {
    id: TypeId,
    info: TypeInfo,
}

/// A place for a type. Of a size by which no multiplication is needed to find it.
#[repr(align(128))]
struct Place {
    is_set: AtomicBool,
    /// Whether an object of the type was ever borrowed mutably. It is asked about a thread's own objects, so that no more order is needed than the thread's.
    lent: AtomicBool,
    entry: UnsafeCell<MaybeUninit<Entry>>,
}

// SAFETY: by TABLE the entry is written once, and read only after that.
unsafe impl Sync for Place {}

/// Four megabytes of zeros, of which the system provides the pages in use: a type is entered without an allocation, which could
/// fail, and found without following a pointer.
///
/// Invariant TABLE: the entry of a place is written once, under [`WRITERS`], before the place is set; then it never changes. A type
/// stands at the first free place from its home on. Read without a lock: the Release of the one store that sets a place
/// pairs with the Acquire of every load.
static TABLE: [Place; TYPES] = [const {
    Place {
        is_set: AtomicBool::new(false),
        lent: AtomicBool::new(false),
        entry: UnsafeCell::new(MaybeUninit::uninit()),
    }
}; TYPES];

/// Whether a type in the table has something to drop besides references.
static SOME_TYPE_HAS_RESIDUE: AtomicBool = AtomicBool::new(false);

/// Whether any object may have something to drop besides references, to go by the types that the process has. For all types of which the caller knows
/// objects.
pub(crate) fn some_type_has_residue() -> bool {
    // Relaxed: set before the type's place was, and whoever knows of an object of the type comes after that.
    SOME_TYPE_HAS_RESIDUE.load(Ordering::Relaxed)
}

/// The number of types in the table.
static WRITERS: Mutex<usize> = Mutex::new(0);

impl TypeKey {
    /// `key` is below [`TYPES`].
    pub(crate) const fn new(key: u16) -> TypeKey {
        TypeKey(key)
    }

    pub(crate) const fn get(self) -> u16 {
        self.0
    }

    /// The key of `T`. One load and one comparison once the type is known: the compiler knows both the type's id and its
    /// home in the table.
    ///
    /// # Panics
    /// When a program uses more than 32,767 types of objects.
    #[inline(always)]
    pub fn of<T: Managed>() -> TypeKey {
        let id = TypeId::of::<T>();
        let home = home(id);
        match entry(home) {
            Some(entry) if entry.id == id => TypeKey(home),
            _ => find_or_add(id, T::INFO, home),
        }
    }

    /// An object of the type is about to be borrowed mutably.
    #[inline(always)]
    pub(crate) fn lend(self) {
        let lent = &self.place().lent;
        // Not written each time: other threads read the same line.
        if !lent.load(Ordering::Relaxed) {
            lent.store(true, Ordering::Relaxed);
        }
    }

    /// Whether one was ever, by this thread at least.
    pub(super) fn was_lent(self) -> bool {
        self.place().lent.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn place(self) -> &'static Place {
        // Instead of a check of the bounds, and nothing where the compiler knows where the key is from.
        &TABLE[self.0 as usize % TYPES]
    }

    /// What the table holds for this key.
    #[inline(always)]
    pub(crate) fn info(self) -> &'static TypeInfo {
        let place = self.place();
        debug_assert!(place.is_set.load(Ordering::Acquire));
        // SAFETY: by TABLE not written any more: a key is only ever made by `of`, after its place was set, and whoever has
        // the key comes after that.
        let entry = unsafe { &*place.entry.get() };
        // SAFETY: as above.
        let entry = unsafe { entry.assume_init_ref() };
        &entry.info
    }
}

#[inline(always)]
fn entry(place: u16) -> Option<&'static Entry> {
    let place = TypeKey(place).place();
    if !place.is_set.load(Ordering::Acquire) {
        return None;
    }
    // SAFETY: by TABLE not written any more.
    let entry = unsafe { &*place.entry.get() };
    // SAFETY: by TABLE written.
    Some(unsafe { entry.assume_init_ref() })
}

/// Where the search for a type begins. The compiler knows a type's id, so this is a constant in optimised code.
#[inline(always)]
fn home(id: TypeId) -> u16 {
    struct LastWord(u64);
    impl Hasher for LastWord {
        #[inline(always)]
        fn write_u64(&mut self, word: u64) {
            self.0 = word;
        }
        fn write(&mut self, bytes: &[u8]) {
            for &byte in bytes {
                self.0 = self.0.rotate_left(8) ^ u64::from(byte);
            }
        }
        #[inline(always)]
        fn finish(&self) -> u64 {
            self.0
        }
    }
    let mut hasher = LastWord(0);
    id.hash(&mut hasher);
    (hasher.finish() % TYPES as u64) as u16
}

#[cold]
#[inline(never)]
fn find_or_add(id: TypeId, info: &TypeInfo, home: u16) -> TypeKey {
    // A type that stands away from its home comes here on every allocation, hence first without the lock.
    if let Ok(found) = find(id, home) {
        return found;
    }
    let mut types = WRITERS.lock();
    match find(id, home) {
        Ok(found) => found,
        Err(Some(free)) => {
            *types += 1;
            let place = TypeKey(free).place();
            // SAFETY: not set, so nobody reads it, and by the lock nobody else writes it.
            unsafe { (*place.entry.get()).write(Entry { id, info: *info }) };
            if info.drop_residue.is_some() {
                SOME_TYPE_HAS_RESIDUE.store(true, Ordering::Relaxed);
            }
            place.is_set.store(true, Ordering::Release);
            TypeKey(free)
        }
        Err(None) => panic!("more than {} types of objects: the type in a header has 15 bits", *types),
    }
}

/// The key of the type, or the first free place from its home on.
fn find(id: TypeId, home: u16) -> Result<TypeKey, Option<u16>> {
    for distance in 0..TYPES {
        let place = ((home as usize + distance) % TYPES) as u16;
        if place == NO_TYPE {
            continue;
        }
        match entry(place) {
            None => return Err(Some(place)),
            Some(entry) if entry.id == id => return Ok(TypeKey(place)),
            Some(_) => {}
        }
    }
    Err(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_share_a_home_get_keys_of_their_own() {
        fn add<const N: usize>(home: u16) -> TypeKey {
            let info = TypeInfo {
                name: core::any::type_name::<[u8; N]>,
                base_bytes: 0,
                padding: 0,
                bytes: None,
                align: 1,
                slots: Slots::Fixed(0),
                trace: |_, _| {},
                drop_residue: None,
                quick: Quick::NONE,
                flags: Quick::NONE.flags(false),
                attachment: None,
                keeps: None,
            };
            find_or_add(TypeId::of::<[u8; N]>(), &info, home)
        }
        // Home at the end of the table, so that the search also wraps.
        let home = TYPES as u16 - 1;
        let first = add::<1001>(home);
        let second = add::<1002>(home);
        let third = add::<1003>(home);
        assert_ne!(first, second);
        assert_ne!(second, third);
        assert_eq!(add::<1002>(home), second);
        assert!(third.info().name().contains("1003"));
        // A home that no type may have, and one from which the search comes across it.
        for key in [first, second, third, add::<1004>(NO_TYPE), add::<1005>(NO_TYPE)] {
            assert_ne!(key.get(), NO_TYPE);
        }
        assert_ne!(add::<1004>(NO_TYPE), add::<1005>(NO_TYPE));
        assert!(entry(NO_TYPE).is_none());
    }
}
