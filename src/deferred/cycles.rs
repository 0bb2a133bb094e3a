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
//! 6. *Seek*: if one of them has a finalizer, they are *spared*: all weak references to any of them are cleared, the finalizers are queued, each with
//!    a reference to its object, and the trial ends. When finalizers have given these up, their objects are candidates again.
//! 7. *Condemn*: they are taken apart as dead objects are, and last their memory is freed.
//!
//! Counts are never touched by a trial, so it can be left at any point and given up at any point. What it notes stands in spare bits of
//! the headers (`object`), save references from within beyond 126 to one object, which stand in a map, and the list of members.
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

use core::cell::{Cell, RefCell};
use core::hash::{BuildHasherDefault, Hasher};
use core::ptr::NonNull;
use std::collections::HashMap;

use crate::aside::aside;

use super::attached::Attachment;
use super::budget::Meter;
use super::candidates::{Candidates, Cursor, spread};
use super::ledger::Ledger;
use super::list::{Full, List};
use super::object::{Colour, CountState, MOST_INNER, OLDEST, Object, Word};
use super::pace::{Due, Pace};
use super::pending::{Memory, Pending, WHOLE, counted_bytes, header};
use super::trace::{ATTACHED, Look, Slots, Tracer};

/// What stands for the inner references of a condemned object that was given up: it is never freed.
pub(super) const ABANDONED: u32 = MOST_INNER;

/// The same of one that has been taken apart: nothing is left of its value.
pub(super) const TAKEN_APART: u32 = 1;

/// How often a recount may find members in use, or be disturbed, before the trial is given up.
const MOST_ROUNDS: u32 = 3;

/// The candidates of which a probe begins, at most.
pub(super) const PROBED: usize = 64;

/// The members with which a probe is given up.
const MOST_PROBED: usize = 1024;

/// Where a trial stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// There is none.
    Idle,
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
    /// Is there a finalizer?
    Seek,
    /// There is.
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
    /// How many of either were given up: what they suspected was in use, or could not be looked at in one step, or there was no memory for the
    /// list of members, or a probe led to many objects.
    pub given_up: u64,
    /// Objects that were looked at, candidates and what they lead to: each time that one was.
    pub members: u64,
    /// Objects found to be garbage, which counting references alone would not have freed.
    pub garbage: u64,
    /// Candidates forgotten because there was no memory to list them: garbage cycles of theirs may be overlooked.
    pub forgotten: u64,
}

/// The search for garbage cycles among the objects of one mutator.
///
/// Invariant MEMBERS: an object whose colour is not `None`, or that is held, stands in `members` or, if it is black, in `waiting`, once; and what
/// stands there is one or the other, so its memory is not freed, save what a sweep has left behind ([`Phase::Sweep`]). An object is in the set of candidates exactly if it is buffered and its
/// colour is `None` and it is not on the ledger.
#[derive(Debug)]
pub(crate) struct Cycles {
    candidates: Candidates,
    ledger: Ledger,
    phase: Cell<Phase>,
    level: Cell<u8>,
    /// The trial is a probe.
    probing: Cell<bool>,
    members: RefCell<List>,
    /// Candidates for which there was no room: members of the trial to come.
    waiting: RefCell<List>,
    /// Members found in use, whose references are still to be followed.
    in_use: RefCell<List>,
    /// References from within to objects that have at least [`MOST_INNER`].
    inner: RefCell<HashMap<usize, u32, BuildHasherDefault<Addresses>>>,
    /// In Gather, how far.
    gathered: Cell<Cursor>,
    at: Cell<usize>,
    kept: Cell<usize>,
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
    /// A `trace` has panicked since the trial began.
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

#[derive(Debug, Default)]
pub(super) struct Addresses(u64);

impl Hasher for Addresses {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_usize(&mut self, address: usize) {
        // The map takes the lowest bits, of which the addresses of large objects leave many 0.
        self.0 = spread(address).rotate_left(32);
    }
}

impl Cycles {
    /// `None` if there is no memory.
    pub(crate) fn new() -> Option<Cycles> {
        Some(Cycles {
            candidates: Candidates::new()?,
            ledger: Ledger::default(),
            phase: Cell::new(Phase::Idle),
            level: Cell::new(0),
            probing: Cell::new(false),
            members: RefCell::default(),
            waiting: RefCell::default(),
            in_use: RefCell::default(),
            inner: RefCell::default(),
            gathered: Cell::default(),
            at: Cell::new(0),
            kept: Cell::new(0),
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

    /// How many candidates there are.
    pub(crate) fn candidates(&self) -> usize {
        self.candidates.len() + self.waiting.borrow().len()
    }

    /// Those of them for which there is room.
    pub(super) fn candidates_with_room(&self) -> &Candidates {
        &self.candidates
    }

    pub(super) fn has_waiting(&self) -> bool {
        self.waiting.borrow().len() > 0
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The mutator has gone: no safepoint comes any more at which something could be looked for.
    pub(crate) fn mutator_gone(&self) {
        self.ledger.keep();
    }

    /// A search has left candidates that it could not look at. Each release of them is to be told from now on: no other may come.
    pub(crate) fn arm_candidates(&self) {
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

    /// Whether an object may be condemned.
    pub(super) fn has_condemned(&self) -> bool {
        self.has_garbage() || self.phase.get() == Phase::Condemn
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
    pub(crate) fn pay(&self, bytes: u64) -> bool {
        if self.is_trying() {
            self.pace.earn(bytes);
            return true;
        }
        let due = self.pace.wait(bytes);
        if due == Due::Nothing || self.phase.get() != Phase::Idle || self.candidates() == 0 {
            return false;
        }
        if due == Due::Probe {
            self.probe();
            return true;
        }
        // Those that wait are members of the next trial whatever their age. One that went no further than to the young would find them
        // in use by what they are garbage with, and they would wait again, older.
        let is_overdue = self.waiting.borrow().len() > 0;
        self.begin(if is_overdue { OLDEST } else { level_of(self.trials.get().begun) });
        true
    }

    /// Begins a trial, of the level that is next, if there is none and there are candidates.
    pub(crate) fn begin_if_possible(&self) {
        if self.phase.get() == Phase::Idle && self.candidates() > 0 {
            self.begin(level_of(self.trials.get().begun));
        }
    }

    /// So many units were worked off, in a search of whatever kind.
    pub(super) fn spent(&self, units: u64) {
        if !self.probing.get() {
            self.pace.spent(units);
        }
    }

    /// The units that are paid for, which may be worked off now.
    pub(crate) fn due(&self) -> u64 {
        if self.is_trying() { self.pace.spend() } else { 0 }
    }

    // ---- what the program does ----

    /// A reference to an armed object was given up, and others are left.
    ///
    /// # Safety
    /// 1. `object` is alive, armed, and of the mutator that this belongs to.
    #[inline(always)]
    pub(super) unsafe fn suspect(&self, object: NonNull<Object>) {
        // SAFETY: alive (1).
        let header = unsafe { header(object) };
        let word = header.word();
        if word.is_on_no_list() && self.candidates.add_next(object) {
            self.news.set(self.news.get() + 1);
            return header.set_word(word.buffered());
        }
        // SAFETY: handed on (1).
        unsafe { self.suspect_loudly(object) }
    }

    /// The rest of `suspect`: a member of a trial, or on the ledger, or room has to be made.
    ///
    /// # Safety
    /// 1. As for `suspect`.
    #[cold]
    #[inline(never)]
    unsafe fn suspect_loudly(&self, object: NonNull<Object>) {
        // SAFETY: alive (1).
        let header = unsafe { header(object) };
        let word = header.word();
        if word.may_be_on_ledger() {
            // SAFETY: alive (1).
            if unsafe { self.ledger.released(object) } {
                return;
            }
            if !self.ledger.remove(object) {
                // It is a candidate that was left.
                self.news.set(self.news.get() + 1);
                return header.set_word(word.buffered());
            }
        }
        self.news.set(self.news.get() + 1);
        self.touched(word);
        header.set_word(word.buffered());
        if word.colour() == Colour::None {
            // SAFETY: handed on (1); not in the set.
            unsafe { self.enter(object) };
        }
    }

    /// Enters an object, which is buffered, in the set. What has to make room for it becomes a member: of the trial that is
    /// under way if that is still following references for the first time, and no probe, or else of the next.
    ///
    /// # Safety
    /// 1. `object` is alive, and not in the set.
    unsafe fn enter(&self, object: NonNull<Object>) {
        let Some(other) = self.candidates.add(object) else { return };
        let joins = match self.phase.get() {
            _ if self.probing.get() => false,
            Phase::Admit | Phase::Gather => true,
            // The list is being used only if a `trace` has panicked just now, and the panic hook has come here.
            Phase::Mark => !self.verifying.get() && self.members.try_borrow_mut().is_ok(),
            _ => false,
        };
        let (list, colour) = if joins { (&self.members, Colour::Grey) } else { (&self.waiting, Colour::Black) };
        // SAFETY: it was in the set, so by MEMBERS it is alive.
        let header = unsafe { header(other) };
        let word = header.word();
        header.set_word(match list.borrow_mut().push(other) {
            Ok(()) => {
                // Those before `admit` are counted there.
                let is_counted = joins && self.phase.get() != Phase::Admit;
                self.count(|trials| trials.members += u64::from(is_counted));
                word.grey(0).with_colour(colour)
            }
            // The next release of it makes it a candidate again.
            Err(Full) => {
                self.count(|trials| trials.forgotten += 1);
                word.unbuffered()
            }
        });
    }

    /// Something is done to a live object that is not done to garbage.
    fn touched(&self, word: Word) {
        if self.verifying.get() && word.colour() == Colour::Grey {
            self.disturbed.set(true);
        }
    }

    /// Somebody is about to change a slot of an object.
    ///
    /// # Safety
    /// 1. `object` is alive and of the mutator that this belongs to.
    pub(crate) unsafe fn change(&self, object: NonNull<Object>) {
        // SAFETY: alive (1).
        let header = unsafe { header(object) };
        let word = header.word();
        self.touched(word);
        if word.colour() == Colour::Grey {
            header.set_word(word.with_colour(Colour::Black));
        } else if word.may_be_on_ledger() {
            self.ledger.make_void();
        }
    }

    /// Somebody has borrowed an object, to which there is one reference, mutably. It must not be looked at until that reference is used
    /// again, so it is neither followed any more nor a candidate. What is in use now is no garbage; when it becomes some, another
    /// release tells.
    ///
    /// # Safety
    /// 1. As for `change`.
    pub(crate) unsafe fn borrow(&self, object: NonNull<Object>) {
        // SAFETY: handed on (1).
        unsafe { self.change(object) };
        // SAFETY: handed on (1): it is struck off as if it died.
        unsafe { self.strike_off(object) };
    }

    /// Takes a reference to an object that somebody knows of without having one. False if it is garbage that has been found.
    ///
    /// # Safety
    /// 1. `object` has not died, and is of the mutator that this belongs to.
    pub(crate) unsafe fn revive(&self, object: NonNull<Object>) -> bool {
        // SAFETY: alive, or not freed (1).
        let header = unsafe { header(object) };
        let word = header.word();
        if word.colour() == Colour::Condemned || self.is_found(word) {
            return false;
        }
        self.touched(word);
        header.retain();
        true
    }

    /// Whether an object that has not died was found to be garbage, and is not condemned yet.
    pub(crate) fn is_found(&self, word: Word) -> bool {
        let is_decided = match self.phase.get() {
            Phase::Sweep { next } | Phase::Trim { next } => next == Next::Condemn,
            phase => matches!(phase, Phase::Seek | Phase::Spare | Phase::Condemn),
        };
        is_decided && word.colour() == Colour::Grey
    }

    /// Whether an object that has not died may be part of what a trial has proven to be garbage, or counts on having nobody take a reference to: whoever
    /// finds it by other means than references must leave it alone.
    pub(crate) fn may_be_proven(&self, word: Word) -> bool {
        self.verifying.get() && word.colour() == Colour::Grey || self.is_found(word)
    }

    /// A cell is being changed that was to tell a recount of this number, of this search or another one.
    pub(crate) fn disturb(&self, recount: u32) {
        // What an earlier one has seen may have been found in use since.
        if recount == self.recount.get() {
            self.disturbed.set(true);
        }
        self.ledger.disturb(recount);
    }

    /// An object dies. Returns what its header is from now on, save that it is not queued yet.
    ///
    /// # Safety
    /// 1. The last reference to `object`, of the mutator that this belongs to, was just given up.
    #[inline(always)]
    pub(crate) unsafe fn strike_off(&self, object: NonNull<Object>) -> Word {
        // SAFETY: dead and not freed (1).
        let header = unsafe { header(object) };
        let word = header.word();
        if word.is_simply_candidate() {
            self.candidates.remove(object);
        } else if !word.is_buffered() {
            return word;
        } else {
            self.strike_off_loudly(object, word);
        }
        let word = word.unbuffered();
        header.set_word(word);
        word
    }

    /// The rest of `strike_off`: a candidate that is a member of a trial, or on the ledger, or may be.
    #[cold]
    #[inline(never)]
    fn strike_off_loudly(&self, object: NonNull<Object>, word: Word) {
        let was_on_ledger = word.may_be_on_ledger() && self.ledger.remove(object);
        if word.colour() == Colour::None && !was_on_ledger {
            self.candidates.remove(object);
        }
    }

    /// A member has died.
    pub(super) fn member_died(&self, word: Word) {
        // If it was one of those that wait, the next trial frees it.
        self.news.set(self.news.get() + 1);
        self.touched(word);
    }

    // ---- what a check of the whole heap looks at ----

    /// The objects in the set of candidates.
    pub(crate) fn each_candidate(&self, visit: &mut dyn FnMut(NonNull<Object>)) {
        self.candidates.each(visit);
    }

    /// Members that are garbage and not on the queue, save the one in the drain's hand. `visit` is told from which slot on an object owns its
    /// references.
    pub(super) fn each_dead(
        &self,
        in_hand: Option<NonNull<Object>>,
        visit: &mut dyn FnMut(NonNull<Object>, Option<usize>),
    ) {
        let phase = self.phase.get();
        // A sweep moves those that remain together. What it has passed and left behind them stands there for nothing, and may be freed.
        let left_behind = match phase {
            Phase::Sweep { .. } => self.kept.get()..self.at.get(),
            Phase::Trim { .. } => self.kept.get()..usize::MAX,
            _ => 0..0,
        };
        for (list, left_behind) in [(&self.members, left_behind), (&self.waiting, 0..0)] {
            let list = list.borrow();
            for index in (0..list.len()).filter(|index| !left_behind.contains(index)) {
                let object = list.get(index);
                // SAFETY: by MEMBERS not freed.
                let word = unsafe { header(object) }.word();
                let is_apart = phase == Phase::HandOver || phase == Phase::TakeApart && index < self.at.get();
                if word.is_husk() {
                    visit(object, None);
                } else if is_condemned(word) && word.inner() != ABANDONED && in_hand != Some(object) {
                    visit(object, (!is_apart).then_some(0));
                }
            }
        }
    }

    // ---- what the drain does ----

    /// The next member to be taken apart.
    pub(super) fn next_garbage(&self) -> Option<NonNull<Object>> {
        if self.phase.get() != Phase::TakeApart {
            return None;
        }
        let members = self.members.borrow();
        while self.at.get() < members.len() {
            let object = members.get(self.at.get());
            self.at.set(self.at.get() + 1);
            // SAFETY: by MEMBERS not freed.
            if is_condemned(unsafe { header(object) }.word()) {
                return Some(object);
            }
        }
        self.phase.set(Phase::HandOver);
        None
    }

    /// The next member of which nothing is left but the memory; it is one no more. None of them is in hand.
    pub(super) fn next_taken_apart(&self) -> Option<NonNull<Object>> {
        if self.phase.get() != Phase::HandOver {
            return None;
        }
        loop {
            let object = self.members.borrow_mut().pop();
            let Some(object) = object else {
                self.members.take();
                self.phase.set(Phase::Idle);
                return None;
            };
            // SAFETY: by MEMBERS not freed.
            let header = unsafe { header(object) };
            let word = header.word();
            if word.is_dead() {
                header.set_word(word.let_go());
                if word.is_husk() {
                    return Some(object);
                }
            } else if word.colour() == Colour::Condemned {
                if word.inner() != ABANDONED {
                    header.set_word(word.dead(0).husk());
                    return Some(object);
                }
            } else {
                // SAFETY: alive, and just taken from the list.
                unsafe { self.leave(object) };
            }
        }
    }

    // ---- the trial ----

    /// Begins a trial of candidates of at most this age. None is under way.
    pub(super) fn begin(&self, level: u8) {
        debug_assert!(self.phase.get() == Phase::Idle);
        if level == OLDEST {
            self.news.set(0);
        }
        self.start(level, false);
        self.at.set(0);
        self.members.swap(&self.waiting);
        self.phase.set(Phase::Admit);
        self.count(|trials| trials.begun += 1);
    }

    /// Begins a probe: a trial of a few young candidates, of which those that wait know nothing. None is under way.
    fn probe(&self) {
        debug_assert!(self.phase.get() == Phase::Idle);
        self.start(0, true);
        self.begin_gathering();
        self.count(|trials| trials.probes += 1);
    }

    fn start(&self, level: u8, probing: bool) {
        self.level.set(level);
        self.probing.set(probing);
        self.verifying.set(false);
        self.panicked.set(false);
        self.round.set(0);
        self.pace.begin(self.trials.get(), probing);
    }

    fn begin_gathering(&self) {
        self.enter_phase(Phase::Gather);
        self.gathered.set(self.candidates.all());
    }

    /// Gives up a trial that is looking at what the program may have changed meanwhile.
    pub(super) fn abandon(&self) {
        if matches!(self.phase.get(), Phase::Admit | Phase::Gather | Phase::Mark | Phase::Scan | Phase::Check) {
            self.in_use.take();
            self.fail();
        }
    }

    /// Gives up what a trial has found out, also a proof: finalizers are taken off objects of whatever kind, with no last reference to any given
    /// up, and let the program have what their objects refer to.
    ///
    /// What is condemned, or about to be when no member has a finalizer, stays so: no other object leads there. And where members are being
    /// spared, all of them are.
    pub(super) fn doubt(&self) {
        self.abandon();
        match self.phase.get() {
            Phase::Sweep { .. } => self.phase.set(Phase::Sweep { next: Next::GiveUp }),
            Phase::Trim { .. } => self.phase.set(Phase::Trim { next: Next::GiveUp }),
            Phase::Seek => self.fail(),
            _ => {}
        }
        // For nothing but that.
        self.news.set(self.news.get() + 1);
    }

    /// The program goes on, and may change what was looked at.
    pub(super) fn interrupt(&self) {
        self.at_once.set(false);
    }

    /// Works on the trial for as long as `meter` admits, or until it is over or has come to garbage.
    ///
    /// # Safety
    /// 1. The objects of this mutator came from `memory`.
    pub(super) unsafe fn advance<M: Memory>(&self, pending: &Pending, memory: &M, meter: &mut Meter) {
        while meter.admits() {
            match self.phase.get() {
                Phase::Idle | Phase::TakeApart | Phase::HandOver => return,
                Phase::Admit => self.admit(meter),
                Phase::Gather => self.gather(meter),
                Phase::Mark => {
                    if self.at.get() == 0 && self.hand.get().is_none() {
                        if self.verifying.get() && self.unwatched.get() && meter.units > 0 && meter.is_limited() {
                            // It must be done in one step, so it gets all of one.
                            meter.exhaust();
                            return;
                        }
                        self.at_once.set(true);
                        self.unwatched.set(false);
                    }
                    self.mark(pending, memory, meter);
                }
                Phase::Scan => self.scan(pending, memory, meter),
                // SAFETY: 1.
                Phase::Sweep { next } => unsafe { self.sweep(pending, memory, meter, next) },
                Phase::Trim { next } => {
                    meter.searched(1);
                    if self.members.borrow_mut().trim(self.kept.get()) {
                        self.after_sweep(pending, next);
                    }
                }
                Phase::Check => self.check(pending, meter),
                Phase::Seek => self.seek(pending, meter),
                Phase::Spare => self.spare(pending, meter),
                Phase::Condemn => self.condemn(pending, meter),
                // SAFETY: 1.
                Phase::GiveUp => unsafe { self.give_up(pending, memory, meter) },
            }
        }
    }

    fn enter_phase(&self, phase: Phase) {
        debug_assert!(self.hand.get().is_none());
        self.at.set(0);
        self.kept.set(0);
        self.phase.set(phase);
    }

    fn fail(&self) {
        self.put_down();
        if self.verifying.replace(false) && self.disturbed.get() && !self.panicked.get() {
            // The program was at it: there may be something the next time.
            self.news.set(self.news.get() + 1);
        }
        self.count(|trials| trials.given_up += 1);
        self.enter_phase(Phase::GiveUp);
    }

    /// One of those that waited.
    fn admit(&self, meter: &mut Meter) {
        meter.searched(1);
        let members = self.members.borrow();
        if self.at.get() == members.len() {
            drop(members);
            return self.begin_gathering();
        }
        // SAFETY: by MEMBERS not freed.
        let header = unsafe { header(members.get(self.at.get())) };
        self.at.set(self.at.get() + 1);
        let word = header.word();
        self.count(|trials| trials.members += 1);
        // One that was borrowed since is no candidate any more.
        if !word.is_dead() && word.is_buffered() {
            header.set_word(word.grey(0).armed());
        }
    }

    /// One candidate.
    fn gather(&self, meter: &mut Meter) {
        let is_full = self.probing.get() && self.members.borrow().len() >= PROBED;
        let mut gathered = self.gathered.get();
        let next = if is_full { None } else { self.candidates.next(&mut gathered) };
        let Some(object) = next else { return self.enter_phase(Phase::Mark) };
        self.gathered.set(gathered);
        meter.searched(1);
        // SAFETY: in the set, so by MEMBERS alive.
        let header = unsafe { header(object) };
        let word = header.word();
        if word.age() > self.level.get() {
            return;
        }
        if self.members.borrow_mut().push(object).is_err() {
            return self.fail();
        }
        self.candidates.remove(object);
        header.set_word(word.grey(0).armed());
        self.count(|trials| trials.members += 1);
    }

    /// The member in hand, or else the next; `None` at the end.
    fn next_member(&self, meter: &mut Meter) -> Option<NonNull<Object>> {
        if let Some(object) = self.hand.get() {
            // SAFETY: by MEMBERS not freed.
            if is_grey(unsafe { header(object) }.word()) {
                return Some(object);
            }
            self.put_down();
        }
        let members = self.members.borrow();
        let object = (self.at.get() < members.len()).then(|| members.get(self.at.get()))?;
        self.at.set(self.at.get() + 1);
        meter.searched(1);
        Some(object)
    }

    fn put_down(&self) {
        self.hand.set(None);
        self.cursor.set(0);
    }

    /// Follows references of a member. True if all of them have been. Those to its attachments come with the last slot.
    ///
    /// A panic of its `trace` passes through, and leaves the member black, and a candidate: if it is garbage, no release will tell of it
    /// again.
    fn follow(&self, pending: &Pending, object: NonNull<Object>, look: &mut dyn Look, meter: &mut Meter) -> bool {
        self.hand.set(Some(object));
        // SAFETY: by MEMBERS not freed, and the caller has seen that it is alive.
        let header = unsafe { header(object) };
        let info = header.info();
        let from = self.cursor.get();
        let left = match info.slots {
            Slots::Fixed(slots) if slots <= WHOLE => WHOLE,
            _ => meter.units_now(),
        };
        struct Panicked<'a>(&'a Cycles, &'a Object);
        impl Drop for Panicked<'_> {
            fn drop(&mut self) {
                self.0.disturbed.set(true);
                self.0.at_once.set(false);
                self.0.panicked.set(true);
                let word = self.1.word();
                // The panic hook may have given up the last reference to it.
                if !word.is_dead() {
                    self.1.set_word(word.with_colour(Colour::Black).buffered());
                }
                self.0.put_down();
            }
        }
        let guard = Panicked(self, header);
        let mut tracer = Tracer::look(look, from, left);
        // SAFETY: an object of this type, alive and whole. Nobody has borrowed it mutably: `Ref::get_mut` makes it black.
        unsafe { (info.trace)(object, &mut tracer) }
        let (cut, cursor) = (tracer.is_cut(), tracer.cursor());
        drop(tracer);
        core::mem::forget(guard);
        meter.searched((cursor - from) as u64);
        self.cursor.set(cursor);
        if !cut {
            self.put_down();
            // SAFETY: by MEMBERS not freed.
            for attachment in unsafe { pending.attachments().of(object) }.into_iter().flatten() {
                // SAFETY: alive by HOSTS.
                unsafe { look.reference(attachment, ATTACHED) }
            }
        }
        !cut
    }

    /// Counts the references of one member, or some of them.
    fn mark<M: Memory>(&self, pending: &Pending, memory: &M, meter: &mut Meter) {
        let Some(object) = self.next_member(meter) else {
            self.enter_phase(Phase::Scan);
            self.found_in_use.set(0);
            return;
        };
        // SAFETY: by MEMBERS not freed.
        let header = unsafe { header(object) };
        if !is_grey(header.word()) {
            return;
        }
        let mut look = Marking {
            cycles: self,
            members: &mut self.members.borrow_mut(),
            foreign: Foreign::among(pending, memory),
            busy: false,
            failed: false,
        };
        self.follow(pending, object, &mut look, meter);
        let Marking { members, busy, failed, .. } = look;
        let is_too_much = self.probing.get() && members.len() > MOST_PROBED;
        if busy {
            self.put_down();
            self.disturbed.set(true);
            // It is no member any more, and some of its references may have been counted as if it were one.
            self.at_once.set(false);
            header.set_word(header.word().with_colour(Colour::Black));
        }
        if failed || is_too_much {
            self.fail();
        }
    }

    fn inner(&self, object: NonNull<Object>, word: Word) -> u32 {
        match word.inner() {
            MOST_INNER => self.inner.borrow().get(&object.addr().get()).copied().unwrap_or(MOST_INNER),
            inner => inner,
        }
    }

    /// Whether something besides members refers to a grey object.
    fn is_in_use(&self, object: NonNull<Object>, word: Word) -> bool {
        word.state() != CountState::Local || word.count() > self.inner(object, word)
    }

    /// An object is found in use. It is no candidate any more if the trial is one of all and it was gathered, and not told of
    /// since.
    ///
    /// Nothing is overlooked. What was garbage when the candidates were gathered is not touched, so what is found of it is
    /// true: it is in use by other garbage at most, which a candidate leads to that is tried with it, or which is dead and will give it up. What became
    /// garbage after that has lost its last reference from outside since, and the object that lost it is a candidate that is
    /// kept. (A reference that is moved into the garbage is not the last: what it was moved through is referred to as well.)
    fn found_in_use(&self, word: Word) -> Word {
        let word = word.with_inner(0);
        if self.level.get() == OLDEST && !self.verifying.get() && word.is_armed() { word.unbuffered() } else { word }
    }

    /// Looks at one member: whether it is in use; or follows the references of one that is.
    fn scan<M: Memory>(&self, pending: &Pending, memory: &M, meter: &mut Meter) {
        let mut in_use = self.in_use.borrow_mut();
        let object = match self.hand.get() {
            Some(object) => object,
            None => match in_use.pop() {
                Some(object) => {
                    meter.searched(1);
                    object
                }
                None => {
                    let members = self.members.borrow();
                    if self.at.get() == members.len() {
                        drop((members, in_use));
                        return self.after_scan();
                    }
                    let object = members.get(self.at.get());
                    self.at.set(self.at.get() + 1);
                    meter.searched(1);
                    // SAFETY: by MEMBERS not freed.
                    let header = unsafe { header(object) };
                    let word = header.word();
                    if !is_grey(word) || !self.is_in_use(object, word) {
                        return;
                    }
                    header.set_word(self.found_in_use(word));
                    object
                }
            },
        };
        // SAFETY: by MEMBERS not freed.
        let header = unsafe { header(object) };
        if !is_grey(header.word()) {
            return self.put_down();
        }
        let mut look = Scanning {
            cycles: self,
            in_use: &mut in_use,
            foreign: Foreign::among(pending, memory),
            busy: false,
            failed: false,
        };
        let done = self.follow(pending, object, &mut look, meter);
        let Scanning { busy, failed, .. } = look;
        if done || busy {
            self.put_down();
            self.found_in_use.set(self.found_in_use.get() + 1);
            let word = header.word().with_colour(Colour::Black);
            header.set_word(if self.probing.get() { word } else { word.older() });
        }
        drop(in_use);
        if failed {
            self.in_use.take();
            self.fail();
        }
    }

    fn after_scan(&self) {
        let exact = self.at_once.get();
        let next = if exact {
            Next::Condemn
        } else if !self.verifying.get() {
            Next::Recount
        } else if self.unwatched.get() {
            return self.fail();
        } else if self.found_in_use.get() == 0 && !self.disturbed.get() {
            Next::Check
        } else {
            // What the program touches is in use, so another round finds it, and what it leads to, to be so. Garbage beside it stays.
            self.round.set(self.round.get() + 1);
            if self.round.get() == MOST_ROUNDS {
                return self.fail();
            }
            Next::Recount
        };
        if next != Next::Check {
            self.disturbed.set(false);
            self.next_number();
        }
        self.verifying.set(true);
        self.enter_phase(Phase::Sweep { next });
    }

    /// One member.
    ///
    /// # Safety
    /// 1. As for `advance`.
    unsafe fn sweep<M: Memory>(&self, pending: &Pending, memory: &M, meter: &mut Meter, next: Next) {
        let mut members = self.members.borrow_mut();
        if self.at.get() == members.len() {
            self.phase.set(Phase::Trim { next });
            return;
        }
        let object = members.get(self.at.get());
        self.at.set(self.at.get() + 1);
        meter.searched(1);
        // SAFETY: by MEMBERS not freed.
        let header = unsafe { header(object) };
        let word = header.word();
        if is_grey(word) {
            members.set(self.kept.get(), object);
            self.kept.set(self.kept.get() + 1);
            let word = if next == Next::Recount { word.with_inner(0) } else { word };
            header.set_word(word.armed());
            return;
        }
        drop(members);
        // SAFETY: 1; it is not kept.
        unsafe { self.dismiss(pending, memory, object, meter) }
    }

    fn after_sweep(&self, pending: &Pending, next: Next) {
        if self.kept.get() == 0 {
            self.verifying.set(false);
            self.end(Phase::Idle);
            return;
        }
        self.enter_phase(match next {
            Next::Recount => {
                self.inner.borrow_mut().clear();
                Phase::Mark
            }
            Next::Check => Phase::Check,
            Next::Condemn => Cycles::after_proof(pending),
            Next::GiveUp => return self.fail(),
        });
    }

    /// The members are garbage.
    fn after_proof(pending: &Pending) -> Phase {
        if pending.attachments().finalizers() > 0 { Phase::Seek } else { Phase::Condemn }
    }

    fn end(&self, phase: Phase) {
        self.inner.borrow_mut().clear();
        self.in_use.take();
        if phase == Phase::Idle {
            self.members.take();
        }
        self.pace.end(self.trials.get(), self.probing.get());
        self.enter_phase(phase);
    }

    /// Looks at one member for the last time.
    fn check(&self, pending: &Pending, meter: &mut Meter) {
        let members = self.members.borrow();
        if self.disturbed.get() {
            drop(members);
            return self.fail();
        }
        if self.at.get() == members.len() {
            drop(members);
            return self.enter_phase(Cycles::after_proof(pending));
        }
        let object = members.get(self.at.get());
        self.at.set(self.at.get() + 1);
        meter.searched(1);
        // SAFETY: by MEMBERS not freed.
        let word = unsafe { header(object) }.word();
        if !is_grey(word) || word.state() != CountState::Local || word.count() != self.inner(object, word) {
            self.disturbed.set(true);
        }
    }

    /// The next member of those that were proven to be garbage; `None` at the end.
    fn next_proven(&self, meter: &mut Meter) -> Option<NonNull<Object>> {
        self.verifying.set(false);
        let members = self.members.borrow();
        let object = (self.at.get() < members.len()).then(|| members.get(self.at.get()))?;
        self.at.set(self.at.get() + 1);
        meter.searched(1);
        Some(object)
    }

    /// Looks for a finalizer at one member.
    fn seek(&self, pending: &Pending, meter: &mut Meter) {
        let Some(object) = self.next_proven(meter) else { return self.enter_phase(Phase::Condemn) };
        // SAFETY: by MEMBERS not freed.
        let word = unsafe { header(object) }.word();
        // SAFETY: by MEMBERS not freed.
        if is_grey(word) && unsafe { pending.attachments().of(object) }[Attachment::Finalizer as usize].is_some() {
            self.enter_phase(Phase::Spare);
        }
    }

    /// Parts one member from its attachments, and queues its finalizer. None of them is due before all are: what a finalizer reaches has no weak
    /// references any more.
    fn spare(&self, pending: &Pending, meter: &mut Meter) {
        let Some(object) = self.next_proven(meter) else {
            pending.attachments().all_found();
            // Without the finalizers they are garbage still.
            self.news.set(self.news.get() + 1);
            return self.enter_phase(Phase::GiveUp);
        };
        // SAFETY: by MEMBERS not freed.
        let header = unsafe { header(object) };
        if !is_grey(header.word()) {
            return;
        }
        // SAFETY: by MEMBERS of this mutator; alive.
        unsafe { pending.spare(object) };
        // Not tried in vain.
        header.set_word(header.word().with_colour(Colour::Black));
    }

    /// Condemns one member.
    fn condemn(&self, pending: &Pending, meter: &mut Meter) {
        let Some(object) = self.next_proven(meter) else { return self.end(Phase::TakeApart) };
        // SAFETY: by MEMBERS not freed.
        let header = unsafe { header(object) };
        if !is_grey(header.word()) {
            return;
        }
        // SAFETY: by MEMBERS of this mutator; alive.
        let finalizer = unsafe { pending.part(object) };
        debug_assert!(finalizer.is_none(), "what has a finalizer is spared, and nobody can give it one since");
        let word = header.word();
        // Uncounted, so that what refers to it from within can be given up like any reference.
        header.set_word(word.with_count(0).with_colour(Colour::Condemned).with_inner(0));
        // SAFETY: of its own type, whole.
        let bytes = unsafe { counted_bytes(header.info(), object) };
        pending.queued.set(pending.queued.get().plus(bytes));
        self.count(|trials| trials.garbage += 1);
    }

    /// One member leaves the trial.
    ///
    /// # Safety
    /// 1. As for `advance`.
    unsafe fn give_up<M: Memory>(&self, pending: &Pending, memory: &M, meter: &mut Meter) {
        let object = self.members.borrow_mut().pop();
        let Some(object) = object else { return self.end(Phase::Idle) };
        meter.searched(1);
        // SAFETY: by MEMBERS not freed.
        let header = unsafe { header(object) };
        if is_grey(header.word()) && !self.probing.get() {
            // Tried in vain, so tried less often.
            header.set_word(header.word().older());
        }
        // SAFETY: 1; just taken from the list.
        unsafe { self.dismiss(pending, memory, object, meter) }
    }

    /// A member leaves the trial. A husk is freed.
    ///
    /// # Safety
    /// 1. As for `advance`.
    /// 2. `object` was a member, and is in the list no more.
    unsafe fn dismiss<M: Memory>(&self, pending: &Pending, memory: &M, object: NonNull<Object>, meter: &mut Meter) {
        // SAFETY: by MEMBERS not freed until now (2).
        let header = unsafe { header(object) };
        let word = header.word();
        if !word.is_dead() {
            // SAFETY: alive; 2.
            return unsafe { self.leave(object) };
        }
        header.set_word(word.let_go());
        if word.is_husk() {
            // SAFETY: 1; 2.
            unsafe { pending.free_husk(memory, object, meter) };
        }
    }

    /// # Safety
    /// 1. `object` is alive, was a member, and is in the list no more.
    unsafe fn leave(&self, object: NonNull<Object>) {
        // SAFETY: alive (1).
        let header = unsafe { header(object) };
        let word = header.word().out_of_trial(header.info().flags);
        if word.is_buffered() {
            header.set_word(word.buffered());
            // SAFETY: alive, and not in the set, as it was a member (1).
            unsafe { self.enter(object) };
        } else {
            header.set_word(word);
        }
    }
}

/// Which level a trial is of: of four in a row one is of the next.
fn level_of(number: u64) -> u8 {
    ((number + 1).trailing_zeros() / 2).min(u32::from(OLDEST)) as u8
}

fn is_grey(word: Word) -> bool {
    !word.is_dead() && word.colour() == Colour::Grey
}

pub(super) fn is_condemned(word: Word) -> bool {
    !word.is_dead() && word.colour() == Colour::Condemned
}

/// Which objects are another mutator's: they are in use, whatever this trial thinks, and their headers are not its own.
pub(super) struct Foreign<'a, M>(Option<&'a M>);

impl<'a, M: Memory> Foreign<'a, M> {
    pub(super) fn among(pending: &Pending, memory: &'a M) -> Foreign<'a, M> {
        Foreign((!pending.is_alone()).then_some(memory))
    }

    /// # Safety
    /// 1. `object` is an object of this thread whose memory has not been freed.
    #[inline(always)]
    pub(super) unsafe fn has(&self, object: NonNull<Object>) -> bool {
        // SAFETY: handed on (1).
        self.0.is_some_and(|memory| !unsafe { memory.owns(object) })
    }
}

/// Counts references between members. In the first round, what is referred to becomes one.
struct Marking<'a, M> {
    cycles: &'a Cycles,
    members: &'a mut List,
    foreign: Foreign<'a, M>,
    busy: bool,
    failed: bool,
}

impl<M: Memory> Look for Marking<'_, M> {
    unsafe fn reference(&mut self, child: NonNull<Object>, _: usize) {
        let cycles = self.cycles;
        // SAFETY: not freed (1).
        let header = unsafe { header(child) };
        let word = header.word();
        match word.colour() {
            // SAFETY: not freed (1), and what a live object refers to is of its thread.
            _ if unsafe { self.foreign.has(child) } => {}
            Colour::Grey => {
                let inner = word.inner();
                if inner + 1 < MOST_INNER {
                    header.set_word(word.with_inner(inner + 1));
                    return;
                }
                let mut map = cycles.inner.borrow_mut();
                if aside(|| map.try_reserve(1)).is_err() {
                    self.failed = true;
                    return;
                }
                *map.entry(child.addr().get()).or_insert(inner) += 1;
                header.set_word(word.with_inner(MOST_INNER));
            }
            Colour::None
                if !cycles.verifying.get()
                    && word.is_cyclic()
                    && word.age() <= cycles.level.get()
                    && word.state() == CountState::Local =>
            {
                if word.may_be_on_ledger() && cycles.ledger.holds(child) {
                    // It is in use, and so is what it leads to.
                    return;
                }
                if self.members.push(child).is_err() {
                    self.failed = true;
                    return;
                }
                cycles.count(|trials| trials.members += 1);
                if word.may_be_on_ledger() && cycles.ledger.remove(child) {
                    return header.set_word(word.unbuffered().grey(1));
                }
                if word.is_buffered() {
                    cycles.candidates.remove(child);
                }
                // A candidate came to be one after the others were gathered, and stays one.
                header.set_word(word.grey(1));
            }
            _ => {}
        }
    }

    fn watches(&self) -> u32 {
        if self.cycles.verifying.get() { self.cycles.recount.get() } else { 0 }
    }

    fn unwatched(&mut self) {
        self.cycles.unwatched.set(true);
    }

    fn busy(&mut self) {
        self.busy = true;
    }
}

/// Finds members that one in use refers to.
struct Scanning<'a, M> {
    cycles: &'a Cycles,
    in_use: &'a mut List,
    foreign: Foreign<'a, M>,
    busy: bool,
    failed: bool,
}

impl<M: Memory> Look for Scanning<'_, M> {
    unsafe fn reference(&mut self, child: NonNull<Object>, _: usize) {
        // SAFETY: not freed (1).
        let header = unsafe { header(child) };
        let word = header.word();
        // One that nothing within refers to is in use anyway, or found already.
        // SAFETY: not freed (1), and what a live object refers to is of its thread.
        if word.colour() != Colour::Grey || word.inner() == 0 || unsafe { self.foreign.has(child) } {
            return;
        }
        match self.in_use.push(child) {
            Ok(()) => header.set_word(self.cycles.found_in_use(word)),
            Err(Full) => self.failed = true,
        }
    }

    fn watches(&self) -> u32 {
        0
    }

    fn unwatched(&mut self) {}

    fn busy(&mut self) {
        self.busy = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::hash::BuildHasher;
    use std::collections::HashSet;

    #[test]
    fn objects_that_lie_far_apart_get_places_of_their_own() {
        for apart in [16, 1 << 10, 1 << 16, 1 << 20] {
            let hash = |number| BuildHasherDefault::<Addresses>::default().hash_one(number * apart);
            let places: HashSet<u64> = (0..4096usize).map(|number| hash(number) % 4096).collect();
            assert!(places.len() > 2_000, "{apart}: {}", places.len());
        }
    }
}
