//! Expressions: a Pratt parser that emits code as it goes.
//!
//! An operand is parsed by [`Compiler::operand`] down to a given precedence.
//! A chain of binary operators of one precedence is a loop there, so that its
//! length does not count as nesting.

use std::ops::ControlFlow;

use super::{ClassKind, Compiler};
use crate::opcode::Op;
use crate::proto::Constant;
use crate::token::TokenKind;

/// How tightly an operator binds, from loose to tight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Precedence {
    /// Not an operator between or after operands.
    None,
    Assignment,
    Or,
    And,
    Equality,
    Comparison,
    Term,
    Factor,
    Unary,
    Call,
}

impl Precedence {
    /// The precedence of a token that follows an operand.
    fn of(kind: TokenKind) -> Self {
        match kind {
            TokenKind::Or => Self::Or,
            TokenKind::And => Self::And,
            TokenKind::BangEqual | TokenKind::EqualEqual => Self::Equality,
            TokenKind::Greater | TokenKind::GreaterEqual | TokenKind::Less | TokenKind::LessEqual => Self::Comparison,
            TokenKind::Minus | TokenKind::Plus => Self::Term,
            TokenKind::Slash | TokenKind::Star => Self::Factor,
            TokenKind::LeftParen | TokenKind::Dot => Self::Call,
            _ => Self::None,
        }
    }
}

/// Whether an `=` after a variable or property would belong to it. It does not
/// after an operator: in `a * b = c` the left side is the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Assignment {
    Possible,
    Impossible,
}

impl<'s> Compiler<'s> {
    pub(super) fn expression(&mut self) {
        self.operand(Precedence::Assignment);
    }

    /// Parses an expression in which all operators bind at least as tightly
    /// as `loosest`.
    fn operand(&mut self, loosest: Precedence) {
        let assignment = if loosest <= Precedence::Assignment { Assignment::Possible } else { Assignment::Impossible };
        self.advance();
        if self.prefix(assignment).is_break() {
            return;
        }
        while loosest <= Precedence::of(self.current.kind) {
            self.advance();
            self.infix(assignment);
        }
        if assignment == Assignment::Possible && self.take(TokenKind::Equal) {
            self.error("Invalid assignment target.");
        }
    }

    /// Parses what begins with the previous token, if an operand can.
    fn prefix(&mut self, assignment: Assignment) -> ControlFlow<()> {
        match self.previous.kind {
            TokenKind::LeftParen => self.grouping(),
            TokenKind::Minus => self.unary(Op::Negate),
            TokenKind::Bang => self.unary(Op::Not),
            TokenKind::Identifier => self.variable(self.previous.lexeme, assignment),
            TokenKind::String => self.string(),
            TokenKind::Number => self.number(),
            TokenKind::Nil => self.emit(Op::Nil),
            TokenKind::True => self.emit(Op::True),
            TokenKind::False => self.emit(Op::False),
            TokenKind::This => self.this(),
            TokenKind::Super => self.super_method(),
            _ => {
                self.error("Expect expression.");
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// Parses the operator that is the previous token, and what follows.
    fn infix(&mut self, assignment: Assignment) {
        let operator = self.previous.kind;
        match operator {
            TokenKind::LeftParen => self.call(),
            TokenKind::Dot => self.property(assignment),
            TokenKind::And => self.and(),
            TokenKind::Or => self.or(),
            TokenKind::BangEqual => self.binary(Precedence::Comparison, &[Op::Equal, Op::Not]),
            TokenKind::EqualEqual => self.binary(Precedence::Comparison, &[Op::Equal]),
            TokenKind::Greater => self.binary(Precedence::Term, &[Op::Greater]),
            TokenKind::GreaterEqual => self.binary(Precedence::Term, &[Op::Less, Op::Not]),
            TokenKind::Less => self.binary(Precedence::Term, &[Op::Less]),
            TokenKind::LessEqual => self.binary(Precedence::Term, &[Op::Greater, Op::Not]),
            TokenKind::Plus => self.binary(Precedence::Factor, &[Op::Add]),
            TokenKind::Minus => self.binary(Precedence::Factor, &[Op::Subtract]),
            TokenKind::Star => self.binary(Precedence::Unary, &[Op::Multiply]),
            TokenKind::Slash => self.binary(Precedence::Unary, &[Op::Divide]),
            _ => unreachable!("{operator:?} has no precedence, see Precedence::of"),
        }
    }

    fn grouping(&mut self) {
        self.nested(Self::expression);
        self.expect(TokenKind::RightParen, "Expect ')' after expression.");
    }

    fn unary(&mut self, op: Op) {
        self.nested(|compiler| compiler.operand(Precedence::Unary));
        self.emit(op);
    }

    /// Parses a right operand that binds more tightly than the operator, and
    /// emits the operator.
    fn binary(&mut self, tighter: Precedence, ops: &[Op]) {
        self.operand(tighter);
        for &op in ops {
            self.emit(op);
        }
    }

    fn and(&mut self) {
        let mut ends = Vec::new();
        loop {
            ends.push(self.emit_jump(Op::JumpIfFalse));
            self.emit(Op::Pop);
            self.operand(Precedence::Equality);
            if !self.take(TokenKind::And) {
                break;
            }
        }
        self.land_all(ends);
    }

    fn or(&mut self) {
        let mut ends = Vec::new();
        loop {
            let next = self.emit_jump(Op::JumpIfFalse);
            ends.push(self.emit_jump(Op::Jump));
            self.land(next);
            self.emit(Op::Pop);
            self.operand(Precedence::And);
            if !self.take(TokenKind::Or) {
                break;
            }
        }
        self.land_all(ends);
    }

    fn number(&mut self) {
        match self.previous.lexeme.parse() {
            Ok(number) => {
                let index = self.make_constant(Constant::Number(number));
                self.emit_with(Op::Constant, index);
            }
            // Digits, at most with a dot between them, are a number.
            Err(_) => unreachable!("the scanner took {:?} for a number", self.previous.lexeme),
        }
    }

    fn string(&mut self) {
        let quoted = self.previous.lexeme;
        let index = self.make_constant(Constant::String(quoted[1..quoted.len() - 1].into()));
        self.emit_with(Op::Constant, index);
    }

    fn variable(&mut self, name: &'s str, assignment: Assignment) {
        let variable = self.resolve(name);
        let (op, operand) = if self.assigns(assignment) { variable.setter() } else { variable.getter() };
        self.emit_with(op, operand);
    }

    /// Emits the value of a variable.
    pub(super) fn load(&mut self, name: &'s str) {
        self.variable(name, Assignment::Impossible);
    }

    /// Parses `=` and the assigned value, if they can and do follow.
    fn assigns(&mut self, assignment: Assignment) -> bool {
        let assigns = assignment == Assignment::Possible && self.take(TokenKind::Equal);
        if assigns {
            self.nested(Self::expression);
        }
        assigns
    }

    fn call(&mut self) {
        let count = self.arguments();
        self.emit_with(Op::Call, count);
    }

    fn property(&mut self, assignment: Assignment) {
        self.expect(TokenKind::Identifier, "Expect property name after '.'.");
        let name = self.name_constant(self.previous.lexeme);
        if self.assigns(assignment) {
            self.emit_with(Op::SetProperty, name);
        } else if self.take(TokenKind::LeftParen) {
            let count = self.arguments();
            self.emit_call(Op::Invoke, name, count);
        } else {
            self.emit_with(Op::GetProperty, name);
        }
    }

    fn this(&mut self) {
        if self.classes.is_empty() {
            self.error("Can't use 'this' outside of a class.");
        } else {
            self.load("this");
        }
    }

    fn super_method(&mut self) {
        match self.classes.last() {
            Some(ClassKind::Derived) => {}
            Some(ClassKind::Root) => {
                self.error("Can't use 'super' in a class with no superclass.");
            }
            None => self.error("Can't use 'super' outside of a class."),
        }
        self.expect(TokenKind::Dot, "Expect '.' after 'super'.");
        self.expect(TokenKind::Identifier, "Expect superclass method name.");
        let name = self.name_constant(self.previous.lexeme);
        self.load("this");
        if self.take(TokenKind::LeftParen) {
            let count = self.arguments();
            self.load("super");
            self.emit_call(Op::SuperInvoke, name, count);
        } else {
            self.load("super");
            self.emit_with(Op::GetSuper, name);
        }
    }

    /// Parses the arguments of a call after its `(`, and counts them.
    fn arguments(&mut self) -> u8 {
        let mut count: u8 = 0;
        if !self.check(TokenKind::RightParen) {
            loop {
                self.nested(Self::expression);
                match count.checked_add(1) {
                    Some(more) => count = more,
                    None => self.error("Can't have more than 255 arguments."),
                }
                if !self.take(TokenKind::Comma) {
                    break;
                }
            }
        }
        self.expect(TokenKind::RightParen, "Expect ')' after arguments.");
        count
    }
}
