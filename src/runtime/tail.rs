//! Objects with a tail of items: strings, arrays, tables.

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, offset_of};
use core::ptr::NonNull;

use crate::deferred::{Managed, Object, Quick, Residue, Slots, Trace, Tracer, TypeInfo, drop_items};
use crate::error::OutOfMemory;

use super::handle::Ref;
use super::heap::MOST_BYTES;
use super::mark;
use super::mutator::Mutator;
use super::thread;

/// An object that is a head and any number of items in one block: a string, an array, the entries of a table.
///
/// Never seen by value; a `Ref<Tail<H, E>>` gives its parts. The number of items is fixed when it is made, and changed by
/// [`Mutator::grow_tail`].
///
/// ```
/// use mimalloc_runtime::{Ref, Runtime, Tail};
/// let mutator = Runtime::new()?.attach()?;
/// let text: Ref<Tail<u32, u8>> = mutator.alloc_tail_copy(7, b"lox").unwrap();
/// assert_eq!((*text.head(), text.items()), (7, &b"lox"[..]));
/// # Ok::<(), mimalloc_runtime::Error>(())
/// ```
pub struct Tail<H, E> {
    _parts: PhantomData<(H, E)>,
}

/// How it lies in memory, up to the items, which follow without padding but their own: a block may be smaller than this
/// type, so it is only ever used to find the places of the fields, and no reference to it is made.
#[repr(C, align(16))]
struct Front<H, E> {
    header: Object,
    len: usize,
    head: H,
    items: [E; 0],
}

/// Where the items begin.
const fn items_offset<H, E>() -> usize {
    offset_of!(Front<H, E>, items)
}

fn layout<H, E>(len: usize) -> Option<Layout> {
    let items = Layout::array::<E>(len).ok()?;
    let size = items_offset::<H, E>().checked_add(items.size()).filter(|size| *size <= MOST_BYTES)?;
    Layout::from_size_align(size, align_of::<Front<H, E>>()).ok()
}

/// # Safety
/// 1. `object` is a `Tail<H, E>` whose memory has not been freed.
unsafe fn len<H, E>(object: NonNull<Object>) -> usize {
    let front = object.cast::<Front<H, E>>().as_ptr();
    // SAFETY: within the object (1).
    unsafe { (*front).len }
}

/// # Safety
/// 1. As for `len`.
unsafe fn head<H, E>(object: NonNull<Object>) -> NonNull<H> {
    let front = object.cast::<Front<H, E>>().as_ptr();
    // SAFETY: within the object (1).
    let head = unsafe { &raw mut (*front).head };
    // SAFETY: a field of something that is not null.
    unsafe { NonNull::new_unchecked(head) }
}

/// # Safety
/// 1. As for `len`.
unsafe fn items<H, E>(object: NonNull<Object>) -> NonNull<[E]> {
    // SAFETY: within the block (1).
    let first = unsafe { object.cast::<u8>().add(items_offset::<H, E>()) };
    // SAFETY: handed on (1).
    NonNull::slice_from_raw_parts(first.cast(), unsafe { len::<H, E>(object) })
}

unsafe fn bytes<H, E>(object: NonNull<Object>) -> usize {
    // SAFETY: called with objects of this type (TypeInfo::bytes).
    let len = unsafe { len::<H, E>(object) };
    // Computed without overflow when the object was made.
    items_offset::<H, E>() + len * size_of::<E>()
}

unsafe fn trace<H: Trace, E: Trace>(object: NonNull<Object>, tracer: &mut Tracer<'_>) {
    // SAFETY: called with objects of this type (TypeInfo::trace).
    let head = unsafe { head::<H, E>(object) };
    // SAFETY: whole, and nobody changes it while it is traced.
    unsafe { head.as_ref() }.trace(tracer);
    // SAFETY: as above.
    let items = unsafe { items::<H, E>(object) };
    // SAFETY: as above.
    tracer.slice(unsafe { items.as_ref() });
}

unsafe fn drop_residue<H: Trace, E: Trace>(object: NonNull<Object>) {
    // SAFETY: called with objects of this type (TypeInfo::drop_residue).
    let mut head = unsafe { head::<H, E>(object) };
    // SAFETY: the object is dead, so nobody else refers to it.
    let head = unsafe { head.as_mut() };
    // SAFETY: as for the head, and another place.
    let mut items = unsafe { items::<H, E>(object) };
    // SAFETY: as above.
    let items = unsafe { items.as_mut() };
    // SAFETY: called once; the head is not used again.
    let _head = unsafe { Residue::new(head) };
    // SAFETY: as above.
    unsafe { drop_items(items) }
}

// SAFETY: describes `Front<H, E>` and the items behind it, which is how `make` lays one out.
unsafe impl<H: Trace, E: Trace> Managed for Tail<H, E> {
    const INFO: &'static TypeInfo = &TypeInfo {
        name: core::any::type_name::<Tail<H, E>>,
        base_bytes: items_offset::<H, E>(),
        padding: 0,
        bytes: Some(bytes::<H, E>),
        align: align_of::<Front<H, E>>(),
        slots: match E::SLOTS {
            Slots::Fixed(0) => H::SLOTS,
            _ => Slots::Varying,
        },
        trace: trace::<H, E>,
        drop_residue: if H::RESIDUE || E::RESIDUE { Some(drop_residue::<H, E>) } else { None },
        quick: Quick::NONE,
        flags: Quick::NONE.flags(!(H::ACYCLIC && E::ACYCLIC)),
        attachment: None,
        keeps: None,
    };
}

/// A tail object being filled. Dropped unfinished, by an item's panic, it drops what there is and gives the memory back.
struct Filling<'a, H, E> {
    mutator: &'a Mutator,
    block: NonNull<u8>,
    layout: Layout,
    filled: usize,
    /// The head, when it is already in its place.
    head: Option<NonNull<H>>,
    _items: PhantomData<E>,
}

impl<'a, H: Trace, E: Trace> Filling<'a, H, E> {
    fn begin(mutator: &'a Mutator, len: usize) -> Result<Self, OutOfMemory> {
        let out_of_memory = |bytes| OutOfMemory { value: (), bytes };
        let layout = layout::<H, E>(len).ok_or(out_of_memory(usize::MAX))?;
        let block = mutator.state().allocate_object(layout.size(), layout.align());
        let block = block.ok_or(out_of_memory(layout.size()))?;
        // Items are made by code of the user's.
        // SAFETY: a fresh block, which is larger than a word.
        unsafe { mark::unfinished(block) };
        Ok(Filling { mutator, block, layout, filled: 0, head: None, _items: PhantomData })
    }

    /// Adds the items up to `len`, which there is room for.
    fn fill(&mut self, len: usize, mut item: impl FnMut(usize) -> E) {
        let first: NonNull<E> = self.items();
        while self.filled < len {
            let item = item(self.filled);
            // SAFETY: below `len`, which there is room for.
            let place = unsafe { first.add(self.filled) };
            // SAFETY: room for an item, not yet used.
            unsafe { place.write(item) };
            self.filled += 1;
        }
    }

    fn finish(self, value: H) -> Ref<Tail<H, E>> {
        let this = ManuallyDrop::new(self);
        let object = this.block.cast::<Object>();
        let front = this.block.cast::<Front<H, E>>().as_ptr();
        // Field by field: the front's own padding may reach into the items, and beyond a small block.
        // SAFETY: the header comes first.
        unsafe { object.write(Object::new::<Tail<H, E>>()) };
        // SAFETY: within the block.
        unsafe { (*front).len = this.filled };
        // SAFETY: within the block.
        let head = unsafe { head::<H, E>(object) };
        // SAFETY: room for a head, not yet used.
        unsafe { head.write(value) };
        // SAFETY: a new object of this type with a count of 1, which the handle takes over.
        unsafe { Ref::from_raw(object) }
    }
}

impl<H, E> Filling<'_, H, E> {
    fn items(&self) -> NonNull<E> {
        // SAFETY: within the block.
        unsafe { self.block.add(items_offset::<H, E>()) }.cast()
    }
}

impl<H, E> Drop for Filling<'_, H, E> {
    fn drop(&mut self) {
        let filled = NonNull::slice_from_raw_parts(self.items(), self.filled);
        // SAFETY: so many were written, and nobody else knows of them.
        unsafe { filled.drop_in_place() };
        if let Some(head) = self.head {
            // SAFETY: in its place, and nobody else knows of it.
            unsafe { head.drop_in_place() };
        }
        // SAFETY: allocated with this layout; no object is left in it.
        unsafe { self.mutator.state().discard_object(self.block, self.layout.size(), self.layout.align()) }
    }
}

impl Mutator {
    /// A new object with `len` items, each made by `item` from its index.
    ///
    /// # Errors
    /// [`OutOfMemory`], with the head, as for [`alloc`](Mutator::alloc); also when the size is not representable.
    ///
    /// # Panics
    /// If `item` does. Nothing is leaked.
    pub fn alloc_tail<H: Trace, E: Trace>(
        &self,
        head: H,
        len: usize,
        item: impl FnMut(usize) -> E,
    ) -> Result<Ref<Tail<H, E>>, OutOfMemory<H>> {
        match Filling::begin(self, len) {
            Err(error) => Err(error.map(|()| head)),
            Ok(mut filling) => {
                filling.fill(len, item);
                Ok(filling.finish(head))
            }
        }
    }

    /// A new object with a copy of `items`.
    ///
    /// # Errors
    /// As [`alloc_tail`](Mutator::alloc_tail).
    pub fn alloc_tail_copy<H: Trace, E: Trace + Copy>(
        &self,
        head: H,
        items: &[E],
    ) -> Result<Ref<Tail<H, E>>, OutOfMemory<H>> {
        match Filling::<H, E>::begin(self, items.len()) {
            Err(error) => Err(error.map(|()| head)),
            Ok(mut filling) => {
                // SAFETY: `begin` made room for so many, in a block of its own.
                unsafe { core::ptr::copy_nonoverlapping(items.as_ptr(), filling.items().as_ptr(), items.len()) };
                filling.filled = items.len();
                Ok(filling.finish(head))
            }
        }
    }

    /// The same object with at least `len` items, moved if need be; new items are made by `item` from their index.
    ///
    /// Items are moved, not copied: no count changes. With at least `len` items already, it is left as it is.
    ///
    /// # Errors
    /// All give the object back as it was.
    /// - [`GrowError::Shared`]: there are other references, weak ones included, which a move would leave behind; or the object is the key of
    ///   an [`EphemeronMap`](crate::EphemeronMap).
    /// - [`GrowError::Foreign`]: it is an object of another mutator of this thread.
    /// - [`GrowError::OutOfMemory`] as for [`alloc`](Mutator::alloc); also when the size is not representable.
    ///
    /// # Panics
    /// If `item` does. The object is then dropped as a Rust value is, all at once; nothing is leaked.
    ///
    /// # Cost
    /// The engine's `realloc`: where it cannot grow in place it copies the whole block. No budget bounds it. The new size is
    /// charged to the heartbeat.
    pub fn grow_tail<H: Trace, E: Trace>(
        &self,
        tail: Ref<Tail<H, E>>,
        len: usize,
        item: impl FnMut(usize) -> E,
    ) -> Result<Ref<Tail<H, E>>, GrowError<H, E>> {
        let filled = tail.items().len();
        if len <= filled {
            return Ok(tail);
        }
        // SAFETY: alive: the handle's, which is given up when the object moves.
        if !unsafe { thread::borrow(Ref::as_raw(&tail)) } {
            return Err(GrowError::Shared(tail));
        }
        // SAFETY: as above.
        if unsafe { Ref::as_raw(&tail).as_ref() }.word().hosts() {
            return Err(GrowError::Shared(tail));
        }
        if !self.owns(&tail) {
            return Err(GrowError::Foreign(tail));
        }
        let Some(layout) = layout::<H, E>(len) else {
            return Err(GrowError::OutOfMemory(OutOfMemory { value: tail, bytes: usize::MAX }));
        };
        let object = Ref::as_raw(&tail);
        // SAFETY: alive: the handle's.
        let old = unsafe { bytes::<H, E>(object) };
        // SAFETY: an object of this size and alignment; the only handle to it is given up when it moves.
        let moved = unsafe { self.state().resize_object(object.cast(), old, layout.align(), layout.size()) };
        let Some(block) = moved else {
            return Err(GrowError::OutOfMemory(OutOfMemory { value: tail, bytes: layout.size() }));
        };
        core::mem::forget(tail);
        let object = block.cast::<Object>();
        // SAFETY: the object at its new place.
        let word = unsafe { object.as_ref() }.word();
        // No object while items are made by code of the user's, after which it may be dropped.
        // SAFETY: the object's own word, which is written back when it is one again.
        unsafe { mark::unfinished(block) };
        // SAFETY: the object at its new place.
        let head = unsafe { head::<H, E>(block.cast()) };
        let mut filling = Filling { mutator: self, block, layout, filled, head: Some(head), _items: PhantomData };
        filling.fill(len, item);
        let block = ManuallyDrop::new(filling).block;
        let front = block.cast::<Front<H, E>>().as_ptr();
        // SAFETY: within the object; so many items are filled.
        unsafe { (*front).len = len };
        // SAFETY: the object at its new place.
        unsafe { object.as_ref() }.set_word(word);
        // SAFETY: the object at its new place, with the reference that the old handle owned.
        Ok(unsafe { Ref::from_raw(block.cast()) })
    }
}

/// Why a tail could not grow. Gives it back as it was.
pub enum GrowError<H, E> {
    /// It has other references, weak ones included, or is the key of something, which a move would leave behind. Allocate a new one and copy.
    Shared(Ref<Tail<H, E>>),
    /// It is an object of another mutator of this thread. Grow it with that one.
    Foreign(Ref<Tail<H, E>>),
    /// The engine has no memory, even after everything dead was freed.
    OutOfMemory(OutOfMemory<Ref<Tail<H, E>>>),
}

impl<H, E> fmt::Debug for GrowError<H, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GrowError::Shared(tail) => f.debug_tuple("Shared").field(tail).finish(),
            GrowError::Foreign(tail) => f.debug_tuple("Foreign").field(tail).finish(),
            GrowError::OutOfMemory(error) => f.debug_tuple("OutOfMemory").field(error).finish(),
        }
    }
}

impl<H, E> fmt::Display for GrowError<H, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GrowError::Shared(_) => {
                f.write_str("a tail with other references cannot grow: allocate a new one and copy")
            }
            GrowError::Foreign(_) => f.write_str("the tail is an object of another mutator: grow it with that one"),
            GrowError::OutOfMemory(error) => error.fmt(f),
        }
    }
}

impl<H, E> std::error::Error for GrowError<H, E> {}

impl<H: Trace, E: Trace> Ref<Tail<H, E>> {
    /// The head.
    #[inline(always)]
    pub fn head(&self) -> &H {
        // SAFETY: alive: the handle's.
        let head = unsafe { head::<H, E>(Ref::as_raw(self)) };
        // SAFETY: alive for as long as the handle is borrowed, and changed only through a unique handle.
        unsafe { head.as_ref() }
    }

    /// The items.
    #[inline(always)]
    pub fn items(&self) -> &[E] {
        // SAFETY: alive: the handle's.
        let items = unsafe { items::<H, E>(Ref::as_raw(self)) };
        // SAFETY: as for the head.
        unsafe { items.as_ref() }
    }

    /// Head and items, if this is the only reference.
    #[inline]
    pub fn parts_mut(&mut self) -> Option<(&mut H, &mut [E])> {
        // SAFETY: alive: the handle's.
        if !unsafe { thread::lend(Ref::as_raw(self)) } {
            return None;
        }
        // SAFETY: alive: the handle's.
        let mut head = unsafe { head::<H, E>(Ref::as_raw(self)) };
        // SAFETY: as above.
        let mut items = unsafe { items::<H, E>(Ref::as_raw(self)) };
        // SAFETY: the only reference, borrowed for as long as the parts are; head and items do not overlap.
        Some((unsafe { head.as_mut() }, unsafe { items.as_mut() }))
    }
}

impl<H, E> fmt::Debug for Ref<Tail<H, E>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ref({} at {:p})", core::any::type_name::<Tail<H, E>>(), Ref::as_raw(self))
    }
}
