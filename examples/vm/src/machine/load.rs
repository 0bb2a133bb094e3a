//! Loading: from compiled code to function objects.

use std::mem;

use mimalloc_runtime::{OutOfMemory, Ref};

use crate::heap::Heap;
use crate::object::{Code, Function, FunctionHead, Hint};
use crate::opcode::Op;
use crate::proto::{Capture, Constant, Proto};
use crate::value::Value;

/// Makes the function object of a script, and those of the functions in it.
pub(super) fn load(script: Proto, heap: &Heap) -> Result<Ref<Function>, OutOfMemory> {
    load_function(script, Box::default(), heap)
}

/// Calls itself for the functions within, as deep as functions nest in the source, which the compiler limits to
/// [`MAX_NESTING`](crate::compiler::MAX_NESTING).
fn load_function(proto: Proto, captures: Box<[Capture]>, heap: &Heap) -> Result<Ref<Function>, OutOfMemory> {
    let code = Code::new(&proto);
    // Each function stands in one instruction, which says what its closures capture.
    let mut captured: Vec<Box<[Capture]>> = vec![Box::default(); proto.constants.len()];
    for instruction in proto.instructions().filter(|instruction| instruction.op == Op::Closure) {
        if let [index, pairs @ ..] = instruction.operands {
            let pairs = pairs.chunks_exact(2);
            captured[usize::from(*index)] = pairs.map(|pair| Capture::decode([pair[0], pair[1]])).collect();
        }
    }
    let mut constants = Vec::with_capacity(proto.constants.len());
    for (constant, captures) in proto.constants.into_iter().zip(captured) {
        constants.push(match constant {
            Constant::Number(number) => Value::from(number),
            Constant::String(text) => heap.intern(&text)?.into(),
            Constant::Function(proto) => load_function(*proto, captures, heap)?.into(),
        });
    }
    let head = FunctionHead {
        name: proto.name.map(|name| heap.intern(&name)).transpose()?,
        arity: proto.arity,
        max_stack: proto.max_stack,
        code,
        captures,
        hints: constants.iter().map(|_| Hint::default()).collect(),
    };
    let function = heap.mutator().alloc_tail(head, constants.len(), |index| mem::take(&mut constants[index]));
    function.map_err(|error| error.map(drop))
}
