//! The header word, by value.

use super::{COUNT_STATES, CountState, Death, OBJECT_ALIGN, STICKY};
use crate::deferred::kind::TypeKey;
use crate::deferred::size::SMALL;

const FLAGS_SHIFT: u32 = 32;
/// The bits of a plain object's size.
const SIZE_WIDTH: u32 = 6;
const SIZE: u64 = ((1 << SIZE_WIDTH) - 1) << FLAGS_SHIFT;
const LEAF: u64 = 1 << 38;
const PLAIN: u64 = 1 << 39;
const ARMED: u64 = 1 << 40;
const BUFFERED: u64 = 1 << 41;
const COLOUR_SHIFT: u32 = 42;
const COLOUR: u64 = 0b11 << COLOUR_SHIFT;
const AGE_SHIFT: u32 = 44;
const AGE: u64 = 0b11 << AGE_SHIFT;
const TYPE_SHIFT: u32 = 49;
const WAITS: u64 = 1 << 48;
const DEAD: u64 = 1 << 47;
/// Of a live object.
const HOSTS: u64 = 1 << 46;
/// Of a dead object.
const HELD: u64 = 1 << 46;
const HUSK: u64 = 1 << 45;
const MOVED: u64 = 1 << 44;
/// In a trial, where the size and the leaf stand otherwise.
const INNER: u64 = SIZE | LEAF;
const LINK_BITS: u64 = (1 << 44) - 1;

/// What a trial thinks of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Colour {
    /// It is in no trial.
    None = 0,
    /// Undecided.
    Grey = 1,
    /// Found to be garbage; being taken apart.
    Condemned = 2,
    /// Found alive, or in use. Still in the trial's list.
    Black = 3,
}

/// The greatest age.
pub(crate) const OLDEST: u8 = 3;

/// The most references from within that the header holds.
pub(crate) const MOST_INNER: u32 = (1 << (SIZE_WIDTH + 1)) - 1;

/// The header word, by value: all the arithmetic of this module, testable without an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Word(pub(super) u64);

/// What a new object's header has besides its type and its count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Flags(u64);

impl Flags {
    /// Of objects that count for `simple_bytes`, or 0 for those that are not simple.
    pub(crate) const fn new(simple_bytes: usize, leaf: bool, cyclic: bool) -> Flags {
        const { assert!(SMALL / OBJECT_ALIGN <= 1 << SIZE_WIDTH) };
        let armed = if cyclic { ARMED } else { 0 };
        if simple_bytes == 0 {
            return Flags(armed);
        }
        let leaf = if leaf { LEAF } else { 0 };
        Flags(armed | PLAIN | leaf | ((simple_bytes / OBJECT_ALIGN - 1) as u64) << FLAGS_SHIFT)
    }
}

impl Word {
    /// A new object: one reference.
    #[inline(always)]
    pub(crate) const fn alive(key: TypeKey, flags: Flags) -> Word {
        Word((key.get() as u64) << TYPE_SHIFT | flags.0 | 1)
    }

    /// Whether it is plain: simple, and nothing is to be told of its death.
    #[inline(always)]
    pub(crate) const fn is_plain(self) -> bool {
        debug_assert!(!self.is_dead());
        self.0 & PLAIN != 0
    }

    /// Whether it is plain, and no candidate: nobody knows of it but who refers to it.
    #[inline(always)]
    pub(crate) const fn is_quietly_plain(self) -> bool {
        debug_assert!(!self.is_dead());
        self.0 & (PLAIN | BUFFERED) == PLAIN
    }

    /// The bytes counted for a plain object.
    #[inline(always)]
    pub(crate) const fn plain_bytes(self) -> usize {
        debug_assert!(self.is_plain());
        (((self.0 & SIZE) >> FLAGS_SHIFT) as usize + 1) * OBJECT_ALIGN
    }

    /// Whether the object is plain, has no slots, and is no candidate: that a leaf can be, which had a finalizer and with it something that leads
    /// on. Not for one that is queued.
    #[inline(always)]
    pub(crate) const fn is_leaf(self) -> bool {
        debug_assert!(!self.is_dead());
        self.0 & (PLAIN | LEAF | BUFFERED) == PLAIN | LEAF
    }

    /// The type, and whether the object is held, as one number: equal for a queued object that is not held and a plain one of
    /// its type.
    #[inline(always)]
    pub(crate) const fn quick_key(self) -> u64 {
        self.0 & (u64::MAX << TYPE_SHIFT | HELD)
    }

    /// Whether there is one reference, and the object is neither a candidate nor a member of a trial, and has no attachments.
    #[inline(always)]
    pub(crate) const fn is_quietly_unique(self) -> bool {
        debug_assert!(!self.is_dead());
        self.0 & (u32::MAX as u64 | BUFFERED | COLOUR | HOSTS) == 1
    }

    /// Whether it has attachments.
    #[inline(always)]
    pub(crate) const fn hosts(self) -> bool {
        debug_assert!(!self.is_dead());
        self.0 & HOSTS != 0
    }

    /// The same object with attachments.
    pub(crate) const fn hosting(self) -> Word {
        Word(self.0 & !PLAIN | HOSTS)
    }

    /// The same object without attachments. `flags` are its type's.
    pub(crate) const fn not_hosting(self, flags: Flags) -> Word {
        let word = Word(self.0 & !HOSTS);
        // In a trial, what stands where a plain object has its size is a count.
        if let Colour::None = word.colour() { Word(word.0 | flags.0 & PLAIN) } else { word }
    }

    /// Whether it is in the buffer of candidates.
    #[inline(always)]
    pub(crate) const fn is_buffered(self) -> bool {
        debug_assert!(!self.is_dead());
        self.0 & BUFFERED != 0
    }

    /// Whether it is a candidate of which no release is told, so in no trial and not on the ledger.
    #[inline(always)]
    pub(crate) const fn is_simply_candidate(self) -> bool {
        debug_assert!(!self.is_dead());
        self.0 & (BUFFERED | ARMED | COLOUR) == BUFFERED
    }

    /// The same as [`buffered`](Word::buffered) for one that was armed and no candidate: one addition.
    #[inline(always)]
    pub(crate) const fn suspected(self) -> Word {
        const { assert!(ARMED << 1 == BUFFERED) };
        debug_assert!(self.0 & (ARMED | BUFFERED) == ARMED);
        Word(self.0 + ARMED)
    }

    /// The same as [`unbuffered`](Word::unbuffered) for one that [is simply a candidate](Word::is_simply_candidate).
    #[inline(always)]
    pub(crate) const fn struck_off(self) -> Word {
        debug_assert!(self.is_simply_candidate());
        Word(self.0 - ARMED)
    }

    /// A candidate, which is not told of again.
    #[inline(always)]
    pub(crate) const fn buffered(self) -> Word {
        Word(self.0 & !ARMED | BUFFERED)
    }

    /// Each release is told of, also of a candidate.
    #[inline(always)]
    pub(crate) const fn armed(self) -> Word {
        Word(self.0 | ARMED)
    }

    #[inline(always)]
    pub(crate) const fn is_armed(self) -> bool {
        self.0 & ARMED != 0
    }

    /// On the ledger: every release is told of, and so are its death and that it is borrowed.
    pub(crate) const fn on_ledger(self) -> Word {
        Word(self.0 | BUFFERED | ARMED)
    }

    /// Whether it may be on the ledger: a candidate is not armed, save in a trial, and when the mutator has gone.
    #[inline(always)]
    pub(crate) const fn may_be_on_ledger(self) -> bool {
        debug_assert!(!self.is_dead());
        self.0 & (BUFFERED | ARMED | COLOUR) == BUFFERED | ARMED
    }

    /// Whether it is neither buffered nor in a trial.
    #[inline(always)]
    pub(crate) const fn is_on_no_list(self) -> bool {
        self.0 & (BUFFERED | COLOUR) == 0
    }

    /// Whether somebody is to be told of a change to its slots: it is in a trial, or on the ledger. One comparison for both.
    #[inline(always)]
    pub(crate) const fn is_watched(self) -> bool {
        debug_assert!(!self.is_dead());
        const { assert!(ARMED << 1 == BUFFERED && BUFFERED << 1 == COLOUR & COLOUR.wrapping_neg()) };
        self.0 & (COLOUR | BUFFERED | ARMED) >= BUFFERED | ARMED
    }

    /// Not a candidate any more, nor on the ledger.
    #[inline(always)]
    pub(crate) const fn unbuffered(self) -> Word {
        Word(self.0 & !BUFFERED | ARMED)
    }

    /// Whether its type may be part of a cycle.
    #[inline(always)]
    pub(crate) const fn is_cyclic(self) -> bool {
        self.0 & (ARMED | BUFFERED) != 0
    }

    #[inline(always)]
    pub(crate) const fn colour(self) -> Colour {
        debug_assert!(!self.is_dead());
        match (self.0 & COLOUR) >> COLOUR_SHIFT {
            0 => Colour::None,
            1 => Colour::Grey,
            2 => Colour::Condemned,
            _ => Colour::Black,
        }
    }

    /// In a trial, with so many references from within.
    #[inline(always)]
    pub(crate) const fn grey(self, inner: u32) -> Word {
        self.with_colour(Colour::Grey).with_inner(inner)
    }

    /// In a trial, in another colour. It does not wait.
    #[inline(always)]
    pub(crate) const fn with_colour(self, colour: Colour) -> Word {
        Word(self.0 & !(COLOUR | PLAIN | WAITS) | (colour as u64) << COLOUR_SHIFT)
    }

    /// Waits: if it is grey, to be followed; if it is black, or dead, for the next trial.
    pub(crate) const fn waiting(self) -> Word {
        Word(self.0 | WAITS)
    }

    pub(crate) const fn waits(self) -> bool {
        self.0 & WAITS != 0
    }

    pub(crate) const fn not_waiting(self) -> Word {
        Word(self.0 & !WAITS)
    }

    /// Whether it lives, and no trial has anything to do with it.
    #[inline(always)]
    pub(crate) const fn is_in_no_trial(self) -> bool {
        self.0 & (DEAD | COLOUR) == 0
    }

    /// Whether it is a member of the trial that is under way, or will be taken apart with others of one; not if it is one of the next.
    #[inline(always)]
    pub(crate) fn is_member(self) -> bool {
        if self.is_dead() {
            return self.0 & (HELD | WAITS) == HELD;
        }
        match self.colour() {
            Colour::None => false,
            Colour::Grey | Colour::Condemned => true,
            Colour::Black => !self.waits(),
        }
    }

    /// Whether it is a member of the trial to come.
    pub(crate) fn is_member_to_be(self) -> bool {
        self.waits() && (self.is_dead() || matches!(self.colour(), Colour::Black))
    }

    /// Out of the trial.
    #[inline(always)]
    pub(crate) const fn out_of_trial(self, flags: Flags) -> Word {
        let not_now = if self.hosts() { ARMED | PLAIN } else { ARMED };
        Word(self.0 & !(COLOUR | INNER | WAITS) | flags.0 & !not_now)
    }

    #[inline(always)]
    pub(crate) const fn inner(self) -> u32 {
        ((self.0 & INNER) >> FLAGS_SHIFT) as u32
    }

    #[inline(always)]
    pub(crate) const fn with_inner(self, inner: u32) -> Word {
        debug_assert!(inner <= MOST_INNER && self.0 & PLAIN == 0);
        Word(self.0 & !INNER | (inner as u64) << FLAGS_SHIFT)
    }

    #[inline(always)]
    pub(crate) const fn age(self) -> u8 {
        ((self.0 & AGE) >> AGE_SHIFT) as u8
    }

    #[inline(always)]
    pub(crate) const fn older(self) -> Word {
        if self.age() < OLDEST { Word(self.0 + (1 << AGE_SHIFT)) } else { self }
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

    /// Whether the count is the number of references: [`CountState::Local`].
    #[inline(always)]
    pub(crate) const fn is_counted(self) -> bool {
        // One comparison: 0 wraps to the top.
        self.count().wrapping_sub(1) < STICKY - 1
    }

    #[inline(always)]
    pub(crate) const fn key(self) -> TypeKey {
        TypeKey::new((self.0 >> TYPE_SHIFT) as u16)
    }

    #[inline(always)]
    pub(crate) const fn is_dead(self) -> bool {
        self.0 & DEAD != 0
    }

    /// Whether nobody refers to it any more: it is dead, or part of a garbage cycle that is being taken apart.
    #[inline(always)]
    pub(crate) const fn is_over(self) -> bool {
        self.is_dead() || self.0 & COLOUR == (Colour::Condemned as u64) << COLOUR_SHIFT
    }

    /// One reference more. Only [`CountState::Local`] moves.
    #[inline(always)]
    pub(crate) const fn retained(self) -> Word {
        // One comparison: 0 wraps to the top and falls outside with the sticky and the shared counts.
        if self.count().wrapping_sub(1) < STICKY - 1 { Word(self.0 + 1) } else { self }
    }

    /// One reference less, of several: that it was taken is undone.
    #[inline(always)]
    pub(crate) const fn unretained(self) -> Word {
        if self.count().wrapping_sub(2) < STICKY - 2 { Word(self.0 - 1) } else { self }
    }

    /// One reference less. Only [`CountState::Local`] moves.
    #[inline(always)]
    pub(crate) const fn released(self) -> (Word, Death) {
        let count = self.count();
        if count.wrapping_sub(2) < STICKY - 2 {
            let death = if self.0 & ARMED == 0 { Death::Alive } else { Death::Suspected };
            (Word(self.0 - 1), death)
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

    /// The same dead object, held, by the trial that it was a member of when it had the word `alive`.
    #[inline(always)]
    pub(crate) fn held(self, alive: Word) -> Word {
        debug_assert!(self.is_dead());
        Word(self.0 | HELD | if alive.is_member_to_be() { WAITS } else { 0 })
    }

    /// The same dead object, not held any more.
    #[inline(always)]
    pub(crate) const fn let_go(self) -> Word {
        debug_assert!(self.is_dead());
        Word(self.0 & !(HELD | WAITS))
    }

    #[inline(always)]
    pub(crate) const fn is_held(self) -> bool {
        debug_assert!(self.is_dead());
        self.0 & HELD != 0
    }

    /// The same held object, of which only the memory is left.
    #[inline(always)]
    pub(crate) const fn husk(self) -> Word {
        debug_assert!(self.is_dead());
        Word(self.0 | HUSK)
    }

    /// A husk of which the object lives in another place.
    #[inline(always)]
    pub(crate) const fn moved(self) -> Word {
        Word(self.husk().0 | MOVED)
    }

    /// The same dead object, given up: something of its value is left, and nobody can say what.
    #[inline(always)]
    pub(crate) const fn given_up(self) -> Word {
        debug_assert!(self.is_dead() && !self.is_husk());
        Word(self.0 | MOVED)
    }

    #[inline(always)]
    pub(crate) const fn is_given_up(self) -> bool {
        self.0 & (DEAD | HUSK | MOVED) == DEAD | MOVED
    }

    #[inline(always)]
    pub(crate) const fn is_moved(self) -> bool {
        debug_assert!(self.is_dead());
        self.0 & MOVED != 0
    }

    #[inline(always)]
    pub(crate) const fn is_husk(self) -> bool {
        self.0 & (DEAD | HUSK) == DEAD | HUSK
    }

    /// The address of the next dead object; 0 for none.
    #[inline(always)]
    pub(crate) const fn link(self) -> usize {
        ((self.0 & LINK_BITS) << 4) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: TypeKey = TypeKey::new(0x5bcd);
    const NO_FLAGS: Flags = Flags::new(0, false, false);

    #[test]
    fn what_is_counted_is_local() {
        for count in [0, 1, 2, STICKY - 1, STICKY, STICKY + 1, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
            let word = Word::alive(KEY, NO_FLAGS).with_count(count);
            assert_eq!(word.is_counted(), word.state() == CountState::Local, "{count:#x}");
        }
    }

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
            let word = Word::alive(KEY, NO_FLAGS).with_count(count);
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
        let word = Word::alive(KEY, NO_FLAGS).with_count(STICKY - 1).retained();
        assert_eq!(word.state(), CountState::Sticky);
        assert_eq!(word.retained(), word);
        assert_eq!(word.released(), (word, Death::Alive));
    }

    #[test]
    fn a_dead_word_keeps_its_type_and_any_link_below_two_to_the_48() {
        for link in [0usize, 16, 0x7fff_ffff_fff0, 0x8000_0000_0000, 0xffff_ffff_fff0, 0x1234_5678_9ab0] {
            for key in [0u16, 1, 0x4000, 0x7fff] {
                let dead = Word::alive(TypeKey::new(key), NO_FLAGS).with_count(u32::MAX).dead(link);
                assert!(dead.is_dead());
                assert_eq!(dead.link(), link);
                assert_eq!(dead.key(), TypeKey::new(key));
            }
        }
    }

    /// Whatever it goes through while it has attachments, it is what it was when it has them no more.
    #[test]
    fn an_object_that_hosts_is_not_plain_until_it_does_no_more() {
        for flags in [Flags::new(0, false, true), Flags::new(48, true, false), Flags::new(1024, false, true)] {
            let word = Word::alive(KEY, flags);
            let hosting = word.hosting();
            assert!(hosting.hosts() && !hosting.is_plain() && !hosting.is_dead() && !hosting.is_quietly_unique());
            assert_eq!(hosting.not_hosting(flags), word);
            let tried = hosting.grey(MOST_INNER);
            assert_eq!((tried.inner(), tried.hosts()), (MOST_INNER, true));
            assert_eq!(tried.out_of_trial(flags), hosting);
            assert_eq!(tried.not_hosting(flags).out_of_trial(flags), word);
            assert_eq!(tried.not_hosting(flags).inner(), MOST_INNER);
            assert_eq!(word.grey(3).hosting().out_of_trial(flags).not_hosting(flags), word);
        }
    }
}
