//! Tests of the compiler through its public interface.

mod code;
mod limits;
mod messages;
mod soup;
mod verify;

use lox_vm::compiler::compile;
use lox_vm::proto::{Constant, Proto};

/// Compiles a source without errors.
fn accept(source: &str) -> Proto {
    match compile(source) {
        Ok(script) => script,
        Err(errors) => panic!("{errors}\nin {:.200}", source),
    }
}

/// Compiles a source with errors, to the lines that report them.
fn reject(source: &str) -> Vec<String> {
    match compile(source) {
        Ok(_) => panic!("no errors in {source:.200}"),
        Err(errors) => errors.as_slice().iter().map(ToString::to_string).collect(),
    }
}

/// The functions among the constants.
fn functions(proto: &Proto) -> Vec<&Proto> {
    proto
        .constants
        .iter()
        .filter_map(|constant| match constant {
            Constant::Function(function) => Some(&**function),
            Constant::Number(_) | Constant::String(_) => None,
        })
        .collect()
}

/// The only function among the constants.
fn function(proto: &Proto) -> &Proto {
    match functions(proto).as_slice() {
        &[function] => function,
        found => panic!("{} functions", found.len()),
    }
}
