//! The standard library's lock, as the crate uses it.
//!
//! To detach takes no memory, and beats do not depend on what other threads do: so neither locking nor waiting may allocate. On Linux,
//! Android, the BSDs and Windows such a lock is a word at which the system lets threads wait. Elsewhere, on macOS for one, it takes
//! memory when it is used first.
//!
//! A panic under a lock leaves what it protects as it is: nothing of the user's runs there, so nothing is half done.

use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::{self, MutexGuard, PoisonError, TryLockError};

#[derive(Debug, Default)]
pub(crate) struct Mutex<T> {
    lock: sync::Mutex<T>,
    /// Written before each unlocking and read after each locking, by which it orders what the lock orders anyway: a thread that had
    /// to wait gets the lock in code of the standard library, which ThreadSanitizer does not see.
    was_held: AtomicBool,
}

pub(crate) struct Guard<'a, T> {
    value: MutexGuard<'a, T>,
    was_held: &'a AtomicBool,
}

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Mutex<T> {
        Mutex { lock: sync::Mutex::new(value), was_held: AtomicBool::new(false) }
    }

    pub(crate) fn lock(&self) -> Guard<'_, T> {
        self.guard(self.lock.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// `None` when it is held: does not wait.
    pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
        match self.lock.try_lock() {
            Ok(value) => Some(self.guard(value)),
            Err(TryLockError::Poisoned(poisoned)) => Some(self.guard(poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn guard<'a>(&'a self, value: MutexGuard<'a, T>) -> Guard<'a, T> {
        self.was_held.load(Ordering::Acquire);
        Guard { value, was_held: &self.was_held }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.was_held.store(true, Ordering::Release);
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}
