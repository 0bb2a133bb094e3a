//! Runtimes: engine settings, the pool of idle heaps, and attaching threads.

use core::ptr::NonNull;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::aside::aside;
use crate::deferred::{Pacer, Pacing};
use crate::engine::{EngineOptions, apply};
use crate::error::{Error, ErrorKind};
use crate::heartbeat::{self, Clock};
use crate::sys;
use crate::sys::engine;
use crate::traced::in_span;

use super::heap::{Heap, IdleHeap};
use super::metrics::RuntimeMetrics;
use super::mutator::Mutator;
use super::pressure::{Limits, Thresholds};
use super::roster::Roster;
use super::state::State;
use super::thread;

/// Which of the engine's options a runtime sets. They are the process's, not the runtime's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Latency {
    /// None: what the engine, its environment variables or other libraries have set stays.
    Engine,
    /// Those that keep long calls out of `malloc` and `free`: unused pages are noted but not given back to the operating
    /// system until [`Mutator::release_memory`] is called, and the sweep over all pages of a heap comes a hundred times
    /// more seldom. The default.
    Low,
}

/// Makes a [`Runtime`].
#[derive(Clone, Debug)]
pub struct Builder {
    latency: Latency,
    engine: EngineOptions,
    idle_heaps: usize,
}

impl Default for Builder {
    fn default() -> Self {
        Builder { latency: Latency::Low, engine: EngineOptions::new(), idle_heaps: 64 }
    }
}

impl Builder {
    /// Which of the engine's options to set; [`Latency::Low`] if not said.
    #[must_use]
    pub fn latency(self, latency: Latency) -> Builder {
        Builder { latency, ..self }
    }

    /// Options of the engine. They go before those of [`latency`](Builder::latency).
    #[must_use]
    pub fn engine(self, options: EngineOptions) -> Builder {
        Builder { engine: options, ..self }
    }

    /// How many heaps of detached mutators to keep for the next ones; 64 if not said. Each holds what its pages hold, some
    /// 250 KiB at least. A heap that still has blocks in use is kept whatever the number: it cannot be given back.
    #[must_use]
    pub fn idle_heaps(self, heaps: usize) -> Builder {
        Builder { idle_heaps: heaps, ..self }
    }

    /// The runtime.
    ///
    /// # Errors
    /// - [`ErrorKind::EngineMismatch`]: the program links another mimalloc than the one whose headers this crate was built
    ///   with.
    /// - [`ErrorKind::SettingConflict`]: another runtime of this process has set one of the options otherwise, or one
    ///   that a heap is made with comes too late.
    pub fn build(self) -> Result<Runtime, Error> {
        let (header, linked) = (sys::MI_MALLOC_VERSION, engine::version());
        if header != linked {
            return Err(Error::new(
                ErrorKind::EngineMismatch,
                format!(
                    "this crate was built with the headers of mimalloc {header}, but the program links mimalloc {linked}: \
                     let nothing else bring a mimalloc, or build with the same one"
                ),
            ));
        }
        let preset = if self.latency == Latency::Low { engine::LATENCY_PRESET } else { &[] };
        aside(|| apply(&self.engine.or(preset)))?;
        heartbeat::install();
        let shared = Shared { idle: Mutex::new(Vec::new()), idle_heaps: self.idle_heaps, roster: Roster::default() };
        Ok(Runtime { shared: Arc::new(shared) })
    }
}

/// What the mutators of one runtime share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Heaps of detached mutators, and how many bytes of each were in use when it came.
    idle: Mutex<Vec<(IdleHeap, u64)>>,
    idle_heaps: usize,
    pub(super) roster: Roster,
}

impl Shared {
    /// A heap, and how many bytes of it earlier mutators have left in use.
    fn take_heap(&self) -> Result<(Heap, u64), Error> {
        let idle = self.idle.lock().pop();
        let (idle, in_use) = match idle {
            Some(idle) => idle,
            None => (IdleHeap::new()?, 0),
        };
        match Heap::take_up(idle) {
            Ok(heap) => Ok((heap, in_use)),
            Err((idle, error)) => {
                self.give_back(idle, in_use);
                Err(error)
            }
        }
    }

    /// Takes a heap of which so many bytes are in use.
    pub(super) fn give_back(&self, heap: IdleHeap, in_use: u64) {
        let mut idle = self.idle.lock();
        if idle.len() < self.idle_heaps || in_use > 0 {
            // An allocation under the lock: no handler may come to want it too.
            heartbeat::quietly(|| idle.push((heap, in_use)));
            return;
        }
        drop(idle);
        // SAFETY: nothing in it is in use.
        unsafe { heap.destroy() }
    }

    /// Gives idle heaps back to the engine, one at a time, so that nobody waits long for the lock.
    fn release_idle(&self) -> usize {
        let next = || {
            let mut idle = self.idle.lock();
            let at = idle.iter().position(|(_, in_use)| *in_use == 0)?;
            Some(idle.swap_remove(at).0)
        };
        let mut released = 0;
        while let Some(heap) = next() {
            // SAFETY: nothing in it is in use.
            unsafe { heap.destroy() }
            released += 1;
        }
        released
    }
}

impl Drop for Shared {
    /// Heaps that are still in use somewhere stay: they cannot be given back.
    fn drop(&mut self) {
        self.release_idle();
    }
}

/// A set of mutators that hand their heaps down to each other. Make as many as you like: two libraries in one program may
/// each have one. Cheap to clone; usable from any thread.
#[derive(Clone, Debug)]
pub struct Runtime {
    shared: Arc<Shared>,
}

/// How to attach a mutator.
#[derive(Clone, Debug)]
pub struct Attach {
    runtime: Runtime,
    pacing: Pacing,
    beat_bytes: u64,
    deadline: Option<u64>,
    numa_node: Option<u32>,
    limits: Limits,
}

impl Runtime {
    /// A runtime with the default settings.
    ///
    /// # Errors
    /// Those of [`Builder::build`].
    pub fn new() -> Result<Runtime, Error> {
        Runtime::builder().build()
    }

    /// Settings for a runtime.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Attaches a mutator with the default settings to the current thread.
    ///
    /// # Errors
    /// Those of [`Attach::attach`].
    pub fn attach(&self) -> Result<Mutator, Error> {
        self.attaching().attach()
    }

    /// Settings for a mutator.
    pub fn attaching(&self) -> Attach {
        Attach {
            runtime: self.clone(),
            pacing: Pacing::default(),
            beat_bytes: Attach::BEAT_BYTES,
            deadline: None,
            numa_node: None,
            limits: Limits::default(),
        }
    }

    /// What the runtime's mutators have counted, in sum. From any thread.
    ///
    /// # Cost
    /// For each mutator that is attached or of which objects live on, as a reading of a [`Watch`](crate::Watch), while no other is
    /// attached or ends. It allocates nothing.
    pub fn metrics(&self) -> RuntimeMetrics {
        RuntimeMetrics { idle_heaps: self.idle_heaps() as u64, ..self.shared.roster.sums() }
    }

    /// How many heaps wait for a mutator.
    pub fn idle_heaps(&self) -> usize {
        self.shared.idle.lock().len()
    }

    /// Gives the heaps that wait for a mutator back to the engine, and says how many those were. Heaps of which blocks are still
    /// in use stay. For a place that may wait.
    pub fn release_idle_heaps(&self) -> usize {
        self.shared.release_idle()
    }
}

impl Attach {
    /// The bytes of a heartbeat if nothing else is said: 64 KiB.
    pub const BEAT_BYTES: u64 = 64 << 10;

    /// Settings like those of a mutator, for another one that has as many beats left.
    pub(super) fn like(shared: &Arc<Shared>, pacing: Pacing, clock: &Clock, limits: Limits) -> Attach {
        let deadline = clock.deadline().map(|deadline| deadline.saturating_sub(clock.beats()));
        let beat_bytes = clock.beat_bytes();
        let runtime = Runtime { shared: Arc::clone(shared) };
        Attach { runtime, pacing, beat_bytes, deadline, numa_node: None, limits }
    }

    /// The number of the beat on which the deadline passes ([`Mutator::set_deadline`]); none if not said.
    #[must_use]
    pub fn deadline(self, deadline: Option<u64>) -> Attach {
        Attach { deadline, ..self }
    }

    /// The NUMA node from which the heap takes its memory, as far as it can; none if not said. A number that the machine does not
    /// have stands for what is left of it after division by the number of nodes.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] on version 2.
    pub fn numa_node(self, node: u32) -> Result<Attach, Error> {
        engine::heaps_have_numa_nodes()?;
        Ok(Attach { numa_node: Some(node), ..self })
    }

    /// A limit on the bytes of blocks in use: objects live and pending, raw blocks, containers that lie in the heap; none if not
    /// said. Any number of bytes. See [`Mutator::set_limit`].
    #[must_use]
    pub fn limit(self, bytes: Option<u64>) -> Attach {
        Attach { limits: Limits { bytes, ..self.limits }, ..self }
    }

    /// From how many per cent of the limit on the mutator is under pressure ([`Mutator::on_pressure`]), and from how many it is
    /// critical; 75 and 90 if not said.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSetting`] unless `1 <= high <= critical <= 100`.
    pub fn pressure_at(self, high: u8, critical: u8) -> Result<Attach, Error> {
        let thresholds = Thresholds::new(high, critical)?;
        Ok(Attach { limits: Limits { thresholds, ..self.limits }, ..self })
    }

    /// How freeing is paced.
    #[must_use]
    pub fn pacing(self, pacing: Pacing) -> Attach {
        Attach { pacing, ..self }
    }

    /// Bytes of a heartbeat: [`BEAT_BYTES`](Attach::BEAT_BYTES) if not said, at least 16.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSetting`] for less than 16 bytes or more than 1 TiB.
    pub fn beat_bytes(self, bytes: u64) -> Result<Attach, Error> {
        if (16..=1 << 40).contains(&bytes) {
            Ok(Attach { beat_bytes: bytes, ..self })
        } else {
            Err(Error::new(
                ErrorKind::InvalidSetting,
                format!("a beat of {bytes} bytes was asked for; it must lie between 16 bytes and 1 TiB"),
            ))
        }
    }

    /// Attaches a mutator to the current thread, with a heap of its own. A thread may have several.
    ///
    /// # Errors
    /// - [`ErrorKind::NoHeap`] when memory or heaps have run out.
    /// - [`ErrorKind::InHandler`] from within a handler of [`register_deferred_free`](crate::register_deferred_free): the
    ///   engine would deadlock.
    pub fn attach(self) -> Result<Mutator, Error> {
        if heartbeat::in_handler() {
            return Err(Error::new(
                ErrorKind::InHandler,
                "a mutator cannot be attached from within a deferred-free handler: attach it before, or after the handler",
            ));
        }
        in_span!("attach");
        // The engine makes a heap with a lock held, which a handler that waits for another thread would wait for too.
        heartbeat::quietly(|| {
            engine::init_thread();
            let (heap, in_use) = self.runtime.shared.take_heap()?;
            // Also when none was asked for: whoever had the heap before may have.
            heap.set_numa_node(self.numa_node);
            let shared = Arc::clone(&self.runtime.shared);
            let clock = Clock::new(self.beat_bytes);
            clock.set_deadline(self.deadline);
            let state = State::new(heap, in_use, shared, Pacer::new(self.pacing), clock, self.limits);
            let state = NonNull::from(Box::leak(Box::new(state)));
            heartbeat::attach_thread();
            // SAFETY: boxed, attached, on no list.
            unsafe { thread::enlist(state) };
            Ok(Mutator::new(state))
        })
    }
}
