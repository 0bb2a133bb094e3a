//! An independent check of compiled code: it follows every path, as a machine
//! would, and looks only at the stack height.

use std::collections::HashMap;

use lox_vm::opcode::{Op, Operands};
use lox_vm::proto::{Capture, Constant, Instruction, Proto};

/// Panics unless the code of `script` and of all functions in it is sound.
pub(crate) fn verify(script: &Proto) {
    let mut pending = vec![script];
    while let Some(proto) = pending.pop() {
        verify_one(proto);
        pending.extend(super::functions(proto));
    }
}

fn verify_one(proto: &Proto) {
    assert!(proto.constants.len() <= 256);
    assert!(proto.upvalue_count <= 256);
    let code: HashMap<usize, Instruction<'_>> =
        proto.instructions().map(|instruction| (instruction.offset, instruction)).collect();
    let last = proto.instructions().last().expect("at least a return");
    assert_eq!(last.next_offset(), proto.code.len(), "undecodable code");
    assert_eq!(last.op, Op::Return);

    let mut heights = HashMap::new();
    let mut pending = vec![(0, 1 + usize::from(proto.arity))];
    while let Some((offset, height)) = pending.pop() {
        if let Some(known) = heights.insert(offset, height) {
            assert_eq!(known, height, "paths disagree about the height at {offset}");
            continue;
        }
        let instruction = &code[&offset];
        verify_operands(proto, instruction, height);
        let after =
            height.checked_add_signed(instruction.op.stack_effect(instruction.operands)).expect("the stack underflows");
        assert!(height.max(after) <= proto.max_stack, "max_stack is too low");
        // Slot zero belongs to the caller.
        assert!(after > 0, "slot zero is popped");

        pending.extend(instruction.jump_target().map(|target| (target, after)));
        if !matches!(instruction.op, Op::Return | Op::Jump | Op::Loop) {
            pending.push((instruction.next_offset(), after));
        }
    }
}

fn verify_operands(proto: &Proto, instruction: &Instruction<'_>, height: usize) {
    let constant = |index: u8| &proto.constants[usize::from(index)];
    match (instruction.op.operands(), instruction.operands) {
        (Operands::None, []) => {}
        (Operands::Constant, &[index]) => {
            let named = matches!(constant(index), Constant::String(_));
            let number = matches!(constant(index), Constant::Number(_));
            assert!(named || (number && instruction.op == Op::Constant));
        }
        (Operands::Local, &[slot]) => assert!(usize::from(slot) < height),
        (Operands::Upvalue, &[index]) => assert!(usize::from(index) < proto.upvalue_count),
        (Operands::Arguments, &[count]) => assert!(usize::from(count) + 1 < height),
        (Operands::ConstantArguments, &[index, count]) => {
            assert!(matches!(constant(index), Constant::String(_)));
            assert!(usize::from(count) < height);
        }
        (Operands::Forward | Operands::Backward, &[_, _]) => {
            assert!(instruction.jump_target().is_some());
        }
        (Operands::Closure, &[index, ref captures @ ..]) => {
            assert!(matches!(constant(index), Constant::Function(_)));
            for pair in captures.chunks(2) {
                match Capture::decode([pair[0], pair[1]]) {
                    // The closure itself may become the local that it captures.
                    Capture::Local(slot) => assert!(usize::from(slot) <= height),
                    Capture::Upvalue(index) => {
                        assert!(usize::from(index) < proto.upvalue_count);
                    }
                }
            }
        }
        (layout, bytes) => panic!("{} bytes for {layout:?}", bytes.len()),
    }
}
