//! The processor clock of a thread.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How long the processor has worked for this thread. Stands still while other programs have their turn.
pub(crate) fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // The kernel gives whole seconds, never negative, and less than a second of nanoseconds.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
