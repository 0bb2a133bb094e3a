//! The prompt: runs line after line, and goes on after errors.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use lox_vm::error::InterpretError;
use lox_vm::machine::Machine;
use rustyline::DefaultEditor;
use rustyline::config::Config;
use rustyline::error::ReadlineError;

use crate::ctrl_c::CtrlC;

const PROMPT: &str = "> ";

/// What ends a session early.
#[derive(Debug)]
pub(crate) enum Broken {
    /// Input cannot be read.
    Input(io::Error),
    /// Output cannot be written.
    Output(io::Error),
}

/// Runs what is typed, or what comes from a file or a pipe, until the end of input.
///
/// # Errors
///
/// When a stream breaks. What is wrong with a line is said on `err` and ends nothing.
pub(crate) fn run(
    machine: &mut Machine,
    ctrl_c: &CtrlC,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), Broken> {
    let mut lines = Lines::open().map_err(Broken::Input)?;
    loop {
        machine.finish_line().map_err(Broken::Input)?;
        let Some(line) = lines.next().map_err(Broken::Input)? else { return Ok(()) };
        match ctrl_c.interpret(machine, &line, out, err) {
            Ok(()) | Err(InterpretError::Compile | InterpretError::Runtime) => {}
            Err(InterpretError::Output(error)) => return Err(Broken::Output(error)),
        }
    }
}

/// Where lines come from.
enum Lines {
    /// From a terminal, with a prompt, editing and history.
    Typed { editor: Box<DefaultEditor>, history: Option<PathBuf> },
    /// From a file or a pipe.
    Piped,
}

impl Lines {
    fn open() -> io::Result<Lines> {
        if !io::stdin().is_terminal() {
            return Ok(Lines::Piped);
        }
        let config = Config::builder().auto_add_history(true).build();
        let mut editor = DefaultEditor::with_config(config).map_err(io::Error::other)?;
        let history = history();
        if let Some(path) = &history {
            // The first time there is none; and one that cannot be read is not worth a word.
            drop(editor.load_history(path));
        }
        Ok(Lines::Typed { editor: Box::new(editor), history })
    }

    fn next(&mut self) -> io::Result<Option<String>> {
        match self {
            Lines::Piped => {
                let mut line = String::new();
                Ok((io::stdin().read_line(&mut line)? > 0).then_some(line))
            }
            Lines::Typed { editor, .. } => loop {
                match editor.readline(PROMPT) {
                    Ok(line) => return Ok(Some(line)),
                    // The line is given up, not the session.
                    Err(ReadlineError::Interrupted) => {}
                    Err(ReadlineError::Eof) => return Ok(None),
                    Err(ReadlineError::Io(error)) => return Err(error),
                    Err(error) => return Err(io::Error::other(error)),
                }
            },
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if let Lines::Typed { editor, history: Some(path) } = self {
            // A history that cannot be kept is no reason to end with an error.
            drop(editor.save_history(path));
        }
    }
}

/// `$LOX_HISTORY`, none if that is empty; or a file in the home directory.
fn history() -> Option<PathBuf> {
    match env::var_os("LOX_HISTORY") {
        Some(path) if path.is_empty() => None,
        Some(path) => Some(PathBuf::from(path)),
        None => env::var_os("HOME").map(|home| PathBuf::from(home).join(".lox_history")),
    }
}
