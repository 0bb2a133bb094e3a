//! What a pair of allocation and free costs.
//!
//! Each measurement of a contender has one of `mi_malloc` beside it, first and second in turn, and only their ratio is
//! compared: a clock rate that changes or a neighbour that wakes up changes both. `mi_malloc` itself is a contender too, so
//! its own ratio shows what is noise.

mod contender;

use std::error::Error;
use std::hint::black_box;
use std::time::Duration;

use mimalloc_runtime::Runtime;
use serde::{Serialize, Serializer};

use crate::clock::thread_cpu;
use crate::summary::Summary;
pub(crate) use contender::Contender;
use contender::{Bench, with_size};

/// Bytes asked of the allocator, headers included.
pub(crate) const SIZES: [usize; 5] = [16, 32, 64, 256, 1024];

/// Pairs in one measurement: a fraction of a millisecond, so that most fall between two turns of the scheduler.
const PAIRS: usize = 50_000;

/// Blocks alive at once in [`Pattern::Batch`].
const BATCH: usize = 100;

/// In which order blocks are allocated and freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pattern {
    /// One block, freed at once.
    Single,
    /// A hundred blocks, then freed in the order in which they were allocated.
    Batch,
}

impl Pattern {
    pub(crate) const ALL: [Pattern; 2] = [Pattern::Single, Pattern::Batch];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Pattern::Single => "single",
            Pattern::Batch => "batch of 100",
        }
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A contender at one size in one pattern.
#[derive(Serialize)]
pub(crate) struct PairCost {
    pub(crate) pattern: Pattern,
    pub(crate) bytes: usize,
    pub(crate) contender: Contender,
    /// Nanoseconds a pair.
    pub(crate) ns: Summary,
    /// To the `mi_malloc` beside it.
    pub(crate) ratio: Summary,
}

/// What can be allocated and freed in pairs.
trait Allocator {
    type Block;

    /// A block whose first word has been written.
    fn take(&self) -> Self::Block;

    fn give_back(&self, block: Self::Block);
}

/// [`PAIRS`] pairs, by the processor clock: nothing here waits, so what it leaves out is other programs' turns.
fn time<A: Allocator>(allocator: &A, pattern: Pattern) -> Duration {
    match pattern {
        Pattern::Single => {
            let start = thread_cpu();
            for _ in 0..PAIRS {
                allocator.give_back(black_box(allocator.take()));
            }
            thread_cpu() - start
        }
        Pattern::Batch => {
            let mut blocks = Vec::with_capacity(BATCH);
            let start = thread_cpu();
            for _ in 0..PAIRS / BATCH {
                blocks.extend((0..BATCH).map(|_| black_box(allocator.take())));
                for block in blocks.drain(..) {
                    allocator.give_back(block);
                }
            }
            thread_cpu() - start
        }
    }
}

/// All contenders at all sizes in both patterns.
pub(crate) fn compare(rounds: usize) -> Result<Vec<PairCost>, Box<dyn Error>> {
    let mutator = Runtime::new()?.attach()?;
    let mut costs = Vec::new();
    for pattern in Pattern::ALL {
        for bytes in SIZES {
            eprintln!("pairs: {}, {bytes} bytes", pattern.name());
            costs.extend(with_size(bytes, &mutator, |benches, baseline| {
                rivals(benches, baseline, pattern, bytes, rounds)
            }));
        }
    }
    Ok(costs)
}

fn rivals(
    benches: &[(Contender, Bench<'_>)],
    baseline: &Bench<'_>,
    pattern: Pattern,
    bytes: usize,
    rounds: usize,
) -> Vec<PairCost> {
    // Once for nothing: pages are touched, the type table is filled.
    for (_, bench) in benches {
        bench(pattern);
    }
    let mut measured: Vec<Vec<(f64, f64)>> = vec![Vec::with_capacity(rounds); benches.len()];
    for round in 0..rounds {
        for turn in 0..benches.len() {
            let at = (round + turn) % benches.len();
            let bench = &benches[at].1;
            let (cost, base) = if round % 2 == 0 {
                let base = baseline(pattern);
                (bench(pattern), base)
            } else {
                let cost = bench(pattern);
                (cost, baseline(pattern))
            };
            measured[at].push((cost.as_secs_f64() * 1e9 / PAIRS as f64, cost.as_secs_f64() / base.as_secs_f64()));
        }
    }
    let costs = benches.iter().zip(measured).filter_map(|((contender, _), measured)| {
        Some(PairCost {
            pattern,
            bytes,
            contender: *contender,
            ns: Summary::of(measured.iter().map(|(ns, _)| *ns))?,
            ratio: Summary::of(measured.iter().map(|(_, ratio)| *ratio))?,
        })
    });
    costs.collect()
}
