//! Runtimes: engine settings, the pool of idle heaps, and attaching threads.

use core::mem::MaybeUninit;
use core::ptr::NonNull;
use std::sync::Arc;

use crate::aside::aside;
use crate::deferred::{Pacer, Pacing};
use crate::engine::{EngineOptions, apply};
use crate::error::{Error, ErrorKind};
use crate::fallible;
use crate::heartbeat::{self, Clock};
use crate::sys;
use crate::sys::engine;
use crate::traced::in_span;

use super::heap::Heap;
use super::leftovers::Leftovers;
use super::metrics::RuntimeMetrics;
use super::mutator::Mutator;
use super::pool::Pool;
use super::pressure::{Limits, Thresholds};
use super::roster::Roster;
use super::state::{Parts, State};
use super::stress::Stress;
use super::thread;
use super::wall::{self, Wall, Walls};

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
    /// 250 KiB at least. A heap of which raw blocks are in use still is kept whatever the number, until they have been freed
    /// ([`RemoteFree`](crate::RemoteFree)); that is found out when the next mutator is detached. Heaps in walls ([`Attach::wall`])
    /// are not among them: they end with their mutator.
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
        let preset = if self.latency == Latency::Low { engine::options::LATENCY_PRESET } else { &[] };
        aside(|| apply(&self.engine.or(preset)))?;
        heartbeat::install();
        let shared = Shared { pool: Pool::new(self.idle_heaps), roster: Roster::default() };
        Ok(Runtime { shared: Arc::new(shared) })
    }
}

/// What the mutators of one runtime share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) pool: Pool,
    pub(super) roster: Roster,
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
    fuel: Option<u64>,
    numa_node: Option<u32>,
    limits: Limits,
    stress: Option<Stress>,
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
            fuel: None,
            numa_node: None,
            limits: Limits::default(),
            stress: None,
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
        self.shared.pool.len()
    }

    /// How many of these can never be given back to the engine: blocks of them are in use that nobody can free any more, since the
    /// last [`RemoteFree`](crate::RemoteFree) has gone, or objects were given up ([`Metrics::abandoned`](crate::Metrics::abandoned)).
    /// The next mutators use what is left of them.
    pub fn lost_heaps(&self) -> usize {
        self.shared.pool.lost()
    }

    /// Gives the heaps that wait for a mutator back to the engine, and says how many those were; and to the operating system what
    /// is free of the process's memory, walls included ([`Attach::wall`]). Heaps of which blocks are still in use stay. For a place
    /// that may wait: **not bounded**.
    pub fn release_idle_heaps(&self) -> usize {
        let released = self.shared.pool.release_all();
        wall::free_stranded();
        heartbeat::causing(engine::purge_arenas);
        released
    }

    /// The walls of the process, those of all runtimes together.
    pub fn walls() -> Walls {
        wall::count()
    }
}

impl Attach {
    /// The bytes of a heartbeat if nothing else is said: 64 KiB.
    pub const BEAT_BYTES: u64 = 64 << 10;

    /// Settings like those of a mutator, for another one that has as many beats left, and so much fuel.
    pub(super) fn like(
        shared: &Arc<Shared>,
        pacing: Pacing,
        clock: &Clock,
        fuel: Option<u64>,
        limits: Limits,
    ) -> Attach {
        let deadline = clock.deadline().map(|deadline| deadline.saturating_sub(clock.beats()));
        let beat_bytes = clock.beat_bytes();
        let runtime = Runtime { shared: Arc::clone(shared) };
        Attach { runtime, pacing, beat_bytes, deadline, fuel, numa_node: None, limits, stress: None }
    }

    /// The number of the beat on which the deadline passes ([`Mutator::set_deadline`]); none if not said.
    #[must_use]
    pub fn deadline(self, deadline: Option<u64>) -> Attach {
        Attach { deadline, ..self }
    }

    /// The fuel of the mutator's polls ([`Mutator::set_fuel`]); without limit if not said.
    #[must_use]
    pub fn fuel(self, fuel: Option<u64>) -> Attach {
        Attach { fuel, ..self }
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

    /// Confines the heap to memory of its own, of so many bytes, rounded up to a multiple of 32 MiB ([`Mutator::wall`] tells what it
    /// has become); no wall if not said, or `None`. The engine takes nothing for the heap from anywhere else: when the wall is full,
    /// allocating gives [`OutOfMemory`](crate::OutOfMemory), and what is dropped then can be allocated again. Other mutators, of
    /// the thread and of the process, notice nothing.
    ///
    /// # What fits
    ///
    /// The engine's own records lie within the wall, and blocks are rounded up to its size classes. Of a wall of 32 MiB, blocks of up to
    /// 1 KiB fill 93 to 97 %, those of 1 MiB 85 to 90; of larger walls some per cent more. Sizes that go badly into the engine's pages
    /// fill less: blocks of 12 MiB 75 %, those little larger than 64 KiB half on version 2. What is free in one size class is
    /// available to another when a whole page of the engine is free.
    ///
    /// | | version 3 | version 2 |
    /// |---|---|---|
    /// | largest block, when there are small ones | 31 MiB; up to 220 MiB where a range of 32, 64, 96 MiB ... is free from a multiple of 32 MiB on | 16 MiB; in 64 MiB 31 MiB, and so on, 32 MiB and a little less than the wall |
    /// | largest alignment | 64 KiB | 4 MiB; in 64 MiB and more 16 MiB |
    ///
    /// Larger ones are out of memory at once, also in an empty wall. [`EngineOptions::largest_in_arena`] holds for walls too. In a full
    /// one a block cannot be made smaller either, as that takes one of the smaller size.
    ///
    /// Outside of the wall lie the engine's records of two heaps (version 3: 21 KiB each, and 128 KiB for each GiB of the wall), the mutator,
    /// some 4 KiB, and all that fields keep in Rust's own heap: a `Vec`'s buffer is confined only if it lies in the mutator's heap
    /// (`HeapRef`).
    ///
    /// # Where walls come from
    ///
    /// A wall is an arena of the engine. There are few, and they cannot be given back; so the process keeps them in a pool, for all
    /// runtimes, of which [`Runtime::walls`] tells. Attaching takes a free wall of the same size; else a new one, as long as they
    /// come to 64 arenas at most (one for each; version 3 takes one for every 16 GiB); else the smallest free one that is larger. At
    /// detach the heap is destroyed and the wall is free, if nothing of it is in use. Objects that live on keep it; when raw blocks were
    /// left it is *stranded* until they have been freed ([`RemoteFree`](crate::RemoteFree)). On version 2, where a heap is bound to its
    /// thread, a wall with blocks left in it is lost for good; so is, on both, that of a mutator that is leaked.
    ///
    /// # Cost
    ///
    /// Nothing while there is room. A new wall is mapped, and all of it promised by the system: where the system counts promises
    /// (Windows, or Linux told not to overcommit), attaching fails rather than an allocation later. Its memory is touched as it is needed.
    /// Every allocation that fails lets the engine go through the heap's pages and give back what is free in all of the process's arenas,
    /// twice: **not bounded**, microseconds when the wall is full of live data. Under the default preset ([`Latency::Low`]) what a
    /// destroyed heap has touched stays with the process, for the next mutator; [`Runtime::release_idle_heaps`] and
    /// [`Mutator::release_memory`] give it back. A [NUMA node](Attach::numa_node) means nothing to a heap with a wall.
    ///
    /// On version 2 what is free in a wall counts as in use while some thread gives it back to the system: [`attach`](Attach::attach) waits for that, 20 ms at
    /// most, and an allocation that needs it at such a moment may fail.
    ///
    /// ```
    /// use mimalloc_runtime::{Ref, Runtime, Trace};
    ///
    /// #[derive(Trace)]
    /// struct Link(Option<Ref<Link>>, u64);
    ///
    /// let runtime = Runtime::new()?;
    /// let script = runtime.attaching().wall(Some(20 << 20))?.attach()?;
    /// assert_eq!(script.wall(), Some(32 << 20));
    /// let mut list = None; // a script that never stops
    /// let error = loop {
    ///     match script.alloc(Link(list.take(), 7)) {
    ///         Ok(link) => list = Some(link),
    ///         Err(error) => break error, // with the value, and so the list
    ///     }
    /// };
    /// assert!(script.metrics().live.now.bytes <= 32 << 20);
    /// drop(error);
    /// script.alloc(Link(None, 7)).expect("the list is dead");
    /// # drop(script);
    /// assert_eq!(Runtime::walls().free, 1);
    /// # Ok::<(), mimalloc_runtime::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSetting`] for 0 and for more than the address space has. Whether a wall is to be had turns out in
    /// [`attach`](Attach::attach).
    pub fn wall(self, bytes: Option<u64>) -> Result<Attach, Error> {
        bytes.map(Wall::size).transpose()?;
        Ok(Attach { limits: Limits { wall: bytes, ..self.limits }, ..self })
    }

    /// Puts the mutator under [`Stress`], for tests; not if not said, or `None`. [Children](Mutator::child) of it are under the same.
    ///
    /// # Cost
    /// Without it, nothing on any path where blocks are kept at hand; two instructions where one goes back to the engine.
    #[must_use]
    pub fn stress(self, stress: Option<Stress>) -> Attach {
        Attach { stress, ..self }
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
    /// - [`ErrorKind::NoHeap`] when memory or heaps have run out; [`ErrorKind::OutOfMemory`] when Rust's own memory has.
    /// - [`ErrorKind::NoWall`] when all [walls](Attach::wall) that could be reserved have been, and none that is large enough is free.
    /// - [`ErrorKind::Refused`] when the system has no memory for a wall.
    pub fn attach(self) -> Result<Mutator, Error> {
        in_span!("attach");
        // What is found in the pool depends on other threads.
        aside(|| {
            engine::init_thread();
            // First, as a heap would have to be given back again.
            let parts = Parts::new(&self.runtime.shared, self.stress)?;
            let place = fallible::boxed(MaybeUninit::<State>::uninit())?;
            let (heap, left) = match self.limits.wall {
                None => self.runtime.shared.pool.take()?,
                Some(bytes) => {
                    let mut left = Leftovers::default();
                    left.reserve()?;
                    (Heap::walled(bytes)?, left)
                }
            };
            // Also when none was asked for: whoever had the heap before may have.
            heap.set_numa_node(self.numa_node);
            let shared = Arc::clone(&self.runtime.shared);
            let clock = Clock::new(self.beat_bytes);
            let state = State::new(parts, heap, left, shared, Pacer::new(self.pacing), clock, self.limits);
            state.set_deadline(self.deadline);
            state.interrupts().set_fuel(self.fuel);
            let state = NonNull::from(Box::leak(place).write(state));
            heartbeat::attach_thread();
            // SAFETY: boxed, attached, on no list.
            unsafe { thread::enlist(state) };
            Ok(Mutator::new(state))
        })
    }
}
