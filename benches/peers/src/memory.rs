//! The resident memory of this process.

use std::fs;

/// Gives back what building left behind, so that the drop begins with what is alive and no more.
pub(crate) fn settle() {
    // SAFETY: callable on any thread.
    unsafe { libmimalloc_sys3::mi_collect(true) }
}

/// Starts the peak anew.
pub(crate) fn forget_peak() -> Forgotten {
    match fs::write("/proc/self/clear_refs", "5") {
        Ok(()) => Forgotten::Yes,
        Err(_) => Forgotten::No,
    }
}

/// Whether the kernel let us.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forgotten {
    Yes,
    No,
}

pub(crate) fn resident_mib() -> Option<f64> {
    status("VmRSS:")
}

pub(crate) fn peak_resident_mib() -> Option<f64> {
    status("VmHWM:")
}

fn status(field: &str) -> Option<f64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

/// What the machine could still give to this process.
pub(crate) fn available() -> Option<usize> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}
