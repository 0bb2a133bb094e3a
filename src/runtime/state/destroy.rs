//! The end of a state together with all that lies in its heap.
//!
//! In this order: what can be asked at once; the proof that nothing outside refers to an object ([`Reach`]); until then nothing has
//! changed, and the state can go on. Then nothing is allocated or freed any more, all objects are doomed, handlers go, and objects give
//! up what they have elsewhere. All of that is code of the user's, and none of it can reach an object of this state: what it could reach
//! one through would have been counted. Last, the engine frees the pages.

use core::any::Any;
use core::cell::Cell;
use core::ptr::NonNull;

use crate::aside::aside;
use crate::deferred::{Object, Reach, Verdict, drop_residue, some_type_has_residue};
use crate::error::{Error, ErrorKind};
use crate::fallible;
use crate::heartbeat;
use crate::runtime::destroy::{Destroyed, Residues};
use crate::runtime::mutator::Mutator;
use crate::runtime::thread;
use crate::runtime::walk::unwalkable;

use super::{Outcome, State};

/// Why nothing outside refers to what goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::runtime) enum Proof {
    /// It is looked for.
    ToBeFound,
    /// The caller knows.
    Given(Residues),
}

fn in_use(by: &'static str) -> Error {
    Error::new(ErrorKind::InUse, by)
}

impl State {
    /// Ends the state and frees its heap, after at most so many finalizers have run. On an error everything is as it was, save for what these
    /// have done.
    ///
    /// # Safety
    /// 1. `state` is on this thread's list and attached, and unless there is an error the caller does not use it afterwards.
    /// 2. If the proof is given: nobody uses or frees an object or a raw block of it again, or uses or drops a handle of its heap, save
    ///    objects that go.
    pub(in crate::runtime) unsafe fn destroy(
        state: NonNull<State>,
        proof: Proof,
        finalizers: u64,
    ) -> Result<(Destroyed, Option<Box<dyn Any + Send>>), Error> {
        // SAFETY: alive (1).
        let this = unsafe { state.as_ref() };
        this.can_end_here()?;
        let visits = match proof {
            Proof::ToBeFound => {
                if this.cycles().is_lost() {
                    return Err(Error::new(
                        ErrorKind::EngineMismatch,
                        "a search for garbage cycles could not walk through the heap, and has left objects of which nobody can say who refers to them: detach the mutator, or destroy it unchecked",
                    ));
                }
                this.is_shared_with_nobody()?;
                let visits = this.is_unreached()?;
                if finalizers > 0 && this.pending.attachments().finalizers_in_all() > 0 {
                    if this.is_within() {
                        return Err(in_use(
                            "there are finalizers, and these do not run within code that the crate has called, also for another mutator: destroy the mutator elsewhere, or without finalizers",
                        ));
                    }
                    // SAFETY: alive (1).
                    let mutator = unsafe { Mutator::borrowed(state) };
                    // SAFETY: just proven.
                    unsafe { this.pending.all_are_garbage(finalizers) }.map_err(|_| fallible::out_of_memory())?;
                    this.run_finalizers(&mutator, finalizers);
                    // What they have taken out is in use now.
                    this.is_shared_with_nobody()?;
                    this.is_unreached()?
                } else {
                    visits
                }
            }
            Proof::Given(Residues::Drop) if some_type_has_residue() || !this.pending.is_alone() => {
                // Before anything is done, that it can be.
                this.visit_objects(|_| ())?;
                true
            }
            Proof::Given(_) => false,
        };
        let (live, pending, block_bytes) = (this.live(), this.pending.tally(), this.blocks());
        this.pending.set_held(true);
        let mut residues = 0;
        if visits {
            // What follows is code of the user's. It must not take any of them up.
            // SAFETY: of this state, and nothing but what goes with them refers to them (2).
            this.visit_again(|object| unsafe { this.pending.doom(object) });
        }
        this.drop_handlers();
        this.close_requests();
        this.guarded(|| drop(this.observer.take()));
        if visits {
            this.visit_again(|object| {
                // SAFETY: of this state; what runs has been caught and is over.
                residues += u64::from(unsafe { this.take_leave_of(object) });
            });
        }
        this.pending.all_freed(this.allocated.get());
        this.note_freed(this.blocks());
        this.attached.set(false);
        thread::find_current();
        heartbeat::detach_thread();
        this.show(0);
        let panic = this.take_parked_panic();
        // SAFETY: not used afterwards (1); of its objects, blocks and handles nothing is (2).
        let State { heap, shared, display, .. } = *unsafe { State::unlist(this) };
        shared.roster.leave(display);
        aside(|| {
            let is_walled = heap.wall().is_some();
            // SAFETY: nobody uses a block of it again, or is freeing one: so it was found, or (2).
            unsafe { heap.destroy() }
            if !is_walled {
                shared.pool.forgo();
            }
        });
        Ok((Destroyed { live, pending, block_bytes, residues }, panic))
    }

    fn can_end_here(&self) -> Result<(), Error> {
        if !self.heap.is_own() {
            return Err(unwalkable(&self.heap));
        }
        if self.is_collecting() || self.polling.get() || self.pins.get() > 0 {
            return Err(in_use(
                "a mutator cannot be destroyed by code that it has called: a handler, or a Drop within a step",
            ));
        }
        if self.parked.borrow().is_some() {
            return Err(in_use(
                "a panic of a handler or a Drop was kept, and would be lost: reach a safepoint before destroying the mutator",
            ));
        }
        if !self.left.are_gone() {
            return Err(Error::new(
                ErrorKind::NotAlone,
                "the heap holds blocks that earlier mutators have left, which other threads may use and free: detach the mutator instead",
            ));
        }
        Ok(())
    }

    fn is_shared_with_nobody(&self) -> Result<(), Error> {
        if !self.elsewhere.is_alone() {
            return Err(Error::new(
                ErrorKind::NotAlone,
                "other threads may free blocks of the mutator: drop all RemoteFree handles of it before destroying it",
            ));
        }
        if self.handles.get() > 0 {
            return Err(in_use(
                "there are handles of the heap: drop all containers that lie in it, also those that objects have, before destroying the mutator; or detach it",
            ));
        }
        Ok(())
    }

    /// That nothing outside refers to an object. Whether any of them has something to give up elsewhere.
    fn is_unreached(&self) -> Result<bool, Error> {
        let mut reach = Reach::new(&self.pending, &self.heap);
        let mut panicked = false;
        loop {
            self.visit_objects(|object| {
                if !panicked {
                    // SAFETY: in the heap, so of this queue; no collection is running.
                    panicked = self.caught(|| unsafe { reach.pass(object) }) == Outcome::Panicked;
                }
            })?;
            if panicked {
                break;
            }
            // SAFETY: no collection is running.
            unsafe { reach.pass_due() };
            if !reach.begins_anew() {
                break;
            }
        }
        if panicked {
            return Err(in_use(
                "a trace has panicked, so that nobody knows what refers to what; the panic comes out of the next safepoint",
            ));
        }
        match reach.verdict() {
            Verdict::Unreached => Ok(reach.have_something_elsewhere()),
            Verdict::Reached => Err(in_use(
                "something outside refers to objects of the mutator: drop all handles to them, those too that its handlers, skipped fields of its objects and other mutators' objects have; or detach the mutator",
            )),
            Verdict::Uncounted => Err(in_use(
                "there are immortal or sticky objects, of which nobody counts who refers to them: detach the mutator, or destroy it unchecked",
            )),
            Verdict::NoMemory => Err(fallible::out_of_memory()),
        }
    }

    /// As [`visit_objects`](State::visit_objects), which has been through all of them before.
    fn visit_again(&self, visit: impl FnMut(NonNull<Object>)) {
        let again = self.visit_objects(visit);
        debug_assert!(again.is_ok(), "nothing was allocated since");
    }

    /// Has an object give up what is not in this heap. True if there was anything besides references.
    ///
    /// # Safety
    /// 1. `object` is this state's and doomed, or dead. Done once, and its value is not used again.
    unsafe fn take_leave_of(&self, object: NonNull<Object>) -> bool {
        // SAFETY: of this queue (1), and nothing is being collected, though it looks so to code of the user's.
        let Some(from) = (unsafe { self.pending.remains(object) }) else { return false };
        let from = Cell::new(from);
        loop {
            let before = from.get();
            // SAFETY: its value is there, save for these slots; once, or as the last call has left it (1).
            let outcome = self.guarded(|| unsafe { self.pending.give_up_foreign(&self.heap, object, &from) });
            // What a release has called may panic as often as there are references; a `trace`, without end.
            if outcome == Outcome::Returned || from.get() == before {
                break;
            }
        }
        let mut had_any = true;
        // SAFETY: its value is there, and not used again (1).
        self.guarded(|| had_any = unsafe { drop_residue(object) });
        had_any
    }
}
