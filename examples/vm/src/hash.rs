//! Hashes for the machine's tables. Not made to resist an adversary.
//!
//! Tables use the lower bits of a hash, so these must depend on every bit of what is hashed: the text of consecutive
//! numbers differs in the last bytes alone, and the numbers themselves in the upper bits of their words.

use crate::halves::Halves;

/// Spreads a word: the upper and the lower half of a product, folded into one.
#[inline(always)]
fn spread(word: u64) -> u64 {
    const MULTIPLIER: u128 = 0x9e37_79b9_7f4a_7c15;
    let product = u128::from(word) * MULTIPLIER;
    (product >> 64) as u64 ^ product as u64
}

/// The hash of a word.
#[inline(always)]
pub(crate) fn word(word: usize) -> usize {
    spread(word as u64) as usize
}

/// The hash of a text, taken eight bytes at a time.
pub(crate) fn text(text: Halves<'_>) -> u32 {
    text.words().fold(text.len() as u64, |state, word| spread(state.rotate_left(23) ^ word)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// How many of 65,536 places a table would use for 65,536 keys; 41,427 would be random.
    fn places(hashes: impl Iterator<Item = usize>) -> usize {
        hashes.take(1 << 16).map(|hash| hash & 0xffff).collect::<HashSet<_>>().len()
    }

    #[test]
    fn keys_that_programs_use_are_spread() {
        let numbered =
            |prefix: &'static str| (0..).map(move |number| text(format!("{prefix}{number}").as_str().into()) as usize);
        for prefix in ["", "x", "key", "a rather long prefix that fills words "] {
            assert!(places(numbered(prefix)) > 35_000, "{prefix:?}");
        }
        assert!(places((0u32..).map(|number| word(f64::from(number).to_bits() as usize))) > 35_000);
        assert!(places((0u32..).map(|number| word((f64::from(number) / 8.0).to_bits() as usize))) > 35_000);
        for size in [16, 32, 48, 64, 4096] {
            assert!(places((0..).map(|number| word(0x7f12_3456_7000 + number * size))) > 35_000, "{size}");
        }
    }

    #[test]
    fn a_hash_depends_on_every_byte_and_on_the_length() {
        let zeros = "\0".repeat(40);
        let mut seen: Vec<u32> = (0..=40).map(|len| text(zeros[..len].into())).collect();
        for place in 0..40 {
            let mut changed = zeros.clone();
            changed.replace_range(place..=place, "\u{1}");
            seen.push(text(changed.as_str().into()));
        }
        assert_eq!(seen.iter().collect::<HashSet<_>>().len(), seen.len());
    }
}
