//! How addresses are hashed.

use core::hash::Hasher;

use super::super::candidates::spread;

#[derive(Debug, Default)]
pub(in crate::deferred) struct Addresses(u64);

impl Hasher for Addresses {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_usize(&mut self, address: usize) {
        // The map takes the lowest bits, of which the addresses of large objects leave many 0.
        self.0 = spread(address).rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::hash::{BuildHasher, BuildHasherDefault};
    use std::collections::HashSet;

    #[test]
    fn objects_that_lie_far_apart_get_places_of_their_own() {
        for apart in [16, 1 << 10, 1 << 16, 1 << 20] {
            let hash = |number| BuildHasherDefault::<Addresses>::default().hash_one(number * apart);
            let places: HashSet<u64> = (0..4096usize).map(|number| hash(number) % 4096).collect();
            assert!(places.len() > 2_000, "{apart}: {}", places.len());
        }
    }
}
