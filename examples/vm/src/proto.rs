//! Prototypes: compiled functions as plain data.
//!
//! A [`Proto`] owns everything it consists of and refers to no heap. The
//! script itself is one, the functions in it are constants of the prototype
//! they stand in.

use crate::opcode::{Op, Operands};

/// A compiled function.
#[derive(Clone, Debug, PartialEq)]
pub struct Proto {
    /// The name of the function; `None` for the script.
    pub name: Option<Box<str>>,
    /// The number of parameters.
    pub arity: u8,
    /// The number of variables its closure captures, at most 256.
    pub upvalue_count: usize,
    /// The number of stack slots a frame needs, from its slot zero on: the
    /// callee or receiver, parameters, locals and temporaries. No instruction
    /// of this function makes the stack any higher.
    pub max_stack: usize,
    /// The instructions; the last one is [`Op::Return`].
    pub code: Box<[u8]>,
    /// The source line of every byte of the code.
    pub lines: LineTable,
    /// The constants, at most 256.
    pub constants: Box<[Constant]>,
}

/// A value that is known when the function is compiled.
#[derive(Clone, Debug, PartialEq)]
pub enum Constant {
    /// A number literal.
    Number(f64),
    /// A string literal, or the name of a global, property, method or class.
    String(Box<str>),
    /// A function, to make closures of.
    Function(Box<Proto>),
}

/// Where a new closure finds a variable that it captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    /// In a stack slot of the frame that makes the closure.
    Local(u8),
    /// In an upvalue of the closure that runs in that frame.
    Upvalue(u8),
}

impl Capture {
    /// The two operand bytes of [`Op::Closure`] that say this.
    pub const fn encode(self) -> [u8; 2] {
        match self {
            Self::Local(slot) => [1, slot],
            Self::Upvalue(index) => [0, index],
        }
    }

    /// What two operand bytes of [`Op::Closure`] say.
    pub const fn decode(bytes: [u8; 2]) -> Self {
        match bytes {
            [0, index] => Self::Upvalue(index),
            [_, slot] => Self::Local(slot),
        }
    }
}

/// The lines of a stretch of code, one entry for each run of bytes that come
/// from the same line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineTable {
    /// Sorted by `start`, which is 0 in the first.
    runs: Vec<Run>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    start: usize,
    line: usize,
}

impl LineTable {
    /// Notes that the code from `offset` on comes from `line`. Offsets must
    /// not decrease from call to call.
    pub(crate) fn record(&mut self, offset: usize, line: usize) {
        debug_assert!(self.runs.last().is_none_or(|run| run.start <= offset));
        if self.runs.last().is_none_or(|run| run.line != line) {
            self.runs.push(Run { start: offset, line });
        }
    }

    /// The line of the byte at `offset`, from 1; 0 if there is no code.
    pub fn line(&self, offset: usize) -> usize {
        let after = self.runs.partition_point(|run| run.start <= offset);
        self.runs[..after].last().map_or(0, |run| run.line)
    }
}

/// One instruction of a [`Proto`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction<'p> {
    /// Where its opcode stands in the code.
    pub offset: usize,
    /// Its opcode.
    pub op: Op,
    /// The bytes that follow the opcode.
    pub operands: &'p [u8],
}

impl Instruction<'_> {
    /// The offset of the instruction that follows it in the code.
    pub fn next_offset(&self) -> usize {
        self.offset + 1 + self.operands.len()
    }

    /// Where it may go other than to the next instruction.
    pub fn jump_target(&self) -> Option<usize> {
        let &[high, low] = self.operands else {
            return None;
        };
        let distance = usize::from(u16::from_be_bytes([high, low]));
        match self.op.operands() {
            Operands::Forward => Some(self.next_offset() + distance),
            Operands::Backward => self.next_offset().checked_sub(distance),
            _ => None,
        }
    }
}

impl Proto {
    /// The instruction at `offset`; `None` at the end of the code, and where
    /// no instruction can be read.
    pub fn instruction(&self, offset: usize) -> Option<Instruction<'_>> {
        let (&byte, rest) = self.code.get(offset..)?.split_first()?;
        let op = Op::try_from(byte).ok()?;
        let mut len = op.operands().fixed_len();
        if op.operands() == Operands::Closure {
            let index = usize::from(*rest.first()?);
            let Constant::Function(function) = self.constants.get(index)? else {
                return None;
            };
            len += 2 * function.upvalue_count;
        }
        Some(Instruction { offset, op, operands: rest.get(..len)? })
    }

    /// All instructions, in order of their offsets.
    pub fn instructions(&self) -> impl Iterator<Item = Instruction<'_>> {
        std::iter::successors(self.instruction(0), |last| self.instruction(last.next_offset()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_the_run_around_an_offset() {
        let mut lines = LineTable::default();
        assert_eq!(lines.line(0), 0);
        for (offset, line) in [(0, 3), (1, 3), (2, 5), (6, 4)] {
            lines.record(offset, line);
        }
        assert_eq!(lines.runs.len(), 3);
        let found: Vec<_> = (0..8).map(|offset| lines.line(offset)).collect();
        assert_eq!(found, [3, 3, 5, 5, 5, 5, 4, 4]);
    }

    #[test]
    fn captures_survive_encoding() {
        for index in 0..=u8::MAX {
            for capture in [Capture::Local(index), Capture::Upvalue(index)] {
                assert_eq!(Capture::decode(capture.encode()), capture);
            }
        }
    }

    #[test]
    fn truncated_code_has_no_instruction() {
        let proto = Proto {
            name: None,
            arity: 0,
            upvalue_count: 0,
            max_stack: 1,
            code: Box::new([Op::Nil as u8, Op::Jump as u8, 0]),
            lines: LineTable::default(),
            constants: Box::new([]),
        };
        assert_eq!(proto.instructions().count(), 1);
        assert_eq!(proto.instruction(1), None);
        assert_eq!(proto.instruction(7), None);
    }
}
