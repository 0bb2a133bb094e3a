//! What must hold to the instruction.

use std::error::Error;
use std::ops::RangeInclusive;

use crate::count;
use crate::layer::{Layer, SIZES};
use crate::pair::Scene;

/// Pairs counted for a claim.
const PAIRS: i64 = 10_000;

/// The longest beat that there is, of which none falls into the run, and one of which many do.
const NO_BEATS: u64 = 1 << 40;
const MANY_BEATS: u64 = 4096;

/// By how many instructions [`PAIRS`] pairs of one layer cost more than those of another.
struct Claim {
    text: &'static str,
    more: Layer,
    than: Layer,
    beat_bytes: u64,
    by: RangeInclusive<i64>,
}

const CLAIMS: [Claim; 9] = [
    Claim {
        text: "outside of beats a subscribed handler costs nothing",
        more: Layer::EveryBeat,
        than: Layer::Leaf,
        beat_bytes: NO_BEATS,
        by: 0..=0,
    },
    Claim {
        text: "outside of beats a deadline costs nothing",
        more: Layer::Deadline,
        than: Layer::Leaf,
        beat_bytes: NO_BEATS,
        by: 0..=0,
    },
    Claim {
        text: "far from it a limit costs nothing",
        more: Layer::Limit,
        than: Layer::Leaf,
        beat_bytes: NO_BEATS,
        by: 0..=0,
    },
    // At least 1 a pair: had the compiler left it out, nothing would have been counted.
    Claim {
        text: "poll is at most 10 instructions",
        more: Layer::Polled,
        than: Layer::Leaf,
        beat_bytes: NO_BEATS,
        by: PAIRS..=10 * PAIRS,
    },
    Claim {
        text: "poll costs the same with fuel and a deadline",
        more: Layer::PolledLimits,
        than: Layer::Polled,
        beat_bytes: NO_BEATS,
        by: 0..=0,
    },
    Claim {
        text: "a reading of a Watch is at most 300 instructions",
        more: Layer::Reading,
        than: Layer::Loop,
        beat_bytes: NO_BEATS,
        by: PAIRS..=300 * PAIRS,
    },
    Claim {
        text: "an object that is not shared costs the same where there may be cycles",
        more: Layer::Slot,
        than: Layer::SlotAcyclic,
        beat_bytes: NO_BEATS,
        by: 0..=0,
    },
    Claim {
        text: "to be a candidate for garbage cycles is at most 80 instructions",
        more: Layer::Shared,
        than: Layer::SharedAcyclic,
        beat_bytes: NO_BEATS,
        by: PAIRS..=80 * PAIRS,
    },
    // The control of the first: that handlers are seen when they are called.
    Claim {
        text: "on beats a subscribed handler does cost something",
        more: Layer::EveryBeat,
        than: Layer::Leaf,
        beat_bytes: MANY_BEATS,
        by: 1..=i64::MAX,
    },
];

/// Checks all claims at all sizes, and says of each whether it holds.
pub(crate) fn check() -> Result<bool, Box<dyn Error>> {
    let mut all_hold = true;
    for claim in CLAIMS {
        for bytes in SIZES {
            let of = |layer| count::of_pairs(Scene { layer, bytes, beat_bytes: claim.beat_bytes }, PAIRS as u64);
            let difference = of(claim.more)? - of(claim.than)?;
            let holds = claim.by.contains(&difference);
            all_hold &= holds;
            println!(
                "{} {}, {bytes} bytes: {difference} instructions more in {PAIRS} pairs",
                if holds { "ok    " } else { "FAILED" },
                claim.text
            );
        }
    }
    Ok(all_hold)
}
