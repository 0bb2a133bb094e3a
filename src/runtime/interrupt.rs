//! Interruptions: why a program that polls is to stop, and what other threads ask of its mutator.

use core::cell::Cell;
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::aside::aside;
use crate::error::{Error, ErrorKind};
use crate::fallible::{self, TryArc};
use crate::lock::Mutex;

use super::mutator::Mutator;

/// Why the program is to stop: what [`Mutator::poll`] returns. Of several reasons the first in this order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Interrupted {
    /// The fuel has run out ([`Mutator::set_fuel`]). At the same poll in every run.
    OutOfFuel,
    /// The deadline in heartbeats has passed ([`Mutator::set_deadline`]). As the heartbeat is a function of the program alone, at
    /// the same poll on every machine and in every build.
    Deadline {
        /// The number of the beat that was the deadline.
        deadline: u64,
        /// How many beats have passed.
        beats: u64,
    },
    /// Somebody has called [`Interrupter::stop`].
    Stopped,
    /// The time limit has passed ([`Mutator::set_time_limit`]).
    TimedOut,
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Interrupted::OutOfFuel => f.write_str("out of fuel"),
            Interrupted::Deadline { deadline, beats } => {
                write!(f, "the deadline of {deadline} heartbeats has passed: it is beat {beats}")
            }
            Interrupted::Stopped => f.write_str("stopped on request"),
            Interrupted::TimedOut => f.write_str("the time limit has passed"),
        }
    }
}

impl core::error::Error for Interrupted {}

/// Interrupts a mutator from any thread.
///
/// Made by [`Mutator::interrupter`]; cheap to clone; may outlive the mutator. What it asks for happens at the mutator's next
/// [`poll`](Mutator::poll): a program that does not poll is not interrupted.
#[derive(Clone)]
pub struct Interrupter {
    signal: TryArc<Signal>,
}

impl Interrupter {
    /// Has the next [`poll`](Mutator::poll) return [`Interrupted::Stopped`]: once, however often this was called before it.
    /// Nothing if the mutator has gone.
    ///
    /// # Cost
    /// One atomic operation, without a lock or an allocation: it may be called in a handler of a Unix signal.
    pub fn stop(&self) {
        self.signal.raise(STOP);
    }

    /// Has the next [`poll`](Mutator::poll) do what a [`safepoint`](Mutator::safepoint) does. Nothing if the mutator has gone.
    ///
    /// # Cost
    /// As [`stop`](Interrupter::stop).
    pub fn request_safepoint(&self) {
        self.signal.raise(NEWS);
    }

    /// Runs `request` on the mutator's thread, at its next [`poll`](Mutator::poll) or safepoint. One that was taken and whose
    /// mutator goes without polling again is dropped, on that mutator's thread.
    ///
    /// Requests run in the order in which they came, each once. One that is made by a request waits for the next poll. They may
    /// do anything that code on that thread may do: allocate, collect, poll, ask for more. They do not run where the poll is
    /// within code that the crate has called, such as a handler or a `Drop`, of whichever mutator of the thread, but when the program
    /// itself polls again. A panic comes out of the poll or safepoint, when all requests have run.
    ///
    /// When it runs is up to the threads: what it allocates or polls moves the program's beats and fuel.
    ///
    /// # Errors
    /// [`ErrorKind::Detached`] if the mutator has gone, [`ErrorKind::OutOfMemory`]. Then `request` is dropped here.
    ///
    /// # Cost
    /// A lock, for moments only, and an allocation.
    pub fn run_at_safepoint(&self, request: impl FnOnce(&Mutator) + Send + 'static) -> Result<(), Error> {
        self.signal.request(fallible::boxed(request)?)
    }
}

impl fmt::Debug for Interrupter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupter").finish_non_exhaustive()
    }
}

type Request = Box<dyn FnOnce(&Mutator) + Send>;

/// Reasons to look closer than a poll does on its fast path. The first three are of the mutator's thread alone, and stay until
/// what they are about is set anew.
const OUT_OF_FUEL: u32 = 1;
const DEADLINE: u32 = 1 << 1;
const TIMED_OUT: u32 = 1 << 2;
const STOP: u32 = 1 << 3;
/// There is something that a safepoint tells.
const NEWS: u32 = 1 << 4;
/// There are requests.
const REQUESTS: u32 = 1 << 5;
/// Every poll is a safepoint: set from the beginning or never ([`Stress`](super::Stress)).
const STRESS: u32 = 1 << 6;

/// What a mutator shares with those who interrupt it.
struct Signal {
    word: AtomicU32,
    /// Invariant REQUESTS: `None` from the detaching on. Nothing of the user's runs or is dropped under the lock.
    requests: Mutex<Option<Vec<Request>>>,
}

impl Signal {
    fn has(&self, bits: u32) -> bool {
        // Acquire: pairs with `raise`. What came before a stop is seen by whoever sees the stop.
        self.word.load(Ordering::Acquire) & bits != 0
    }

    fn raise(&self, bits: u32) {
        self.word.fetch_or(bits, Ordering::Release);
    }

    /// Whether any of them was raised.
    fn lower(&self, bits: u32) -> bool {
        self.word.fetch_and(!bits, Ordering::AcqRel) & bits != 0
    }

    fn request(&self, request: Request) -> Result<(), Error> {
        // Moved in only when there is room: it is not dropped under the lock. How much room there is depends on other threads.
        let mut request = Some(request);
        aside(|| {
            let mut requests = self.requests.lock();
            let requests = requests.as_mut().ok_or_else(detached)?;
            requests.try_reserve(1).map_err(|_| fallible::out_of_memory())?;
            requests.extend(request.take());
            Ok(())
        })?;
        self.raise(REQUESTS);
        Ok(())
    }

    fn take_requests(&self) -> Vec<Request> {
        // Before they are taken: one that comes in between is taken too, and its bit stays for nothing.
        self.lower(REQUESTS);
        self.requests.lock().as_mut().map(core::mem::take).unwrap_or_default()
    }

    fn close(&self) -> Vec<Request> {
        self.requests.lock().take().unwrap_or_default()
    }
}

fn detached() -> Error {
    Error::new(ErrorKind::Detached, "the mutator has been detached: nothing runs on it any more")
}

/// A limit on time, and how long it takes to use up fuel.
#[derive(Clone, Copy)]
struct TimeLimit {
    until: Instant,
    /// When the clock was read last.
    read: Instant,
    /// Fuel that may be used from then on until it is read again.
    slice: i64,
}

impl TimeLimit {
    /// Slices that take less become longer: to read the clock takes some tens of nanoseconds.
    const SHORT: Duration = Duration::from_micros(25);
    /// Slices that take more become shorter.
    const LONG: Duration = Duration::from_micros(100);
    /// Far from overflowing.
    const LARGEST: i64 = 1 << 60;

    /// Without a slice: the first poll that costs anything reads the clock.
    fn new(limit: Duration) -> Option<TimeLimit> {
        let now = Instant::now();
        // Beyond what an instant can be, nobody waits for it.
        Some(TimeLimit { until: now.checked_add(limit)?, read: now, slice: 0 })
    }

    /// The limit at `now`, when so much fuel was used since the last reading. By what was used and not by what was granted: fuel
    /// that is set anew often ends slices early.
    fn read(self, now: Instant, used: i64) -> TimeLimit {
        let took = now.duration_since(self.read);
        let slice = if took < Self::SHORT {
            used.saturating_mul(2)
        } else if took > Self::LONG {
            (i128::from(used) * Self::SHORT.as_nanos() as i128 / took.as_nanos() as i128) as i64
        } else {
            used
        };
        TimeLimit { read: now, slice: slice.clamp(1, Self::LARGEST), ..self }
    }
}

/// What a mutator's polls look at, besides its clock of beats.
///
/// Invariant FUEL: `slice` and `reserve` are what fuel is left, and `slice` is not negative, save between a poll's subtraction
/// and `refuel`, where nothing else runs.
pub(super) struct Interrupts {
    /// Fuel until a poll looks closer.
    slice: Cell<i64>,
    /// Fuel beyond the slice; `None` for no limit.
    reserve: Cell<Option<u64>>,
    time: Cell<Option<TimeLimit>>,
    signal: TryArc<Signal>,
}

impl Interrupts {
    pub(super) fn new(is_stressed: bool) -> Result<Interrupts, Error> {
        let word = AtomicU32::new(if is_stressed { STRESS } else { 0 });
        let signal = Signal { word, requests: Mutex::new(Some(Vec::new())) };
        Ok(Interrupts {
            slice: Cell::new(i64::MAX),
            reserve: Cell::new(None),
            time: Cell::new(None),
            signal: TryArc::new(signal)?,
        })
    }

    pub(super) fn interrupter(&self) -> Interrupter {
        Interrupter { signal: self.signal.clone() }
    }

    // ---- fuel and time ----

    /// Uses up fuel. Negative when the slice is: then `refuel` must follow.
    #[inline(always)]
    pub(super) fn spend(&self, cost: u32) -> i64 {
        // Does not overflow, by FUEL.
        let left = self.slice.get() - i64::from(cost);
        self.slice.set(left);
        left
    }

    /// To be called after each `spend` that came out negative.
    pub(super) fn refuel(&self) {
        let overspent = self.slice.get();
        if overspent >= 0 {
            return;
        }
        self.read_clock();
        let left = self.reserve.get().map(|reserve| {
            reserve.checked_add_signed(overspent).unwrap_or_else(|| {
                self.signal.raise(OUT_OF_FUEL);
                0
            })
        });
        self.grant(left);
    }

    /// Divides the fuel into a slice and the rest.
    fn grant(&self, fuel: Option<u64>) {
        let time = self.time.get();
        let most = time.map_or(i64::MAX, |limit| limit.slice);
        // What fits is no more than `most`.
        let slice = fuel.map_or(most, |fuel| i64::try_from(fuel).map_or(most, |fuel| fuel.min(most)));
        self.slice.set(slice);
        self.reserve.set(fuel.map(|fuel| fuel - slice as u64));
        self.time.set(time.map(|limit| TimeLimit { slice, ..limit }));
    }

    fn read_clock(&self) {
        if let Some(limit) = self.time.get() {
            let now = Instant::now();
            if now >= limit.until {
                self.signal.raise(TIMED_OUT);
            }
            self.time.set(Some(limit.read(now, limit.slice - self.slice.get())));
        }
    }

    /// Something has taken long, whatever it costs: the next poll knows the time. No fuel is used up.
    pub(super) fn look_at_clock(&self) {
        self.read_clock();
        self.grant(self.fuel());
    }

    pub(super) fn fuel(&self) -> Option<u64> {
        self.reserve.get().map(|reserve| reserve + self.slice.get() as u64)
    }

    pub(super) fn set_fuel(&self, fuel: Option<u64>) {
        // Else a program whose fuel is set more often than slices end would never time out.
        self.read_clock();
        self.signal.lower(OUT_OF_FUEL);
        self.grant(fuel);
    }

    pub(super) fn set_time_limit(&self, limit: Option<Duration>) {
        self.time.set(limit.and_then(TimeLimit::new));
        self.signal.lower(TIMED_OUT);
        self.grant(self.fuel());
    }

    // ---- the signal ----

    /// Whether a poll has to look closer.
    #[inline(always)]
    pub(super) fn is_signalled(&self) -> bool {
        // Relaxed: `Signal::has` is asked again before anything is concluded.
        self.signal.word.load(Ordering::Relaxed) != 0
    }

    /// Whether there is something that a safepoint does.
    #[inline(always)]
    pub(super) fn has_news(&self) -> bool {
        self.signal.word.load(Ordering::Relaxed) & (NEWS | REQUESTS | STRESS) != 0
    }

    /// There is something to tell at the next poll or safepoint.
    pub(super) fn raise_news(&self) {
        self.signal.raise(NEWS);
    }

    /// What there was to tell is being told.
    pub(super) fn lower_news(&self) {
        self.signal.lower(NEWS);
    }

    /// The deadline has passed.
    pub(super) fn raise_deadline(&self) {
        self.signal.raise(DEADLINE);
    }

    /// There is another deadline.
    pub(super) fn lower_deadline(&self) {
        self.signal.lower(DEADLINE);
    }

    /// Whether fuel has run out.
    pub(super) fn is_out_of_fuel(&self) -> bool {
        self.signal.has(OUT_OF_FUEL)
    }

    /// Whether the time limit has passed, as of the last reading of the clock.
    pub(super) fn is_timed_out(&self) -> bool {
        self.signal.has(TIMED_OUT)
    }

    /// Whether a stop waits to be reported.
    pub(super) fn is_stopped(&self) -> bool {
        self.signal.has(STOP)
    }

    /// Whether a stop waited. It does no more.
    pub(super) fn clear_stop(&self) -> bool {
        self.signal.lower(STOP)
    }

    /// The requests that have come.
    pub(super) fn take_requests(&self) -> Vec<Request> {
        self.signal.take_requests()
    }

    /// Requests that nobody will run. There will be no others.
    pub(super) fn close(&self) -> Vec<Request> {
        self.signal.close()
    }
}

impl Mutator {
    /// Whether the program may go on: for a VM's loop, at backward jumps and at calls, and for long work outside of it. Uses up
    /// `cost` of the fuel, whatever it returns. A [`safepoint`](Mutator::safepoint) too, save that what comes from the engine
    /// (its calls and messages) may wait for the next beat.
    ///
    /// ```
    /// use mimalloc_runtime::{Interrupted, Runtime};
    /// let mutator = Runtime::new()?.attach()?;
    /// mutator.set_fuel(Some(1_000));
    /// let mut rounds = 0;
    /// let why = loop {
    ///     match mutator.poll(1) {
    ///         Ok(()) => rounds += 1, // ... one round of the program's loop ...
    ///         Err(why) => break why,
    ///     }
    /// };
    /// assert_eq!((why, rounds), (Interrupted::OutOfFuel, 1_000));
    /// # Ok::<(), mimalloc_runtime::Error>(())
    /// ```
    ///
    /// A program is interrupted where it polls and nowhere else: code that does not, such as a native function that sorts a
    /// list, should poll with what its work costs. In code that the crate has called (a handler, a request, a `Drop` within a step), for this
    /// mutator or another one of the thread, it works as everywhere and uses up the same fuel, but leaves [`Interrupted::Stopped`] for the program's own next poll to return too.
    ///
    /// # Errors
    /// Of several reasons to stop the first of
    /// - [`Interrupted::OutOfFuel`] when `cost` was more than the fuel that was left, and from then on, until
    ///   [`set_fuel`](Mutator::set_fuel);
    /// - [`Interrupted::Deadline`] when the beat that is the deadline has passed, until
    ///   [`set_deadline`](Mutator::set_deadline);
    /// - [`Interrupted::Stopped`] once after [`Interrupter::stop`];
    /// - [`Interrupted::TimedOut`] when the clock was found to be past the time limit, until
    ///   [`set_time_limit`](Mutator::set_time_limit).
    ///
    /// # Panics
    /// As [`safepoint`](Mutator::safepoint).
    ///
    /// # Cost
    /// A subtraction, three loads and two branches when there is nothing to do, with whatever limits. With a time limit the clock
    /// is read every 25 to 100 us.
    #[inline(always)]
    pub fn poll(&self, cost: u32) -> Result<(), Interrupted> {
        if self.state().spend(cost) { self.state().poll_closer(self) } else { Ok(()) }
    }

    /// Sets how much fuel [`poll`](Mutator::poll) may use up; `None` for no limit. Exact: the poll that finds too little is the same in
    /// every run, on every machine, whatever other limits there are. Its unit is the embedder's.
    pub fn set_fuel(&self, fuel: Option<u64>) {
        self.state().interrupts().set_fuel(fuel);
    }

    /// The fuel that is left; `None` without a limit.
    pub fn fuel(&self) -> Option<u64> {
        self.state().interrupts().fuel()
    }

    /// Sets a limit on time, from now on; `None` for none. [`poll`](Mutator::poll) returns [`Interrupted::TimedOut`] from the first
    /// reading of the clock after it on, until a limit is set anew.
    ///
    /// There is no thread that watches. Polls read the clock each time that a certain sum of costs is used up, which is chosen so
    /// that it takes 25 to 100 us, by how long the last took. So it comes late by about that; by as much as a poll becomes slower, for
    /// its cost, from one reading to the next; and by as long as the program does not poll. Polls that cost nothing never
    /// read it; an allocation that has to make room does, as it may search all that lives. The rest of the program goes by no clock: neither fuel nor beats depend on when it is read.
    pub fn set_time_limit(&self, limit: Option<Duration>) {
        self.state().interrupts().set_time_limit(limit);
    }

    /// Something with which other threads interrupt this mutator.
    pub fn interrupter(&self) -> Interrupter {
        self.state().interrupts().interrupter()
    }

    /// Takes back a stop ([`Interrupter::stop`]) that no poll has returned, and says whether there was one. For a VM that begins
    /// another program, so that it does not end by a stop that was meant for the last.
    pub fn clear_stop(&self) -> bool {
        self.state().interrupts().clear_stop()
    }
}
