//! Memory reserved ahead, so that growth does not wait for the operating system.

use core::ffi::c_int;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::sys::{self, engine};

/// Reserves memory for the process: "this VM will need 2 GiB". Allocations take from it before they ask the system for more, so
/// that growth up to there never waits for a mapping.
///
/// It cannot be undone, and the engine manages at most 160 arenas in a process: reserve once, and enough.
///
/// ```
/// use mimalloc_runtime::engine::Reserve;
/// let reserved = Reserve::bytes(100 << 20).reserve()?;
/// assert!(reserved >= 100 << 20); // rounded up to what the engine can manage
/// # Ok::<(), mimalloc_runtime::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing is reserved until `reserve` is called"]
pub struct Reserve {
    bytes: usize,
    commit: bool,
    large_pages: bool,
}

impl Reserve {
    /// So many bytes, rounded up to a multiple of 32 MiB.
    pub fn bytes(bytes: usize) -> Reserve {
        Reserve { bytes, commit: true, large_pages: false }
    }

    /// Whether the memory is made usable now rather than bit by bit later. `true` if not said. On systems that hand memory out
    /// when it is touched, such as Linux, that costs nothing until then.
    pub fn commit(self, commit: bool) -> Reserve {
        Reserve { commit, ..self }
    }

    /// Whether to take the system's large pages, of 2 or 4 MiB, if it has any. `false` if not said.
    pub fn large_pages(self, large: bool) -> Reserve {
        Reserve { large_pages: large, ..self }
    }

    /// Reserves it, and says how many bytes there are now.
    ///
    /// # Errors
    /// - [`ErrorKind::InvalidSetting`] for nothing at all, or for more than the address space has.
    /// - [`ErrorKind::Refused`] when the system has not so much.
    pub fn reserve(self) -> Result<usize, Error> {
        let bytes = self
            .bytes
            .checked_next_multiple_of(engine::ARENA_STEP)
            .filter(|bytes| (1..=isize::MAX as usize).contains(bytes));
        let Some(bytes) = bytes else {
            return Err(Error::new(
                ErrorKind::InvalidSetting,
                format!("{} bytes cannot be reserved: give at least 1, and less than the address space", self.bytes),
            ));
        };
        engine::init_thread();
        // SAFETY: maps memory of the engine's own.
        let refused = unsafe { sys::mi_reserve_os_memory(bytes, self.commit, self.large_pages) };
        match refused {
            0 => Ok(bytes),
            number => Err(refusal(&format!("{bytes} bytes could not be reserved"), number)),
        }
    }
}

fn refusal(what: &str, number: c_int) -> Error {
    let why = std::io::Error::from_raw_os_error(number);
    Error::new(ErrorKind::Refused, format!("{what}: {why}; ask for less, or see what limits the process's memory"))
}

/// Reserves huge pages of 1 GiB, which the system's administrator must have set aside. They are never given back.
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing is reserved until `reserve` is called"]
pub struct HugePages {
    pages: usize,
    node: Option<u32>,
    timeout: Duration,
}

impl HugePages {
    /// So many pages of 1 GiB, from all NUMA nodes evenly.
    pub fn new(pages: usize) -> HugePages {
        HugePages { pages, node: None, timeout: Duration::from_secs(10) }
    }

    /// From this NUMA node alone.
    pub fn node(self, node: u32) -> HugePages {
        HugePages { node: Some(node), ..self }
    }

    /// Give up after so long, rounded up to milliseconds: the system may have to move memory out of the way. 10 s if not said.
    pub fn timeout(self, timeout: Duration) -> HugePages {
        HugePages { timeout, ..self }
    }

    /// Reserves them. For a place that may wait.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSetting`] for no page; [`ErrorKind::Refused`] when there were not enough, or not in time. Some may have
    /// been reserved all the same.
    pub fn reserve(self) -> Result<(), Error> {
        if self.pages == 0 {
            return Err(Error::new(ErrorKind::InvalidSetting, "0 huge pages were asked for; ask for at least 1"));
        }
        // On a thread that has not used the engine yet, version 2 writes to memory that is constant.
        engine::init_thread();
        let timeout = usize::try_from(self.timeout.as_millis()).unwrap_or(usize::MAX).max(1);
        let refused = match self.node {
            None => {
                // SAFETY: maps memory of the engine's own.
                unsafe { sys::mi_reserve_huge_os_pages_interleave(self.pages, 0, timeout) }
            }
            Some(node) => {
                let node = c_int::try_from(node).unwrap_or(c_int::MAX);
                // SAFETY: as above.
                unsafe { sys::mi_reserve_huge_os_pages_at(self.pages, node, timeout) }
            }
        };
        match refused {
            0 => Ok(()),
            number => Err(refusal(&format!("{} huge pages of 1 GiB could not be reserved", self.pages), number)),
        }
    }
}

/// Gives back to the operating system what is free in the process's arenas, whatever the purge delay says. For a place that may
/// wait: **not bounded**.
///
/// What mutators have free within their heaps is not among it until they have given it up: see
/// [`Mutator::release_memory`](crate::Mutator::release_memory), which does both.
pub fn purge() {
    engine::purge_arenas();
}
