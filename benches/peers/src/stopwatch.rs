//! Times the steps of one drop.

use std::time::{Duration, Instant};

use crate::clock::thread_cpu;

/// The longest step and all of them together.
pub(crate) struct Stopwatch {
    pub(crate) longest: Duration,
    pub(crate) longest_cpu: Duration,
    pub(crate) total: Duration,
    /// Unknown as soon as there was a turn.
    pub(crate) total_cpu: Option<Duration>,
    pub(crate) steps: u64,
    /// What a step that does nothing takes on the processor clock, whose reading is a system call.
    reading: Duration,
}

impl Stopwatch {
    pub(crate) fn new() -> Stopwatch {
        let mut watch = Stopwatch {
            longest: Duration::ZERO,
            longest_cpu: Duration::ZERO,
            total: Duration::ZERO,
            total_cpu: Some(Duration::ZERO),
            steps: 0,
            reading: Duration::ZERO,
        };
        // The least of some: what is taken off must not hide work.
        watch.reading = (0..100).map(|_| watch.time(|| ()).2).min().unwrap_or_default();
        watch
    }

    /// Times a call into the collector.
    pub(crate) fn step<R>(&mut self, step: impl FnOnce() -> R) -> R {
        let (result, wall, cpu) = self.time(step);
        self.count(wall, cpu);
        self.total += wall;
        if let Some(total) = &mut self.total_cpu {
            *total += cpu;
        }
        result
    }

    /// Times a turn of the program that does other work besides. The turn itself says how much of it was the collector's;
    /// only that adds to the total, but all of it to the longest step.
    pub(crate) fn turn(&mut self, turn: impl FnOnce() -> Duration) {
        let (collecting, wall, cpu) = self.time(turn);
        self.count(wall, cpu);
        self.total += collecting;
        self.total_cpu = None;
    }

    fn count(&mut self, wall: Duration, cpu: Duration) {
        self.longest = self.longest.max(wall);
        self.longest_cpu = self.longest_cpu.max(cpu);
        self.steps += 1;
    }

    /// The monotonic clock within the other one, so that it does not see what reading that costs.
    fn time<R>(&self, f: impl FnOnce() -> R) -> (R, Duration, Duration) {
        let cpu = thread_cpu();
        let wall = Instant::now();
        let result = f();
        let wall = wall.elapsed();
        let cpu = thread_cpu().saturating_sub(cpu).saturating_sub(self.reading);
        (result, wall, cpu)
    }
}
