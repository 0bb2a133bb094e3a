//! Natives that read what is outside: files, standard input, the script's arguments.

use std::fmt::Display;
use std::fs::File;
use std::io::{ErrorKind, Read as _};

use super::{Arguments, Code, Context, Native};
use crate::error::RuntimeError;
use crate::value::Value;

pub(crate) const NATIVES: &[Native] = &[
    Native { name: "readFile", arity: 1, code: Code::Value(read_file) },
    Native { name: "readLine", arity: 0, code: Code::Value(read_line) },
    Native { name: "args", arity: 0, code: Code::Value(args) },
];

/// More bytes are no path anywhere, and what is said of one need not be endless.
const LONGEST_PATH: usize = 4096;

fn read_file(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let path = arguments.string(1)?;
    if path.len() > LONGEST_PATH {
        return Err(arguments.error("the path is too long"));
    }
    let unreadable = |reason: &dyn Display| arguments.error(format_args!("could not read '{path}': {reason}"));
    let mut file = File::open(path).map_err(|reason| unreadable(&reason))?;
    let text = context.heap.read(|draft| {
        let mut piece = [0; 4096];
        loop {
            match file.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(read) => draft.push(&piece[..read])?,
                Err(reason) if reason.kind() == ErrorKind::Interrupted => {}
                Err(reason) => return Err(unreadable(&reason)),
            }
        }
    })?;
    text.ok_or_else(|| unreadable(&NO_TEXT))
}

fn read_line(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    // What was written without a line break may be the question that this line answers.
    context.out.flush()?;
    let unreadable = |reason: &dyn Display| arguments.error(format_args!("could not read a line: {reason}"));
    let lines = &mut context.host.lines;
    let mut found = false;
    let text = context.heap.read(|line| {
        lines.finish(|reason| unreadable(&reason), |rest| line.pass(rest))?;
        found = lines.read(|reason| unreadable(&reason), |piece| line.push(piece))?;
        line.drop_last(b'\r');
        Ok(())
    })?;
    if found { text.ok_or_else(|| unreadable(&NO_TEXT)) } else { Ok(Value::NIL) }
}

/// As the standard library says it.
const NO_TEXT: &str = "stream did not contain valid UTF-8";

fn args(context: &mut Context<'_>, _: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let heap = &*context.heap;
    heap.list(context.host.script_args.iter().map(|argument| heap.string(argument)))
}
