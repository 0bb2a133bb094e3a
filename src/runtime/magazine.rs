//! Free blocks kept at hand, in front of the engine: the next small allocation takes the block that was freed last.
//!
//! One list for each of the engine's small sizes, as in the thread caches that Bonwick named (*Magazines and Vmem*, USENIX 2001). A
//! block that is kept is still in use as far as the engine knows; so lists are short ([`MOST_BLOCKS`]), each beat empties
//! one of them in turn, and all are emptied when memory is wanted back or the heap changes hands.

use core::cell::Cell;
use core::ptr::NonNull;

use crate::deferred::{OBJECT_ALIGN, SMALL, counted};

/// A list is found by its blocks' size in these.
const STEP: usize = OBJECT_ALIGN;

const STEPS: usize = SMALL / STEP + 1;

/// How many sizes there are.
pub(crate) const CLASSES: usize = {
    let (mut classes, mut bytes) = (0, 0);
    while bytes < SMALL {
        bytes = counted(bytes + 1, STEP) as usize;
        classes += 1;
    }
    classes
};

/// The sizes.
const SIZES: [usize; CLASSES] = {
    let (mut sizes, mut class) = ([0; CLASSES], 0);
    while class < CLASSES {
        let smaller = if class == 0 { 0 } else { sizes[class - 1] };
        sizes[class] = counted(smaller + 1, STEP) as usize;
        class += 1;
    }
    sizes
};

/// A list holds at most so many blocks.
pub(crate) const MOST_BLOCKS: u32 = if cfg!(engine_watches) {
    // Somebody looks for errors in the use of memory, and wants to see each free.
    0
} else {
    128
};

/// All lists together hold at most so many bytes: reached only by a program that keeps freeing blocks of every size up to
/// [`SMALL`] within [`CLASSES`] beats.
pub(crate) const MOST_KEPT_BYTES: u64 = {
    let (mut bytes, mut class) = (0, 0);
    while class < CLASSES {
        bytes += SIZES[class] as u64 * MOST_BLOCKS as u64;
        class += 1;
    }
    bytes
};

/// The class of a request of at most [`SMALL`] bytes. Every block of it is asked of the engine in the same size, and so serves
/// all requests of the class.
#[derive(Clone, Copy)]
pub(super) struct Class(usize);

impl Class {
    #[inline(always)]
    pub(super) fn of(bytes: usize) -> Class {
        Class::counted(counted(bytes, STEP) as usize)
    }

    /// The class of a block, by the bytes that are counted for it.
    #[inline(always)]
    pub(super) fn counted(bytes: usize) -> Class {
        let steps = bytes / STEP;
        // Nothing at all where the compiler sees the size, and no worse than a bounds check where it does not.
        if steps < STEPS { Class(steps) } else { unreachable!("no small block") }
    }

    #[inline(always)]
    pub(super) fn size(self) -> usize {
        self.0 * STEP
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
    /// Most places are those of no class.
    lists: [Magazine; STEPS],
    /// The class whose list is emptied next.
    turn: Cell<usize>,
    /// They hold nothing, and take nothing.
    closed: Cell<bool>,
}

impl Magazines {
    pub(super) fn new() -> Magazines {
        let list = |_| Magazine { first: Cell::new(None), room: Cell::new(MOST_BLOCKS) };
        Magazines { lists: core::array::from_fn(list), turn: Cell::new(0), closed: Cell::new(false) }
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

    /// From now on no block is kept. None is.
    pub(super) fn close(&self) {
        debug_assert_eq!(self.bytes(), 0);
        self.closed.set(true);
        self.lists.iter().for_each(|list| list.room.set(0));
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Bytes of the blocks that are kept.
    pub(super) fn bytes(&self) -> u64 {
        if self.is_closed() {
            return 0;
        }
        let kept = |size: usize| u64::from(MOST_BLOCKS - self.lists[size / STEP].room.get()) * size as u64;
        SIZES.into_iter().map(kept).sum()
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
        while let Some(block) = self.take(Class::counted(SIZES[turn])) {
            free(block);
        }
    }
}
