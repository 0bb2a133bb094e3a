//! The heaps of a runtime that wait for a mutator.

use crate::error::Error;
use crate::fallible;
use crate::lock::Mutex;

use super::heap::{Heap, IdleHeap};
use super::leftovers::Leftovers;

#[derive(Debug)]
pub(super) struct Pool {
    idle: Mutex<Idle>,
    /// How many to keep, save those that are in use somewhere.
    most: usize,
}

#[derive(Debug)]
struct Idle {
    /// Invariant IDLE: a block of such a heap is in use only if its leftovers are not gone.
    heaps: Vec<(IdleHeap, Leftovers)>,
    /// Heaps that may yet come back. There is room for them: to detach must not fail.
    out: usize,
}

impl Pool {
    pub(super) fn new(most: usize) -> Pool {
        Pool { idle: Mutex::new(Idle { heaps: Vec::new(), out: 0 }), most }
    }

    /// A heap for this thread, and what earlier mutators have left in it.
    pub(super) fn take(&self) -> Result<(Heap, Leftovers), Error> {
        let idle = {
            let mut idle = self.idle.lock();
            let out = idle.out + 1;
            idle.heaps.try_reserve(out).map_err(|_| fallible::out_of_memory())?;
            idle.out = out;
            idle.heaps.pop()
        };
        let made = match idle {
            Some((heap, left)) => Ok((heap, left, false)),
            None => IdleHeap::new().map(|heap| (heap, Leftovers::default(), true)),
        };
        let (idle, mut left, is_new) = made.inspect_err(|_| self.forgo())?;
        left.look();
        let taken = match left.reserve() {
            Ok(()) => Heap::take_up(idle),
            Err(error) => Err((idle, error)),
        };
        match taken {
            Ok(heap) => Ok((heap, left)),
            Err((idle, error)) => {
                if is_new {
                    // Not to the pool: where heaps are bound to their thread none may ever be in it.
                    // SAFETY: made above, and nothing has been allocated from it since.
                    unsafe { idle.destroy() };
                    self.forgo();
                } else {
                    // SAFETY: nobody has allocated from it since it was taken, so that its leftovers still tell of all.
                    unsafe { self.give_back(idle, left) };
                }
                Err(error)
            }
        }
    }

    /// A heap that was taken does not come back.
    pub(super) fn forgo(&self) {
        self.idle.lock().out -= 1;
    }

    /// Takes a heap back. What is more than the pool keeps, and empty by now, goes back to the engine.
    ///
    /// # Safety
    /// 1. Blocks of it are in use only if `left` are not gone.
    pub(super) unsafe fn give_back(&self, heap: IdleHeap, left: Leftovers) {
        let mut idle = self.idle.lock();
        idle.out -= 1;
        idle.heaps.push((heap, left));
        drop(idle);
        self.release(self.most);
    }

    /// Gives heaps back to the engine while there are more than `most`, one at a time, so that nobody waits long for the lock.
    fn release(&self, most: usize) -> usize {
        let next = || {
            let mut idle = self.idle.lock();
            if idle.heaps.len() <= most {
                return None;
            }
            let at = idle.heaps.iter_mut().position(|(_, left)| left.look())?;
            Some(idle.heaps.swap_remove(at).0)
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
        self.idle.lock().heaps.len()
    }

    /// How many of them can never be given back.
    pub(super) fn lost(&self) -> usize {
        let mut idle = self.idle.lock();
        idle.heaps.iter_mut().for_each(|(_, left)| _ = left.look());
        idle.heaps.iter().filter(|(_, left)| left.are_for_good()).count()
    }
}

impl Drop for Pool {
    /// Heaps that are still in use somewhere stay: they cannot be given back.
    fn drop(&mut self) {
        self.release_all();
    }
}
