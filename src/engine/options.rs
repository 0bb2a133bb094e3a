//! Options, set before a runtime's first heap is made.

use core::ffi::c_long;
use core::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::lock::Mutex;
use crate::sys::engine;
use crate::sys::engine::options::{self, EngineOption};

/// When memory that has become free is given back to the operating system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purge {
    /// At once, inside the `free` that frees the last of a range.
    AtOnce,
    /// When it has been free for so long, rounded to milliseconds, inside some later call.
    After(Duration),
    /// On request alone: [`Mutator::release_memory`](crate::Mutator::release_memory), [`purge`](super::purge).
    OnRequest,
}

/// When the memory of an arena is made usable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArenaCommit {
    /// Bit by bit, as it is needed.
    AsNeeded,
    /// All of it, when it is reserved.
    Whole,
    /// All of it where the system hands out memory only when it is touched (Linux, as a rule). The engine's default.
    WholeIfOvercommitted,
}

/// Which theaps take a page over when they free into it while it belongs to no thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReclaimOnFree {
    /// None.
    Never,
    /// The one that the page came from.
    Own,
    /// Any of the heap. The engine's default.
    Any,
}

/// Options of the engine, for [`Builder::engine`](crate::Builder::engine). What is not said is left as it is: as the engine, its
/// environment variables, other libraries or [`Latency::Low`](crate::Latency::Low) have it. What is said here goes before that preset.
///
/// The options are the process's. Two runtimes that want one of them otherwise are a
/// [`SettingConflict`](ErrorKind::SettingConflict).
///
/// | method | engine | must be set |
/// |---|---|---|
/// | [`purge`](EngineOptions::purge), [`purge_decommits`](EngineOptions::purge_decommits), [`purge_size`](EngineOptions::purge_size) | 2, 3; `purge_size`: 3 | any time |
/// | [`sweep_every`](EngineOptions::sweep_every) | 2, 3 | any time |
/// | [`arena_bytes`](EngineOptions::arena_bytes), [`arena_commit`](EngineOptions::arena_commit), [`reserved_only`](EngineOptions::reserved_only), [`large_pages`](EngineOptions::large_pages) | 2, 3 | any time; holds for memory taken from then on |
/// | [`show_errors`](EngineOptions::show_errors), [`verbose`](EngineOptions::verbose) | 2, 3 | any time |
/// | [`page_candidates`](EngineOptions::page_candidates), [`largest_in_arena`](EngineOptions::largest_in_arena) | 3 | any time |
/// | [`full_pages`](EngineOptions::full_pages), [`reclaim_on_free`](EngineOptions::reclaim_on_free) | 3 | before the first heap |
///
/// What the engine reads when it is loaded, before `main`, can be set by its environment variables alone:
/// `MIMALLOC_ALLOW_THP`, `MIMALLOC_USE_NUMA_NODES`, `MIMALLOC_RESERVE_HUGE_OS_PAGES`, `MIMALLOC_RESERVE_OS_MEMORY`,
/// `MIMALLOC_MAX_VABITS`, `MIMALLOC_PAGEMAP_COMMIT`,
/// `MIMALLOC_MAX_ERRORS`, `MIMALLOC_MAX_WARNINGS`. For reserving memory see [`Reserve`](super::Reserve).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineOptions {
    set: Vec<(EngineOption, c_long)>,
}

impl EngineOptions {
    /// No options.
    pub fn new() -> EngineOptions {
        EngineOptions::default()
    }

    #[must_use]
    fn with(mut self, option: EngineOption, value: c_long) -> EngineOptions {
        self.set.retain(|(set, _)| *set != option);
        self.set.push((option, value));
        self
    }

    /// An option that only this or the other version has.
    fn with_if(self, option: Option<EngineOption>, what: &str, value: c_long) -> Result<EngineOptions, Error> {
        match option {
            Some(option) => Ok(self.with(option, value)),
            None => Err(engine::unsupported(what)),
        }
    }

    /// When free memory is given back.
    #[must_use]
    pub fn purge(self, purge: Purge) -> EngineOptions {
        let delay = match purge {
            Purge::AtOnce => 0,
            Purge::After(delay) => c_long::try_from(delay.as_millis()).unwrap_or(options::NEVER).min(options::NEVER),
            Purge::OnRequest => options::NEVER,
        };
        self.with(options::PURGE_DELAY, delay)
    }

    /// How free memory is given back: `true` decommits it, so that it does not count as the process's any more; `false` tells the
    /// system only that its contents are not needed. `true` if not said.
    #[must_use]
    pub fn purge_decommits(self, decommits: bool) -> EngineOptions {
        self.with(options::PURGE_DECOMMITS, decommits.into())
    }

    /// Free ranges of at least so many bytes, rounded to KiB, are given back inside `free` whatever the delay. 32 MiB if neither this
    /// nor the low-latency preset says otherwise.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] on version 2, which does so only without a delay.
    pub fn purge_size(self, bytes: u64) -> Result<EngineOptions, Error> {
        self.with_if(options::PURGE_IMMEDIATE_SIZE, "a size from which memory is purged at once", kib(bytes))
    }

    /// After how many slow-path allocations all pages of a heap are swept, from 1 to 1,000,000; 10,000 is the engine's default.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSetting`] outside this range.
    pub fn sweep_every(self, allocations: u32) -> Result<EngineOptions, Error> {
        if (1..=1_000_000).contains(&allocations) {
            Ok(self.with(options::GENERIC_COLLECT, allocations as c_long))
        } else {
            Err(Error::new(
                ErrorKind::InvalidSetting,
                format!("a sweep every {allocations} allocations was asked for; it must lie between 1 and 1,000,000"),
            ))
        }
    }

    /// Bytes of address space that an arena takes from the system at a time, rounded to KiB; 1 GiB on 64 bits if not said. The
    /// engine rounds it further.
    #[must_use]
    pub fn arena_bytes(self, bytes: u64) -> EngineOptions {
        self.with(options::ARENA_RESERVE, kib(bytes))
    }

    /// When the memory of arenas is made usable.
    #[must_use]
    pub fn arena_commit(self, commit: ArenaCommit) -> EngineOptions {
        let value = match commit {
            ArenaCommit::AsNeeded => 0,
            ArenaCommit::Whole => 1,
            ArenaCommit::WholeIfOvercommitted => 2,
        };
        self.with(options::ARENA_EAGER_COMMIT, value)
    }

    /// Whether memory comes only from arenas that were reserved ([`Reserve`](super::Reserve)): when they are full, memory has run out.
    #[must_use]
    pub fn reserved_only(self, only: bool) -> EngineOptions {
        self.with(options::DISALLOW_OS_ALLOC, only.into())
    }

    /// Whether to use the system's large pages, of 2 or 4 MiB, where it allows them.
    #[must_use]
    pub fn large_pages(self, large: bool) -> EngineOptions {
        self.with(options::ALLOW_LARGE_OS_PAGES, large.into())
    }

    /// Whether errors and warnings are told in words ([`on_message`](super::on_message)): only `debug` builds do if not said.
    #[must_use]
    pub fn show_errors(self, show: bool) -> EngineOptions {
        self.with(options::SHOW_ERRORS, show.into())
    }

    /// Whether the engine tells what it does.
    #[must_use]
    pub fn verbose(self, verbose: bool) -> EngineOptions {
        self.with(options::VERBOSE, verbose.into())
    }

    /// How many pages are looked at for a block, before one is taken; 4 is the engine's default.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] on version 2.
    pub fn page_candidates(self, pages: u16) -> Result<EngineOptions, Error> {
        self.with_if(options::PAGE_MAX_CANDIDATES, "a number of page candidates", pages.into())
    }

    /// The largest block that goes into an arena, in bytes, rounded to KiB. Larger ones are mapped and unmapped by themselves.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] on version 2.
    pub fn largest_in_arena(self, bytes: u64) -> Result<EngineOptions, Error> {
        self.with_if(options::ARENA_MAX_OBJECT_SIZE, "a largest block in an arena", kib(bytes))
    }

    /// How many full pages of a size class a heap keeps, from 0 to 32; 2 is the engine's default. Before the first heap.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] on version 2; [`ErrorKind::InvalidSetting`] outside this range.
    pub fn full_pages(self, pages: u16) -> Result<EngineOptions, Error> {
        if pages > 32 {
            return Err(Error::new(
                ErrorKind::InvalidSetting,
                format!("{pages} full pages of a size class are to be kept; at most 32 can be"),
            ));
        }
        self.with_if(options::PAGE_FULL_RETAIN, "a number of full pages to keep", pages.into())
    }

    /// Who takes a page over by freeing into it. Before the first heap.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] on version 2.
    pub fn reclaim_on_free(self, who: ReclaimOnFree) -> Result<EngineOptions, Error> {
        let value = match who {
            ReclaimOnFree::Never => -1,
            ReclaimOnFree::Own => 0,
            ReclaimOnFree::Any => 1,
        };
        self.with_if(options::PAGE_RECLAIM_ON_FREE, "who takes a page over by freeing into it", value)
    }

    /// These, and those of `others` that they do not say.
    pub(crate) fn or(mut self, others: &[(EngineOption, c_long)]) -> EngineOptions {
        for (option, value) in others {
            if !self.set.iter().any(|(set, _)| set == option) {
                self.set.push((*option, *value));
            }
        }
        self
    }
}

fn kib(bytes: u64) -> c_long {
    // Far below the largest number, which the engine multiplies by 1024.
    c_long::try_from(bytes / 1024).unwrap_or(c_long::MAX).min(c_long::MAX / 2048)
}

/// What runtimes have set so far. The engine has one set of options for the process.
static APPLIED: Mutex<Vec<(EngineOption, c_long)>> = Mutex::new(Vec::new());

/// Whether a heap has been made: some options are read then.
static HEAP_MADE: AtomicBool = AtomicBool::new(false);

/// To be told before a heap is made.
pub(crate) fn heap_is_made() {
    HEAP_MADE.store(true, Ordering::Relaxed);
}

/// Sets all of the options or, when one has been set otherwise or comes too late, none.
pub(crate) fn apply(options: &EngineOptions) -> Result<(), Error> {
    let applied = &mut *APPLIED.lock();
    for (option, wanted) in &options.set {
        let is = options::get(*option);
        let conflict = |why: &str| {
            Err(Error::new(
                ErrorKind::SettingConflict,
                format!("mimalloc's option {} should be {wanted}, but {why} and it now is {is}", option.name),
            ))
        };
        match applied.iter().find(|(set, _)| set == option) {
            Some((_, set)) if set != wanted || is != *set => {
                return conflict(&format!(
                    "a runtime of this process set it to {set}: use the same settings for all runtimes, or \
                     Latency::Engine to leave those of the preset alone,"
                ));
            }
            None if option.before_heaps && is != *wanted && HEAP_MADE.load(Ordering::Relaxed) => {
                return conflict(
                    "a heap has been made already: build this runtime before the first mutator is attached,",
                );
            }
            _ => {}
        }
    }
    for (option, wanted) in &options.set {
        if !applied.iter().any(|(set, _)| set == option) {
            options::set(*option, *wanted);
            applied.push((*option, *wanted));
        }
    }
    Ok(())
}
