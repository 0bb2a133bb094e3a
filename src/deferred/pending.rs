//! The queue of dead objects and the drain that works it off.

use core::cell::Cell;
use core::ptr::NonNull;

use crate::aside::aside;

use super::attached::{Attachment, Attachments, TellDue};
use super::budget::{Meter, Tally};
use super::cycles::{ABANDONED, Cycles, TAKEN_APART, is_condemned};
use super::kind::TypeInfo;
use super::list::Full;
use super::object::{Colour, Death, OLDEST, Object, Word};
use super::size::counted;
use super::trace::{Slots, Tracer};

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

/// Where objects' memory comes from. The drain's only way to the outside.
///
/// # Safety
/// 1. `free` takes any block of an object that was allocated from this memory and runs no code of the user's.
pub(crate) unsafe trait Memory {
    /// Whether a step of a walk looks at all pages, so that a whole walk takes a time that grows with the square of them.
    const LOOKS_AT_ALL_PAGES: bool;

    /// Whether freeing such a block is a long call, to be made from a place that may wait.
    fn is_large(&self, bytes: usize) -> bool;

    /// Frees a block.
    ///
    /// # Safety
    /// 1. `block` was allocated here with this size and alignment and is not used again.
    unsafe fn free(&self, block: NonNull<u8>, bytes: usize, align: usize);

    /// Whether an object of this thread, whose memory has not been freed, came from here.
    ///
    /// # Safety
    /// 1. `object` is an object of this thread whose memory has not been freed.
    unsafe fn owns(&self, object: NonNull<Object>) -> bool;

    /// Whether its blocks can be [walked through](Memory::walk_on).
    fn can_be_walked(&self) -> bool;

    /// Visits the objects in a page, dead ones too, and says where the next one begins, `None` at the end, and how many blocks were looked
    /// at: not more than there are in a page of 64 KiB. It may be called for it whatever was allocated and freed since. What is there throughout a walk is visited once.
    ///
    /// # Errors
    /// [`Unwalkable`]: there is something in the page that this crate does not know. Nothing in it was visited.
    ///
    /// # Safety
    /// 1. [`can_be_walked`](Memory::can_be_walked), and no object is being freed just now.
    /// 2. `visit` neither allocates from here nor frees, and does not unwind.
    unsafe fn walk_on(
        &self,
        from: Place,
        visit: impl FnMut(NonNull<Object>),
    ) -> Result<(Option<Place>, u64), Unwalkable>;

    /// Frees a block of at most [`SMALL`](super::size::SMALL) bytes and of no larger alignment than all objects have, by the
    /// bytes that are [`counted`] for it.
    ///
    /// # Safety
    /// 1. As for `free`.
    unsafe fn free_small(&self, block: NonNull<u8>, bytes: usize);
}

/// Where a walk has come to; what the words say the [`Memory`] knows. The beginning is the default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Place(pub(crate) [usize; 3]);

/// A walk cannot go on.
#[derive(Debug)]
pub(crate) struct Unwalkable;

/// What a drain does with large blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Large {
    /// Leaves them for a place that may wait.
    Keep,
    /// Frees one as soon as the budget in bytes is as large as the block: space is owed, and waiting would not be bounded.
    WhenOwed,
    /// Frees them when nothing else is left and the budget still admits it.
    Free,
}

/// Which trials a collection works on, besides draining.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Search {
    /// None.
    None,
    /// The one that is under way, and no draining.
    Current,
    /// The one that is under way, and then one of all candidates if there are new ones.
    All,
}

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

impl Tally {
    #[inline(always)]
    pub(crate) fn plus(self, bytes: u64) -> Tally {
        Tally { objects: self.objects + 1, bytes: self.bytes + bytes }
    }

    pub(crate) fn less(self, other: Tally) -> Tally {
        Tally { objects: self.objects - other.objects, bytes: self.bytes - other.bytes }
    }

    pub(crate) fn and(self, other: Tally) -> Tally {
        Tally { objects: self.objects + other.objects, bytes: self.bytes + other.bytes }
    }
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

    /// Queues an object that died in a visit, here or where it belongs.
    ///
    /// # Safety
    /// 1. As for [`push`](Pending::push), save that the object may belong to another queue if there is a route.
    #[inline(never)]
    pub(super) unsafe fn push_visited(&self, object: NonNull<Object>) {
        match self.route.get() {
            // SAFETY: without a route, all objects are of this queue; handed on (1).
            None => unsafe { self.push(object) },
            // SAFETY: the last reference was just given up (1).
            Some(route) => unsafe { (route.retire)(object) },
        }
    }

    /// Takes note of an object that may be part of a garbage cycle, here or where it belongs.
    ///
    /// # Safety
    /// 1. `object` is alive and armed; it may belong to another queue if there is a route.
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn suspect_visited(&self, object: NonNull<Object>) {
        match self.route.get() {
            // SAFETY: without a route, all objects are of this queue; handed on (1).
            None => unsafe { self.suspect(object) },
            // SAFETY: handed on (1).
            Some(route) => unsafe { (route.suspect)(object) },
        }
    }

    /// Takes note of an object that may be part of a garbage cycle.
    ///
    /// # Safety
    /// 1. `object` is alive, armed, and of this queue.
    #[inline(always)]
    pub(crate) unsafe fn suspect(&self, object: NonNull<Object>) {
        // SAFETY: handed on (1).
        unsafe { self.cycles.suspect(object) }
    }

    /// Takes an object that died in a visit, and returns it if it can be carried; or else queues it.
    ///
    /// # Safety
    /// 1. As for [`push`](Pending::push).
    #[inline(always)]
    pub(super) unsafe fn carry(&self, object: NonNull<Object>) -> Option<NonNull<Object>> {
        // SAFETY: dead, not freed (1).
        if unsafe { header(object) }.word().is_quietly_plain() {
            return Some(object);
        }
        // SAFETY: handed on (1).
        unsafe { self.carry_loudly(object) }
    }

    /// The rest of `carry`, out of line with all that it calls: so the visits of types that have it inlined keep little.
    ///
    /// # Safety
    /// 1. As for [`push`](Pending::push).
    #[inline(never)]
    unsafe fn carry_loudly(&self, object: NonNull<Object>) -> Option<NonNull<Object>> {
        // SAFETY: handed on (1).
        match unsafe { self.cycles.strike_off_near(object) } {
            Some(word) if word.is_plain() => Some(object),
            // SAFETY: handed on (1).
            _ => unsafe { self.carry_struck_off(object) },
        }
    }

    /// The rest of `carry_loudly`.
    ///
    /// # Safety
    /// 1. As for [`push`](Pending::push).
    #[cold]
    #[inline(never)]
    unsafe fn carry_struck_off(&self, object: NonNull<Object>) -> Option<NonNull<Object>> {
        // SAFETY: handed on (1).
        if unsafe { self.cycles.strike_off(object) }.is_plain() {
            return Some(object);
        }
        // SAFETY: handed on (1).
        unsafe { self.push_looked_up(object) };
        None
    }

    /// Queues an object.
    ///
    /// # Safety
    /// 1. The last reference to `object` has just been given up; nobody else knows of its death.
    #[inline(always)]
    pub(crate) unsafe fn push(&self, object: NonNull<Object>) {
        // SAFETY: handed on (1).
        let word = unsafe { self.cycles.strike_off(object) };
        if word.is_plain() {
            // SAFETY: handed on (1).
            unsafe { self.push_bytes(object, word.plain_bytes() as u64) }
        } else {
            // SAFETY: handed on (1).
            unsafe { self.push_looked_up(object) }
        }
    }

    /// As `push`, out of line.
    ///
    /// # Safety
    /// 1. As for [`push`](Pending::push).
    #[inline(never)]
    pub(super) unsafe fn push_carried(&self, object: NonNull<Object>) {
        // SAFETY: handed on (1).
        unsafe { self.push(object) }
    }

    /// Queues an object whose size its type must say, that is a member of a trial, or that has attachments. Out of line: the way of plain
    /// objects needs no frame then. One with a finalizer is not queued: the finalizer has the last reference from now on.
    ///
    /// # Safety
    /// 1. As for [`push`](Pending::push).
    #[inline(never)]
    unsafe fn push_looked_up(&self, object: NonNull<Object>) {
        // SAFETY: dead, not freed (1).
        let header = unsafe { header(object) };
        // SAFETY: not queued (1).
        let finalizer = if header.word().hosts() { unsafe { self.part(object) } } else { None };
        if let Some(finalizer) = finalizer {
            let word = header.word();
            if word.colour() != Colour::None {
                self.cycles.member_died(word);
            }
            if self.cycles.is_being_spared(word) {
                // It was the value of a key among them.
                // SAFETY: just taken; both references are ours to give.
                return unsafe { self.attachments.find(finalizer, object) };
            }
            // SAFETY: as above.
            return unsafe { self.attachments.queue(finalizer, object) };
        }
        // SAFETY: as above, of this type, its value untouched.
        let bytes = unsafe { counted_bytes(header.info(), object) };
        let word = header.word();
        // SAFETY: handed on (1).
        unsafe { self.push_bytes(object, bytes) };
        if word.colour() != Colour::None {
            self.cycles.member_died(word);
            // Nobody lists it after a search that was lost.
            if !self.cycles.is_lost() {
                header.set_word(header.word().held(word));
            }
        }
    }

    /// Attaches an object to another one, its host, which takes over a counted reference to it.
    ///
    /// # Panics
    /// If `host` is itself an attachment, or nothing was [prepared](Attachments::prepare).
    ///
    /// # Safety
    /// 1. Both are alive, of this queue; the caller gives up a reference to `attachment`, which is one, attached to nothing.
    /// 2. The host has none of its kind.
    pub(crate) unsafe fn attach(&self, host: NonNull<Object>, attachment: NonNull<Object>) {
        // SAFETY: alive (1). It is about to have a slot more.
        unsafe { self.cycles.change(host) };
        // Its type may be one that was not followed, as it leads nowhere by itself.
        self.cycles.ledger().make_void();
        // SAFETY: alive (1).
        let (leads_on, header) = (unsafe { header(attachment) }.word().is_cyclic(), unsafe { header(host) });
        if leads_on && !header.word().is_cyclic() {
            // Its type is not in cycles by itself.
            header.set_word(header.word().armed());
        }
        // SAFETY: handed on (1, 2).
        unsafe { self.attachments.attach(host, attachment) }
    }

    /// Takes the attachment of one kind off a host. The caller owns the reference to it.
    ///
    /// # Safety
    /// 1. `host` is alive and of this queue.
    pub(crate) unsafe fn detach(&self, host: NonNull<Object>, kind: Attachment) -> Option<NonNull<Object>> {
        // SAFETY: alive (1). It has a slot less.
        unsafe { self.cycles.change(host) };
        // SAFETY: not queued, as it is alive (1).
        let taken = unsafe { self.attachments.take(host, &[kind]) };
        taken[kind as usize]
    }

    /// Takes all attachments off an object that has become garbage: its weak references refer to nothing from now on. Returns the finalizer,
    /// with its reference.
    ///
    /// # Safety
    /// 1. `host` is of this queue and has not been queued.
    pub(super) unsafe fn part(&self, host: NonNull<Object>) -> Option<NonNull<Object>> {
        const ALL: [Attachment; 3] = [Attachment::Weak, Attachment::Key, Attachment::Finalizer];
        // SAFETY: handed on (1).
        let [weak, key, finalizer] = unsafe { self.attachments.take(host, &ALL) };
        for attachment in [weak, key].into_iter().flatten() {
            // SAFETY: the host's own reference, which is ours now; of this queue as the host is.
            unsafe { self.release(attachment) }
        }
        finalizer
    }

    /// Parts an object that was found to be garbage from its attachments. Its finalizer, if it has one, keeps it, and is due when
    /// [all are found](Attachments::all_found).
    ///
    /// # Safety
    /// 1. As for [`part`](Pending::part); `host` is alive.
    pub(super) unsafe fn spare(&self, host: NonNull<Object>) {
        // SAFETY: handed on (1).
        let Some(finalizer) = (unsafe { self.part(host) }) else { return };
        // SAFETY: alive (1).
        unsafe { header(host) }.retain();
        // SAFETY: just taken, with a reference to each.
        unsafe { self.attachments.find(finalizer, host) };
    }

    /// Makes finalizers due, at most so many, whose objects are garbage whatever their counts say.
    ///
    /// # Errors
    /// No memory to list them. Then none is.
    ///
    /// # Safety
    /// 1. All objects of this queue are garbage: nothing refers to any of them but others of them, and what nobody uses again.
    pub(crate) unsafe fn all_are_garbage(&self, most: u64) -> Result<(), Full> {
        let hosts = aside(|| self.attachments.finalizable(most))?;
        self.cycles.doubt();
        for host in hosts {
            // SAFETY: HOSTS: alive, not queued; of this queue.
            unsafe { self.spare(host) };
        }
        self.attachments.all_found();
        Ok(())
    }

    /// Gives up a reference.
    ///
    /// # Safety
    /// 1. `object` is alive and of this queue, and the caller owns a reference to it.
    unsafe fn release(&self, object: NonNull<Object>) {
        // SAFETY: alive (1).
        match unsafe { header(object) }.release() {
            Death::Alive => {}
            // SAFETY: alive, just released, and of this queue (1).
            Death::Suspected => unsafe { self.suspect(object) },
            // SAFETY: the last reference was just given up.
            Death::Died => unsafe { self.push(object) },
        }
    }

    /// # Safety
    /// 1. As for [`push`](Pending::push); `bytes` are counted for it.
    #[inline(always)]
    unsafe fn push_bytes(&self, object: NonNull<Object>, bytes: u64) {
        // SAFETY: dead, not freed (1).
        let header = unsafe { header(object) };
        self.queued.set(self.queued.get().plus(bytes));
        header.set_word(header.word().dead(address(self.stack.get())));
        self.stack.set(Some(object));
    }

    /// Frees the memory of a simple object that has just died and was not queued.
    ///
    /// # Safety
    /// 1. As for [`push`](Pending::push).
    /// 2. `object` is of a simple type of `bytes`, as they are counted, came from `memory`, and has given up its slots.
    #[inline(always)]
    pub(crate) unsafe fn free_dead<M: Memory>(&self, memory: &M, object: NonNull<Object>, bytes: usize) {
        self.count_freed(Tally { objects: 1, bytes: bytes as u64 });
        // SAFETY: from this memory, small (2), and dead (1).
        unsafe { memory.free_small(object.cast(), bytes) }
    }

    /// Notes what was freed without being queued, or without a death: the old block of an object that moved, or one that was not
    /// finished.
    #[inline(always)]
    pub(crate) fn count_freed(&self, freed: Tally) {
        self.at_once_objects.set(self.at_once_objects.get() + freed.objects);
        self.at_once_bytes.set(self.at_once_bytes.get() + freed.bytes);
    }

    /// Whether an object must stay where it is, as a trial's list has it.
    ///
    /// # Safety
    /// 1. `object` is alive and of this queue.
    pub(crate) unsafe fn is_fixed(&self, object: NonNull<Object>) -> bool {
        // SAFETY: alive (1).
        unsafe { header(object) }.word().colour() != Colour::None
    }

    /// Notes that an object that [is fixed](Pending::is_fixed) has been moved all the same, as a copy: what is left is a husk, and
    /// the copy a new object.
    ///
    /// # Safety
    /// 1. Both are of one type, alive and whole, and neither is used again through the old place.
    pub(crate) unsafe fn moved(&self, from: NonNull<Object>, to: NonNull<Object>) {
        // SAFETY: alive (1).
        let old = unsafe { header(from) };
        // SAFETY: as above.
        let new = unsafe { header(to) };
        // SAFETY: of this type and whole (1).
        let bytes = unsafe { counted_bytes(old.info(), from) };
        self.queued.set(self.queued.get().and(Tally { objects: 0, bytes }));
        new.set_word(old.word().out_of_trial(old.info().flags));
        old.set_word(old.word().dead(0).held(old.word()).moved());
    }

    /// Frees the memory of a husk.
    ///
    /// # Safety
    /// 1. `object` is a husk that came from `memory`, and is on no list.
    pub(super) unsafe fn free_husk<M: Memory>(&self, memory: &M, object: NonNull<Object>, meter: &mut Meter) {
        // SAFETY: not freed (1).
        let header = unsafe { header(object) };
        let info = header.info();
        if !header.word().is_moved() {
            // SAFETY: handed on (1), and nothing but the memory is left.
            return unsafe { self.free(memory, object, info, meter) };
        }
        // SAFETY: not freed (1). The length of a tail has stayed behind.
        let bytes = unsafe { info.bytes_of(object) };
        let freed = Tally { objects: 0, bytes: counted(bytes, info.align) };
        self.done.set(self.done.get().and(freed));
        meter.freed(freed, 1);
        // SAFETY: from this memory with this size, and not used again (1).
        unsafe { memory.free(object.cast(), bytes, info.align) }
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

    /// Works the queue off for as long as `meter` admits.
    ///
    /// Panics of user code pass through, and the drain can be resumed after them. Does nothing within another drain.
    ///
    /// # Safety
    /// 1. Every queued object came from `memory`.
    pub(crate) unsafe fn drain<M: Memory>(&self, memory: &M, meter: &mut Meter, large: Large) {
        if self.draining.replace(true) {
            return;
        }
        let _done = Draining(self);
        if large == Large::WhenOwed {
            while meter.admits() && self.next_large().is_some_and(|bytes| meter.owes(bytes)) {
                // SAFETY: 1.
                unsafe { self.free_large(memory, meter) };
            }
        }
        while meter.admits() {
            // SAFETY: 1.
            if self.in_hand.get().is_none() && unsafe { self.drain_quick(memory, meter) } {
                continue;
            }
            // SAFETY: 1.
            let Some(object) = (unsafe { self.next(memory, meter) }) else {
                // SAFETY: 1.
                let Some(object) = (unsafe { self.cycles.next_taken_apart(self, memory, meter) }) else { break };
                meter.searched(1);
                // SAFETY: 1; a husk, and on no list.
                unsafe { self.free_husk(memory, object, meter) };
                continue;
            };
            // SAFETY: by QUEUE dead and not freed.
            let header = unsafe { header(object) };
            let info = header.info();
            if self.phase.get() == Phase::Slots && !self.visit(object, info, meter) {
                continue;
            }
            if self.phase.get() == Phase::Residue {
                // Set first: a residue whose drop panics has been dropped all the same, and is not dropped again.
                self.phase.set(Phase::Free);
                if let Some(drop_residue) = info.drop_residue {
                    // SAFETY: of this type, its slots are done, and it is dropped once.
                    unsafe { drop_residue(object) }
                }
            }
            self.put_down();
            let word = header.word();
            if is_condemned(word) {
                // Others of the garbage may refer to it.
                header.set_word(word.with_inner(TAKEN_APART));
                meter.searched(1);
            } else if word.is_held() && !self.cycles.is_lost() {
                header.set_word(word.husk());
                meter.searched(1);
            } else {
                // SAFETY: 1, and by QUEUE nothing but the memory is left.
                unsafe { self.free(memory, object, info, meter) }
            }
        }
        if large == Large::Free && !self.has_work() {
            while meter.admits() {
                // SAFETY: 1.
                if !unsafe { self.free_large(memory, meter) } {
                    break;
                }
            }
        }
    }

    /// Drains, and looks for garbage cycles, in turn, until neither finds anything or the budget is used up.
    ///
    /// # Safety
    /// 1. As for [`drain`](Pending::drain).
    pub(crate) unsafe fn work<M: Memory>(&self, memory: &M, meter: &mut Meter, large: Large, search: Search) {
        // The program has run.
        self.cycles.interrupt();
        // What was given up for want of a larger budget is tried again, and what is under way need not be. But after a panic this is
        // called again, and a `trace` that always panics would have it begin for ever.
        let mut anew = search == Search::All && !meter.is_limited() && !self.cycles.has_panicked();
        if anew {
            self.cycles.abandon();
        }
        loop {
            if search != Search::Current {
                // SAFETY: 1.
                unsafe { self.drain(memory, meter, large) };
                if search == Search::None || self.has_work() {
                    return;
                }
            }
            if self.draining.get() || !meter.admits() {
                return;
            }
            self.draining.set(true);
            let _done = Draining(self);
            let before = meter.search_units;
            if search == Search::All && self.cycles.is_worth_a_trial(anew) {
                // SAFETY: 1; there is no trial.
                unsafe { self.cycles.survey(self, memory, meter) };
            }
            // Of those that were candidates there may be none any more.
            if search == Search::All && self.cycles.is_worth_a_trial(anew) {
                self.cycles.begin(OLDEST);
                anew = false;
            }
            if !self.cycles.is_trying() {
                return;
            }
            // SAFETY: 1.
            unsafe { self.cycles.advance(self, memory, meter) };
            self.cycles.spent(meter.search_units - before);
        }
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

    /// Gives up a reference that an object of this queue holds.
    ///
    /// # Safety
    /// 1. `child` is alive; the reference is not used again.
    pub(super) unsafe fn give_up(&self, child: NonNull<Object>) {
        // SAFETY: alive (1).
        match unsafe { header(child) }.release() {
            Death::Alive => {}
            // SAFETY: alive, and just released.
            Death::Suspected => unsafe { self.suspect_visited(child) },
            // SAFETY: the last reference was just given up.
            Death::Died => unsafe { self.push_visited(child) },
        }
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

    /// The object in hand, or the next from the stack, or of the garbage that was found.
    ///
    /// # Safety
    /// 1. As for [`drain`](Pending::drain).
    #[inline(always)]
    unsafe fn next<M: Memory>(&self, memory: &M, meter: &mut Meter) -> Option<NonNull<Object>> {
        if let Some(object) = self.in_hand.get() {
            return Some(object);
        }
        // SAFETY: 1.
        let object = pop(&self.stack).or_else(|| unsafe { self.cycles.next_garbage(self, memory, meter) })?;
        self.in_hand.set(Some(object));
        Some(object)
    }

    /// Nothing is in hand any more.
    #[inline(always)]
    fn put_down(&self) {
        self.in_hand.set(None);
        self.phase.set(Phase::Slots);
        self.cursor.set(0);
        self.panicked_at.set(None);
    }

    /// Visits slots of the object in hand. True when all are done.
    #[inline(always)]
    fn visit(&self, object: NonNull<Object>, info: &TypeInfo, meter: &mut Meter) -> bool {
        let from = self.cursor.get();
        let left = match info.slots {
            Slots::Fixed(0) => {
                self.phase.set(Phase::Residue);
                return true;
            }
            Slots::Fixed(slots) if slots <= WHOLE => WHOLE,
            _ => meter.units_now(),
        };
        let mut guard = Retrace { pending: self, object, from, meter };
        let mut tracer = Tracer::resume(self, from, left);
        // SAFETY: an object of this type whose value is whole: `trace` leaves it as it is.
        unsafe { (info.trace)(object, &mut tracer) }
        let cut = tracer.is_cut();
        guard.visited(tracer.cursor());
        core::mem::forget(guard);
        drop(tracer);
        if !cut {
            self.phase.set(Phase::Residue);
        }
        !cut
    }

    /// Frees the memory of an object that is done, or sets it aside if that is a long call.
    ///
    /// # Safety
    /// 1. `object`, of type `info`, came from `memory`; it is dead, on no list, and its value has been dropped.
    #[inline(always)]
    pub(super) unsafe fn free<M: Memory>(
        &self,
        memory: &M,
        object: NonNull<Object>,
        info: &TypeInfo,
        meter: &mut Meter,
    ) {
        // SAFETY: not freed (1). The size of a tail lies in its length, which is no part of what was dropped.
        let bytes = unsafe { info.bytes_of(object) };
        let size = counted(bytes, info.align);
        if memory.is_large(bytes) {
            // SAFETY: not freed (1).
            let header = unsafe { header(object) };
            header.set_word(header.word().dead(address(self.large.get())).husk());
            self.large.set(Some(object));
            self.large_tally.set(self.large_tally.get().plus(size));
            meter.visited(1);
            return;
        }
        self.account(size, meter);
        // SAFETY: from this memory with this size, and not used again (1).
        unsafe { memory.free(object.cast(), bytes, info.align) }
    }

    /// The bytes of the large block that would be freed next.
    fn next_large(&self) -> Option<u64> {
        let object = self.large.get()?;
        // SAFETY: by QUEUE dead and not freed.
        let info = unsafe { header(object) }.info();
        // SAFETY: as above, of this type; the length of a tail outlives its items.
        Some(unsafe { counted_bytes(info, object) })
    }

    /// Frees one large block, if there is one.
    ///
    /// # Safety
    /// 1. Every queued object came from `memory`.
    unsafe fn free_large<M: Memory>(&self, memory: &M, meter: &mut Meter) -> bool {
        let Some(object) = pop(&self.large) else { return false };
        // SAFETY: by QUEUE dead and not freed.
        let info = unsafe { header(object) }.info();
        // SAFETY: as above; the length of a tail outlives its items.
        let bytes = unsafe { info.bytes_of(object) };
        let size = counted(bytes, info.align);
        self.large_tally.set(self.large_tally.get().less(Tally { objects: 1, bytes: size }));
        self.account(size, meter);
        meter.large_freed += 1;
        // SAFETY: from this memory (1) with this size, and by QUEUE nothing but the memory is left.
        unsafe { memory.free(object.cast(), bytes, info.align) }
        true
    }

    #[inline(always)]
    fn account(&self, bytes: u64, meter: &mut Meter) {
        self.done.set(self.done.get().plus(bytes));
        meter.freed(Tally { objects: 1, bytes }, 1);
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

/// Ends a drain, also one that panics.
struct Draining<'a>(&'a Pending);

impl Drop for Draining<'_> {
    fn drop(&mut self) {
        self.0.draining.set(false);
    }
}

/// Runs when a visit panics. The tracer has kept the cursor, so the next drain goes on behind the last slot that was
/// counted down; but a `trace` that panics there again would panic for ever, so then the object is given up: it and what
/// the rest of its slots refer to leak, and are counted.
struct Retrace<'a> {
    pending: &'a Pending,
    object: NonNull<Object>,
    from: usize,
    meter: &'a mut Meter,
}

impl Retrace<'_> {
    #[inline(always)]
    fn visited(&mut self, cursor: usize) {
        self.meter.visited((cursor - self.from) as u64);
    }
}

impl Drop for Retrace<'_> {
    fn drop(&mut self) {
        let pending = self.pending;
        let cursor = pending.cursor.get();
        self.visited(cursor);
        if pending.panicked_at.replace(Some(cursor)) != Some(cursor) {
            return;
        }
        pending.put_down();
        // SAFETY: the object in hand, dead and not freed.
        let header = unsafe { header(self.object) };
        if is_condemned(header.word()) {
            // It is not freed with the others.
            header.set_word(header.word().with_inner(ABANDONED));
        } else {
            header.set_word(header.word().given_up());
        }
        let info = header.info();
        // SAFETY: as above, of this type.
        let bytes = unsafe { counted_bytes(info, self.object) };
        pending.abandoned.set(pending.abandoned.get().plus(bytes));
    }
}
