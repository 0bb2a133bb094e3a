//! Free blocks kept at hand, in front of the engine: the next small allocation takes the block that was freed last.
//!
//! One list for each step of 16 bytes, as in the thread caches that Bonwick named (*Magazines and Vmem*, USENIX 2001). A
//! block that is kept is still in use as far as the engine knows; so lists are short ([`MOST_BLOCKS`]), each beat empties
//! one of them in turn, and all are emptied when memory is wanted back or the heap changes hands.

use core::cell::Cell;
use core::ptr::NonNull;

use crate::deferred::{OBJECT_ALIGN, SMALL};

/// The step between two classes. A block is allocated with a whole number of steps, so that any block of a class serves
/// every size of it.
const STEP: usize = OBJECT_ALIGN;

const CLASSES: usize = SMALL / STEP + 1;

/// A list holds at most so many blocks: all lists together 4 MiB, reached only by a program that keeps freeing blocks of every
/// size up to [`SMALL`] within [`CLASSES`] beats.
pub(crate) const MOST_BLOCKS: u32 = if cfg!(engine_watches) {
    // Somebody looks for errors in the use of memory, and wants to see each free.
    0
} else {
    128
};

/// Bytes of a block of this class. A request for nothing makes a block too, in a class of its own.
const fn size(class: usize) -> usize {
    if class == 0 { STEP } else { class * STEP }
}

/// The class of a request of at most [`SMALL`] bytes, and the size to ask of the engine for it.
#[derive(Clone, Copy)]
pub(super) struct Class(usize);

impl Class {
    #[inline(always)]
    pub(super) fn of(bytes: usize) -> Class {
        let class = bytes.div_ceil(STEP);
        // Nothing at all where the compiler sees the size, and no worse than a bounds check where it does not.
        if class < CLASSES { Class(class) } else { unreachable!("no small block") }
    }

    #[inline(always)]
    pub(super) fn size(self) -> usize {
        size(self.0)
    }
}

/// A free block: the first word links to the next one.
struct Free {
    next: Option<NonNull<Free>>,
}

/// Free blocks of one class.
///
/// Invariant MAGAZINE: every block on the list is of this class, allocated from the magazines' heap and of no other use.
#[derive(Debug)]
struct Magazine {
    first: Cell<Option<NonNull<Free>>>,
    /// How many more it may hold.
    room: Cell<u32>,
}

#[derive(Debug)]
pub(super) struct Magazines {
    lists: [Magazine; CLASSES],
    /// The list that is emptied next.
    turn: Cell<usize>,
}

impl Magazines {
    pub(super) fn new() -> Magazines {
        let list = |_| Magazine { first: Cell::new(None), room: Cell::new(MOST_BLOCKS) };
        Magazines { lists: core::array::from_fn(list), turn: Cell::new(0) }
    }

    #[inline(always)]
    pub(super) fn take(&self, class: Class) -> Option<NonNull<u8>> {
        let list = &self.lists[class.0];
        let block = list.first.get()?;
        // SAFETY: MAGAZINE.
        list.first.set(unsafe { block.as_ref() }.next);
        list.room.set(list.room.get() + 1);
        Some(block.cast())
    }

    /// Keeps a block, if there is room.
    ///
    /// # Safety
    /// 1. `block` was allocated from the heap whose magazines these are, with the size of `class`, and if true is returned
    ///    it is not used again.
    #[inline(always)]
    pub(super) unsafe fn keep(&self, block: NonNull<u8>, class: Class) -> bool {
        let list = &self.lists[class.0];
        let room = list.room.get();
        if room == 0 {
            return false;
        }
        list.room.set(room - 1);
        let block = block.cast::<Free>();
        // SAFETY: at least 16 bytes, aligned to 16, of no other use (1).
        unsafe { block.write(Free { next: list.first.get() }) };
        list.first.set(Some(block));
        true
    }

    /// Hands every block to `free`.
    pub(super) fn clear(&self, free: impl Fn(NonNull<u8>)) {
        for _ in 0..CLASSES {
            self.clear_next(&free);
        }
    }

    /// Hands every block of one list to `free`, of another one each time.
    pub(super) fn clear_next(&self, free: impl Fn(NonNull<u8>)) {
        let turn = self.turn.get();
        self.turn.set((turn + 1) % CLASSES);
        while let Some(block) = self.take(Class(turn)) {
            free(block);
        }
    }
}
