//! Whether anything outside of a mutator's objects refers to them, decided by adding up; and what objects that go all at once have to
//! give up.
//!
//! # The sum
//! A reference is held by an object or from outside: by a handle of the program's, or an object of another mutator. Neither can be
//! enumerated, but both are counted. Let `c(o)` be the count of an object *o*, and `r(o)` how many references to it are found in objects.
//! Then `c(o) >= r(o)`, and what is more is held from outside. So with the sums over all objects,
//!
//! ```text
//! nothing outside refers to any of them  exactly if  sum of c(o) = sum of r(o)
//! ```
//!
//! and neither sum needs to know which reference leads where. The left one is read from the headers of the living. To the right one, all
//! objects contribute whose value is there: the dead that are pending have not given up their references yet. Garbage that is being taken
//! apart is not counted, on either side.
//!
//! # What must not be looked at
//! While the program holds a `&mut` into an object (`Ref::get_mut`), that is not to be read, whatever would be found. Such an object has
//! exactly one reference, which is the program's, and is of a type that was *lent*: of which an object was borrowed so at some time. So
//! an object of such a type with one reference is not followed where it lies, but where that reference is found: then another object
//! holds it, and nobody has borrowed it. Each is followed once, as there is no second such place. If the reference is not found, the
//! object is not followed, and the sums differ by it in any case. (Candidates and grey members of a trial are followed where they lie: a
//! borrow strikes an object off both.)
//!
//! # Blindly, or closely
//! If there are none of these, no condemned objects, and no other mutator on the thread, nothing need be known of what a reference leads
//! to, and no object is touched but in the order in which they lie: a *blind* pass. If it comes upon an object that it must not look at,
//! it is for nothing, and a *close* one follows.
//!
//! # What is not counted
//! References to immortal and sticky objects. With one of these in the heap nothing can be said.

use core::cell::Cell;
use core::ptr::NonNull;

use super::cycles::{Foreign, is_condemned};
use super::list::List;
use super::object::{Colour, Object, Word};
use super::pending::{Memory, Pending, header};
use super::trace::{ATTACHED, Look, Slots, Tracer};

/// What the sums say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Nothing outside refers to any of the objects.
    Unreached,
    /// Something does, or has borrowed one of them.
    Reached,
    /// Some of them are not counted.
    Uncounted,
    /// There was no memory to list them in.
    NoMemory,
}

/// The sums.
#[derive(Debug, Default)]
struct Sums {
    counted: u64,
    found: u64,
    uncounted: bool,
    busy: bool,
    failed: bool,
    /// Some object was not followed in its place.
    put_off: bool,
    /// References to objects of other mutators.
    foreign: u64,
    /// Objects that have something else to drop than references.
    residues: u64,
}

/// The sums in the making. Each object of the heap is to be [passed](Reach::pass) once, and nothing of the program's runs in between.
pub(crate) struct Reach<'a, M> {
    pending: &'a Pending,
    memory: &'a M,
    sums: Sums,
    /// Whether to look at what references lead to.
    closely: bool,
    /// Objects with one reference, which was found.
    found: List,
}

impl<'a, M: Memory> Reach<'a, M> {
    pub(crate) fn new(pending: &'a Pending, memory: &'a M) -> Reach<'a, M> {
        let closely = !pending.is_alone() || pending.cycles().has_condemned();
        Reach { pending, memory, sums: Sums::default(), closely, found: List::default() }
    }

    /// Whether the sums are not to be had without a close look, and all objects must be passed again: to be asked after the last.
    pub(crate) fn begins_anew(&mut self) -> bool {
        let again = !self.closely && self.sums.put_off;
        if again {
            (self.sums, self.closely) = (Sums::default(), true);
        }
        again
    }

    /// Adds an object, alive or dead. A panic of a `trace` passes through; then the sums are worth nothing.
    ///
    /// # Safety
    /// 1. `object` came from the memory, has not been freed, and is of the queue that this was made with.
    /// 2. No collection of the queue is running.
    #[inline(always)]
    pub(crate) unsafe fn pass(&mut self, object: NonNull<Object>) {
        // SAFETY: not freed (1).
        let word = unsafe { header(object) }.word();
        if !word.is_over() {
            if !word.is_counted() {
                self.sums.uncounted = true;
                return;
            }
            self.sums.counted += u64::from(word.count());
            if !is_followed_in_place(word) {
                self.sums.put_off = true;
                return;
            }
        }
        // SAFETY: handed on (1, 2).
        let Some(from) = (unsafe { self.pending.remains(object) }) else { return };
        // SAFETY: its value is there; nobody has borrowed it.
        let mut next = unsafe { self.follow(object, from) };
        while let Some(object) = next.or_else(|| self.found.pop()) {
            // SAFETY: alive, and its one reference is an object's.
            next = unsafe { self.follow(object, 0) };
        }
    }

    /// Adds what finalizers that are due refer to: they themselves and their objects, of which none is outside. To be called once before or after
    /// the objects.
    ///
    /// # Safety
    /// 1. As for [`pass`](Reach::pass) (2).
    pub(crate) unsafe fn pass_due(&mut self) {
        let Reach { pending, memory, sums, closely, found } = self;
        let foreign = Foreign::among(pending, *memory);
        let mut look = Adding { sums, closely: *closely, next: None, found, foreign };
        // SAFETY: HOSTS: alive.
        pending.attachments().each_due(|object| unsafe { look.reference(object, ATTACHED) });
        let mut next = look.next;
        while let Some(object) = next.or_else(|| self.found.pop()) {
            // SAFETY: alive, and its one reference is a finalizer's.
            next = unsafe { self.follow(object, 0) };
        }
    }

    /// Returns the first of what is found that is to be followed; the others are listed.
    ///
    /// # Safety
    /// 1. The value of `object` is there, save for the first `from` slots, and nobody has borrowed it mutably.
    unsafe fn follow(&mut self, object: NonNull<Object>, from: usize) -> Option<NonNull<Object>> {
        // SAFETY: not freed (1).
        let header = unsafe { header(object) };
        let info = header.info();
        self.sums.residues += u64::from(info.drop_residue.is_some());
        let hosts = !header.word().is_over() && header.word().hosts();
        if info.slots == Slots::Fixed(0) && !hosts {
            return None;
        }
        let foreign = Foreign::among(self.pending, self.memory);
        let mut look =
            Adding { sums: &mut self.sums, closely: self.closely, next: None, found: &mut self.found, foreign };
        let mut tracer = Tracer::look(&mut look, from, usize::MAX);
        // SAFETY: an object of this type, and nobody changes it (1).
        unsafe { (info.trace)(object, &mut tracer) }
        drop(tracer);
        if let Some(keeps) = info.keeps {
            // SAFETY: of this type, and its value is there (1).
            let kept = unsafe { keeps(object) };
            // SAFETY: alive, as the object owns a reference to it.
            unsafe { look.reference(kept, ATTACHED) }
        }
        if hosts {
            // SAFETY: of this queue, not freed.
            for attachment in unsafe { self.pending.attachments().of(object) }.into_iter().flatten() {
                // SAFETY: alive by HOSTS.
                unsafe { look.reference(attachment, ATTACHED) }
            }
        }
        look.next
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let Sums { counted, found, uncounted, busy, failed, .. } = self.sums;
        if failed {
            Verdict::NoMemory
        } else if uncounted {
            Verdict::Uncounted
        } else if busy || counted != found {
            Verdict::Reached
        } else {
            Verdict::Unreached
        }
    }

    /// Whether any of them has something to give up that is not in this heap.
    pub(crate) fn have_something_elsewhere(&self) -> bool {
        self.sums.foreign > 0 || self.sums.residues > 0
    }
}

/// Whether nobody can have borrowed a live object mutably, to go by its header.
pub(crate) fn is_followed_in_place(word: Word) -> bool {
    word.count() != 1 || word.is_buffered() || word.colour() == Colour::Grey || !word.key().was_lent()
}

/// Adds up the references of one object.
struct Adding<'a, M> {
    sums: &'a mut Sums,
    closely: bool,
    next: Option<NonNull<Object>>,
    found: &'a mut List,
    foreign: Foreign<'a, M>,
}

impl<M: Memory> Look for Adding<'_, M> {
    #[inline(always)]
    unsafe fn reference(&mut self, child: NonNull<Object>, _: usize) {
        if !self.closely {
            self.sums.found += 1;
            return;
        }
        // SAFETY: not freed (1), and of this thread, as what refers to it.
        if unsafe { self.foreign.has(child) } {
            self.sums.foreign += 1;
            return;
        }
        // SAFETY: not freed (1).
        let word = unsafe { header(child) }.word();
        if is_condemned(word) {
            return;
        }
        debug_assert!(!word.is_dead(), "what is referred to has not died");
        if !word.is_counted() {
            self.sums.uncounted = true;
            return;
        }
        self.sums.found += 1;
        if is_followed_in_place(word) {
            return;
        }
        if self.next.is_none() {
            self.next = Some(child);
        } else if self.found.push(child, usize::MAX).is_err() {
            self.sums.failed = true;
        }
    }

    fn watches(&self) -> u32 {
        0
    }

    fn unwatched(&mut self) {}

    fn busy(&mut self) {
        self.sums.busy = true;
    }
}

/// Gives up references to objects of other mutators, and no others.
struct Leaving<'a, M> {
    pending: &'a Pending,
    foreign: Foreign<'a, M>,
    /// The slot behind the last reference that was given up.
    behind: &'a Cell<usize>,
}

impl<M: Memory> Look for Leaving<'_, M> {
    unsafe fn reference(&mut self, child: NonNull<Object>, slot: usize) {
        // SAFETY: not freed (1), and of this thread, as what refers to it.
        if unsafe { self.foreign.has(child) } {
            // First: what dies of it may panic.
            self.behind.set(slot + 1);
            // SAFETY: the reference is the object's that is being traced, and goes with it (1).
            unsafe { self.pending.give_up(child) }
        }
    }

    fn watches(&self) -> u32 {
        0
    }

    fn unwatched(&mut self) {}

    fn busy(&mut self) {}
}

impl Pending {
    /// Marks an object as garbage, so that a reference to it is neither taken ([`raw::try_retain`](crate::raw::try_retain)) nor counted
    /// any more.
    ///
    /// # Safety
    /// 1. `object` is of this queue, and its memory has not been freed. Nothing but what goes with it refers to it.
    pub(crate) unsafe fn doom(&self, object: NonNull<Object>) {
        // SAFETY: not freed (1).
        let header = unsafe { header(object) };
        let word = header.word();
        if !word.is_over() {
            header.set_word(word.with_count(0).with_colour(Colour::Condemned).with_inner(0));
        }
    }

    /// Gives up the references of an object to objects of other mutators, of which some may die of it. A panic of its `trace` passes
    /// through, and so does one of what dies; then it is to be called again if `from` has moved.
    ///
    /// # Safety
    /// 1. `object` is of this queue, came from `memory`, and its value is there, save for the first `from` slots. Done once, or with `from` as the
    ///    last call has left it.
    pub(crate) unsafe fn give_up_foreign<M: Memory>(&self, memory: &M, object: NonNull<Object>, from: &Cell<usize>) {
        // SAFETY: not freed (1).
        let info = unsafe { header(object) }.info();
        if self.is_alone() || info.slots == Slots::Fixed(0) {
            return;
        }
        let mut look = Leaving { pending: self, foreign: Foreign::among(self, memory), behind: from };
        let mut tracer = Tracer::look(&mut look, from.get(), usize::MAX);
        // SAFETY: an object of this type, which nobody else uses.
        unsafe { (info.trace)(object, &mut tracer) }
    }
}

/// Drops what an object has besides references. True if there was anything.
///
/// # Safety
/// 1. The value of `object` is there, and is not used again.
pub(crate) unsafe fn drop_residue(object: NonNull<Object>) -> bool {
    // SAFETY: not freed (1).
    let Some(drop_residue) = unsafe { header(object) }.info().drop_residue else { return false };
    // SAFETY: of this type, dropped once (1).
    unsafe { drop_residue(object) }
    true
}
