//! Children that measure one drop each.

use std::error::Error;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use super::contender::{Contender, Descent};
use super::graph::{Scene, Shape};
use super::memory;
use super::{Failure, Repeat};
use crate::arguments;

/// Stack for one level of a drop that recurses. Measured generously: what is not touched costs nothing.
const STACK_PER_LEVEL: usize = 1024;

/// The stack on which a contender needs to run, if not the one of the main thread.
///
/// A contender that recurses gets what a list of that length may need, but no more than half of the machine's memory: it
/// is to fail by itself, and not to make other processes fail.
pub(super) fn stack(scene: Scene, contender: Contender) -> Option<usize> {
    if contender.descent() == Descent::Iterates || scene.shape == Shape::Tree {
        return None;
    }
    let half = memory::available().map_or(usize::MAX, |bytes| bytes / 2);
    Some((scene.nodes as usize).saturating_mul(STACK_PER_LEVEL).clamp(8 << 20, half.max(8 << 20)))
}

/// Measures one drop in a child. An error is this program's; what goes wrong in the child is the contender's.
pub(super) fn measure(scene: Scene, contender: Contender) -> Result<Repeat, Box<dyn Error>> {
    let output = Command::new(std::env::current_exe()?)
        .args(arguments::child_words(scene, contender))
        .stdin(Stdio::null())
        .output()?;
    if let Some(signal) = output.status.signal() {
        let stack_mib = stack(scene, contender).map(|bytes| bytes as u64 >> 20);
        return Ok(Repeat::Failed(Failure::Crashed { signal, stack_mib }));
    }
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Ok(Repeat::Failed(Failure::GaveUp(why.trim().to_owned())));
    }
    Ok(Repeat::Measured(serde_json::from_slice(&output.stdout)?))
}
