//! The table of object types: from the 16 bits in a header to what the drain must know about the object.

use core::any::{Any, TypeId};
use core::hash::{Hash, Hasher};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};

use parking_lot::Mutex;

use super::object::Object;
use super::trace::{Slots, Tracer};

/// What the drain knows of a type of object. Made by the crate, one for each [`Managed`] type.
pub struct TypeInfo {
    pub(crate) id: fn() -> TypeId,
    pub(crate) name: fn() -> &'static str,
    /// Header and value, without the items of a tail.
    pub(crate) base_bytes: usize,
    /// The whole object, where that is not `base_bytes`. The argument is a live or dead object of the type.
    pub(crate) bytes: Option<unsafe fn(NonNull<Object>) -> usize>,
    pub(crate) align: usize,
    pub(crate) slots: Slots,
    /// Visits the object's slots. The argument is an object of the type whose value is whole.
    pub(crate) trace: unsafe fn(NonNull<Object>, &mut Tracer<'_>),
    /// Drops what `trace` does not report. Called once, after all slots were released.
    pub(crate) drop_residue: Option<unsafe fn(NonNull<Object>)>,
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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TypeKey(u16);

const TYPES: usize = 1 << 16;

/// Invariant TABLE: an entry is null or points to a [`TypeInfo`] in static memory; once set it never changes; a type
/// stands at the first free place from its home on. Written under [`WRITERS`], read without a lock.
static TABLE: [AtomicPtr<TypeInfo>; TYPES] = [const { AtomicPtr::new(ptr::null_mut()) }; TYPES];

/// The number of types in the table.
static WRITERS: Mutex<usize> = Mutex::new(0);

impl TypeKey {
    pub(crate) const fn new(key: u16) -> TypeKey {
        TypeKey(key)
    }

    pub(crate) const fn get(self) -> u16 {
        self.0
    }

    /// The key of `T`. One load and one comparison once the type is known, as its home is a constant.
    ///
    /// # Panics
    /// When a program uses more than 65,536 types of objects.
    #[inline(always)]
    pub fn of<T: Managed>() -> TypeKey {
        let home = home(TypeId::of::<T>());
        // Relaxed: by TABLE the entry points to static data, which needs no ordering to be read.
        let entry = TABLE[home as usize].load(Ordering::Relaxed);
        if ptr::eq(entry, T::INFO) { TypeKey(home) } else { find_or_add(T::INFO, home) }
    }

    /// What the table holds for this key.
    #[inline(always)]
    pub(crate) fn info(self) -> &'static TypeInfo {
        let entry = TABLE[self.0 as usize].load(Ordering::Relaxed);
        debug_assert!(!entry.is_null());
        // SAFETY: a key is only ever made by `of`, after the entry was set, and then TABLE holds.
        unsafe { &*entry }
    }
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
    hasher.finish() as u16
}

#[cold]
#[inline(never)]
fn find_or_add(info: &'static TypeInfo, home: u16) -> TypeKey {
    // The compiler may hold several copies of one constant, so an entry is known by its id, not its address; code that
    // holds another copy comes here on every allocation, hence first without the lock.
    if let Ok(found) = find(info, home) {
        return found;
    }
    let mut types = WRITERS.lock();
    match find(info, home) {
        Ok(found) => found,
        Err(Some(free)) => {
            *types += 1;
            TABLE[free as usize].store(ptr::from_ref(info).cast_mut(), Ordering::Relaxed);
            TypeKey(free)
        }
        Err(None) => panic!("more than {} types of objects: the type in a header has 16 bits", *types),
    }
}

/// The key of the type, or the first free place from its home on.
fn find(info: &'static TypeInfo, home: u16) -> Result<TypeKey, Option<u16>> {
    for distance in 0..TYPES {
        let at = home.wrapping_add(distance as u16);
        let entry = TABLE[at as usize].load(Ordering::Relaxed);
        if entry.is_null() {
            return Err(Some(at));
        }
        // SAFETY: not null, so by TABLE it points to static data.
        let entry = unsafe { &*entry };
        if (entry.id)() == (info.id)() {
            return Ok(TypeKey(at));
        }
    }
    Err(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_share_a_home_get_keys_of_their_own() {
        fn id<const N: usize>() -> TypeId {
            TypeId::of::<[u8; N]>()
        }
        fn info<const N: usize>() -> &'static TypeInfo {
            &TypeInfo {
                id: id::<N>,
                name: core::any::type_name::<[u8; N]>,
                base_bytes: 0,
                bytes: None,
                align: 1,
                slots: Slots::Fixed(0),
                trace: |_, _| {},
                drop_residue: None,
            }
        }
        // Home at the end of the table, so that the search also wraps.
        let home = u16::MAX;
        let first = find_or_add(info::<1001>(), home);
        let second = find_or_add(info::<1002>(), home);
        let third = find_or_add(info::<1003>(), home);
        assert_ne!(first, second);
        assert_ne!(second, third);
        assert_eq!(find_or_add(info::<1002>(), home), second);
        assert_eq!((third.info().id)(), id::<1003>());
    }
}
