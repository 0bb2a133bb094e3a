//! Who is called on heartbeats.

use core::cell::{Cell, RefCell};
use core::fmt;
use core::ops::Range;

use crate::error::{Error, ErrorKind};
use crate::heartbeat::{self, Beat};

use super::mutator::Mutator;

/// On which beats a handler is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// On each `n`-th beat from now on. An allocation that several of them fall into calls once.
    Every(u64),
    /// On the beat of this number, once.
    At(u64),
}

/// A handler's place in the list of a mutator, for [`Mutator::unsubscribe`](crate::Mutator::unsubscribe).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subscription {
    id: u64,
}

pub(super) type BeatHandler = Box<dyn FnMut(&Mutator, Beat)>;

struct Subscriber {
    id: u64,
    when: When,
    /// The beat on which it is called next.
    due: u64,
    /// Taken out while it runs.
    handler: Option<BeatHandler>,
}

/// Invariant SUBSCRIBERS: in the order of their ids, which is that of their subscription. Borrowed for moments only: code of the
/// user's, which may come back to it, runs without a borrow, also when a handler is dropped.
#[derive(Default)]
pub(super) struct Subscribers {
    list: RefCell<Vec<Subscriber>>,
    next_id: Cell<u64>,
}

impl Subscribers {
    /// Adds a handler, when `now` beats have passed. It is not called on the beat that handlers are being called on.
    pub(super) fn add(&self, now: u64, when: When, handler: BeatHandler) -> Result<Subscription, Error> {
        let due = match when {
            When::Every(0) => {
                return Err(Error::new(
                    ErrorKind::InvalidSetting,
                    "every 0th beat was asked for: every beat is When::Every(1)",
                ));
            }
            When::Every(beats) => now.saturating_add(beats),
            When::At(number) if number <= now => {
                return Err(Error::new(
                    ErrorKind::InvalidSetting,
                    format!("beat {number} was asked for, but {now} have passed: ask for a later one"),
                ));
            }
            When::At(number) => number,
        };
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        // The engine may call its hook from within the list's growth, and a handler of that come back here.
        heartbeat::quietly(|| self.list.borrow_mut().push(Subscriber { id, when, due, handler: Some(handler) }));
        Ok(Subscription { id })
    }

    /// Takes a handler off the list, and drops it unless it is running: then it goes when it returns. False if it is not there.
    pub(super) fn remove(&self, subscription: Subscription) -> bool {
        let removed = {
            let mut list = self.list.borrow_mut();
            let place = list.binary_search_by_key(&subscription.id, |subscriber| subscriber.id);
            place.map(|at| list.remove(at))
        };
        removed.is_ok()
    }

    /// Drops all handlers that are not running.
    pub(super) fn clear(&self) {
        drop(self.list.take());
    }

    /// The ids of those that are subscribed now.
    pub(super) fn ids(&self) -> Range<u64> {
        0..self.next_id.get()
    }

    /// The first of these handlers that is due, and its id, taken out of its place.
    pub(super) fn take_due(&self, ids: Range<u64>, beat: u64) -> Option<(u64, BeatHandler)> {
        let mut list = self.list.borrow_mut();
        let first = list.partition_point(|subscriber| subscriber.id < ids.start);
        let due = |subscriber: &&mut Subscriber| subscriber.due <= beat && subscriber.handler.is_some();
        let subscriber = list[first..].iter_mut().take_while(|subscriber| subscriber.id < ids.end).find(due)?;
        if let When::Every(beats) = subscriber.when {
            let periods = (beat - subscriber.due) / beats + 1;
            subscriber.due = subscriber.due.saturating_add(periods.saturating_mul(beats));
        }
        Some((subscriber.id, subscriber.handler.take()?))
    }

    /// Puts a handler back. It is returned if it was removed while it ran, or was to be called once.
    pub(super) fn put_back(&self, id: u64, handler: BeatHandler) -> Option<BeatHandler> {
        let mut list = self.list.borrow_mut();
        let Ok(at) = list.binary_search_by_key(&id, |subscriber| subscriber.id) else { return Some(handler) };
        match list[at].when {
            When::Every(_) => {
                list[at].handler = Some(handler);
                None
            }
            When::At(_) => {
                list.remove(at);
                Some(handler)
            }
        }
    }
}

impl fmt::Debug for Subscribers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscribers").field("count", &self.list.borrow().len()).finish()
    }
}
