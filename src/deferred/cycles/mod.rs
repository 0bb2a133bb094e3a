//! Garbage cycles: found by trial deletion, in steps, while the program runs.
//!
//! # The trial
//! An object of which a reference was given up and others are left is a *candidate* (D. F. Bacon and V. T. Rajan, *Concurrent Cycle
//! Collection in Reference Counted Systems*, ECOOP 2001): when an object becomes part of garbage that counts alone do not free,
//! its last outside reference was given up, or one to an object that leads to it. A *trial* looks for garbage among what candidates
//! lead to:
//!
//! 1. *Gather*: the candidates become *grey*, members of the trial.
//! 2. *Mark*: from each member all references are followed. What they lead to becomes a member too, and each reference between members
//!    counts as an *inner* one.
//! 3. *Scan*: a member with more references than inner ones is in use, and so is all that it leads to: *black*.
//! 4. *Sweep*: black members leave the trial. The grey ones are suspected to be garbage.
//! 5. *Recount* (Mark and Scan again, among these alone) and *Check*, unless Mark and Scan happened in one step and no member was borrowed
//!    to be changed. They are garbage.
//! 6. *Seek*: members that have a finalizer are *spared*, and all that they lead to: when all are known, their weak references are cleared, the finalizers are
//!    queued, each with a reference to its object, and they leave the trial. The finalizers are due when it ends; when they have given these up, their objects are candidates again.
//!    What remains is not led to by any of them.
//! 7. *Condemn*: they are taken apart as dead objects are, and last their memory is freed.
//!
//! Counts are never touched by a trial, so it can be left at any point and given up at any point. What it notes stands in spare bits of
//! the headers (`object`), save references from within beyond 126 to one object, which stand in a map, and the list of members.
//!
//! # Memory
//! The list of members is at most a byte for each live object, or 512 KiB; so is the list of those found in use that are still to be followed, and
//! that of candidates that wait. A trial with more members is *wide*: each of its phases walks through the heap ([`Memory::walk_on`]) and finds them by their colour, a page at a
//! time; the list only serves to follow references, from the last found on. A member for which there is no room there *waits* until the walk comes
//! by, and if it has passed there is another walk. Room for those of a page is there from the beginning, so that a trial gets on without any memory: only members
//! with more references from within than a header holds need some, and count as in use if there is none. When few enough are left, they are listed again.
//!
//! In a heap where each step of a walk [looks at all pages](Memory::LOOKS_AT_ALL_PAGES) a list takes as many as there is memory for, and a trial is wide only
//! if there is none.
//!
//! A page is looked at in one go: 4,096 headers at most. Two of them count for a unit, and 32 units for the page, and they are paid for before the next
//! page is looked at.
//!
//! # Why it is right while the program runs
//! Steps 1 to 4 are a guess: the program changes references between steps, and a reference that moves may be counted
//! twice, or not at all. Only what follows decides. Let *S* be the grey members when the recount begins. The recount follows the
//! references of each member of S and counts those that lead to S; then *Scan* compares, for each, the count with the inner
//! references, and *Check* does so once more. Of S, the crate is told of
//!
//! - each change to a slot of a member that was followed ([`cell`](crate::cell), [`raw::changing`](crate::raw::changing),
//!   `Ref::get_mut`);
//! - each reference to a member that is given up (members are armed).
//!
//! If it is told of any, the recount begins anew with what is still suspected, a few times, and then the trial is given up. Suppose it was not
//! told, and every comparison found the numbers equal. Let *t* be the moment
//! between Scan and Check. Slots of members are at *t* what they were when they were followed, so the inner references of a
//! member at *t* are those counted. Its count was equal to that number when Scan looked and when Check looked; in between no
//! reference was given up, so none was taken either, and it was equal at *t*. So at *t* every reference to a member of S
//! comes from a member of S: nothing outside leads there, neither a variable of the program nor another object. Garbage is never
//! touched again, hence it is garbage from *t* on.
//!
//! Where the types have cells that do not tell (of the standard library), the recount and the scan must happen in one step: then nothing
//! can change meanwhile, and Check is not needed. If S is too large for that it is given up, until a collection
//! without a budget.
//!
//! Nothing is overlooked: see `Scan` on when an object ceases to be a candidate.
//!
//! # Age
//! What a trial finds in use becomes older by one, up to 3. A trial has a *level*, and goes no further than to objects of that
//! age: what they lead to is not looked at, and counts as in use. Three of four trials are of level 0, of the rest again three of four
//! of level 1, and so on. So the young, who die most, are tried most often and at the least cost, and a structure that
//! lives is tried as often as every 64th time.
//!
//! A *probe* is a small trial of level 0, between others when those find nothing ([`Pace`]). Nobody gets older by it.

mod addresses;
mod follow;
mod garbage;
mod look;
mod members;
mod program;
mod sweep;
mod trial;

use core::cell::{Cell, RefCell};
use core::hash::BuildHasherDefault;
use core::ptr::NonNull;
use std::collections::HashMap;

use super::candidates::{Candidates, Cursor};
use super::ledger::Ledger;
use super::list::List;
use super::object::{Colour, MOST_INNER, OLDEST, Object, Word};
use super::pace::{Due, InUse, Kind, Pace};
use super::pending::{Memory, Place, header};
use crate::aside::aside;

pub(super) use addresses::Addresses;
pub(super) use look::Foreign;
use trial::level_of;

/// What stands for the inner references of a condemned object that was given up: it is never freed.
pub(super) const ABANDONED: u32 = MOST_INNER;

/// The same of one that has been taken apart: nothing is left of its value.
pub(super) const TAKEN_APART: u32 = 1;

/// How often a recount may find members in use, or be disturbed, before the trial is given up.
const MOST_ROUNDS: u32 = 3;

/// The candidates of which a probe begins, at most.
pub(super) const PROBED: usize = 64;

/// What a list takes at least, if there is memory: 512 KiB.
const LEAST_ROOM: usize = 1 << 16;

/// The objects of a page, at most: the smallest that the engine has, 64 KiB, in the smallest blocks.
const MOST_IN_PAGE: usize = 1 << 12;

/// Blocks in a walk, at which it looks to find members, that count for a unit.
const LOOKS_PER_UNIT: u64 = 2;

/// What it takes to find a page and what is free in it: 1 to 2 us.
const UNITS_PER_PAGE: u64 = 32;

/// Members, in the memory of which nothing else is left, that go with it for a unit: the system may take that back, which takes 20 us for 4,096.
const TRIMMED_PER_UNIT: usize = 4;

/// The members with which a probe is given up.
const MOST_PROBED: usize = 1024;

/// Where a trial stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// There is none.
    Idle,
    /// Those that waited stand in `members`, from the last: what has died is freed, and the others wait again.
    Tidy,
    /// Of those that wait, members now, the ones before `at` are done.
    Admit,
    /// Candidates become members.
    Gather,
    /// Of the members, those before `at` are done.
    Mark,
    Scan,
    /// Those that remain are moved together at `kept`.
    Sweep {
        next: Next,
    },
    /// What is behind `kept` is dropped.
    Trim {
        next: Next,
    },
    Check,
    /// What has a finalizer is to be spared, and what it leads to: it becomes black. `kept` counts them.
    Seek,
    /// All members are spared, as it is not known where some lead: a `trace` has panicked.
    Spare,
    Condemn,
    /// All members leave the trial, from the last.
    GiveUp,
    /// The drain takes the members apart. This and the next are last, so that one comparison tells them.
    TakeApart,
    /// The drain queues them to be freed, from the last.
    HandOver,
}

/// What follows a sweep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    Recount,
    Check,
    Seek,
    Condemn,
    /// What was found out holds no more.
    GiveUp,
}

/// What the search for garbage cycles has come to since the mutator was attached
/// ([`Metrics::trials`](crate::Metrics::trials)).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Trials {
    /// How many trials were begun, probes apart.
    pub begun: u64,
    /// How many probes were begun: trials of a few young objects, between those, to see whether garbage comes together.
    pub probes: u64,
    /// How many of either were given up: what they suspected was in use, or could not be looked at in one step, or a probe led to many objects; or the
    /// heap cannot be walked ([`ErrorKind::EngineMismatch`](crate::ErrorKind::EngineMismatch)), and there was no memory for the list of members.
    pub given_up: u64,
    /// Objects that were looked at, candidates and what they lead to: each time that one was.
    pub members: u64,
    /// Objects found to be garbage, which counting references alone would not have freed.
    pub garbage: u64,
    /// Candidates forgotten because the heap cannot be walked, as the engine is not as this crate knows it
    /// ([`ErrorKind::EngineMismatch`](crate::ErrorKind::EngineMismatch)): garbage cycles of theirs may be overlooked. If there was no memory to list
    /// them, or because a search could not find again what it had looked at. After that there is none any more, for this mutator.
    pub forgotten: u64,
}

/// The search for garbage cycles among the objects of one mutator.
///
/// Invariant MEMBERS: an object whose colour is not `None`, or that is held, stands in `members` or, if it is black or dead and waits, in `waiting`, once (or, while those are tidied, in
/// either); and what
/// stands there is one or the other, so its memory is not freed, save what a sweep has left behind ([`Phase::Sweep`]). Where the trial is wide there may be members that do not stand in `members`, and
/// what does is one of them; and so many as `unlisted` says wait and do not stand in `waiting`. What stands in `page` is a member. An object is in the set of candidates exactly if it is buffered and its
/// colour is `None` and it is not on the ledger.
#[derive(Debug)]
pub(crate) struct Cycles {
    candidates: Candidates,
    ledger: Ledger,
    phase: Cell<Phase>,
    level: Cell<u8>,
    /// What the trial is.
    kind: Cell<Kind>,
    members: RefCell<List>,
    /// Candidates for which there was no room: members of the trial to come.
    waiting: RefCell<List>,
    /// How many of those are not listed there.
    unlisted: Cell<u64>,
    /// Members found in use, whose references are still to be followed.
    in_use: RefCell<List>,
    /// References from within to objects that have at least [`MOST_INNER`].
    inner: RefCell<HashMap<usize, u32, BuildHasherDefault<Addresses>>>,
    /// There was no memory for that map, so that something may be found in use which is not.
    uncounted: Cell<bool>,
    /// In Gather, how far.
    gathered: Cell<Cursor>,
    at: Cell<usize>,
    kept: Cell<usize>,
    /// Some members are not on the list: a phase walks through the objects for them, with `page` for those of a page.
    wide: Cell<bool>,
    walk: Cell<Option<Place>>,
    page: RefCell<Vec<NonNull<Object>>>,
    /// Units that the last page has cost, or the last chunk of a list, and that are not paid yet.
    owed: Cell<u64>,
    /// Since this walk began some were found that it may have passed; where there is no walk, that the phase has passed.
    again: Cell<bool>,
    /// Some cannot be found, and there are no trials any more.
    is_lost: Cell<bool>,
    /// Nothing of the phase has been done.
    fresh: Cell<bool>,
    /// Walks are not paid for: under stress each step is one unit, and all of them are to be reached.
    is_stressed: Cell<bool>,
    /// Objects on each list, at most.
    room: Cell<usize>,
    /// Whether members that no list takes can be found by a walk.
    can_walk: Cell<bool>,
    /// The member whose references are being followed, and how many have been.
    hand: Cell<Option<NonNull<Object>>>,
    cursor: Cell<usize>,
    /// The members are suspected, and what touches them disturbs.
    verifying: Cell<bool>,
    disturbed: Cell<bool>,
    /// Among what was followed are cells that do not tell.
    unwatched: Cell<bool>,
    /// No code of the program has run since the trial, or its recount, began.
    at_once: Cell<bool>,
    /// A `trace` has panicked since the trial began, or since all garbage was asked for.
    panicked: Cell<bool>,
    /// Members that this round found in use.
    found_in_use: Cell<u64>,
    round: Cell<u32>,
    /// The number of the recount: never 0.
    recount: Cell<u32>,
    /// Candidates since the last trial that took all of them.
    news: Cell<u64>,
    trials: Cell<Trials>,
    pace: Pace,
}

impl Cycles {
    /// `None` if there is no memory.
    pub(crate) fn new() -> Option<Cycles> {
        let mut page = Vec::new();
        aside(|| page.try_reserve_exact(MOST_IN_PAGE)).ok()?;
        Some(Cycles {
            candidates: Candidates::new()?,
            ledger: Ledger::default(),
            phase: Cell::new(Phase::Idle),
            level: Cell::new(0),
            kind: Cell::new(Kind::Trial),
            members: RefCell::default(),
            waiting: RefCell::default(),
            unlisted: Cell::new(0),
            in_use: RefCell::default(),
            inner: RefCell::default(),
            uncounted: Cell::new(false),
            gathered: Cell::default(),
            at: Cell::new(0),
            kept: Cell::new(0),
            wide: Cell::new(false),
            walk: Cell::new(None),
            page: RefCell::new(page),
            owed: Cell::new(0),
            again: Cell::new(false),
            is_lost: Cell::new(false),
            fresh: Cell::new(false),
            is_stressed: Cell::new(false),
            room: Cell::new(usize::MAX),
            can_walk: Cell::new(false),
            hand: Cell::new(None),
            cursor: Cell::new(0),
            verifying: Cell::new(false),
            disturbed: Cell::new(false),
            unwatched: Cell::new(false),
            at_once: Cell::new(false),
            panicked: Cell::new(false),
            found_in_use: Cell::new(0),
            round: Cell::new(0),
            recount: Cell::new(1),
            news: Cell::new(0),
            trials: Cell::default(),
            pace: Pace::new(),
        })
    }

    pub(crate) fn trials(&self) -> Trials {
        self.trials.get()
    }

    /// How many candidates there are to be tried.
    pub(crate) fn candidates(&self) -> usize {
        if self.is_lost.get() {
            return 0;
        }
        self.candidates.len() + self.waiting.borrow().len() + self.unlisted.get() as usize
    }

    /// Whether members of a trial could not be found again. Then there is none any more.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost.get()
    }

    /// Those of them for which there is room.
    pub(super) fn candidates_with_room(&self) -> &Candidates {
        &self.candidates
    }

    pub(super) fn has_waiting(&self) -> bool {
        self.waiting.borrow().len() > 0 || self.unlisted.get() > 0
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The mutator has gone: no safepoint comes any more at which something could be looked for.
    pub(crate) fn mutator_gone(&self) {
        self.ledger.keep();
    }

    /// A search has left candidates that it could not look at. Each release of them is to be told from now on: no other may come.
    ///
    /// # Safety
    /// 1. The objects of this mutator came from `memory`.
    pub(crate) unsafe fn arm_candidates<M: Memory>(&self, memory: &M) {
        let arm = |object: NonNull<Object>| {
            // SAFETY: on a list, so by MEMBERS not freed.
            let header = unsafe { header(object) };
            if !header.word().is_dead() {
                header.set_word(header.word().armed());
            }
        };
        self.candidates.each(&mut { arm });
        let waiting = self.waiting.borrow();
        (0..waiting.len()).for_each(|at| arm(waiting.get(at)));
        let mut place = (self.unlisted.get() > 0).then(Place::default);
        while let Some(from) = place {
            let visit = |object: NonNull<Object>| {
                // SAFETY: not freed, as the walk says.
                if unsafe { header(object) }.word().is_member_to_be() {
                    arm(object);
                }
            };
            // SAFETY: 1; a collection that has called what has this mutator go frees nothing just now.
            place = unsafe { memory.walk_on(from, visit) }.ok().and_then(|(next, _)| next);
        }
    }

    /// There are so many live objects. A list takes an eighth of them, so a byte for each; or none more than `under_stress`. Where a page is
    /// found by looking at all of them it takes as many as there is memory for.
    pub(crate) fn suit<M: Memory>(&self, memory: &M, live: u64, under_stress: Option<usize>) {
        let eighth = if M::LOOKS_AT_ALL_PAGES { usize::MAX } else { LEAST_ROOM.max(live as usize / 8) };
        let can_walk = memory.can_be_walked();
        self.room.set(if can_walk { under_stress.unwrap_or(eighth) } else { usize::MAX });
        self.can_walk.set(can_walk);
        self.is_stressed.set(under_stress.is_some());
    }

    /// Whether members that no list takes may be found by a walk. A probe is too small for that.
    fn may_walk(&self) -> bool {
        self.can_walk.get() && !self.is_probing()
    }

    /// A number with which cells can tell of changes: not 0, and no other's.
    pub(super) fn next_number(&self) -> u32 {
        self.recount.set(self.recount.get().checked_add(1).unwrap_or(1));
        self.recount.get()
    }

    /// Whether a trial is under way that has not come to garbage yet.
    pub(crate) fn is_trying(&self) -> bool {
        !matches!(self.phase.get(), Phase::Idle | Phase::TakeApart | Phase::HandOver)
    }

    /// Whether the trial that is under way, or was last, is a probe.
    fn is_probing(&self) -> bool {
        self.kind.get() == Kind::Probe
    }

    /// Whether a search of all candidates has something left to do.
    pub(crate) fn has_more(&self) -> bool {
        self.is_trying() || self.is_worth_a_trial(false)
    }

    /// Whether a search without a budget could find something, or free what a trial holds.
    pub(crate) fn is_worthwhile(&self) -> bool {
        self.is_trying() || self.candidates() > 0
    }

    /// Whether a trial of all candidates could find something: none is under way, and there are candidates that the last one did not have, or
    /// `anew` any.
    pub(super) fn is_worth_a_trial(&self, anew: bool) -> bool {
        self.phase.get() == Phase::Idle && (anew || self.news.get() > 0) && self.candidates() > 0
    }

    /// Whether a trial is under way in which a `trace` has panicked.
    pub(super) fn has_panicked(&self) -> bool {
        self.panicked.get() && self.is_trying()
    }

    /// A step begins that all garbage is asked of. What has panicked in an earlier one need not panic in this one.
    pub(crate) fn forget_panic(&self) {
        self.panicked.set(false);
    }

    /// Whether an object may be condemned.
    pub(super) fn has_condemned(&self) -> bool {
        self.has_garbage() || self.phase.get() == Phase::Condemn || self.is_lost.get()
    }

    /// Whether there is garbage that has been found and not yet freed.
    #[inline(always)]
    pub(super) fn has_garbage(&self) -> bool {
        matches!(self.phase.get(), Phase::TakeApart | Phase::HandOver)
    }

    fn count(&self, change: impl FnOnce(&mut Trials)) {
        let mut trials = self.trials.get();
        change(&mut trials);
        self.trials.set(trials);
    }

    // ---- pacing ----

    /// So many bytes were allocated. Begins a trial if one is due, and says whether the next safepoint has something to do.
    pub(crate) fn pay(&self, bytes: u64, in_use: impl FnOnce() -> InUse) -> bool {
        if self.is_trying() {
            self.pace.earn(bytes);
            if self.kind.get() != Kind::Trial {
                self.pace.pass(bytes);
            }
            return true;
        }
        self.pace.pass(bytes);
        if self.phase.get() != Phase::Idle || self.candidates() == 0 {
            return false;
        }
        let Some(due) = self.pace.due(|| self.waiting_on_list(), in_use) else { return false };
        match due {
            Due::Tidying => self.tidy(),
            Due::Probe => self.probe(),
            Due::TrialOfAll => self.begin(OLDEST),
            // Those that wait are members of the next trial whatever their age. One that went no further than to the young would find them
            // in use by what they are garbage with, and they would wait again, older.
            Due::Trial if self.has_waiting() => self.begin(OLDEST),
            Due::Trial => self.begin(level_of(self.trials.get().begun)),
        }
        true
    }

    /// Begins a trial, of the level that is next, if there is none and there are candidates.
    pub(crate) fn begin_if_possible(&self) {
        if self.phase.get() == Phase::Idle && self.candidates() > 0 {
            self.begin(level_of(self.trials.get().begun));
        }
    }

    /// A step has ended.
    #[inline(always)]
    pub(crate) fn stepped(&self, in_use: impl FnOnce() -> InUse) {
        if self.phase.get() == Phase::Idle {
            self.pace.searched(in_use);
        }
    }

    /// How many wait, if all of them are on the list.
    fn waiting_on_list(&self) -> Option<usize> {
        (self.unlisted.get() == 0).then(|| self.waiting.borrow().len())
    }

    /// So many units were worked off, in a search of whatever kind.
    pub(super) fn spent(&self, units: u64) {
        if self.kind.get() == Kind::Trial {
            self.pace.spent(units);
        }
    }

    /// The units that are paid for, which may be worked off now.
    pub(crate) fn due(&self) -> u64 {
        if self.is_trying() { self.pace.spend() } else { 0 }
    }
}

fn is_grey(word: Word) -> bool {
    !word.is_dead() && word.colour() == Colour::Grey
}

pub(super) fn is_condemned(word: Word) -> bool {
    !word.is_dead() && word.colour() == Colour::Condemned
}

fn is_abandoned(word: Word) -> bool {
    is_condemned(word) && word.inner() == ABANDONED
}
