//! Handlers of the process, which come and go on any thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

/// A list of handlers in the order in which they came. The lock is held for moments only, never while a handler runs or is
/// dropped.
pub(crate) struct Registry<F: ?Sized> {
    list: RwLock<Vec<(u64, Arc<F>)>>,
    next_id: AtomicU64,
}

impl<F: ?Sized> Registry<F> {
    pub(crate) const fn new() -> Registry<F> {
        Registry { list: RwLock::new(Vec::new()), next_id: AtomicU64::new(0) }
    }

    /// Adds a handler, and returns what it is removed by. Allocates while it holds the lock.
    pub(crate) fn add(&self, handler: Arc<F>) -> u64 {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.list.write().push((id, handler));
        id
    }

    pub(crate) fn remove(&self, id: u64) {
        // The handler itself goes after the lock: its captures may do anything when dropped.
        let _handler = {
            let mut list = self.list.write();
            list.iter().position(|(known, _)| *known == id).map(|at| list.remove(at))
        };
    }

    /// The handler at this place, if there is one and the lock is free: neither waits nor allocates.
    pub(crate) fn try_get(&self, place: usize) -> Option<Arc<F>> {
        let list = self.list.try_read()?;
        list.get(place).map(|(_, handler)| Arc::clone(handler))
    }

    pub(crate) fn all(&self) -> Vec<Arc<F>> {
        self.list.read().iter().map(|(_, handler)| Arc::clone(handler)).collect()
    }
}
