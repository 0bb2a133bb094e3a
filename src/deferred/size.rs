//! What a block counts for.
//!
//! The engine has blocks of certain sizes only: multiples of 16 bytes up to 128, then four sizes to each doubling, and from
//! 512 KiB on steps of 64 KiB to 4 MiB. That is so in both versions, save that version 2 has finer steps from 64 KiB to 512 KiB.
//! A request counts for the block that serves it. Which one that is, is said here and not asked of the engine: sums of bytes are
//! then never less than what is in use, and the same with either version and in every build (promise P4). `engine_blocks.rs` compares
//! it with the engine.

use core::alloc::Layout;

use super::object::OBJECT_ALIGN;

/// Blocks of no more bytes than this are small: kept at hand when they are freed.
pub(crate) const SMALL: usize = 1024;

/// The sizes of small blocks in steps of 16 bytes, by the request in such steps: a load instead of arithmetic.
const SMALL_SIZES: [u8; SMALL / OBJECT_ALIGN + 1] = {
    let mut sizes = [0; SMALL / OBJECT_ALIGN + 1];
    let mut step = 0;
    while step < sizes.len() {
        sizes[step] = (rounded((step * OBJECT_ALIGN) as u64) / OBJECT_ALIGN as u64) as u8;
        step += 1;
    }
    sizes
};

/// The size of the block for so many bytes. A request for nothing makes a block too.
const fn rounded(bytes: u64) -> u64 {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    let step = if bytes <= 128 {
        OBJECT_ALIGN as u64
    } else if bytes <= 512 * KIB {
        1 << ((bytes - 1).ilog2() - 2)
    // From here on as `_mi_os_good_alloc_size` has it.
    } else if bytes < 2 * MIB {
        64 * KIB
    } else if bytes < 8 * MIB {
        256 * KIB
    } else if bytes < 32 * MIB {
        MIB
    } else {
        4 * MIB
    };
    let bytes = if bytes == 0 { 1 } else { bytes };
    (bytes + step - 1) & !(step - 1)
}

/// The bytes that a block of this layout counts for, and that it is charged as: those of the engine's block for such a request,
/// at most a quarter more than was asked for, and at least 16. The same with either version of the engine and in every build.
/// (Builds that watch the use of memory put some bytes more behind each block. Those are not counted.)
///
/// Sizes of blocks are multiples of 16 bytes up to 128; four to each doubling up to 512 KiB; above that, multiples of 64 KiB, from
/// 2 MiB on of 256 KiB, from 8 MiB of 1 MiB, from 32 MiB of 4 MiB. For an alignment of more than 16 bytes, a block counts for its
/// size and alignment together.
///
/// An object is a block of its value with a header of 8 bytes before it; a [`Tail`](crate::Tail) has its length as well.
///
/// ```
/// use core::alloc::Layout;
/// use mimalloc_runtime::counted_bytes;
///
/// assert_eq!(counted_bytes(Layout::new::<[u8; 100]>()), 112);
/// assert_eq!(counted_bytes(Layout::new::<[u8; 1_000_000]>()), 1_048_576);
/// ```
#[inline]
pub const fn counted_bytes(layout: Layout) -> u64 {
    counted(layout.size(), layout.align())
}

/// The bytes counted for a block. Never 0.
///
/// For an alignment above that of every block, the engine takes a block in which a place of that alignment can be found.
#[inline(always)]
pub(crate) const fn counted(bytes: usize, align: usize) -> u64 {
    if align > OBJECT_ALIGN {
        rounded((bytes as u64 | 1).saturating_add(align as u64))
    } else if bytes <= SMALL {
        SMALL_SIZES[bytes.div_ceil(OBJECT_ALIGN)] as u64 * OBJECT_ALIGN as u64
    } else {
        rounded(bytes as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_at_least_what_was_asked_for_and_at_most_a_quarter_more() {
        for bytes in (0..=70_000).chain((70_000..64 << 20).step_by(997)) {
            let counted = counted(bytes, 1);
            assert!(counted >= bytes.max(1) as u64 && counted % 16 == 0, "{bytes}: {counted}");
            assert!(bytes <= 128 || counted * 4 <= bytes as u64 * 5, "{bytes}: {counted}");
            assert_eq!(super::counted(counted as usize, 16), counted, "a block of that size is one of that size");
        }
    }

    #[test]
    fn the_table_and_the_definition_agree() {
        for bytes in 0..=SMALL {
            assert_eq!(counted(bytes, 8), rounded(bytes as u64));
        }
    }
}
