//! The `lox` command as a child process.

use std::io::{ErrorKind, Write};
use std::process::{Command, Stdio};
use std::thread;

/// The ways in which every script is run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mode {
    /// As a user would.
    Plain,
    /// With collection work at every allocation.
    Stress,
    /// With every object freed as soon as it is dead.
    Eager,
    /// With metrics behind everything else on standard error.
    Metrics,
}

impl Mode {
    /// The options that choose the mode.
    pub(crate) fn options(self) -> &'static [&'static str] {
        match self {
            Mode::Plain => &[],
            Mode::Stress => &["--stress"],
            Mode::Eager => &["--eager"],
            Mode::Metrics => &["--metrics=json"],
        }
    }
}

/// What a run of the command left behind.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// The exit code, or a signal's number, negated.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the command in the package's directory.
pub(crate) fn lox(arguments: &[&str], stdin: &str) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lox"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut input = child.stdin.take().expect("standard input is a pipe");

    // Input is fed from beside: a child that writes before it has read everything would else wait for us, and we for it.
    let output = thread::scope(|scope| {
        scope.spawn(move || match input.write_all(stdin.as_bytes()) {
            // Most scripts end without reading.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            result => result.expect("the pipe takes the input"),
        });
        child.wait_with_output().expect("the command ends")
    });

    Run {
        code: output.status.code().unwrap_or_else(|| -signal(output.status)),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| panic!("output is not UTF-8: {error}"))
}

#[cfg(unix)]
fn signal(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;

    status.signal().unwrap_or(i32::MAX)
}

#[cfg(not(unix))]
fn signal(_: std::process::ExitStatus) -> i32 {
    i32::MAX
}
