//! The disassembler: code as text, to read what the compiler made.

use std::fmt::{self, Write as _};

use crate::opcode::Operands;
use crate::proto::{Capture, Constant, Instruction, Proto};

/// The code of `script` and of all functions in it, outer before inner.
pub fn disassemble(script: &Proto) -> String {
    let mut text = String::new();
    let mut pending = vec![script];
    while let Some(proto) = pending.pop() {
        write!(text, "{}", Listing(proto)).expect("writing to a String cannot fail");
        pending.extend(proto.constants.iter().rev().filter_map(|constant| match constant {
            Constant::Function(function) => Some(&**function),
            Constant::Number(_) | Constant::String(_) => None,
        }));
    }
    text
}

struct Listing<'p>(&'p Proto);

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(proto) = self;
        let name = proto.name.as_deref().unwrap_or("<script>");
        writeln!(
            f,
            "== {name}: arity {}, upvalues {}, stack {} ==",
            proto.arity, proto.upvalue_count, proto.max_stack
        )?;
        let mut last_line = None;
        for instruction in proto.instructions() {
            let line = proto.lines.line(instruction.offset);
            write!(f, "{:05} ", instruction.offset)?;
            if last_line.replace(line) == Some(line) {
                write!(f, "    | ")?;
            } else {
                write!(f, "{line:5} ")?;
            }
            write!(f, "{}", instruction.op.name())?;
            self.operands(f, &instruction)?;
            writeln!(f)?;
        }
        Ok(())
    }
}

impl Listing<'_> {
    fn operands(&self, f: &mut fmt::Formatter<'_>, instruction: &Instruction<'_>) -> fmt::Result {
        if let Some(target) = instruction.jump_target() {
            return write!(f, " -> {target:05}");
        }
        match (instruction.op.operands(), instruction.operands) {
            (Operands::Constant, &[index]) => self.constant(f, index),
            (Operands::ConstantArguments, &[index, count]) => {
                self.constant(f, index)?;
                write!(f, " ({count})")
            }
            (Operands::Arguments, &[count]) => write!(f, " ({count})"),
            (Operands::Closure, &[index, ref captures @ ..]) => {
                self.constant(f, index)?;
                for pair in captures.chunks_exact(2) {
                    match Capture::decode([pair[0], pair[1]]) {
                        Capture::Local(slot) => write!(f, " local {slot}")?,
                        Capture::Upvalue(index) => write!(f, " upvalue {index}")?,
                    }
                }
                Ok(())
            }
            (_, bytes) => bytes.iter().try_for_each(|byte| write!(f, " {byte}")),
        }
    }

    fn constant(&self, f: &mut fmt::Formatter<'_>, index: u8) -> fmt::Result {
        write!(f, " {index}")?;
        match self.0.constants.get(usize::from(index)) {
            Some(Constant::Number(number)) => write!(f, " {number}"),
            Some(Constant::String(string)) => write!(f, " {string:?}"),
            Some(Constant::Function(function)) => {
                write!(f, " <fn {}>", function.name.as_deref().unwrap_or(""))
            }
            None => Ok(()),
        }
    }
}
