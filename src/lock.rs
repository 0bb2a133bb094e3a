//! The standard library's lock, as the crate uses it.
//!
//! To detach takes no memory, and beats do not depend on what other threads do: so neither locking nor waiting may allocate. On Linux,
//! Android, the BSDs and Windows such a lock is a word at which the system lets threads wait. Elsewhere, on macOS for one, it takes
//! memory when it is used first.
//!
//! A panic under a lock leaves what it protects as it is: nothing of the user's runs there, so nothing is half done.

use std::sync::{self, MutexGuard, PoisonError, TryLockError};

#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Mutex<T> {
        Mutex(sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` when it is held: does not wait.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
