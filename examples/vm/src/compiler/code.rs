//! The code of one function while it is written.
//!
//! [`Code`] also keeps the height of the value stack at the place where it
//! writes, which gives the number of slots the function needs. The height
//! follows the code in the order in which it is written. Where control does
//! not, that is after a [`Op::Jump`], the next reachable instruction is the
//! target of an earlier jump, and [`Code::land`] restores the height from the
//! [`Label`] of that jump.

use crate::opcode::Op;
use crate::proto::{Constant, LineTable};

/// A function may have as many constants as a byte can tell apart.
const MAX_CONSTANTS: usize = 1 << u8::BITS;

/// The bytes of the distance of a jump.
const DISTANCE_LEN: usize = 2;

/// A jump whose target is not known yet.
#[must_use = "a jump that never lands goes nowhere"]
#[derive(Debug)]
pub(super) struct Label {
    /// Where its distance stands in the code.
    operand: usize,
    /// The height of the stack at the jump, and so at its target.
    height: usize,
}

/// A place to jump back to.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoopStart(usize);

/// The code of one function, growing.
///
/// Methods that can meet a limit return its error message. After an error the
/// code serves no purpose but that compilation can go on and find more errors.
#[derive(Debug)]
pub(super) struct Code {
    bytes: Vec<u8>,
    lines: LineTable,
    constants: Vec<Constant>,
    height: usize,
    max_height: usize,
}

/// What [`Code`] amounts to when the function is complete.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) bytes: Box<[u8]>,
    pub(super) lines: LineTable,
    pub(super) constants: Box<[Constant]>,
    pub(super) max_height: usize,
}

impl Code {
    /// No code yet, and a stack that consists of slot zero.
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), lines: LineTable::default(), constants: Vec::new(), height: 1, max_height: 1 }
    }

    /// Counts a slot that the caller of the function fills.
    pub(super) fn add_parameter(&mut self) {
        self.change_height(1);
    }

    pub(super) fn instruction(&mut self, op: Op, operands: &[u8], line: usize) {
        debug_assert!(operands.len() >= op.operands().fixed_len());
        self.lines.record(self.bytes.len(), line);
        self.bytes.push(op as u8);
        self.bytes.extend_from_slice(operands);
        self.change_height(op.stack_effect(operands));
    }

    /// The index of a new constant. Equal constants are not shared.
    pub(super) fn constant(&mut self, constant: Constant) -> Result<u8, &'static str> {
        if self.constants.len() == MAX_CONSTANTS {
            return Err("Too many constants in one chunk.");
        }
        let index = self.constants.len() as u8;
        self.constants.push(constant);
        Ok(index)
    }

    pub(super) fn jump(&mut self, op: Op, line: usize) -> Label {
        self.instruction(op, &[0; DISTANCE_LEN], line);
        Label { operand: self.bytes.len() - DISTANCE_LEN, height: self.height }
    }

    /// Makes a jump go to the next instruction.
    pub(super) fn land(&mut self, label: Label) -> Result<(), &'static str> {
        self.height = label.height;
        let distance = self.bytes.len() - label.operand - DISTANCE_LEN;
        let Ok(distance) = u16::try_from(distance) else {
            return Err("Too much code to jump over.");
        };
        self.bytes[label.operand..][..DISTANCE_LEN].copy_from_slice(&distance.to_be_bytes());
        Ok(())
    }

    pub(super) fn loop_start(&self) -> LoopStart {
        LoopStart(self.bytes.len())
    }

    pub(super) fn jump_back(&mut self, start: LoopStart, line: usize) -> Result<(), &'static str> {
        let distance = self.bytes.len() + 1 + DISTANCE_LEN - start.0;
        let distance = u16::try_from(distance);
        let operand = distance.unwrap_or(u16::MAX).to_be_bytes();
        self.instruction(Op::Loop, &operand, line);
        distance.map(drop).map_err(|_| "Loop body too large.")
    }

    pub(super) fn finish(self) -> Finished {
        Finished {
            bytes: self.bytes.into(),
            lines: self.lines,
            constants: self.constants.into(),
            max_height: self.max_height,
        }
    }

    /// Saturates, because code after an error may pop what nothing pushed.
    fn change_height(&mut self, by: isize) {
        self.height = self.height.saturating_add_signed(by);
        self.max_height = self.max_height.max(self.height);
    }
}
