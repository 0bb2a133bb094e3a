//! Where and what was measured.

use std::fs;
use std::thread::available_parallelism;

use serde::Serialize;

/// The lock file that this program was built with, which knows the versions of its peers.
const LOCK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock"));

const PACKAGES: [&str; 7] =
    ["mimalloc-runtime", "libmimalloc-sys3", "mimalloc3", "dumpster", "bacon_rajan_cc", "gc-arena", "rquickjs"];

#[derive(Serialize)]
pub(crate) struct Machine {
    pub(crate) command: String,
    pub(crate) cores: usize,
    pub(crate) processor: String,
    pub(crate) engine: String,
    pub(crate) packages: Vec<Package>,
    /// Of the last minute, when the measurements began: above 0 other programs were running.
    pub(crate) load: Option<f64>,
}

#[derive(Serialize)]
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) version: String,
}

impl Machine {
    pub(crate) fn of_this_process() -> Machine {
        // SAFETY: takes nothing and reads a constant.
        let engine = unsafe { libmimalloc_sys3::mi_version() };
        let version = |name| Package { name, version: locked_version(LOCK, name).unwrap_or("unknown").to_owned() };
        Machine {
            command: std::env::args().collect::<Vec<_>>().join(" "),
            cores: available_parallelism().map_or(1, Into::into),
            processor: processor().unwrap_or_else(|| "unknown processor".to_owned()),
            engine: engine_version(engine),
            packages: PACKAGES.map(version).into(),
            load: load(),
        }
    }
}

/// Major, two digits minor, two digits patch.
fn engine_version(number: core::ffi::c_int) -> String {
    format!("mimalloc {}.{}.{}", number / 10_000, number / 100 % 100, number % 100)
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

fn locked_version<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = lock.lines();
    lines.find(|line| line.strip_prefix("name = ").is_some_and(|quoted| quoted.trim_matches('"') == name))?;
    Some(lines.next()?.strip_prefix("version = ")?.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_lock_file() {
        let lock =
            "[[package]]\nname = \"ab\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"a\"\nversion = \"2.1.0\"\n";
        assert_eq!(locked_version(lock, "a"), Some("2.1.0"));
        assert_eq!(locked_version(lock, "b"), None);
        for name in PACKAGES {
            assert!(locked_version(LOCK, name).is_some(), "{name} is locked");
        }
    }

    #[test]
    fn engine_versions_are_spelled_out() {
        assert_eq!(engine_version(30_600), "mimalloc 3.6.0");
        assert_eq!(engine_version(20_502), "mimalloc 2.5.2");
    }
}
