//! Handlers of the process, which come and go on any thread.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;
use crate::fallible::{self, TryArc};
use crate::lock::RwLock;

/// A list of handlers in the order in which they came. The lock is held for moments only, never while a handler runs or is
/// dropped.
pub(crate) struct Registry<F: ?Sized> {
    list: RwLock<Vec<Entry<F>>>,
    next_id: AtomicU64,
}

struct Entry<F: ?Sized> {
    id: u64,
    handler: TryArc<Box<F>>,
}

impl<F: ?Sized> Registry<F> {
    pub(crate) const fn new() -> Registry<F> {
        Registry { list: RwLock::new(Vec::new()), next_id: AtomicU64::new(0) }
    }

    /// Adds a handler, and returns what it is removed by. Allocates while it holds the lock.
    pub(crate) fn add(&self, handler: Box<F>) -> Result<u64, Error> {
        let handler = TryArc::new(handler)?;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut list = self.list.write();
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
            let mut list = self.list.write();
            list.iter().position(|known| known.id == id).map(|at| list.remove(at))
        };
    }

    /// The handler at this place, if there is one and the lock is free: neither waits nor allocates.
    pub(crate) fn try_get(&self, place: usize) -> Option<TryArc<Box<F>>> {
        let list = self.list.try_read()?;
        list.get(place).map(|known| known.handler.clone())
    }

    /// All of them, as they are now.
    pub(crate) fn all(&self) -> Result<Vec<TryArc<Box<F>>>, Error> {
        let list = self.list.read();
        let mut all = Vec::new();
        all.try_reserve_exact(list.len()).map_err(|_| fallible::out_of_memory())?;
        all.extend(list.iter().map(|known| known.handler.clone()));
        Ok(all)
    }
}
