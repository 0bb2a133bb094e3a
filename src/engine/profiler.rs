//! The engine's sampling heap profiler, which writes files for `pprof`.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::aside::aside;
use crate::error::{Error, ErrorKind};
use crate::lock::Mutex;
use crate::sys::engine::PprofProfiler;

/// How the heap profiler samples. All allocations of the process are sampled, those of mutators and others.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "nothing is profiled until `start` is called"]
pub struct ProfilerSettings {
    path: PathBuf,
    sample_bytes: usize,
    every_bytes: usize,
    every_growth: usize,
    every: Duration,
}

impl ProfilerSettings {
    /// Snapshots go to files whose names begin with `path`. They are text if it ends in `.heap` or `.text`, and compressed
    /// protocol buffers else; `pprof` reads both. By default one allocation in 512 KiB is sampled, and there are no snapshots but
    /// those that are asked for.
    pub fn new(path: impl AsRef<Path>) -> ProfilerSettings {
        ProfilerSettings {
            path: path.as_ref().to_owned(),
            sample_bytes: 512 << 10,
            every_bytes: 0,
            every_growth: 0,
            every: Duration::ZERO,
        }
    }

    /// Bytes allocated between two samples, at least 1.
    pub fn sample_bytes(self, bytes: usize) -> ProfilerSettings {
        ProfilerSettings { sample_bytes: bytes.max(1), ..self }
    }

    /// A snapshot each time so many bytes have been allocated; 0 for none.
    pub fn snapshot_every_bytes(self, bytes: usize) -> ProfilerSettings {
        ProfilerSettings { every_bytes: bytes, ..self }
    }

    /// A snapshot each time the bytes in use have grown by so many; 0 for none.
    pub fn snapshot_every_growth(self, bytes: usize) -> ProfilerSettings {
        ProfilerSettings { every_growth: bytes, ..self }
    }

    /// A snapshot each time so many seconds have passed, looked at when memory is allocated; zero for none.
    pub fn snapshot_every(self, time: Duration) -> ProfilerSettings {
        ProfilerSettings { every: time, ..self }
    }

    /// Starts it.
    ///
    /// # Errors
    /// - [`ErrorKind::Unsupported`] on version 2.
    /// - [`ErrorKind::InvalidSetting`] for a path with a zero in it.
    /// - [`ErrorKind::SettingConflict`] when the process has a profiler with other settings: it has one for good, as blocks that
    ///   were sampled tell it of their end however late. With the same settings it goes on.
    /// - [`ErrorKind::Refused`] when the engine could not make one.
    pub fn start(self) -> Result<Profiler, Error> {
        // It is the process's.
        aside(|| self.start_locked(&mut PROFILER.lock()))
    }

    fn start_locked(&self, made: &mut Option<Made>) -> Result<Profiler, Error> {
        if made.is_none() {
            let profiler = self.make()?;
            *made = Some(Made { settings: self.clone(), profiler, running: 0 });
        }
        match made {
            Some(made) if made.settings == *self => {
                made.running += 1;
                made.profiler.start();
                Ok(Profiler { profiler: made.profiler })
            }
            other => Err(Error::new(
                ErrorKind::SettingConflict,
                format!("the process has a heap profiler with other settings: {other:?}; use those, or stay with it"),
            )),
        }
    }

    fn make(&self) -> Result<PprofProfiler, Error> {
        let Ok(path) = CString::new(self.path.as_os_str().as_encoded_bytes()) else {
            return Err(Error::new(
                ErrorKind::InvalidSetting,
                format!("the profiler's path {:?} has a zero in it: take it out", self.path),
            ));
        };
        let seconds = usize::try_from(self.every.as_secs()).unwrap_or(usize::MAX);
        let made = PprofProfiler::new(&path, self.sample_bytes, self.every_bytes, self.every_growth, seconds)?;
        made.ok_or_else(|| {
            Error::new(ErrorKind::Refused, "the engine could not make a heap profiler: memory has run out")
        })
    }
}

#[derive(Debug)]
struct Made {
    settings: ProfilerSettings,
    profiler: PprofProfiler,
    /// How many shares of it there are.
    running: usize,
}

/// The process's profiler, once it has been started.
static PROFILER: Mutex<Option<Made>> = Mutex::new(None);

/// The running profiler, or a share of it: started twice, it ends the sampling when both are dropped.
#[derive(Debug)]
pub struct Profiler {
    profiler: PprofProfiler,
}

impl Profiler {
    /// Writes a snapshot now.
    pub fn snapshot(&self) {
        self.profiler.snapshot();
    }
}

impl Drop for Profiler {
    fn drop(&mut self) {
        // As in `start`.
        aside(|| {
            if let Some(made) = &mut *PROFILER.lock() {
                made.running -= 1;
                if made.running == 0 {
                    made.profiler.stop();
                }
            }
        });
    }
}
