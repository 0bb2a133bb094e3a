//! What a block of the objects' heap begins with when no object does (invariant OBJECTS).
//!
//! A mark is the word of an object whose type is one of the two here. No object has them, so that whoever looks at a block tells
//! them apart by the type alone, as it tells the types of objects.

use core::ptr::NonNull;

use crate::deferred::{Managed, OBJECT_ALIGN, Object, Quick, Slots, TypeInfo, TypeKey, Word};

/// The type of a block that an object is being made in.
enum Unfinished {}

/// The type of a block in which the object lies further on, as its alignment is larger than that of blocks.
enum Shifted {}

/// Neither is ever made, traced, or dropped.
macro_rules! mark {
    ($($mark:ident)*) => {$(
        // SAFETY: there is no object of it.
        unsafe impl Managed for $mark {
            const INFO: &'static TypeInfo = &TypeInfo {
                name: core::any::type_name::<$mark>,
                base_bytes: size_of::<Object>(),
                padding: 0,
                bytes: None,
                align: align_of::<Object>(),
                slots: Slots::Fixed(0),
                trace: |_, _| {},
                drop_residue: None,
                quick: Quick::NONE,
                flags: Quick::NONE.flags(false),
                attachment: None,
                keeps: None,
            };
        }
    )*};
}

mark! { Unfinished Shifted }

/// Marks a block in which an object is made, until that is done.
///
/// # Safety
/// 1. `block` is one of the objects' heap, or of a shifted object, of at least the size of a word, and holds no object.
#[inline(always)]
pub(super) unsafe fn unfinished(block: NonNull<u8>) {
    // SAFETY: room for a word, aligned to 16 (1).
    unsafe { block.cast::<Object>().write(Object::new::<Unfinished>()) }
}

/// The beginning of a block with a shifted object.
#[repr(C)]
struct Shift {
    mark: Object,
    /// How far on the object lies. This stands right before the object too.
    offset: usize,
}

const _: () = assert!(size_of::<Shift>() <= OBJECT_ALIGN);

/// Where it stands right before an object.
///
/// # Safety
/// 1. `object` is a place that [`shift`] gives.
unsafe fn offset_before(object: NonNull<u8>) -> NonNull<usize> {
    // SAFETY: at least a mark before the object the block begins (1).
    unsafe { object.sub(size_of::<usize>()) }.cast()
}

/// The place for an object in a block: the first one of this alignment behind a mark.
///
/// # Safety
/// 1. `block` lies at a multiple of 16 and holds nothing; its bytes are `align` more than what the object has. `align` is a power of
///    two above 16.
pub(super) unsafe fn shift(block: NonNull<u8>, align: usize) -> NonNull<u8> {
    // Room for the mark: at least 16 bytes, and at most `align`, as the block lies at a multiple of 16.
    let from = block.as_ptr() as usize + OBJECT_ALIGN;
    let offset = from.next_multiple_of(align) - block.as_ptr() as usize;
    debug_assert!((OBJECT_ALIGN..=align).contains(&offset));
    let mark = Shift { mark: Object::new::<Shifted>(), offset };
    // SAFETY: the first words of the block (1).
    unsafe { block.cast::<Shift>().write(mark) };
    // SAFETY: within the block (1).
    let object = unsafe { block.add(offset) };
    // SAFETY: a place that is given here.
    let before = unsafe { offset_before(object) };
    // SAFETY: the last word of the mark, or one behind it.
    unsafe { before.write(offset) };
    object
}

/// The block of a shifted object.
///
/// # Safety
/// 1. `object` is a place that [`shift`] gave, and its block has not been freed.
pub(super) unsafe fn unshift(object: NonNull<u8>) -> NonNull<u8> {
    // SAFETY: handed on (1).
    let before = unsafe { offset_before(object) };
    // SAFETY: written by `shift` (1).
    let offset = unsafe { before.read() };
    // SAFETY: so far from the block's start.
    unsafe { object.sub(offset) }
}

/// What a block of the objects' heap holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content {
    /// An object that lives.
    Live(NonNull<Object>),
    /// One that is dead, or was found to be garbage.
    Over(NonNull<Object>),
    /// None yet: it is being made.
    Unfinished,
}

/// The types of the marks, looked up once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    unfinished: TypeKey,
    shifted: TypeKey,
}

impl Marks {
    pub(super) fn new() -> Marks {
        Marks { unfinished: TypeKey::of::<Unfinished>(), shifted: TypeKey::of::<Shifted>() }
    }

    /// What is in a block.
    ///
    /// # Safety
    /// 1. `block` is what was handed out of a block in use of an objects' heap, and as OBJECTS has it.
    #[inline(always)]
    pub(super) unsafe fn content(&self, block: NonNull<u8>) -> Content {
        let object = block.cast::<Object>();
        // SAFETY: begins with a word (1).
        let word = unsafe { object.as_ref() }.word();
        if word.key() != self.shifted {
            return self.content_of(object, word);
        }
        // SAFETY: written by `shift`.
        let shift = unsafe { block.cast::<Shift>().as_ref() };
        // SAFETY: within the block.
        let object = unsafe { block.add(shift.offset) }.cast::<Object>();
        // SAFETY: as for the block: a word, and not that of a shifted object.
        let word = unsafe { object.as_ref() }.word();
        self.content_of(object, word)
    }

    #[inline(always)]
    fn content_of(&self, object: NonNull<Object>, word: Word) -> Content {
        if word.is_over() {
            Content::Over(object)
        } else if word.key() == self.unfinished {
            Content::Unfinished
        } else {
            Content::Live(object)
        }
    }
}
