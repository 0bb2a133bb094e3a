//! The command as a child process, and files for it.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// The command, about to be run.
#[derive(Debug)]
pub(crate) struct Lox {
    command: Command,
    input: Vec<u8>,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Lox {
    pub(crate) fn with(arguments: &[&str]) -> Lox {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lox"));
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Lox { command, input: Vec::new() }
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Lox {
        self.command.arg(argument);
        self
    }

    /// What it finds on standard input: so little that a pipe holds it.
    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Lox {
        self.input = input.into();
        self
    }

    pub(crate) fn stdout(mut self, stdout: impl Into<Stdio>) -> Lox {
        self.command.stdout(stdout);
        self
    }

    pub(crate) fn run(mut self) -> Run {
        let mut child = self.command.spawn().expect("the command starts");
        let mut stdin = child.stdin.take().expect("standard input is a pipe");
        // A command that refuses its arguments ends without reading.
        drop(stdin.write_all(&self.input));
        drop(stdin);
        let Output { status, stdout, stderr } = child.wait_with_output().expect("the command ends");
        Run {
            code: status.code().expect("no signal ends it"),
            stdout: String::from_utf8(stdout).expect("output is UTF-8"),
            stderr: String::from_utf8(stderr).expect("messages are UTF-8"),
        }
    }
}

/// A script in a file; `name` must be unique among the tests.
pub(crate) fn scratch(name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = scratch_path(&format!("{name}.lox"));
    fs::write(&path, text).expect("the directory for tests can be written");
    path
}

/// Where a file of that name may be made.
pub(crate) fn scratch_path(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cli");
    fs::create_dir_all(&directory).expect("the directory for tests can be made");
    directory.join(name)
}
