//! Barriers: calls at which errors end, which may have limits of their own.

use mimalloc_runtime::{Budget, Interrupted, Mutator};

use crate::error::RuntimeError;

/// What is behind a barrier.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Behind {
    /// A call of `limited`, of which an error is the result.
    LimitedCall,
    /// A job, which has no result, and whose errors are reported.
    Job,
}

/// What a call may use, and what is restored when it has ended.
pub(super) struct Barrier {
    pub(super) behind: Behind,
    /// Bytes that may be used besides those in use when it begins. Once it has begun, none if the limit around it is no larger.
    bytes: Option<u64>,
    /// Fuel that may be used; as above.
    fuel: Option<u64>,
    bytes_around: Option<u64>,
    fuel_around: Option<u64>,
}

/// The smaller limit, if it is the inner one.
fn tighter(inner: Option<u64>, around: Option<u64>) -> Option<u64> {
    inner.filter(|inner| around.is_none_or(|around| *inner < around))
}

impl Barrier {
    pub(super) fn new(bytes: Option<u64>, fuel: Option<u64>) -> Barrier {
        Barrier { behind: Behind::LimitedCall, bytes, fuel, bytes_around: None, fuel_around: None }
    }

    /// Around a job, which runs under the limits of what it comes between.
    pub(super) fn job() -> Barrier {
        Barrier { behind: Behind::Job, ..Barrier::new(None, None) }
    }

    /// The call begins. If it may use so many bytes and no more, all that is dead is freed before: it would be room besides. That is done in
    /// steps, and ends with the script.
    ///
    /// # Errors
    /// The script is to end; the call has not begun.
    pub(super) fn raise(&mut self, mutator: &Mutator, step: Budget) -> Result<(), Interrupted> {
        if self.bytes.is_some() {
            while !mutator.collect(step).is_done() {
                mutator.poll(0)?;
            }
            // Large blocks, which are left by steps. There are few.
            mutator.collect(Budget::Unbounded);
        }
        (self.bytes_around, self.fuel_around) = (mutator.limit(), mutator.fuel());
        let limit = self.bytes.map(|bytes| mutator.in_use().saturating_add(bytes));
        self.bytes = tighter(limit, self.bytes_around);
        self.fuel = tighter(self.fuel, self.fuel_around);
        if self.bytes.is_some() {
            mutator.set_limit(self.bytes);
        }
        if self.fuel.is_some() {
            mutator.set_fuel(self.fuel);
        }
        Ok(())
    }

    /// The call has ended: the limits around it hold again, less the fuel that it has used.
    pub(super) fn lower(&self, mutator: &Mutator) {
        if self.bytes.is_some() {
            mutator.set_limit(self.bytes_around);
        }
        if let Some(given) = self.fuel {
            let used = given.saturating_sub(mutator.fuel().unwrap_or(0));
            mutator.set_fuel(self.fuel_around.map(|around| around.saturating_sub(used)));
        }
    }

    /// Whether an error ends here: one of the function's own, or of a limit that is this one's. A job that finds no memory has failed alone:
    /// what it comes between may need none.
    pub(super) fn catches(&self, error: &RuntimeError) -> bool {
        match error {
            RuntimeError::Message(_) | RuntimeError::Said(_) => true,
            RuntimeError::OutOfMemory => self.bytes.is_some() || self.behind == Behind::Job,
            RuntimeError::Interrupted(Interrupted::OutOfFuel) => self.fuel.is_some(),
            RuntimeError::Interrupted(_) | RuntimeError::Output(_) => false,
        }
    }
}
