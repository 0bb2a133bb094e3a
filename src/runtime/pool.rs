//! The heaps of a runtime that wait for a mutator.

use parking_lot::Mutex;

use crate::error::Error;
use crate::heartbeat;

use super::heap::{Heap, IdleHeap};
use super::leftovers::Leftovers;

#[derive(Debug)]
pub(super) struct Pool {
    /// Invariant IDLE: a block of such a heap is in use only if its leftovers are not gone.
    idle: Mutex<Vec<(IdleHeap, Leftovers)>>,
    /// How many to keep, save those that are in use somewhere.
    most: usize,
}

impl Pool {
    pub(super) fn new(most: usize) -> Pool {
        Pool { idle: Mutex::new(Vec::new()), most }
    }

    /// A heap for this thread, and what earlier mutators have left in it.
    pub(super) fn take(&self) -> Result<(Heap, Leftovers), Error> {
        let idle = self.idle.lock().pop();
        let (idle, mut left) = match idle {
            Some(idle) => idle,
            None => (IdleHeap::new()?, Leftovers::default()),
        };
        left.look();
        match Heap::take_up(idle) {
            Ok(heap) => Ok((heap, left)),
            Err((idle, error)) => {
                // SAFETY: nobody has allocated from it since, so that its leftovers still tell of all.
                unsafe { self.give_back(idle, left) };
                Err(error)
            }
        }
    }

    /// Takes a heap back. What is more than the pool keeps, and empty by now, goes back to the engine.
    ///
    /// # Safety
    /// 1. Blocks of it are in use only if `left` are not gone.
    pub(super) unsafe fn give_back(&self, heap: IdleHeap, left: Leftovers) {
        // An allocation under the lock: no handler may come to want it too.
        heartbeat::quietly(|| self.idle.lock().push((heap, left)));
        self.release(self.most);
    }

    /// Gives heaps back to the engine while there are more than `most`, one at a time, so that nobody waits long for the lock.
    fn release(&self, most: usize) -> usize {
        let next = || {
            let mut idle = self.idle.lock();
            if idle.len() <= most {
                return None;
            }
            let at = idle.iter_mut().position(|(_, left)| left.look())?;
            Some(idle.swap_remove(at).0)
        };
        let mut released = 0;
        while let Some(heap) = next() {
            // SAFETY: IDLE: nothing in it is in use.
            unsafe { heap.destroy() }
            released += 1;
        }
        released
    }

    /// Gives back what is empty, and says how many heaps those were.
    pub(super) fn release_all(&self) -> usize {
        self.release(0)
    }

    pub(super) fn len(&self) -> usize {
        self.idle.lock().len()
    }

    /// How many of them can never be given back.
    pub(super) fn lost(&self) -> usize {
        let mut idle = self.idle.lock();
        idle.iter_mut().for_each(|(_, left)| _ = left.look());
        idle.iter().filter(|(_, left)| left.are_for_good()).count()
    }
}

impl Drop for Pool {
    /// Heaps that are still in use somewhere stay: they cannot be given back.
    fn drop(&mut self) {
        self.release_all();
    }
}
