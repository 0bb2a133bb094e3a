//! The instruction set, as one table.
//!
//! An instruction is an opcode byte followed by its operands. Everything that
//! has to agree about an instruction (compiler, machine, disassembler) derives
//! from its line in the table: its number is its place there, and the line
//! gives the layout of its operands and what it does to the height of the
//! value stack.

use std::error::Error;
use std::fmt;

/// The layout of the bytes that follow an opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operands {
    /// Nothing.
    None,
    /// The index of a constant.
    Constant,
    /// The index of a stack slot in the frame.
    Local,
    /// The index of an upvalue of the running closure.
    Upvalue,
    /// The number of arguments of a call.
    Arguments,
    /// Two bytes, big-endian: the distance from the next instruction forward.
    Forward,
    /// Two bytes, big-endian: the distance from the next instruction back.
    Backward,
    /// The index of a constant, then the number of arguments of a call.
    ConstantArguments,
    /// The index of a constant that is a function, then for each of the
    /// function's upvalues a [`Capture`](crate::proto::Capture) of two bytes.
    Closure,
}

impl Operands {
    /// The number of bytes; for [`Closure`](Self::Closure) without the captures.
    pub const fn fixed_len(self) -> usize {
        match self {
            Self::None => 0,
            Self::Constant | Self::Local | Self::Upvalue | Self::Arguments | Self::Closure => 1,
            Self::Forward | Self::Backward | Self::ConstantArguments => 2,
        }
    }
}

/// What an instruction does to the height of the value stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// Changes it by this much.
    Fixed(i8),
    /// Changes it by this much, and drops the arguments of a call, the number
    /// of which is the last operand.
    Call(i8),
}

/// A byte that is no opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidOpcode(pub u8);

impl fmt::Display for InvalidOpcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid opcode {}", self.0)
    }
}

impl Error for InvalidOpcode {}

macro_rules! opcodes {
    ($($(#[$doc:meta])* $name:ident: $operands:ident, $effect:ident($delta:literal);)*) => {
        /// An opcode. In the descriptions the top of the stack stands right.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Op {
            $($(#[$doc])* $name,)*
        }

        impl Op {
            /// All opcodes, in order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The name of the opcode.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// The layout of its operands.
            pub const fn operands(self) -> Operands {
                match self {
                    $(Self::$name => Operands::$operands,)*
                }
            }

            const fn effect(self) -> Effect {
                match self {
                    $(Self::$name => Effect::$effect($delta),)*
                }
            }
        }

        impl TryFrom<u8> for Op {
            type Error = InvalidOpcode;

            #[inline]
            fn try_from(byte: u8) -> Result<Self, InvalidOpcode> {
                match byte {
                    $(byte if byte == Self::$name as u8 => Ok(Self::$name),)*
                    _ => Err(InvalidOpcode(byte)),
                }
            }
        }
    };
}

opcodes! {
    /// `[] -> [constant]`
    Constant: Constant, Fixed(1);
    /// `[] -> [nil]`
    Nil: None, Fixed(1);
    /// `[] -> [true]`
    True: None, Fixed(1);
    /// `[] -> [false]`
    False: None, Fixed(1);
    /// `[value] -> []`
    Pop: None, Fixed(-1);
    /// `[] -> [local]`
    GetLocal: Local, Fixed(1);
    /// `[value] -> [value]`, after copying it to the local.
    SetLocal: Local, Fixed(0);
    /// `[] -> [global]`; an error if there is no such global.
    GetGlobal: Constant, Fixed(1);
    /// `[value] -> []`, after making or replacing the global.
    DefineGlobal: Constant, Fixed(-1);
    /// `[value] -> [value]`, after copying it to the global; an error if there
    /// is no such global.
    SetGlobal: Constant, Fixed(0);
    /// `[] -> [captured variable]`
    GetUpvalue: Upvalue, Fixed(1);
    /// `[value] -> [value]`, after copying it to the captured variable.
    SetUpvalue: Upvalue, Fixed(0);
    /// `[instance] -> [field or bound method]`
    GetProperty: Constant, Fixed(0);
    /// `[instance, value] -> [value]`
    SetProperty: Constant, Fixed(-1);
    /// `[instance, superclass] -> [bound method]`
    GetSuper: Constant, Fixed(-1);
    /// `[a, b] -> [a == b]`
    Equal: None, Fixed(-1);
    /// `[a, b] -> [a > b]`
    Greater: None, Fixed(-1);
    /// `[a, b] -> [a < b]`
    Less: None, Fixed(-1);
    /// `[a, b] -> [a + b]`
    Add: None, Fixed(-1);
    /// `[a, b] -> [a - b]`
    Subtract: None, Fixed(-1);
    /// `[a, b] -> [a * b]`
    Multiply: None, Fixed(-1);
    /// `[a, b] -> [a / b]`
    Divide: None, Fixed(-1);
    /// `[a] -> [!a]`
    Not: None, Fixed(0);
    /// `[a] -> [-a]`
    Negate: None, Fixed(0);
    /// `[value] -> []`
    Print: None, Fixed(-1);
    /// Goes forward.
    Jump: Forward, Fixed(0);
    /// `[value] -> [value]`, and goes forward if it is false or nil.
    JumpIfFalse: Forward, Fixed(0);
    /// Goes back.
    Loop: Backward, Fixed(0);
    /// `[callee, arguments...] -> [result]`
    Call: Arguments, Call(0);
    /// `[receiver, arguments...] -> [result]` of the named method.
    Invoke: ConstantArguments, Call(0);
    /// `[receiver, arguments..., superclass] -> [result]` of the named method
    /// of the superclass.
    SuperInvoke: ConstantArguments, Call(-1);
    /// `[] -> [closure]`
    Closure: Closure, Fixed(1);
    /// `[value] -> []`, after moving it into the upvalue that captured its slot.
    CloseUpvalue: None, Fixed(-1);
    /// `[result] -> []`, and leaves the function with that result.
    Return: None, Fixed(-1);
    /// `[] -> [class]`, a new one of that name.
    Class: Constant, Fixed(1);
    /// `[superclass, class] -> [superclass]`, after copying down all methods.
    Inherit: None, Fixed(-1);
    /// `[class, closure] -> [class]`, after binding the closure to the name.
    Method: Constant, Fixed(-1);
}

impl Op {
    /// What the instruction changes the height of the value stack by.
    /// `operands` are the bytes that follow the opcode.
    pub fn stack_effect(self, operands: &[u8]) -> isize {
        match self.effect() {
            Effect::Fixed(delta) => isize::from(delta),
            Effect::Call(delta) => isize::from(delta) - operands.last().map_or(0, |&count| isize::from(count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_opcodes_correspond() {
        for byte in 0..=u8::MAX {
            let expected = Op::ALL.get(usize::from(byte)).copied();
            assert_eq!(Op::try_from(byte).ok(), expected);
            assert_eq!(expected.is_none(), Op::try_from(byte) == Err(InvalidOpcode(byte)));
        }
        for (number, &op) in Op::ALL.iter().enumerate() {
            assert_eq!(usize::from(op as u8), number, "{}", op.name());
        }
    }

    #[test]
    fn a_call_drops_its_arguments() {
        assert_eq!(Op::Call.stack_effect(&[3]), -3);
        assert_eq!(Op::Invoke.stack_effect(&[9, 255]), -255);
        assert_eq!(Op::SuperInvoke.stack_effect(&[9, 0]), -1);
        assert_eq!(Op::Constant.stack_effect(&[7]), 1);
        assert_eq!(Op::Closure.stack_effect(&[7, 1, 1]), 1);
    }

    #[test]
    fn only_calls_count_arguments() {
        for &op in Op::ALL {
            let counted = matches!(op.operands(), Operands::Arguments | Operands::ConstantArguments);
            assert_eq!(counted, matches!(op.effect(), Effect::Call(_)), "{}", op.name());
        }
    }
}
