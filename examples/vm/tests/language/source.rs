//! A generated script in a file.

use std::fs;
use std::path::PathBuf;

/// A script, removed at the end of its test.
#[derive(Debug)]
pub(crate) struct Source(PathBuf);

impl Source {
    /// Writes a script; `name` must be unique among the tests.
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.lox", std::process::id()));
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Source(path)
    }

    /// Where the script is.
    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("the target directory's path is UTF-8")
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // A file that stays behind harms no test.
        drop(fs::remove_file(&self.0));
    }
}
