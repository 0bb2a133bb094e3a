//! The queue of dead objects.

mod attach;
mod death;
mod drain;
mod memory;

use core::cell::Cell;
use core::ptr::NonNull;

use super::attached::{Attachments, TellDue};
use super::budget::Tally;
use super::cycles::{Cycles, is_condemned};
use super::kind::TypeInfo;
use super::object::{Colour, Object, Word};
use super::size::counted;

pub(crate) use drain::{Large, Search};
pub(crate) use memory::{Memory, Place, Unwalkable};

/// An object with no more slots than this is visited in one go, which spares the bookkeeping of a visit that can stop.
pub(super) const WHOLE: usize = 8;

/// How far a collection may go over a budget of units: the constant *c* of promise P1.
///
/// The drain looks at the budget before each object. With one unit left it may still begin an object of up to 8 slots,
/// which it visits whole and frees: 9 units, 8 of them over the budget. An object of more slots is visited for as many
/// slots as the budget has left and resumed there.
///
/// A search for garbage cycles among more objects than its lists take walks through the heap. There it looks at the headers in a page at once, 4,096 at most, for
/// one unit, and then does as many units of nothing as these are worth, one for two of them and 32 for the page, before it looks at the next.
pub const SLACK_UNITS: u64 = WHOLE as u64;

/// Ways to the queue of an object's owner.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    /// Hands an object to it whose last reference was just given up.
    pub(crate) retire: unsafe fn(NonNull<Object>),
    /// Tells it of an armed object of which a reference was just given up, and others are left.
    pub(crate) suspect: unsafe fn(NonNull<Object>),
}

/// What is to be done next to the object in hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Visit its slots from the cursor on.
    Slots,
    /// Drop its residue.
    Residue,
    /// Free its memory.
    Free,
}

/// Dead objects, linked through their headers, and the one that a drain is working on.
///
/// Invariant QUEUE: every object on the stack and in hand is dead, its value untouched save as `phase` and `cursor` say of
/// the one in hand; on the stack of large blocks only the memory is left to be freed. All fields are cells and hold before
/// every call into code of the user's, which may push, ask, or try to drain again (`draining`). With nothing in hand,
/// `phase`, `cursor` and `panicked_at` are as for an object that has just been taken up.
///
/// The order is last in, first out: an object that was just counted down has its header in the cache.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(super) stack: Cell<Option<NonNull<Object>>>,
    pub(super) in_hand: Cell<Option<NonNull<Object>>>,
    phase: Cell<Phase>,
    pub(super) cursor: Cell<usize>,
    /// Where the visit of the object in hand panicked last, if it did.
    pub(super) panicked_at: Cell<Option<usize>>,
    large: Cell<Option<NonNull<Object>>>,
    pub(super) draining: Cell<bool>,
    /// Where an object goes that dies in a visit, when it need not be this queue's: see [`Pending::set_route`].
    route: Cell<Option<Route>>,
    /// Every object that ever came into the queue, and every one that was freed from it: what is pending is the
    /// difference, and each event writes one of them.
    pub(super) queued: Cell<Tally>,
    pub(super) done: Cell<Tally>,
    /// Freed without being queued. Its bytes stand at the end: were they beside the objects, the compiler would add the two as a
    /// vector, which it takes three times as many instructions to put together.
    at_once_objects: Cell<u64>,
    large_tally: Cell<Tally>,
    /// Given up because their `trace` panicked twice at one slot.
    abandoned: Cell<Tally>,
    cycles: Cycles,
    attachments: Attachments,
    at_once_bytes: Cell<u64>,
}

/// The bytes counted for an object.
///
/// # Safety
/// 1. `object` is of type `info` and its memory has not been freed.
pub(super) unsafe fn counted_bytes(info: &TypeInfo, object: NonNull<Object>) -> u64 {
    // SAFETY: handed on (1).
    counted(unsafe { info.bytes_of(object) }, info.align)
}

/// # Safety
/// 1. `object` points to an object whose memory has not been freed.
#[inline(always)]
pub(super) unsafe fn header<'a>(object: NonNull<Object>) -> &'a Object {
    // SAFETY: handed on (1).
    unsafe { object.as_ref() }
}

impl Pending {
    pub(crate) fn new(cycles: Cycles, tell: TellDue) -> Pending {
        const NONE: Tally = Tally { objects: 0, bytes: 0 };
        Pending {
            stack: Cell::new(None),
            in_hand: Cell::new(None),
            phase: Cell::new(Phase::Slots),
            cursor: Cell::new(0),
            panicked_at: Cell::new(None),
            large: Cell::new(None),
            draining: Cell::new(false),
            route: Cell::new(None),
            queued: Cell::new(NONE),
            done: Cell::new(NONE),
            at_once_objects: Cell::new(0),
            large_tally: Cell::new(NONE),
            abandoned: Cell::new(NONE),
            cycles,
            attachments: Attachments::new(tell),
            at_once_bytes: Cell::new(0),
        }
    }

    pub(crate) fn cycles(&self) -> &Cycles {
        &self.cycles
    }

    pub(crate) fn attachments(&self) -> &Attachments {
        &self.attachments
    }

    /// What is dead and not freed, large blocks included.
    pub(crate) fn tally(&self) -> Tally {
        self.queued.get().less(self.done.get()).less(self.abandoned.get())
    }

    pub(crate) fn large(&self) -> Tally {
        self.large_tally.get()
    }

    /// Everything ever freed.
    pub(crate) fn freed(&self) -> Tally {
        self.done.get().and(Tally { objects: self.at_once_objects.get(), bytes: self.at_once_bytes.get() })
    }

    pub(crate) fn abandoned(&self) -> Tally {
        self.abandoned.get()
    }

    /// Whether a drain would find anything to do for a debt of so many bytes.
    #[inline(always)]
    pub(crate) fn has_work_for(&self, debt: u64) -> bool {
        self.has_work() || self.next_large().is_some_and(|bytes| bytes <= debt)
    }

    /// Whether a drain would find work besides large blocks.
    #[inline(always)]
    pub(crate) fn has_work(&self) -> bool {
        self.has_queued() || self.in_hand.get().is_some() || self.has_garbage()
    }

    /// Whether there are dead objects besides one in hand and garbage cycles.
    #[inline(always)]
    pub(crate) fn has_queued(&self) -> bool {
        self.stack.get().is_some()
    }

    /// Whether there are garbage cycles that have been found and not yet freed.
    #[inline(always)]
    pub(crate) fn has_garbage(&self) -> bool {
        self.cycles.has_garbage()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    #[inline(always)]
    pub(super) fn set_cursor(&self, cursor: usize) {
        self.cursor.set(cursor);
    }

    /// Sends objects that die in a visit through `route`; with `None` all of them are this queue's. An object may refer to
    /// one of another mutator of the thread, but as long as there is no other one, nothing needs to be looked up.
    pub(crate) fn set_route(&self, route: Option<Route>) {
        self.route.set(route);
    }

    /// Whether objects that die in a visit are certain to be this queue's.
    #[inline(always)]
    pub(crate) fn is_alone(&self) -> bool {
        self.route.get().is_none()
    }

    /// Whether an object must stay where it is, as a trial's list has it.
    ///
    /// # Safety
    /// 1. `object` is alive and of this queue.
    pub(crate) unsafe fn is_fixed(&self, object: NonNull<Object>) -> bool {
        // SAFETY: alive (1).
        unsafe { header(object) }.word().colour() != Colour::None
    }

    /// Passes everything that is dead and not freed, save what was given up: objects on the queue and in hand, and those that a trial has
    /// found. `visit` is told from which slot on an object still owns its references, `None` if it owns none. What is on the queue is only
    /// followed from an object that `is_queued` says to be one. `over` gives all objects to which nobody refers.
    pub(crate) fn each_dead(
        &self,
        is_queued: &mut dyn FnMut(NonNull<Object>) -> bool,
        over: &mut dyn Iterator<Item = NonNull<Object>>,
        visit: &mut dyn FnMut(NonNull<Object>, Option<usize>),
    ) {
        for (first, owns) in [(self.stack.get(), Some(0)), (self.large.get(), None)] {
            let mut next = first;
            while let Some(object) = next.filter(|object| is_queued(*object)) {
                // SAFETY: an object, as was just said.
                let word = unsafe { header(object) }.word();
                visit(object, owns);
                next = linked(word);
            }
        }
        let in_hand = self.in_hand.get();
        if let Some(object) = in_hand {
            visit(object, (self.phase.get() == Phase::Slots).then_some(self.cursor.get()));
        }
        self.cycles.each_dead(in_hand, over, visit);
    }

    /// Keeps every drain and every search from beginning, from one call to the next; or for good, where all objects are about to go by other
    /// means. None is running.
    pub(crate) fn set_held(&self, is_held: bool) {
        debug_assert!(self.draining.get() != is_held);
        self.draining.set(is_held);
    }

    /// What is left of an object's value: the slots from this one on, and all that is not a slot. `None`: nothing, or it was given up.
    ///
    /// # Safety
    /// 1. `object` is of this queue, and its memory has not been freed. No collection is running.
    pub(crate) unsafe fn remains(&self, object: NonNull<Object>) -> Option<usize> {
        // SAFETY: not freed (1).
        let word = unsafe { header(object) }.word();
        let is_there = if self.in_hand.get() == Some(object) {
            // Between steps an object in hand is left in the middle of its slots, or because its residue panicked.
            return (self.phase.get() == Phase::Slots).then(|| self.cursor.get());
        } else if word.is_dead() {
            !word.is_husk() && !word.is_given_up()
        } else {
            !is_condemned(word) || word.inner() == 0
        };
        is_there.then_some(0)
    }

    /// All objects have gone, of so many that were ever allocated.
    pub(crate) fn all_freed(&self, allocated: Tally) {
        const NONE: Tally = Tally { objects: 0, bytes: 0 };
        self.stack.set(None);
        self.put_down();
        self.large.set(None);
        self.large_tally.set(NONE);
        self.abandoned.set(NONE);
        let queued = self.queued.get();
        self.done.set(queued);
        let at_once = allocated.less(queued);
        self.at_once_objects.set(at_once.objects);
        self.at_once_bytes.set(at_once.bytes);
        self.attachments.all_gone();
    }
}

#[inline(always)]
fn address(object: Option<NonNull<Object>>) -> usize {
    // Exposed, since the link keeps the address alone and `pop` makes a pointer of it again.
    object.map_or(0, |object| object.as_ptr().expose_provenance())
}

#[inline(always)]
pub(super) fn pop(stack: &Cell<Option<NonNull<Object>>>) -> Option<NonNull<Object>> {
    let object = stack.get()?;
    // SAFETY: by QUEUE dead and not freed.
    stack.set(linked(unsafe { header(object) }.word()));
    Some(object)
}

/// What a dead object's word links to.
#[inline(always)]
pub(super) fn linked(word: Word) -> Option<NonNull<Object>> {
    NonNull::new(core::ptr::with_exposed_provenance_mut(word.link()))
}
