//! Jobs: what finalizers have the machine do, between two instructions of the script.

use std::io::{BufWriter, Write};

use super::Machine;
use super::barrier::Barrier;
use super::frame::{Frame, Place, Room};
use crate::error::RuntimeError;
use crate::object::Callback;

impl Machine {
    /// Begins a turn.
    ///
    /// # Errors
    /// As for [`start_next`](Machine::start_next).
    #[cold]
    pub(super) fn start_turn(&mut self, err: &mut dyn Write) -> Result<(), RuntimeError> {
        self.state.jobs.begin_turn();
        self.start_next(err)
    }

    /// Has the innermost function be the next job of the turn, if there is one, as one that the function so far had called. It costs as much
    /// fuel as any call.
    ///
    /// # Errors
    /// The script is to end, or a call of `limited`. The job is still the first one queued.
    pub(super) fn start_next(&mut self, err: &mut dyn Write) -> Result<(), RuntimeError> {
        while let Some(job) = self.state.jobs.next() {
            let Callback { closure, receiver } = &job.callback;
            let base = self.state.stack.top;
            self.room = Room::from(self.frames.len(), base);
            self.state.stack.push(receiver.clone());
            let barrier = Some(Box::new(Barrier::job()));
            match self.enter(Frame { barrier, ..Frame::new(closure.clone(), base) }) {
                // After, as there need be no function of the script for the trace.
                Ok(()) => {
                    return self.mutator().poll(1).map_err(|why| {
                        // What ends here may be a call with little fuel, of which the job knows nothing.
                        self.state.jobs.put_back(job);
                        why.into()
                    });
                }
                // It needs more stack than any function may.
                Err(error) => {
                    drop(self.state.stack.pop());
                    self.room = Room::from(0, 0);
                    self.state.jobs.finish();
                    self.tell_of_job(&error, [].into_iter(), err)?;
                }
            }
        }
        Ok(())
    }

    /// Writes what a job has failed of, and where in its functions. That is paid for.
    ///
    /// # Errors
    /// The script is to end.
    #[cold]
    pub(super) fn tell_of_job<'a>(
        &self,
        error: &RuntimeError,
        left: impl Iterator<Item = &'a Place>,
        err: &mut dyn Write,
    ) -> Result<(), RuntimeError> {
        // In one piece if it is short.
        let mut err = BufWriter::new(err);
        self.state.heap.tell(&mut err, format_args!("In a finalizer: {error}\n"))?;
        for place in left {
            self.state.heap.tell(&mut err, format_args!("{place}\n"))?;
        }
        let _ = err.flush();
        Ok(())
    }
}
