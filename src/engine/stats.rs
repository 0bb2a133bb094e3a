//! What the engine counts, and how it has laid its heaps out.

use core::fmt;

use crate::sys::{self, engine};

/// A figure that goes up and down.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    /// What there is.
    pub current: i64,
    /// The highest there was.
    pub peak: i64,
    /// All that was ever added.
    pub total: i64,
}

impl Count {
    fn and(self, other: Count) -> Count {
        Count { current: self.current + other.current, peak: self.peak + other.peak, total: self.total + other.total }
    }
}

impl From<sys::mi_stat_count_t> for Count {
    fn from(count: sys::mi_stat_count_t) -> Count {
        Count { current: count.current, peak: count.peak, total: count.total }
    }
}

/// The engine's own statistics, of the process or, with [`Mutator::engine_stats`](crate::Mutator::engine_stats), of one heap.
///
/// The engine adds the figures of a thread to those of its heap, and a heap's to those of the process, now and then: what it says
/// lags. For exact figures of objects and bytes see [`Metrics`](crate::Metrics). What the engine maps is of the process and told at
/// once. Only what both versions count is here; for the rest there is `sys::mi_stats_get`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EngineStats {
    /// Bytes of address space.
    pub reserved_bytes: Count,
    /// Bytes that can be used, and count as the process's when touched.
    pub committed_bytes: Count,
    /// Bytes ever given back to the system.
    pub purged_bytes: i64,
    /// Bytes of which the system was told that their contents are not needed.
    pub reset_bytes: i64,
    /// Pages: areas of blocks of one size.
    pub pages: Count,
    /// Pages that no thread owns.
    pub abandoned_pages: Count,
    /// Threads that use the engine.
    pub threads: Count,
    /// Calls to the system for memory.
    pub mmap_calls: i64,
    /// Calls to make memory usable.
    pub commit_calls: i64,
    /// Calls to give memory back.
    pub purge_calls: i64,
    /// Arenas ever reserved.
    pub arenas: i64,
    pub(crate) bins: Bins,
}

/// Pages and blocks of each of the engine's size classes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bins([(Count, Count); sys::MI_BIN_HUGE + 1]);

impl Default for Bins {
    fn default() -> Bins {
        Bins([Default::default(); sys::MI_BIN_HUGE + 1])
    }
}

impl fmt::Debug for Bins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.classes()).finish()
    }
}

impl Bins {
    fn classes(&self) -> impl Iterator<Item = ClassStats> {
        let used = self.0.iter().enumerate().filter(|(_, (pages, _))| pages.total > 0);
        used.map(|(bin, (pages, blocks))| ClassStats {
            stride: engine::bin_stride(bin),
            pages: *pages,
            blocks: engine::COUNTS_BLOCKS.then_some(*blocks),
        })
    }
}

/// What the engine counts of a size class, without a look at its areas. [`SizeClass`] has what a walk over them finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClassStats {
    /// Bytes from one block to the next ([`Area::stride`]). `None` for the last class, of blocks larger than those of all others.
    pub stride: Option<usize>,
    /// Pages. In the process's statistics, on version 2 as of the last time that each thread gave memory back
    /// ([`release_memory`](crate::Mutator::release_memory)) or ended.
    pub pages: Count,
    /// Blocks. The engine counts those of a page when it looks at the page: when its free blocks have run out, and in a forced collect
    /// ([`release_memory`](crate::Mutator::release_memory)); blocks kept at hand are in it. `None` on version 2, which does not
    /// count them outside of its debug build.
    pub blocks: Option<Count>,
}

impl EngineStats {
    /// Of two heaps together. The peak is the sum of two, which need not have been reached at the same time.
    pub(crate) fn and(&self, other: &EngineStats) -> EngineStats {
        EngineStats {
            reserved_bytes: self.reserved_bytes.and(other.reserved_bytes),
            committed_bytes: self.committed_bytes.and(other.committed_bytes),
            purged_bytes: self.purged_bytes + other.purged_bytes,
            reset_bytes: self.reset_bytes + other.reset_bytes,
            pages: self.pages.and(other.pages),
            abandoned_pages: self.abandoned_pages.and(other.abandoned_pages),
            threads: self.threads.and(other.threads),
            mmap_calls: self.mmap_calls + other.mmap_calls,
            commit_calls: self.commit_calls + other.commit_calls,
            purge_calls: self.purge_calls + other.purge_calls,
            arenas: self.arenas + other.arenas,
            bins: Bins(core::array::from_fn(|bin| {
                let ((pages, blocks), (more_pages, more_blocks)) = (self.bins.0[bin], other.bins.0[bin]);
                (pages.and(more_pages), blocks.and(more_blocks))
            })),
        }
    }

    /// The size classes that have had pages, smallest first.
    pub fn classes(&self) -> impl Iterator<Item = ClassStats> {
        self.bins.classes()
    }
}

impl From<&sys::mi_stats_t> for EngineStats {
    fn from(stats: &sys::mi_stats_t) -> EngineStats {
        EngineStats {
            reserved_bytes: stats.reserved.into(),
            committed_bytes: stats.committed.into(),
            purged_bytes: stats.purged.total,
            reset_bytes: stats.reset.total,
            pages: stats.pages.into(),
            abandoned_pages: stats.pages_abandoned.into(),
            threads: stats.threads.into(),
            mmap_calls: stats.mmap_calls.total,
            commit_calls: stats.commit_calls.total,
            purge_calls: stats.purge_calls.total,
            arenas: stats.arena_count.total,
            bins: Bins(core::array::from_fn(|bin| (stats.page_bins[bin].into(), stats.malloc_bins[bin].into()))),
        }
    }
}

/// The engine's statistics of the process.
///
/// # Cost
/// The engine copies some kilobytes.
pub fn stats() -> EngineStats {
    EngineStats::from(&engine::process_stats())
}

/// An area of a heap: blocks of one size, side by side. mimalloc calls it a page, and shards a heap into many of them, each with
/// a free list of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Area {
    /// Where the first block lies.
    pub address: usize,
    /// Bytes of a block that its user has.
    pub block_bytes: usize,
    /// Bytes from one block to the next.
    pub stride: usize,
    /// Blocks in use.
    pub used: usize,
    /// Blocks that can be handed out without asking the system for anything.
    pub capacity: usize,
    /// Blocks that there is address space for.
    pub reserved: usize,
}

impl From<&sys::mi_heap_area_t> for Area {
    fn from(area: &sys::mi_heap_area_t) -> Area {
        let stride = area.full_block_size.max(1);
        Area {
            address: area.blocks as usize,
            block_bytes: area.block_size,
            stride: area.full_block_size,
            used: area.used,
            capacity: area.committed / stride,
            reserved: area.reserved / stride,
        }
    }
}

/// All areas of a heap with blocks of one size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SizeClass {
    /// Bytes of a block that its user has.
    pub block_bytes: usize,
    /// How many areas.
    pub areas: usize,
    /// Blocks in use.
    pub used: usize,
    /// Blocks that can be handed out without asking the system for anything.
    pub capacity: usize,
}

impl SizeClass {
    /// The size classes of these areas, smallest first.
    ///
    /// ```
    /// use mimalloc_runtime::{Runtime, engine::SizeClass};
    /// let mutator = Runtime::new()?.attach()?;
    /// let kept: Vec<_> = (0..100u64).map(|value| mutator.alloc([value; 5]).expect("memory")).collect();
    /// let classes = SizeClass::of(&mutator.areas()?);
    /// let objects = classes.iter().find(|class| class.block_bytes >= 48).expect("a header and five words");
    /// assert_eq!(objects.used, 100);
    /// assert!(objects.capacity >= 100);
    /// # drop(kept);
    /// # Ok::<(), mimalloc_runtime::Error>(())
    /// ```
    pub fn of(areas: &[Area]) -> Vec<SizeClass> {
        let mut classes: Vec<SizeClass> = Vec::new();
        for area in areas {
            let place = classes.binary_search_by_key(&area.block_bytes, |class| class.block_bytes);
            let at = place.unwrap_or_else(|at| {
                classes.insert(at, SizeClass { block_bytes: area.block_bytes, areas: 0, used: 0, capacity: 0 });
                at
            });
            classes[at].areas += 1;
            classes[at].used += area.used;
            classes[at].capacity += area.capacity;
        }
        classes
    }
}
