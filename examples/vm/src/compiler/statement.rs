//! Statements.

use super::Compiler;
use super::scope::FunctionKind;
use crate::opcode::Op;
use crate::token::TokenKind;

impl Compiler<'_> {
    pub(super) fn statement(&mut self) {
        if self.take(TokenKind::Print) {
            self.print_statement();
        } else if self.take(TokenKind::For) {
            self.for_statement();
        } else if self.take(TokenKind::If) {
            self.if_statement();
        } else if self.take(TokenKind::Return) {
            self.return_statement();
        } else if self.take(TokenKind::While) {
            self.while_statement();
        } else if self.take(TokenKind::LeftBrace) {
            self.function.begin_scope();
            self.block();
            self.end_scope();
        } else {
            self.expression_statement();
        }
    }

    /// Parses declarations after a `{`, up to its `}`.
    pub(super) fn block(&mut self) {
        self.nested(|compiler| {
            while !compiler.check(TokenKind::RightBrace) && !compiler.check(TokenKind::End) {
                compiler.declaration();
            }
        });
        self.expect(TokenKind::RightBrace, "Expect '}' after block.");
    }

    /// Parses a statement that is part of another one. A block counts as
    /// nested by itself.
    fn body(&mut self) {
        if self.check(TokenKind::LeftBrace) {
            self.statement();
        } else {
            self.nested(Self::statement);
        }
    }

    fn print_statement(&mut self) {
        self.expression();
        self.expect(TokenKind::Semicolon, "Expect ';' after value.");
        self.emit(Op::Print);
    }

    fn expression_statement(&mut self) {
        self.expression();
        self.expect(TokenKind::Semicolon, "Expect ';' after expression.");
        self.emit(Op::Pop);
    }

    fn return_statement(&mut self) {
        if self.function.kind == FunctionKind::Script {
            self.error("Can't return from top-level code.");
        }
        if self.take(TokenKind::Semicolon) {
            self.emit_return();
            return;
        }
        if self.function.kind == FunctionKind::Initializer {
            self.error("Can't return a value from an initializer.");
        }
        self.expression();
        self.expect(TokenKind::Semicolon, "Expect ';' after return value.");
        self.emit(Op::Return);
    }

    /// Parses a chain of `if`, `else if` and `else` in a loop, so that its
    /// length does not count as nesting.
    fn if_statement(&mut self) {
        let mut ends = Vec::new();
        loop {
            self.expect(TokenKind::LeftParen, "Expect '(' after 'if'.");
            self.expression();
            self.expect(TokenKind::RightParen, "Expect ')' after condition.");
            let otherwise = self.emit_jump(Op::JumpIfFalse);
            self.emit(Op::Pop);
            self.body();
            ends.push(self.emit_jump(Op::Jump));
            self.land(otherwise);
            self.emit(Op::Pop);
            if !self.take(TokenKind::Else) {
                break;
            }
            if !self.take(TokenKind::If) {
                self.body();
                break;
            }
        }
        self.land_all(ends);
    }

    fn while_statement(&mut self) {
        let start = self.function.code.loop_start();
        self.expect(TokenKind::LeftParen, "Expect '(' after 'while'.");
        self.expression();
        self.expect(TokenKind::RightParen, "Expect ')' after condition.");
        let exit = self.emit_jump(Op::JumpIfFalse);
        self.emit(Op::Pop);
        self.body();
        self.jump_back(start);
        self.land(exit);
        self.emit(Op::Pop);
    }

    fn for_statement(&mut self) {
        self.function.begin_scope();
        self.expect(TokenKind::LeftParen, "Expect '(' after 'for'.");
        if self.take(TokenKind::Var) {
            self.var_declaration();
        } else if !self.take(TokenKind::Semicolon) {
            self.expression_statement();
        }

        let mut start = self.function.code.loop_start();
        let mut exit = None;
        if !self.take(TokenKind::Semicolon) {
            self.expression();
            self.expect(TokenKind::Semicolon, "Expect ';' after loop condition.");
            exit = Some(self.emit_jump(Op::JumpIfFalse));
            self.emit(Op::Pop);
        }

        // The increment stands before the body in the source, and so in the
        // code; control enters it from behind.
        if !self.take(TokenKind::RightParen) {
            let body = self.emit_jump(Op::Jump);
            let increment = self.function.code.loop_start();
            self.expression();
            self.emit(Op::Pop);
            self.expect(TokenKind::RightParen, "Expect ')' after for clauses.");
            self.jump_back(start);
            start = increment;
            self.land(body);
        }

        self.body();
        self.jump_back(start);
        if let Some(exit) = exit {
            self.land(exit);
            self.emit(Op::Pop);
        }
        self.end_scope();
    }
}
