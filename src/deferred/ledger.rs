//! The ledger: what is known to be held from outside, once the mutator has gone.
//!
//! Without a mutator no safepoint comes, so garbage cycles must be found with the release that makes them. To search with each release
//! among all that its object leads to would cost *n* handles into one structure of *n* objects *n*² units. So what such a search finds out
//! is kept: the *groups* of objects that lead to each other (the strongly connected ones), and for each how many references come from
//! outside of it, of handles or of other groups. That number is a reference count of the group: with 0 the group is garbage, and with more it
//! is not, or whatever else refers to it is, and will give that reference up.
//!
//! # The survey
//! From each candidate all that it leads to is followed, and groups come out of that in the order in which nothing leads back (H. N. Gabow,
//! *Path-based depth-first search for strong and biconnected components*, Information Processing Letters 74, 2000). The outside
//! references of a group are the counts of its objects without the references from within. A group that has some goes on the ledger, with what
//! it leads to, where a survey stops from then on; so does a trial, for which it is in use. A group without is garbage, and left to a trial.
//!
//! # Why it is right while the program goes on
//! A reference of an object on the ledger that is given up is told (such an object is armed), and its count then compared with the one seen last. A reference
//! that is taken is not told: then there are more from outside than is known, so garbage is sought that is not there, and the group is surveyed anew. But what
//! a survey comes upon, and does not follow as it is held, has its count compared as well: so a group is held for as long as anything on the ledger leads to
//! it, and its objects cannot be struck off, and changed without a word, while others are said to be held that lead there. A group of which the number has come to 0 is
//! held no more, whatever is seen of it later: the object that was released has been struck off, and what remains is not the group that was counted. All
//! else that could change the number, or the groups, is a change to a slot of an object on the ledger:
//!
//! - a handle is moved from outside into the group, or a reference of it elsewhere, or what leads from one object to another ends, and with it the
//!   group is one no more;
//! - an object that the group leads to gets a reference back to it. That object is on the ledger as well, as all is that objects on it lead to.
//!
//! Such changes are told by the means that the last passes of a trial need as well (`cycles`), and *void* the ledger. A survey that comes upon a cell that does
//! not tell, or one that is borrowed to be changed, or upon a `OnceCell` that is empty still, comes to nothing: among such objects each release is
//! searched after.
//!
//! An object on the ledger is buffered and armed, and its colour is `None`. Of objects that have a mutator none is so, so its death, and that somebody
//! borrows it mutably, are told without a test on their ways. (Candidates that a search had to leave, as it could not look at them, are so as well, and
//! are not on it: they are sought again with the next release, and none of their own must go by.)

use core::cell::{Cell, RefCell};
use core::hash::BuildHasherDefault;
use core::num::NonZero;
use core::ptr::NonNull;
use std::collections::HashMap;

use crate::aside::aside;

use super::budget::Meter;
use super::cycles::{Addresses, Cycles, Foreign};
use super::list::Full;
use super::object::{Colour, CountState, Object};
use super::pending::{Memory, Pending, header};
use super::trace::{ATTACHED, Look, Tracer};

/// What is known of the objects of one mutator that has gone.
///
/// Invariant LEDGER: an object that is buffered and armed and whose colour is `None` is either a key of `entries` or a candidate, and no other
/// is a key. Their memory is not freed: a death strikes them off. Unless it is void, each object on it was followed with `number` as it is now, and all that it leads to and that can be part of a
/// cycle is on it too or has been struck off as a candidate since; and the outside references of a group are at least as many as are noted, and these at least as many as
/// objects on the ledger have.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The mutator has gone.
    is_kept: Cell<bool>,
    /// Something has changed.
    is_void: Cell<bool>,
    /// With which cells tell of changes.
    number: Cell<u32>,
    entries: RefCell<HashMap<NonNull<Object>, Entry, BuildHasherDefault<Addresses>>>,
    /// Outside references of each group. With 0 it is one no more.
    groups: RefCell<Vec<i64>>,
    /// Surveys in a row that came to nothing, and searches until the next.
    in_vain: Cell<u32>,
    wait: Cell<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// [`OPEN`] and the place among the open ones; or [`ALONE`]; or the group.
    place: u32,
    /// The count when it was seen last.
    seen: u32,
}

/// The survey has not come to its group yet.
const OPEN: u32 = 1 << 31;

/// A group of one that does not refer to itself, which counts alone free.
const ALONE: u32 = OPEN - 1;

/// Of 64 searches one is a survey, where those come to nothing.
const MOST_IN_VAIN: u32 = 6;

impl Ledger {
    /// From now on.
    pub(super) fn keep(&self) {
        self.is_kept.set(true);
    }

    /// Something that it relies on has changed.
    pub(super) fn make_void(&self) {
        self.is_void.set(true);
    }

    /// A cell is being changed that was to tell a look of this number.
    pub(super) fn disturb(&self, number: u32) {
        if number == self.number.get() {
            self.make_void();
        }
    }

    /// Whether an object on it is held from outside, as far as is known.
    pub(super) fn holds(&self, object: NonNull<Object>) -> bool {
        let entry = self.entries.borrow().get(&object).copied();
        !self.is_void.get() && entry.is_some_and(|entry| self.is_held(entry))
    }

    fn is_held(&self, entry: Entry) -> bool {
        match entry.place {
            ALONE => true,
            place if place & OPEN != 0 => false,
            group => self.groups.borrow()[group as usize] > 0,
        }
    }

    /// A reference to an object on it was given up, and others are left. Says whether it is held from outside still.
    ///
    /// # Safety
    /// 1. `object` is alive.
    pub(super) unsafe fn released(&self, object: NonNull<Object>) -> bool {
        // SAFETY: handed on (1).
        unsafe { self.compare(object) };
        self.holds(object)
    }

    /// Compares the count of an object, if it is on it, with the one seen last.
    ///
    /// # Safety
    /// 1. `object` is alive.
    unsafe fn compare(&self, object: NonNull<Object>) {
        if let Some(entry) = self.entries.borrow_mut().get_mut(&object) {
            // SAFETY: alive (1).
            let count = unsafe { header(object) }.word().count();
            if entry.place < ALONE {
                let held = &mut self.groups.borrow_mut()[entry.place as usize];
                if *held > 0 {
                    *held = (*held + i64::from(count) - i64::from(entry.seen)).max(0);
                }
            }
            entry.seen = count;
        }
    }

    /// Strikes an object off, and says whether it was on it. Its header is the caller's to set.
    pub(super) fn remove(&self, object: NonNull<Object>) -> bool {
        self.entries.borrow_mut().remove(&object).is_some()
    }

    /// Makes it empty if it is void, or if most of it has gone. Such work was paid for by surveys.
    fn tidy(&self) {
        let mut entries = self.entries.borrow_mut();
        if !self.is_void.get() && self.groups.borrow().len() <= 2 * entries.len() {
            return;
        }
        for object in entries.keys() {
            // SAFETY: by LEDGER not freed.
            let header = unsafe { header(*object) };
            header.set_word(header.word().unbuffered());
        }
        aside(|| *entries = HashMap::default());
        aside(|| self.groups.take());
        self.is_void.set(false);
        // What cells tell that were looked at before is of no interest any more.
        self.number.set(0);
    }

    /// Whether the search that is about to begin begins with a survey.
    fn is_due(&self) -> bool {
        let wait = self.wait.get();
        self.wait.set(wait.saturating_sub(1));
        wait == 0
    }

    fn succeeded(&self) {
        self.in_vain.set(0);
    }

    fn failed(&self) {
        self.wait.set(1 << self.in_vain.get());
        self.in_vain.set((self.in_vain.get() + 1).min(MOST_IN_VAIN));
    }
}

impl Cycles {
    /// Strikes those candidates off that are known to be held from outside, if the mutator has gone. Without a budget.
    ///
    /// A panic of a `trace` passes through.
    ///
    /// # Safety
    /// 1. The objects of this mutator came from `memory`, and no trial is under way.
    pub(super) unsafe fn survey<M: Memory>(&self, pending: &Pending, memory: &M, meter: &mut Meter) {
        let ledger = self.ledger();
        if !ledger.is_kept.get() {
            return;
        }
        // For the trial too.
        ledger.tidy();
        if self.has_waiting() || !ledger.is_due() {
            return;
        }
        if ledger.number.get() == 0 {
            ledger.number.set(self.next_number());
        }
        let mut survey = Survey {
            cycles: self,
            pending,
            foreign: Foreign::among(pending, memory),
            meter,
            open: Vec::new(),
            bounds: Vec::new(),
            todo: Vec::new(),
            again: Vec::new(),
            outcome: Err(Unknown),
        };
        survey.outcome = survey.all();
    }
}

/// What a survey came upon cannot be followed, or there is no memory.
#[derive(Debug)]
struct Unknown;

impl From<Full> for Unknown {
    fn from(Full: Full) -> Unknown {
        Unknown
    }
}

/// An object of which the group is not known yet. From each an object leads on to the one that is being followed.
struct Open {
    object: NonNull<Object>,
    /// References to it from within its group, of those that were followed.
    inner: u32,
    was_candidate: bool,
}

struct Survey<'a, 'm, M> {
    cycles: &'a Cycles,
    pending: &'a Pending,
    foreign: Foreign<'a, M>,
    meter: &'m mut Meter,
    open: Vec<Open>,
    /// Where in `open` the groups begin, as far as is known.
    bounds: Vec<u32>,
    /// References to be followed, those of an object above its own address with [`LEAVE`].
    todo: Vec<NonNull<Object>>,
    /// What is to be a candidate again.
    again: Vec<NonNull<Object>>,
    outcome: Result<(), Unknown>,
}

/// All that an object refers to has been followed. Added to its address, of which the lowest bits are 0.
const LEAVE: usize = 1;

fn push<T>(list: &mut Vec<T>, item: T) -> Result<(), Full> {
    if list.len() == list.capacity() {
        aside(|| list.try_reserve(1)).map_err(|_| Full)?;
    }
    list.push(item);
    Ok(())
}

impl<M: Memory> Survey<'_, '_, M> {
    fn all(&mut self) -> Result<(), Unknown> {
        let candidates = self.cycles.candidates_with_room();
        let mut cursor = candidates.all();
        while let Some(object) = candidates.next(&mut cursor) {
            // SAFETY: in the set, so by MEMBERS alive.
            let header = unsafe { header(object) };
            if header.word().state() == CountState::Local {
                self.from(object)?;
            } else {
                // It is never garbage.
                candidates.remove(object);
                header.set_word(header.word().unbuffered());
            }
        }
        Ok(())
    }

    fn from(&mut self, candidate: NonNull<Object>) -> Result<(), Unknown> {
        self.follow(candidate)?;
        while let Some(next) = self.todo.pop() {
            if next.addr().get() & LEAVE == 0 {
                self.reference(next)?;
            } else {
                self.leave(next.map_addr(|address| NonZero::new(address.get() - LEAVE).unwrap_or(address)))?;
            }
        }
        Ok(())
    }

    fn reference(&mut self, child: NonNull<Object>) -> Result<(), Unknown> {
        // SAFETY: what a live object refers to is of its thread and not freed; no code of the program has run since it was found.
        if unsafe { self.foreign.has(child) } {
            return Ok(());
        }
        // SAFETY: as above.
        let word = unsafe { header(child) }.word();
        if word.is_over() || !word.is_cyclic() || word.state() != CountState::Local {
            return Ok(());
        }
        if word.colour() != Colour::None {
            return Err(Unknown);
        }
        let ledger = self.cycles.ledger();
        let entry = if word.may_be_on_ledger() { ledger.entries.borrow().get(&child).copied() } else { None };
        match entry {
            Some(entry) if entry.place & OPEN != 0 => {
                let place = entry.place & !OPEN;
                self.open[place as usize].inner += 1;
                // All from there on lead to each other.
                while self.bounds.last().is_some_and(|bound| *bound > place) {
                    self.bounds.pop();
                }
                Ok(())
            }
            Some(entry) if ledger.is_held(entry) => {
                // SAFETY: alive: `word` is that of an object that is not over.
                unsafe { ledger.compare(child) };
                Ok(())
            }
            _ => self.follow(child),
        }
    }

    /// Opens an object, and finds its references.
    fn follow(&mut self, object: NonNull<Object>) -> Result<(), Unknown> {
        let cycles = self.cycles;
        let place = u32::try_from(self.open.len()).ok().filter(|place| *place < ALONE).ok_or(Unknown)?;
        let leave = object.map_addr(|address| address | LEAVE);
        push(&mut self.todo, leave)?;
        push(&mut self.bounds, place)?;
        aside(|| self.again.try_reserve(self.open.len() + 1)).map_err(|_| Unknown)?;
        let mut entries = cycles.ledger().entries.borrow_mut();
        aside(|| entries.try_reserve(1)).map_err(|_| Unknown)?;
        // SAFETY: alive, as what refers to it is, or by MEMBERS as a candidate.
        let header = unsafe { header(object) };
        let word = header.word();
        let was_candidate = word.is_buffered() && !entries.contains_key(&object);
        push(&mut self.open, Open { object, inner: 0, was_candidate })?;
        if was_candidate {
            cycles.candidates_with_room().remove(object);
        }
        entries.insert(object, Entry { place: OPEN | place, seen: 0 });
        header.set_word(word.on_ledger());
        drop(entries);

        let mut look = Surveying { todo: &mut self.todo, number: cycles.ledger().number.get(), outcome: Ok(()) };
        let mut tracer = Tracer::look(&mut look, 0, usize::MAX);
        // SAFETY: an object of this type, alive and whole. Nobody has borrowed it mutably: then it is on no list, and nothing leads to it.
        unsafe { (header.info().trace)(object, &mut tracer) }
        let slots = tracer.cursor();
        drop(tracer);
        self.meter.searched(slots as u64 + 1);
        // SAFETY: alive.
        for attachment in unsafe { self.pending.attachments().of(object) }.into_iter().flatten() {
            // SAFETY: alive by HOSTS.
            unsafe { look.reference(attachment, ATTACHED) }
        }
        look.outcome
    }

    /// All that an object leads to has been followed. If nothing of that leads back beyond it, its group is whole.
    fn leave(&mut self, object: NonNull<Object>) -> Result<(), Unknown> {
        let ledger = self.cycles.ledger();
        let mut entries = ledger.entries.borrow_mut();
        let place = entries.get(&object).ok_or(Unknown)?.place & !OPEN;
        let first = place as usize;
        if self.bounds.last() != Some(&place) {
            // What it was found through is of its group.
            self.open[first].inner += 1;
            return Ok(());
        }
        self.bounds.pop();
        let mut groups = ledger.groups.borrow_mut();
        let group = &self.open[first..];
        let mut held = 0;
        for Open { object, inner, .. } in group {
            // SAFETY: by LEDGER not freed.
            held += i64::from(unsafe { header(*object) }.word().count()) - i64::from(*inner);
        }
        let place = if let [Open { inner: 0, .. }] = group {
            ALONE
        } else {
            let place = u32::try_from(groups.len()).ok().filter(|place| *place < ALONE).ok_or(Unknown)?;
            push(&mut groups, held)?;
            place
        };
        for Open { object, .. } in group {
            // SAFETY: by LEDGER not freed.
            let header = unsafe { header(*object) };
            if held > 0 {
                entries.insert(*object, Entry { place, seen: header.word().count() });
            } else {
                entries.remove(object);
                header.set_word(header.word().unbuffered());
            }
        }
        if held <= 0 {
            // One of them leads a trial to all.
            self.again.push(object);
        }
        self.open.truncate(first);
        Ok(())
    }
}

/// Also on the way out of a `trace` that panicked.
impl<M> Drop for Survey<'_, '_, M> {
    fn drop(&mut self) {
        let (cycles, ledger) = (self.cycles, self.cycles.ledger());
        match self.outcome {
            Ok(()) => ledger.succeeded(),
            Err(Unknown) => ledger.failed(),
        }
        for Open { object, was_candidate, .. } in &self.open {
            // The panic hook may have struck it off, or given up the last reference to it.
            if ledger.entries.borrow_mut().remove(object).is_some() {
                // SAFETY: by LEDGER not freed.
                let header = unsafe { header(*object) };
                header.set_word(header.word().unbuffered());
                if *was_candidate {
                    self.again.push(*object);
                }
            }
        }
        for object in &self.again {
            // SAFETY: not freed, as nothing is while this is going on.
            let word = unsafe { header(*object) }.word();
            if !word.is_dead() && word.is_armed() && !word.is_buffered() {
                // SAFETY: alive and armed, and of this mutator as it was a candidate or led to by one.
                unsafe { cycles.suspect(*object) }
            }
        }
    }
}

/// Notes the references of an object.
struct Surveying<'a> {
    todo: &'a mut Vec<NonNull<Object>>,
    number: u32,
    outcome: Result<(), Unknown>,
}

impl Look for Surveying<'_> {
    unsafe fn reference(&mut self, child: NonNull<Object>, _: usize) {
        if push(self.todo, child).is_err() {
            self.outcome = Err(Unknown);
        }
    }

    fn watches(&self) -> u32 {
        self.number
    }

    fn unwatched(&mut self) {
        self.outcome = Err(Unknown);
    }

    fn unfilled(&mut self) {
        self.outcome = Err(Unknown);
    }

    fn busy(&mut self) {
        self.outcome = Err(Unknown);
    }
}
