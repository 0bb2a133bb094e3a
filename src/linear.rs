//! The arithmetic of linear hashing (W. Litwin, *Linear Hashing: A New Tool for File and Table Addressing*, VLDB 1980): a table that grows and
//! shrinks by one bucket at a time, so that no operation has more to do because there is much in it.
//!
//! With `n` buckets, of which `p` is the largest power of two that is not above `n`, a hash belongs into the bucket of its remainder by
//! `2 p`, or where there is no such bucket yet, by `p`. So the bucket that comes next takes its part from one other.

/// The bucket of a hash, of so many, at least one.
#[inline]
pub(crate) fn bucket(hash: usize, buckets: usize) -> usize {
    let below = 1 << buckets.ilog2();
    match hash & (2 * below - 1) {
        beyond if beyond >= buckets => beyond - below,
        bucket => bucket,
    }
}

/// The bucket that a bucket above 0 takes its part from, and gives it back to.
#[inline]
pub(crate) fn parent(bucket: usize) -> usize {
    bucket - (1 << bucket.ilog2())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_bucket_takes_from_its_parent_alone() {
        for buckets in 1..1000 {
            let mut taken = 0;
            for hash in 0..5000 {
                let (before, after) = (bucket(hash, buckets), bucket(hash, buckets + 1));
                assert!(before < buckets);
                if after != before {
                    assert_eq!((after, before), (buckets, parent(buckets)));
                    taken += 1;
                }
            }
            assert!(taken > 0);
        }
    }
}
