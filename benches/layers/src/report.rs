//! What the program prints.

use std::io::{self, Write};

use mimalloc_runtime::engine;

use crate::count::Count;
use crate::layer::{Layer, SIZES};

/// One object a line.
pub(crate) fn json(counts: &[Count]) -> io::Result<()> {
    let mut out = io::stdout();
    for count in counts {
        serde_json::to_writer(&out, count)?;
        writeln!(out)?;
    }
    Ok(())
}

/// A row for each layer, a column for each size.
pub(crate) fn table(counts: &[Count], beats: u64, valgrind: &str) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(
        out,
        "Instructions of an allocation and its free, counted by {valgrind} over {beats} beats of 64 KiB; mimalloc {}.\n",
        engine::version()
    )?;
    write!(out, "{:<48}", "bytes")?;
    for bytes in SIZES {
        write!(out, "{bytes:>9}")?;
    }
    writeln!(out)?;
    for layer in Layer::shown() {
        write!(out, "{:<48}", layer.name())?;
        for bytes in SIZES {
            let count = counts.iter().find(|count| count.layer == layer && count.bytes == bytes);
            write!(out, "{:>9}", count.map_or("-".to_owned(), |count| format!("{:.2}", count.instructions)))?;
        }
        writeln!(out)?;
    }
    if cfg!(not(feature = "allocator_api2")) {
        writeln!(out, "\nWith --features allocator_api2 there is a row for HeapRef too.")?;
    }
    Ok(())
}
