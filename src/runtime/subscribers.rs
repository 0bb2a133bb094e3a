//! Who is called when something happens to a mutator: on heartbeats, and when memory is short.

use core::cell::{Cell, RefCell};
use core::fmt;

use crate::error::{Error, ErrorKind};
use crate::fallible;
use crate::heartbeat::Beat;

use super::mutator::Mutator;
use super::pressure::Pressure;

/// On which beats a handler is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// On each `n`-th beat from now on. An allocation that several of them fall into calls once.
    Every(u64),
    /// On the beat of this number, once.
    At(u64),
}

/// A handler's place in the lists of a mutator, for [`Mutator::unsubscribe`](crate::Mutator::unsubscribe).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subscription {
    pub(super) to: Event,
    pub(super) id: u64,
}

/// What can be subscribed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    Beat,
    Pressure,
}

pub(super) type BeatHandler = dyn FnMut(&Mutator, Beat);
pub(super) type PressureHandler = dyn FnMut(&Mutator, Pressure);

/// When a beat handler is called, and on which beat next.
#[derive(Debug)]
pub(super) struct Due {
    when: When,
    beat: u64,
}

impl Due {
    /// Of a subscription that is made when `now` beats have passed: not on the beat that handlers are being called on.
    pub(super) fn new(when: When, now: u64) -> Result<Due, Error> {
        let beat = match when {
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
        Ok(Due { when, beat })
    }

    /// Whether it is called on this beat, of which it is told once.
    pub(super) fn on(&mut self, beat: u64) -> Call {
        if self.beat > beat {
            return Call::No;
        }
        match self.when {
            When::At(_) => Call::Once,
            When::Every(beats) => {
                let periods = (beat - self.beat) / beats + 1;
                self.beat = self.beat.saturating_add(periods.saturating_mul(beats));
                Call::Again
            }
        }
    }
}

/// Whether a handler is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Call {
    No,
    /// And is off the list then.
    Once,
    /// And stays.
    Again,
}

struct Subscriber<K, H: ?Sized> {
    id: u64,
    key: K,
    /// Taken out while it runs.
    handler: Option<Box<H>>,
}

/// The handlers of one kind of event. `K` says when each is called.
///
/// Invariant SUBSCRIBERS: in the order of their ids, which is that of their subscription. Borrowed for moments only: code of the
/// user's, which may come back to it, runs without a borrow, also when a handler is dropped.
pub(super) struct Subscribers<K, H: ?Sized> {
    list: RefCell<Vec<Subscriber<K, H>>>,
    next_id: Cell<u64>,
}

impl<K, H: ?Sized> Default for Subscribers<K, H> {
    fn default() -> Self {
        Subscribers { list: RefCell::default(), next_id: Cell::new(0) }
    }
}

impl<K, H: ?Sized> Subscribers<K, H> {
    /// Adds a handler, and returns its id.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`]; the handler is dropped.
    pub(super) fn add(&self, key: K, handler: Box<H>) -> Result<u64, Error> {
        let id = self.next_id.get();
        let mut list = self.list.borrow_mut();
        if list.try_reserve(1).is_err() {
            // The handler goes after the borrow.
            drop(list);
            return Err(fallible::out_of_memory());
        }
        list.push(Subscriber { id, key, handler: Some(handler) });
        self.next_id.set(id + 1);
        Ok(id)
    }

    /// Takes a handler off the list, and drops it unless it is running: then it goes when it returns. False if it is not there.
    pub(super) fn remove(&self, id: u64) -> bool {
        let removed = {
            let mut list = self.list.borrow_mut();
            let place = list.binary_search_by_key(&id, |subscriber| subscriber.id);
            place.map(|at| list.remove(at))
        };
        removed.is_ok()
    }

    /// Hands all handlers that are not running to `let_go`, those too that are added meanwhile.
    pub(super) fn clear(&self, let_go: impl Fn(Box<H>)) {
        loop {
            let list = self.list.take();
            if list.is_empty() {
                return;
            }
            list.into_iter().filter_map(|subscriber| subscriber.handler).for_each(&let_go);
        }
    }

    /// Hands each handler for which `call` says so to `run`, and those that are to be dropped to `let_go`. Those added meanwhile
    /// are passed over, and those that are running already; those removed meanwhile are not called.
    pub(super) fn call(&self, mut call: impl FnMut(&mut K) -> Call, run: impl Fn(&mut H), let_go: impl Fn(Box<H>)) {
        let end = self.next_id.get();
        let mut next = 0;
        while let Some((id, again, mut handler)) = self.take(next, end, &mut call) {
            next = id + 1;
            run(&mut handler);
            if let Some(unwanted) = self.put_back(id, again, handler) {
                let_go(unwanted);
            }
        }
    }

    /// The first handler from the id `next` on and before `end` that is to be called, taken out of its place: its id, whether it
    /// stays, and itself.
    fn take(&self, next: u64, end: u64, call: &mut impl FnMut(&mut K) -> Call) -> Option<(u64, bool, Box<H>)> {
        let mut list = self.list.borrow_mut();
        let first = list.partition_point(|subscriber| subscriber.id < next);
        let waiting = list[first..].iter_mut().take_while(|subscriber| subscriber.id < end);
        for subscriber in waiting.filter(|subscriber| subscriber.handler.is_some()) {
            let again = match call(&mut subscriber.key) {
                Call::No => continue,
                Call::Once => false,
                Call::Again => true,
            };
            return Some((subscriber.id, again, subscriber.handler.take()?));
        }
        None
    }

    /// Puts a handler back. It is returned if it was removed while it ran, or does not stay.
    fn put_back(&self, id: u64, again: bool, handler: Box<H>) -> Option<Box<H>> {
        let mut list = self.list.borrow_mut();
        let Ok(at) = list.binary_search_by_key(&id, |subscriber| subscriber.id) else { return Some(handler) };
        if again {
            list[at].handler = Some(handler);
            None
        } else {
            list.remove(at);
            Some(handler)
        }
    }
}

impl<K, H: ?Sized> fmt::Debug for Subscribers<K, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscribers").field("count", &self.list.borrow().len()).finish()
    }
}
