//! Handlers of the process, which come and go on any thread.

use core::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;
use crate::fallible::{self, TryArc};
use crate::lock::Mutex;
use crate::within::within;

/// A list of handlers in the order in which they came. The lock is held for moments only, never while a handler runs or is
/// dropped.
pub(crate) struct Registry<F: ?Sized> {
    list: Mutex<Vec<Entry<F>>>,
    next_id: AtomicU64,
}

struct Entry<F: ?Sized> {
    id: u64,
    handler: TryArc<Box<F>>,
}

impl<F: ?Sized> Registry<F> {
    pub(crate) const fn new() -> Registry<F> {
        Registry { list: Mutex::new(Vec::new()), next_id: AtomicU64::new(0) }
    }

    /// Adds a handler, and returns what it is removed by. Allocates while it holds the lock.
    pub(crate) fn add(&self, handler: Box<F>) -> Result<u64, Error> {
        let handler = TryArc::new(handler)?;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut list = self.list.lock();
        if list.try_reserve(1).is_err() {
            // The handler goes after the lock: its captures may do anything when dropped.
            drop(list);
            return Err(fallible::out_of_memory());
        }
        list.push(Entry { id, handler });
        Ok(id)
    }

    pub(crate) fn remove(&self, id: u64) {
        // As above.
        let _handler = {
            let mut list = self.list.lock();
            list.iter().position(|known| known.id == id).map(|at| list.remove(at))
        };
    }

    /// All of them, as they are now.
    pub(crate) fn all(&self) -> Result<Vec<TryArc<Box<F>>>, Error> {
        let list = self.list.lock();
        let mut all = Vec::new();
        all.try_reserve_exact(list.len()).map_err(|_| fallible::out_of_memory())?;
        all.extend(list.iter().map(|known| known.handler.clone()));
        Ok(all)
    }
}

/// The telling of something to handlers, each whatever becomes of the others.
pub(crate) struct Round<F: ?Sized> {
    handlers: Vec<TryArc<Box<F>>>,
    first_panic: Option<Box<dyn Any + Send>>,
}

impl<F: ?Sized> Round<F> {
    pub(crate) fn new(handlers: Vec<TryArc<Box<F>>>) -> Round<F> {
        Round { handlers, first_panic: None }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.handlers.is_empty()
    }

    /// Hands each of them to `tell`.
    pub(crate) fn tell(&mut self, tell: impl Fn(&F)) {
        let Round { handlers, first_panic } = self;
        handlers.iter().for_each(|handler| guarded(first_panic, || tell(handler)));
    }

    /// Runs what is the user's besides the handlers.
    pub(crate) fn run(&mut self, f: impl FnOnce()) {
        guarded(&mut self.first_panic, f);
    }

    /// Lets go of the handlers, and resumes the first panic that there was. One that was removed meanwhile is dropped here: its
    /// captures are the user's too.
    pub(crate) fn end(mut self) {
        for handler in self.handlers {
            guarded(&mut self.first_panic, || drop(handler));
        }
        if let Some(payload) = self.first_panic {
            resume_unwind(payload);
        }
    }
}

fn guarded(first_panic: &mut Option<Box<dyn Any + Send>>, f: impl FnOnce()) {
    if let Err(payload) = within(|| catch_unwind(AssertUnwindSafe(f))) {
        match first_panic {
            None => *first_panic = Some(payload),
            // Dropping it may panic again.
            Some(_) => core::mem::forget(payload),
        }
    }
}
