//! Code as the machine runs it: instructions of one size.

use crate::opcode::{Op, Operands};
use crate::proto::Proto;

/// An instruction with its operands taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) op: Op,
    /// The first operand, unless it is a distance.
    pub(crate) first: u8,
    /// The second operand, or how many instructions to go forward or back from the next one.
    pub(crate) second: u16,
}

/// The instructions of a function, and the source line of each.
pub(crate) struct Code {
    pub(crate) instructions: Box<[Instruction]>,
    pub(crate) lines: Box<[usize]>,
}

impl Code {
    /// The code of a compiled function. What its closures capture is not part of it.
    pub(crate) fn new(proto: &Proto) -> Code {
        let starts: Vec<usize> = proto.instructions().map(|instruction| instruction.offset).collect();
        let instructions = proto.instructions().enumerate().map(|(index, instruction)| {
            // Instructions are at most as many as bytes, so their distances are no larger.
            let distance = instruction.jump_target().map(|target| {
                let target = starts.partition_point(|start| *start < target);
                target.abs_diff(index + 1) as u16
            });
            let first = match instruction.op.operands() {
                Operands::None | Operands::Forward | Operands::Backward => 0,
                _ => instruction.operands[0],
            };
            let second = match instruction.op.operands() {
                Operands::ConstantArguments => u16::from(instruction.operands[1]),
                _ => distance.unwrap_or(0),
            };
            Instruction { op: instruction.op, first, second }
        });
        Code {
            instructions: instructions.collect(),
            lines: starts.iter().map(|start| proto.lines.line(*start)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compiler::compile;

    #[test]
    fn jumps_go_to_the_same_instructions_as_before() {
        let source = "var a = 1; while (a < 9) { if (a == 3 and a != 4) f(a, 1); else o.m(2); a = a + 1; }\nprint a;";
        let proto = compile(source).unwrap();
        let code = Code::new(&proto);
        let originals: Vec<_> = proto.instructions().collect();
        assert_eq!(code.instructions.len(), originals.len());
        let mut jumps = 0;
        for (index, original) in originals.iter().enumerate() {
            let instruction = code.instructions[index];
            assert_eq!(instruction.op, original.op);
            assert_eq!(code.lines[index], proto.lines.line(original.offset));
            let distance = usize::from(instruction.second);
            let target = match original.op.operands() {
                Operands::Forward => index + 1 + distance,
                Operands::Backward => index + 1 - distance,
                _ => continue,
            };
            assert_eq!(Some(originals[target].offset), original.jump_target());
            jumps += 1;
        }
        assert!(jumps >= 5);
    }

    #[test]
    fn operands_keep_their_order() {
        let proto = compile("var o; o.method(1, 2, 3);").unwrap();
        let invoke = *Code::new(&proto).instructions.iter().find(|instruction| instruction.op == Op::Invoke).unwrap();
        assert_eq!(proto.constants[usize::from(invoke.first)], crate::proto::Constant::String("method".into()));
        assert_eq!(invoke.second, 3);
    }
}
