//! Natives that read what is outside: files, standard input, the script's arguments.

use std::fs;
use std::io::BufRead as _;

use super::{Arguments, Context, Native};
use crate::error::RuntimeError;
use crate::value::Value;

pub(crate) const NATIVES: &[Native] = &[
    Native { name: "readFile", arity: 1, function: read_file },
    Native { name: "readLine", arity: 0, function: read_line },
    Native { name: "args", arity: 0, function: args },
];

fn read_file(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let path = arguments.string(1)?;
    let text = fs::read_to_string(path)
        .map_err(|reason| arguments.error(format_args!("could not read '{path}': {reason}")))?;
    context.heap.string(&text)
}

fn read_line(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    // What was written without a line break may be the question that this line answers.
    context.out.flush()?;
    let mut line = String::new();
    let read = context.host.stdin.read_line(&mut line);
    if read.map_err(|reason| arguments.error(format_args!("could not read a line: {reason}")))? == 0 {
        return Ok(Value::NIL);
    }
    let text = line.strip_suffix('\n').map_or(&*line, |text| text.strip_suffix('\r').unwrap_or(text));
    context.heap.string(text)
}

fn args(context: &mut Context<'_>, _: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let heap = &*context.heap;
    heap.list(context.host.script_args.iter().map(|argument| heap.string(argument)))
}
