//! The engine's heap profiler, which version 2 has not.

use core::ffi::CStr;
#[cfg(engine = "v3")]
use core::ptr::NonNull;

use crate::error::Error;
#[cfg(engine = "v3")]
use crate::sys;

/// The engine's `pprof` profiler, attached to the process and not yet running. There is one for good: sampled blocks tell it
/// of their end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PprofProfiler {
    #[cfg(engine = "v3")]
    profiler: NonNull<sys::mi_profiler_t>,
}

// SAFETY: the engine calls its profiler from all threads.
unsafe impl Send for PprofProfiler {}

impl PprofProfiler {
    /// Intervals are in bytes, bytes and seconds, 0 for none. `None` when memory has run out.
    pub(crate) fn new(
        path: &CStr,
        sample_bytes: usize,
        every_bytes: usize,
        every_growth: usize,
        every_seconds: usize,
    ) -> Result<Option<PprofProfiler>, Error> {
        #[cfg(engine = "v3")]
        {
            let profiler = unsafe {
                // SAFETY: a string that ends with a zero.
                sys::mi_pprof_profiler_new(sample_bytes, path.as_ptr(), every_bytes, every_growth, every_seconds)
            };
            let Some(profiler) = NonNull::new(profiler) else { return Ok(None) };
            // SAFETY: a profiler, which is never given back.
            let attached = unsafe { sys::mi_profile(profiler.as_ptr()) };
            Ok(attached.then_some(PprofProfiler { profiler }))
        }
        #[cfg(engine = "v2")]
        {
            let _ = (path, sample_bytes, every_bytes, every_growth, every_seconds);
            Err(super::unsupported("a heap profiler"))
        }
    }

    pub(crate) fn start(self) {
        #[cfg(engine = "v3")]
        // SAFETY: a profiler, attached.
        unsafe {
            sys::mi_profiler_start(self.profiler.as_ptr());
        }
    }

    pub(crate) fn stop(self) {
        #[cfg(engine = "v3")]
        // SAFETY: as above.
        unsafe {
            sys::mi_profiler_stop(self.profiler.as_ptr());
        }
    }

    pub(crate) fn snapshot(self) {
        #[cfg(engine = "v3")]
        // SAFETY: as above.
        unsafe {
            sys::mi_profiler_snapshot(self.profiler.as_ptr());
        }
    }
}
