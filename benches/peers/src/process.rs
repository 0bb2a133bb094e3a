//! Children that measure, and the threads in them that do.

use std::error::Error;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use crate::cost::{Failure, Repeat, Sample};
use crate::memory;

/// Stack for one level of a contender that recurses. Measured generously: what is not touched costs nothing.
const STACK_PER_LEVEL: usize = 1024;

/// The stack on which a contender needs to run that recurses over so many levels.
///
/// It gets what that may need, but no more than half of the machine's memory: it is to fail by itself, and not to make other
/// processes fail.
pub(crate) fn stack(levels: u32) -> usize {
    let half = memory::available().map_or(usize::MAX, |bytes| bytes / 2);
    (levels as usize).saturating_mul(STACK_PER_LEVEL).clamp(8 << 20, half.max(8 << 20))
}

/// A child of this program with this command line.
pub(crate) fn child(words: impl IntoIterator<Item = String>) -> Result<Command, Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(words);
    Ok(command)
}

/// Has a child measure, whose contender runs on so much stack if not on the main thread's. An error is this program's; what goes
/// wrong in the child is the contender's.
pub(crate) fn measure(mut child: Command, stack: Option<usize>) -> Result<Repeat, Box<dyn Error>> {
    let output = child.stdin(Stdio::null()).output()?;
    if let Some(signal) = output.status.signal() {
        let stack_mib = stack.map(|bytes| bytes as u64 >> 20);
        return Ok(Repeat::Failed(Failure::Crashed { signal, stack_mib }));
    }
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Ok(Repeat::Failed(Failure::GaveUp(why.trim().to_owned())));
    }
    Ok(Repeat::Measured(serde_json::from_slice(&output.stdout)?))
}

/// Measures in this process, on so much stack if not on the main thread's.
pub(crate) fn on_stack(
    stack: Option<usize>,
    measure: impl FnOnce() -> Result<Sample, Box<dyn Error>> + Send,
) -> Result<Sample, Box<dyn Error>> {
    let Some(stack) = stack else { return measure() };
    let run = move || measure().map_err(|error| error.to_string());
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(stack).spawn_scoped(scope, run)?;
        thread.join().map_err(|_| "panicked")?.map_err(Into::into)
    })
}
