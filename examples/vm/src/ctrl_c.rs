//! Ctrl-C: ends the program that runs, or else the command.

use std::io::Write;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lox_vm::error::InterpretError;
use lox_vm::machine::Machine;
use mimalloc_runtime::Interrupter;

use crate::exit::INTERRUPTED;

#[derive(Clone, Copy)]
enum Phase {
    /// No program runs.
    Idle,
    /// One runs.
    Running,
    /// It was asked to stop, and has not yet.
    Stopping,
}

/// What Ctrl-C does, on a thread of its own.
pub(crate) struct CtrlC {
    /// Changed together with what the machine is asked, so that a stop reaches the program that it was meant for or none.
    phase: Arc<Mutex<Phase>>,
}

impl CtrlC {
    /// From now on it stops the programs that are run by [`interpret`](CtrlC::interpret). It ends the command when none runs, and
    /// when one has not stopped since the last time, which may be waiting for input.
    pub(crate) fn watch(interrupter: Interrupter) -> CtrlC {
        let phase = Arc::new(Mutex::new(Phase::Idle));
        let seen = Arc::clone(&phase);
        let pressed = move || {
            let mut phase = lock(&seen);
            match *phase {
                Phase::Running => {
                    *phase = Phase::Stopping;
                    interrupter.stop();
                }
                Phase::Idle | Phase::Stopping => process::exit(INTERRUPTED),
            }
        };
        // Where the signal is ignored, as for a job in the background, it stays so; and without a handler it ends the command.
        drop(ctrlc::try_set_handler(pressed));
        CtrlC { phase }
    }

    /// [`Machine::interpret`], which ends with a run-time error when Ctrl-C is pressed.
    pub(crate) fn interpret(
        &self,
        machine: &mut Machine,
        source: &str,
        out: &mut dyn Write,
        err: &mut dyn Write,
    ) -> Result<(), InterpretError> {
        *lock(&self.phase) = Phase::Running;
        let result = machine.interpret(source, out, err);
        let mut phase = lock(&self.phase);
        *phase = Phase::Idle;
        // One that came when the program had ended.
        machine.mutator().clear_stop();
        result
    }
}

fn lock(phase: &Mutex<Phase>) -> MutexGuard<'_, Phase> {
    phase.lock().unwrap_or_else(PoisonError::into_inner)
}
