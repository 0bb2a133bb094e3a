//! The first word of every object: its type, its count, and, once dead, its place in the pending queue.
//!
//! ```text
//!         63        49   48    47 46    45 44 43    42 41         40      39    38     37..32                    31..0
//! alive  |  type : 15  |   0   | 0| hosts | age | colour | buffered | armed | plain | leaf | size / 16 - 1 |  count : 32  |
//! in a trial      "    | waits | 0|   "   |  "  |    "   |    "     |   "   |   0   |    inner count : 7    |  count : 32  |
//! dead   |  type : 15  | waits | 1| held | husk | moved |          address of the next dead object / 16 : 44            |
//! ```
//!
//! Every object lies at a multiple of 16 below 2^48, so the address of the next dead object fits in 44 bits and a dead
//! object still knows its type. Bit 47 tells the two forms apart.
//!
//! A *plain* object is a simple one ([`Quick`](super::kind::Quick)) of whose death nothing is to be told: `size` is what is counted for it, and `leaf` says
//! that it has no slots. So the death of most objects has nothing to look up.
//!
//! An object that *hosts* has attachments ([`attached`](super::attached)), which are to be told of its death; it is not plain.
//!
//! The rest is about cycles ([`cycles`](super::cycles)). An object whose type may be part of one is *armed*: a release that leaves it alive
//! makes it a candidate, which is *buffered* and no longer armed. One that is both may be on the ledger ([`ledger`](super::ledger)). `colour` says what a trial thinks of it, `age` how often it was
//! found alive. An object that is a member of a trial when it dies is *held*: its memory stays until the trial has let go of it, a *husk*
//! if nothing else is left to be done. What *waits* is a member of the next trial, or, if it is grey, to be found by a walk and followed.
//!
//! The count has ranges, as in Lean and Koka; [`COUNT_STATES`] is the one place that says which.

mod word;

use core::cell::Cell;
use core::ops::RangeInclusive;
use core::ptr::NonNull;

use super::kind::{Managed, TypeInfo, TypeKey};

pub(crate) use word::{Colour, Flags, MOST_INNER, OLDEST, Word};

/// What a count means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CountState {
    /// Never counted, never freed.
    Immortal,
    /// The number of references; counted with plain arithmetic by the thread that owns the object.
    Local,
    /// So many references were taken that the count stopped. It never moves again and the object is never freed: the
    /// alternative, a count that wraps, frees an object that is in use.
    Sticky,
    /// Set aside for counts shared between threads. No object of this version has one; if one were found it would be
    /// treated as sticky.
    Shared,
}

/// First count that is [`CountState::Sticky`].
const STICKY: u32 = 0x6000_0000;

/// Every value that a count can have, in order, and what it means.
pub const COUNT_STATES: [(RangeInclusive<u32>, CountState); 4] = [
    (0..=0, CountState::Immortal),
    (1..=STICKY - 1, CountState::Local),
    (STICKY..=0x7fff_ffff, CountState::Sticky),
    (0x8000_0000..=u32::MAX, CountState::Shared),
];

/// Objects lie at multiples of this, which is what lets a link of 48 bits fit into 44.
pub(crate) const OBJECT_ALIGN: usize = 16;

/// What giving up a reference did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Death {
    /// The object is still referenced, or is not counted.
    Alive,
    /// It is still referenced, and may be part of a cycle that nothing else refers to: to be told to
    /// [`Pending::suspect`](super::Pending::suspect).
    Suspected,
    /// That was the last reference. The caller now owns the object's death and must queue it.
    Died,
}

/// An object of a mutator's heap, type unknown: its header word. The value lies behind it.
///
/// Handled through `NonNull<Object>` by the operations in [`raw`](crate::raw); safe code uses [`Ref`](crate::Ref).
#[repr(transparent)]
pub struct Object {
    word: Cell<u64>,
}

impl Object {
    #[inline(always)]
    pub(crate) fn new<T: Managed>() -> Object {
        Object { word: Cell::new(Word::alive(TypeKey::of::<T>(), T::INFO.flags).0) }
    }

    #[inline(always)]
    pub(crate) fn word(&self) -> Word {
        Word(self.word.get())
    }

    #[inline(always)]
    pub(crate) fn set_word(&self, word: Word) {
        self.word.set(word.0);
    }

    /// Takes a reference.
    #[inline(always)]
    pub(crate) fn retain(&self) {
        let word = self.word();
        debug_assert!(!word.is_dead(), "a reference was taken to an object that has died");
        self.set_word(word.retained());
    }

    /// Gives a reference up.
    #[inline(always)]
    pub(crate) fn release(&self) -> Death {
        let word = self.word();
        debug_assert!(!word.is_dead(), "a reference was given up that was not held: the object has died");
        let (word, death) = word.released();
        self.set_word(word);
        death
    }

    #[inline(always)]
    pub(crate) fn info(&self) -> &'static TypeInfo {
        self.word().key().info()
    }
}

/// Whether an object may lie at `address`: not null, below 2^48, a multiple of 16.
#[inline(always)]
pub(crate) fn addressable(address: NonNull<u8>) -> bool {
    let address = address.as_ptr() as usize as u64;
    address >> 48 == 0 && address % OBJECT_ALIGN as u64 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_outside_the_link_are_refused() {
        let at = |address: usize| addressable(NonNull::new(core::ptr::without_provenance_mut(address)).unwrap());
        assert!(at(0xffff_ffff_fff0));
        assert!(!at(0x1_0000_0000_0000));
        assert!(!at(0x1008));
    }
}
