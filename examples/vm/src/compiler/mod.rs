//! The compiler: tokens to code, in one pass.
//!
//! There is no tree between the two: code for a construct is written when its
//! tokens are read, into a [`Proto`] for every function.
//!
//! After an error compilation goes on with the next statement, so that one run
//! finds as many errors as it can. Source that nests too deeply for the stack
//! of the compiler is refused, see [`MAX_NESTING`].

mod code;
mod declaration;
mod error;
mod expression;
mod scope;
mod statement;

pub use self::error::{CompileError, CompileErrors, Place};

use self::code::{Label, LoopStart};
use self::scope::{FunctionKind, FunctionState};
use crate::opcode::Op;
use crate::proto::{Constant, Proto};
use crate::scanner::Scanner;
use crate::token::{Token, TokenKind};

/// How many constructs may enclose another one. Each of these is a level: a
/// parenthesis, block, function body, class body or argument list; the operand
/// of a unary operator; an assigned value; and the body of an `if`, `else`,
/// `while` or `for` if it is not a block.
///
/// A level costs stack space, most of it for the operators of different
/// precedence that may stand before a parenthesis, as in `a or b and c == (`.
pub const MAX_NESTING: usize = 256;

/// Compiles a script.
///
/// # Errors
///
/// All errors in the source that can be told apart from the consequences of
/// earlier ones.
pub fn compile(source: &str) -> Result<Proto, CompileErrors> {
    let mut compiler = Compiler::new(source);
    compiler.advance();
    while !compiler.take(TokenKind::End) {
        compiler.declaration();
    }
    compiler.emit_return();
    if compiler.errors.is_empty() { Ok(compiler.function.into_proto()) } else { Err(CompileErrors(compiler.errors)) }
}

/// What becomes of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recovery {
    /// The next error is reported.
    Reporting,
    /// One was reported. What follows may be its consequence, and is ignored
    /// until the next statement begins.
    Panicking,
    /// Nothing more is reported, and there are no more tokens.
    Abandoned,
}

/// Whether a class has a superclass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClassKind {
    Root,
    Derived,
}

/// A recursive-descent parser that emits code as it goes.
///
/// Only [`Compiler::nested`] lets recursion depend on the source; between two
/// calls of it the depth is bounded by the grammar.
struct Compiler<'s> {
    scanner: Scanner<'s>,
    /// The token at work, to whose line code is attributed.
    previous: Token<'s>,
    /// The token looked ahead to.
    current: Token<'s>,
    recovery: Recovery,
    errors: Vec<CompileError>,
    /// The function that is being compiled.
    function: FunctionState<'s>,
    /// The functions around it, innermost last.
    enclosing: Vec<FunctionState<'s>>,
    /// The classes around it, innermost last.
    classes: Vec<ClassKind>,
    nesting: usize,
}

/// Reading tokens.
impl<'s> Compiler<'s> {
    fn new(source: &'s str) -> Self {
        let nothing = Token { kind: TokenKind::End, lexeme: "", line: 1 };
        Self {
            scanner: Scanner::new(source),
            previous: nothing,
            current: nothing,
            recovery: Recovery::Reporting,
            errors: Vec::new(),
            function: FunctionState::new(FunctionKind::Script, None),
            enclosing: Vec::new(),
            classes: Vec::new(),
            nesting: 0,
        }
    }

    fn advance(&mut self) {
        self.previous = self.current;
        self.current = loop {
            match self.scanner.scan() {
                Ok(token) => break token,
                Err(error) => self.report(error.line, Place::Unspecified, error.message),
            }
        };
    }

    fn check(&self, kind: TokenKind) -> bool {
        self.current.kind == kind
    }

    /// Advances past a token of that kind, if there is one.
    fn take(&mut self, kind: TokenKind) -> bool {
        let found = self.check(kind);
        if found {
            self.advance();
        }
        found
    }

    /// Advances past a token of that kind, which must be there.
    fn expect(&mut self, kind: TokenKind, message: &'static str) {
        if !self.take(kind) {
            self.error_at_current(message);
        }
    }

    /// Parses a construct that is enclosed in the one at hand, unless it is
    /// too many already.
    fn nested(&mut self, parse: impl FnOnce(&mut Self)) {
        if self.nesting == MAX_NESTING {
            self.abandon("Too much nesting.");
            return;
        }
        self.nesting += 1;
        parse(self);
        self.nesting -= 1;
    }
}

/// Reporting errors.
impl Compiler<'_> {
    fn error(&mut self, message: &'static str) {
        self.error_at(self.previous, message);
    }

    fn error_at_current(&mut self, message: &'static str) {
        self.error_at(self.current, message);
    }

    fn error_at(&mut self, token: Token<'_>, message: &'static str) {
        let place = match token.kind {
            TokenKind::End => Place::End,
            _ => Place::Lexeme(token.lexeme.into()),
        };
        self.report(token.line, place, message);
    }

    fn report(&mut self, line: usize, place: Place, message: &'static str) {
        if self.recovery == Recovery::Reporting {
            self.recovery = Recovery::Panicking;
            self.errors.push(CompileError { line, place, message });
        }
    }

    /// Reports an error even in a panic, because it is the reason why nothing
    /// after it is looked at, and ends the source here. All that is open gets
    /// closed without further errors, of which every level would have one.
    fn abandon(&mut self, message: &'static str) {
        if self.recovery == Recovery::Abandoned {
            return;
        }
        self.recovery = Recovery::Reporting;
        self.error(message);
        self.recovery = Recovery::Abandoned;
        self.scanner.skip_rest();
        self.advance();
    }

    /// After an error, skips to what looks like the next statement.
    fn recover(&mut self) {
        if self.recovery != Recovery::Panicking {
            return;
        }
        self.recovery = Recovery::Reporting;
        while !self.check(TokenKind::End)
            && self.previous.kind != TokenKind::Semicolon
            && !matches!(
                self.current.kind,
                TokenKind::Class
                    | TokenKind::Fun
                    | TokenKind::Var
                    | TokenKind::For
                    | TokenKind::If
                    | TokenKind::While
                    | TokenKind::Print
                    | TokenKind::Return
            )
        {
            self.advance();
        }
    }
}

/// Emitting code.
impl<'s> Compiler<'s> {
    fn emit(&mut self, op: Op) {
        self.function.code.instruction(op, &[], self.previous.line);
    }

    fn emit_with(&mut self, op: Op, operand: u8) {
        self.function.code.instruction(op, &[operand], self.previous.line);
    }

    fn emit_call(&mut self, op: Op, name: u8, arguments: u8) {
        self.function.code.instruction(op, &[name, arguments], self.previous.line);
    }

    /// Emits a return without a value: an initializer returns its instance.
    fn emit_return(&mut self) {
        match self.function.kind {
            FunctionKind::Initializer => self.emit_with(Op::GetLocal, 0),
            FunctionKind::Script | FunctionKind::Function | FunctionKind::Method => {
                self.emit(Op::Nil);
            }
        }
        self.emit(Op::Return);
    }

    fn emit_jump(&mut self, op: Op) -> Label {
        self.function.code.jump(op, self.previous.line)
    }

    fn land(&mut self, label: Label) {
        if let Err(message) = self.function.code.land(label) {
            self.error(message);
        }
    }

    fn land_all(&mut self, labels: Vec<Label>) {
        for label in labels {
            self.land(label);
        }
    }

    fn jump_back(&mut self, start: LoopStart) {
        if let Err(message) = self.function.code.jump_back(start, self.previous.line) {
            self.error(message);
        }
    }

    fn make_constant(&mut self, constant: Constant) -> u8 {
        match self.function.code.constant(constant) {
            Ok(index) => index,
            Err(message) => {
                self.error(message);
                0
            }
        }
    }

    fn name_constant(&mut self, name: &'s str) -> u8 {
        self.make_constant(Constant::String(name.into()))
    }
}
