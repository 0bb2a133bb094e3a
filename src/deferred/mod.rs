//! Bounded freeing: counts, the pending queue, the drain and its pacing. A pure algorithm: nothing here knows the
//! engine, so all of it runs and is tested on any allocator (see [`Memory`]).
//!
//! An object whose last reference goes is not torn down. It is pushed on the [`Pending`] queue, which needs no memory of
//! its own (the dead object's header holds the link), and a *drain* works the queue off under a [`Budget`]: visit a slot,
//! count its referent down, and once all slots are done free the object. Nothing recurses; an object is left and resumed
//! in the middle of its slots.

mod attached;
mod budget;
mod candidates;
mod cycles;
mod impls;
mod kind;
mod ledger;
mod list;
mod object;
mod pace;
mod pacer;
mod pending;
mod quick;
mod reach;
mod size;
mod trace;

pub use budget::{Budget, Progress, Stop, Tally};
pub use cycles::Trials;
pub use kind::{Managed, TypeInfo, TypeKey};
pub use object::{COUNT_STATES, CountState, Object};
pub use pacer::{Pacing, Schedule};
pub use pending::SLACK_UNITS;
pub use size::counted_bytes;
pub use trace::{Residue, Slots, Trace, Tracer};

pub(crate) use attached::{Attachment, Link};
pub(crate) use budget::Meter;
pub(crate) use candidates::spread;
pub(crate) use cycles::Cycles;
pub(crate) use impls::{drop_items, trace_cell, trace_ref_cell};
pub(crate) use kind::{Quick, some_type_has_residue};
pub(crate) use list::Full;
pub(crate) use object::{Colour, Death, OBJECT_ALIGN, Word, addressable};
pub(crate) use pace::InUse;
pub(crate) use pacer::Pacer;
pub(crate) use pending::{Large, Memory, Pending, Place, Route, Search, Unwalkable};
pub(crate) use reach::{Reach, Verdict, drop_residue, is_followed_in_place};
pub(crate) use size::{SMALL, counted};
pub(crate) use trace::{ATTACHED, Look};
