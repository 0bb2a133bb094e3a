//! The first word of every object: its type, its count, and, once dead, its place in the pending queue.
//!
//! ```text
//!         63          48 47 46                 32 31                             0
//! alive  |   type : 16  | 0| 0 : 7 | leaf | size:7|          count : 32           |
//! dead   |   type : 16  | 1| 0 |            address of the next dead object / 16 |
//!                            46..44                                    43..0
//! ```
//!
//! Every object lies at a multiple of 16 below 2^48, so the address of the next dead object fits in 44 bits and a dead
//! object still knows its type. Bit 47 tells the two forms apart. `size` is that of a simple object ([`Quick`]) in steps of 16
//! bytes, and 0 for all others; `leaf` marks a simple object without slots. So the death of most objects has nothing to
//! look up.
//!
//! The count has ranges, as in Lean and Koka; [`COUNT_STATES`] is the one place that says which.

use core::cell::Cell;
use core::ops::RangeInclusive;
use core::ptr::NonNull;

use super::kind::{Managed, Quick, TypeInfo, TypeKey};

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

const FLAGS_SHIFT: u32 = 32;
/// The bits of a simple object's size; the bit above them marks a leaf.
pub(super) const SIZE_WIDTH: u32 = 7;
const TYPE_SHIFT: u32 = 48;
const DEAD: u64 = 1 << 47;
const LINK_BITS: u64 = (1 << 44) - 1;

/// Objects lie at multiples of this, which is what lets a link of 48 bits fit into 44.
pub(crate) const OBJECT_ALIGN: usize = 16;

/// What giving up a reference did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Death {
    /// The object is still referenced, or is not counted.
    Alive,
    /// That was the last reference. The caller now owns the object's death and must queue it.
    Died,
}

/// The header word, by value: all the arithmetic of this module, testable without an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Word(u64);

impl Word {
    /// A new object: one reference.
    #[inline(always)]
    pub(crate) const fn alive(key: TypeKey, quick: &Quick) -> Word {
        Word((key.get() as u64) << TYPE_SHIFT | (quick.flags() as u64) << FLAGS_SHIFT | 1)
    }

    /// The bytes counted for the object if it is simple, or 0. Not for one that is queued.
    #[inline(always)]
    pub(crate) const fn simple_bytes(self) -> usize {
        debug_assert!(!self.is_dead());
        (self.0 >> FLAGS_SHIFT) as usize % (1 << SIZE_WIDTH) * OBJECT_ALIGN
    }

    /// Whether the object is simple and has no slots. Not for one that is queued.
    #[inline(always)]
    pub(crate) const fn is_leaf(self) -> bool {
        debug_assert!(!self.is_dead());
        self.0 >> (FLAGS_SHIFT + SIZE_WIDTH) & 1 != 0
    }

    #[inline(always)]
    pub(crate) const fn count(self) -> u32 {
        self.0 as u32
    }

    pub(crate) fn state(self) -> CountState {
        let count = self.count();
        let (_, state) = COUNT_STATES.iter().find(|(range, _)| range.contains(&count)).expect("the ranges cover u32");
        *state
    }

    #[inline(always)]
    pub(crate) const fn key(self) -> TypeKey {
        TypeKey::new((self.0 >> TYPE_SHIFT) as u16)
    }

    #[inline(always)]
    pub(crate) const fn is_dead(self) -> bool {
        self.0 & DEAD != 0
    }

    /// One reference more. Only [`CountState::Local`] moves.
    #[inline(always)]
    pub(crate) const fn retained(self) -> Word {
        // One comparison: 0 wraps to the top and falls outside with the sticky and the shared counts.
        if self.count().wrapping_sub(1) < STICKY - 1 { Word(self.0 + 1) } else { self }
    }

    /// One reference less. Only [`CountState::Local`] moves.
    #[inline(always)]
    pub(crate) const fn released(self) -> (Word, Death) {
        let count = self.count();
        if count.wrapping_sub(2) < STICKY - 2 {
            (Word(self.0 - 1), Death::Alive)
        } else if count == 1 {
            (self, Death::Died)
        } else {
            (self, Death::Alive)
        }
    }

    #[inline(always)]
    pub(crate) const fn with_count(self, count: u32) -> Word {
        Word(self.0 & !(u32::MAX as u64) | count as u64)
    }

    /// The same object dead, with `next` behind it in the queue (0 for none).
    #[inline(always)]
    pub(crate) const fn dead(self, next: usize) -> Word {
        debug_assert!(next as u64 >> 48 == 0 && next % OBJECT_ALIGN == 0);
        Word((self.0 >> TYPE_SHIFT) << TYPE_SHIFT | DEAD | (next as u64 >> 4))
    }

    /// The address of the next dead object; 0 for none.
    #[inline(always)]
    pub(crate) const fn link(self) -> usize {
        ((self.0 & LINK_BITS) << 4) as usize
    }
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
        Object { word: Cell::new(Word::alive(TypeKey::of::<T>(), &T::INFO.quick).0) }
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

    const KEY: TypeKey = TypeKey::new(0xabcd);

    #[test]
    fn the_table_covers_every_count_once_and_in_order() {
        let mut next = 0u64;
        for (range, _) in &COUNT_STATES {
            assert_eq!(u64::from(*range.start()), next);
            next = u64::from(*range.end()) + 1;
        }
        assert_eq!(next, 1 << 32);
    }

    /// Each boundary of the table, one below, on and above it, for both operations, against the table itself.
    #[test]
    fn only_local_counts_move_and_every_boundary_holds() {
        let mut counts: Vec<u32> = COUNT_STATES
            .iter()
            .flat_map(|(range, _)| [*range.start(), *range.end()])
            .flat_map(|edge| [edge.wrapping_sub(1), edge, edge.wrapping_add(1)])
            .collect();
        counts.extend([2, 3, 0x3fff_ffff, 0x4000_0000, 0xbfff_ffff]);
        for count in counts {
            let word = Word::alive(KEY, &Quick::NONE).with_count(count);
            assert_eq!(word.count(), count);
            let local = word.state() == CountState::Local;
            let up = if local { count + 1 } else { count };
            assert_eq!(word.retained().count(), up, "retain at {count:#x}");
            let (down, death) = word.released();
            match (local, count) {
                (true, 1) => assert_eq!((down, death), (word, Death::Died)),
                (true, _) => assert_eq!((down.count(), death), (count - 1, Death::Alive)),
                (false, _) => assert_eq!((down, death), (word, Death::Alive), "release at {count:#x}"),
            }
            assert_eq!(word.retained().key(), KEY);
            assert_eq!(down.key(), KEY);
            assert!(!word.is_dead() && !down.is_dead() && !word.retained().is_dead());
        }
    }

    #[test]
    fn the_last_local_count_becomes_sticky_and_stays() {
        let word = Word::alive(KEY, &Quick::NONE).with_count(STICKY - 1).retained();
        assert_eq!(word.state(), CountState::Sticky);
        assert_eq!(word.retained(), word);
        assert_eq!(word.released(), (word, Death::Alive));
    }

    #[test]
    fn a_dead_word_keeps_its_type_and_any_link_below_two_to_the_48() {
        for link in [0usize, 16, 0x7fff_ffff_fff0, 0x8000_0000_0000, 0xffff_ffff_fff0, 0x1234_5678_9ab0] {
            for key in [0u16, 1, 0x8000, u16::MAX] {
                let dead = Word::alive(TypeKey::new(key), &Quick::NONE).with_count(u32::MAX).dead(link);
                assert!(dead.is_dead());
                assert_eq!(dead.link(), link);
                assert_eq!(dead.key(), TypeKey::new(key));
            }
        }
    }

    #[test]
    fn addresses_outside_the_link_are_refused() {
        let at = |address: usize| addressable(NonNull::new(core::ptr::without_provenance_mut(address)).unwrap());
        assert!(at(0xffff_ffff_fff0));
        assert!(!at(0x1_0000_0000_0000));
        assert!(!at(0x1008));
    }
}
