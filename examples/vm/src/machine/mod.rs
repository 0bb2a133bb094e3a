//! The machine: runs scripts.
//!
//! A [`Machine`] owns everything a running program consists of, so that any number can be made, one after the other or on
//! threads of their own. Scripts that it interprets one after the other share their globals.
//!
//! References that the machine holds (stack, frames, globals) are counted like all others. So nothing needs to be scanned
//! for roots, and an object dies at the instruction that drops its last reference; when its memory is freed is the pacing's
//! affair.
//!
//! Finalizers of the runtime run within instructions, and so only queue what is to be called (`jobs`). The interpreter loop looks at one
//! flag where it polls, and calls what is queued as if the function at work had done so, with room of its own on the stack.

mod barrier;
mod call;
mod frame;
mod jobs;
mod load;
mod property;
mod reserve;
mod run;
mod stack;
mod state;
mod survey;
mod upvalues;

use std::fmt;
use std::io::{self, BufRead, BufWriter, Write};
use std::time::{Duration, Instant};

use mimalloc_runtime::{Budget, Interrupted, Metrics, Mutator, Pacing, Runtime, Stress};

use self::frame::{Frame, Room};
use self::reserve::Reserve;
use self::state::State;
use crate::compiler::compile;
use crate::error::{InterpretError, RuntimeError, StartError};
use crate::heap::Heap;
use crate::natives::{Host, Lines};
use crate::proto::Proto;

/// How to set a machine up.
pub struct Config {
    /// When dead objects are freed.
    pub pacing: Pacing,
    /// Whether the mutator is under stress, so that mistakes show: programs do the same, and much slower.
    pub stress: Option<Stress>,
    /// Bytes of a heartbeat.
    pub beat_bytes: u64,
    /// How long a script may run.
    pub limits: Limits,
    /// How much memory the machine may use: scripts together with what they have left behind, and the machine's own objects, some
    /// 6 KiB. `None` is no limit.
    pub heap_limit: Option<HeapLimit>,
    /// What the native `args()` gives.
    pub script_args: Vec<String>,
    /// What the native `readLine()` reads.
    pub stdin: Box<dyn BufRead>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("pacing", &self.pacing)
            .field("stress", &self.stress)
            .field("beat_bytes", &self.beat_bytes)
            .field("limits", &self.limits)
            .field("heap_limit", &self.heap_limit)
            .field("script_args", &self.script_args)
            .finish_non_exhaustive()
    }
}

/// How long a script may run: each script that a machine interprets, from its start on. `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Fuel: 1 for each jump back, of which a `for` with an increment makes two a round, 1 for each call of a function written
    /// in Lox, finalizers included, and 1 for each 64 bytes that natives, `print` and inheriting methods work through.
    pub fuel: Option<u64>,
    /// Heartbeats.
    pub beats: Option<u64>,
    /// Time by the clock, compiling not included.
    pub time: Option<Duration>,
}

/// How much memory a machine may use.
///
/// What counts is all that grows with what a script does: objects with their items, strings, and text in the making. What
/// does not count is bounded otherwise:
///
/// - compiled code, constants as the compiler keeps them, line numbers and names in traces, by the size of the source;
/// - stack, frames, the variables on the stack that are captured, the roots of the trees of strings, and text of up to 4 KiB in the
///   making, less than 1500 KiB for each machine, by constants;
/// - buffers of the host: what it reads a script, a line at the prompt or input into, and where it writes output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeapLimit {
    /// Bytes of blocks in use. A script that runs gets 4 KiB less, which are kept for loading the next one; and
    /// where a wall may be full before, 1 MiB less.
    pub bytes: u64,
    /// Whether the heap lies in memory of its own besides ([`Attach::wall`](mimalloc_runtime::Attach::wall)), so that what blocks
    /// cannot use of it counts too. That is a multiple of 32 MiB.
    pub walled: bool,
}

/// A Lox machine.
pub struct Machine {
    /// The functions that have been called and have not returned, innermost last.
    frames: Vec<Frame>,
    room: Room,
    reserve: Reserve,
    state: State,
    limits: Limits,
    /// The most that is freed at a time.
    step: Budget,
}

impl Machine {
    /// A machine on the current thread, with natives for globals.
    ///
    /// # Errors
    /// [`StartError`]: the settings are refused, or there is no memory.
    pub fn new(config: Config) -> Result<Machine, StartError> {
        let step = config.pacing.pause_cap();
        let attaching = Runtime::new()?.attaching().pacing(config.pacing).stress(config.stress);
        let bytes = config.heap_limit.map(|limit| limit.bytes);
        let wall = config.heap_limit.filter(|limit| limit.walled).map(|limit| limit.bytes);
        // Both, as a wall is rounded up.
        let attaching = attaching.limit(bytes).wall(wall)?;
        let heap = Heap::new(attaching.beat_bytes(config.beat_bytes)?.attach()?);
        let host = Host { script_args: config.script_args, lines: Lines::new(config.stdin), started: Instant::now() };
        let state = State::new(heap, host)?;
        let reserve = Reserve::new(state.heap.mutator());
        let frames = Vec::with_capacity(Room::WHOLE.frames);
        Ok(Machine { frames, room: Room::from(0, 0), reserve, state, limits: config.limits, step })
    }

    /// The mutator, to be observed, asked for its metrics, or interrupted. Limits set in it last until the next script starts;
    /// one on its memory for good, unless it is set while a script runs: then until that ends.
    pub fn mutator(&self) -> &Mutator {
        self.state.heap.mutator()
    }

    /// Runs a script. Globals that it sets stay for the next one.
    ///
    /// # Errors
    /// What ended it. The messages, as the reference implementation words them, have been written to `err`; if that could
    /// not be done nobody is told. Those of finalizers that have failed are there too, also when it succeeds.
    pub fn interpret(&mut self, source: &str, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), InterpretError> {
        // A panic out of the run before may have left something.
        self.reset();
        let script = match compile(source) {
            Ok(script) => script,
            Err(errors) => {
                let _ = writeln!(err, "{errors}");
                return Err(InterpretError::Compile);
            }
        };
        let started = self.start_limits();
        let result = self.run_script(script, out, err);
        let flushed = out.flush();
        let result = match result {
            Ok(()) => Ok(()),
            Err(RuntimeError::Output(error)) => Err(InterpretError::Output(error)),
            Err(RuntimeError::Interrupted(Interrupted::Deadline { deadline, beats })) => {
                // Told as it was set.
                let deadline = deadline.saturating_sub(started);
                Err(self.report(Interrupted::Deadline { deadline, beats }.into(), err))
            }
            Err(error) => Err(self.report(error, err)),
        };
        // Whatever else has failed: what was written is not where it should be.
        let result = match flushed {
            Err(error) if !matches!(result, Err(InterpretError::Output(_))) => Err(InterpretError::Output(error)),
            _ => result,
        };
        self.reset();
        result
    }

    /// Takes what is left of a line of which `readLine()` has read a part, and has failed. A later `readLine()` does this by itself; to be
    /// called by whoever reads the same input as scripts do.
    ///
    /// # Errors
    /// Input cannot be read.
    pub fn finish_line(&mut self) -> io::Result<()> {
        self.state.host.lines.finish(|reason| reason, |_| Ok(()))
    }

    /// Counts the limits from now on. Returns the beats that have passed.
    fn start_limits(&self) -> u64 {
        let (mutator, Limits { fuel, beats, time }) = (self.mutator(), self.limits);
        let started = mutator.beats();
        mutator.set_fuel(fuel);
        mutator.set_deadline(beats.map(|beats| started.saturating_add(beats)));
        mutator.set_time_limit(time);
        self.state.heap.meter().reset();
        started
    }

    fn run_script(&mut self, script: Proto, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), RuntimeError> {
        self.reserve.open();
        let frame = self.state.script_frame(script)?;
        self.reserve.close(self.state.heap.mutator());
        self.enter(frame)?;
        self.run(out, err)
    }

    /// Writes a message and where in the script it arose.
    fn report(&self, error: RuntimeError, err: &mut dyn Write) -> InterpretError {
        // In one piece if it is short.
        let mut err = BufWriter::new(err);
        let _ = writeln!(err, "{error}");
        for frame in self.frames.iter().rev() {
            let _ = writeln!(err, "{}", frame.place());
        }
        if self.frames.is_empty() {
            // The script could not even begin.
            let _ = writeln!(err, "[line 1] in script");
        }
        let _ = err.flush();
        InterpretError::Runtime
    }

    /// Forgets what a script has left behind, save its globals.
    fn reset(&mut self) {
        while !self.frames.is_empty() {
            self.leave();
        }
        self.state.unwind();
        self.reserve.restore(self.state.heap.mutator());
    }

    /// Ends the machine: drops everything it refers to and frees what is dead, all of it at once. Its mutator is left.
    ///
    /// No Lox code runs any more: functions given to `onFinalize` are dropped with all else, those that wait and those of instances that
    /// have lived until now.
    ///
    /// Objects that still live then have leaked.
    pub fn end(self) -> Mutator {
        let Machine { frames, reserve, state, .. } = self;
        drop((frames, reserve));
        let mutator = state.into_mutator();
        // Finalizers have nothing to do now, but what they hold, and their instances, are freed when they have run. Each runs once, and
        // there are no new ones.
        loop {
            let run = mutator.metrics().finalizers.run;
            mutator.collect(Budget::Unbounded);
            mutator.run_finalizers(u64::MAX);
            if mutator.metrics().finalizers.run == run {
                return mutator;
            }
        }
    }

    /// [Ends](Machine::end) the machine. The result counts what there was.
    pub fn shutdown(self) -> Metrics {
        self.end().metrics()
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("mutator", self.mutator()).finish_non_exhaustive()
    }
}
