//! What lives, by type and size.

use std::fmt;

use mimalloc_runtime::{Budget, Error, Mutator, SizeCount, Tally, TypeCount};

use super::amount::{Bytes, Count};

/// What lives in a machine.
#[derive(Debug)]
pub(crate) struct Census {
    total: Tally,
    /// Those with the most bytes first.
    types: Vec<(TypeCount, Vec<SizeCount>)>,
}

impl Census {
    /// Counts it.
    ///
    /// # Errors
    /// Those of [`mimalloc_runtime::Census::step`].
    pub(crate) fn of(mutator: &Mutator) -> Result<Census, Error> {
        let mut census = mutator.census();
        // Nothing runs beside it, so all at once.
        census.step(Budget::Unbounded)?;
        let sizes = |of: &TypeCount| census.sizes().filter(|size| size.key == of.key).collect();
        let mut types: Vec<_> = census.types().map(|found| (found, sizes(&found))).collect();
        types.sort_by(|(one, _), (other, _)| other.live.bytes.cmp(&one.live.bytes).then(one.name.cmp(other.name)));
        Ok(Census { total: census.total(), types })
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>12}{:>14}  what lives", "objects", "size")?;
        writeln!(
            f,
            "{:>12}{:>14}  in all",
            Count(self.total.objects).to_string(),
            Bytes(self.total.bytes).to_string()
        )?;
        for (found, sizes) in &self.types {
            let (objects, bytes) = (Count(found.live.objects).to_string(), Bytes(found.live.bytes).to_string());
            writeln!(f, "{objects:>12}{bytes:>14}  {}", found.name)?;
            // One size needs no more words.
            for size in sizes.iter().filter(|_| sizes.len() > 1) {
                let (objects, bytes) = (Count(size.objects).to_string(), Bytes(size.bytes_each).to_string());
                writeln!(f, "{objects:>26}  of {bytes} each")?;
            }
        }
        Ok(())
    }
}
