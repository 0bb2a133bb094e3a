//! Declarations: variables, functions and classes.

use std::mem;

use super::scope::{FunctionKind, FunctionState};
use super::{ClassKind, Compiler};
use crate::opcode::Op;
use crate::proto::Constant;
use crate::token::TokenKind;

impl<'s> Compiler<'s> {
    pub(super) fn declaration(&mut self) {
        if self.take(TokenKind::Class) {
            self.class_declaration();
        } else if self.take(TokenKind::Fun) {
            self.fun_declaration();
        } else if self.take(TokenKind::Var) {
            self.var_declaration();
        } else {
            self.statement();
        }
        self.recover();
    }

    pub(super) fn var_declaration(&mut self) {
        let global = self.variable_name("Expect variable name.");
        if self.take(TokenKind::Equal) {
            self.expression();
        } else {
            self.emit(Op::Nil);
        }
        self.expect(TokenKind::Semicolon, "Expect ';' after variable declaration.");
        self.define_variable(global);
    }

    fn fun_declaration(&mut self) {
        let global = self.variable_name("Expect function name.");
        // Its own body may name the function already.
        self.function.define_local();
        self.function(FunctionKind::Function);
        self.define_variable(global);
    }

    /// Parses and declares the name of a variable. The result is what
    /// [`Compiler::define_variable`] wants: the name as a constant, if global.
    fn variable_name(&mut self, message: &'static str) -> u8 {
        self.expect(TokenKind::Identifier, message);
        let name = self.previous.lexeme;
        self.declare(name);
        if self.function.in_global_scope() { self.name_constant(name) } else { 0 }
    }

    /// Parses the parameters and body of a function whose name is the
    /// previous token, and emits its closure.
    fn function(&mut self, kind: FunctionKind) {
        let function = FunctionState::new(kind, Some(self.previous.lexeme));
        self.enclosing.push(mem::replace(&mut self.function, function));

        // Ends with the function, whose frame goes as a whole.
        self.function.begin_scope();
        self.expect(TokenKind::LeftParen, "Expect '(' after function name.");
        if !self.check(TokenKind::RightParen) {
            self.parameters();
        }
        self.expect(TokenKind::RightParen, "Expect ')' after parameters.");
        self.expect(TokenKind::LeftBrace, "Expect '{' before function body.");
        self.block();
        self.emit_return();

        if let Some(enclosing) = self.enclosing.pop() {
            let function = mem::replace(&mut self.function, enclosing);
            self.emit_closure(function);
        }
    }

    fn parameters(&mut self) {
        loop {
            match self.function.arity.checked_add(1) {
                Some(arity) => self.function.arity = arity,
                None => self.error_at_current("Can't have more than 255 parameters."),
            }
            let name = self.variable_name("Expect parameter name.");
            self.define_variable(name);
            self.function.code.add_parameter();
            if !self.take(TokenKind::Comma) {
                break;
            }
        }
    }

    fn emit_closure(&mut self, function: FunctionState<'s>) {
        let captures: Vec<u8> = function.captures().iter().flat_map(|capture| capture.encode()).collect();
        let proto = Box::new(function.into_proto());
        let mut operands = vec![self.make_constant(Constant::Function(proto))];
        operands.extend(captures);
        self.function.code.instruction(Op::Closure, &operands, self.previous.line);
    }

    fn class_declaration(&mut self) {
        self.expect(TokenKind::Identifier, "Expect class name.");
        let class = self.previous.lexeme;
        let name = self.name_constant(class);
        self.declare(class);
        self.emit_with(Op::Class, name);
        self.define_variable(name);

        let kind = if self.take(TokenKind::Less) {
            self.superclass(class);
            ClassKind::Derived
        } else {
            ClassKind::Root
        };
        self.classes.push(kind);
        self.load(class);
        self.expect(TokenKind::LeftBrace, "Expect '{' before class body.");
        self.nested(|compiler| {
            while !compiler.check(TokenKind::RightBrace) && !compiler.check(TokenKind::End) {
                compiler.method();
            }
        });
        self.expect(TokenKind::RightBrace, "Expect '}' after class body.");
        self.emit(Op::Pop);
        if kind == ClassKind::Derived {
            self.end_scope();
        }
        self.classes.pop();
    }

    /// Parses the name of the superclass, and makes it a local that methods
    /// capture as `super`.
    fn superclass(&mut self, class: &'s str) {
        self.expect(TokenKind::Identifier, "Expect superclass name.");
        let superclass = self.previous.lexeme;
        self.load(superclass);
        if superclass == class {
            self.error("A class can't inherit from itself.");
        }
        self.function.begin_scope();
        self.add_local("super");
        self.function.define_local();
        self.load(class);
        self.emit(Op::Inherit);
    }

    fn method(&mut self) {
        self.expect(TokenKind::Identifier, "Expect method name.");
        let name = self.previous.lexeme;
        let constant = self.name_constant(name);
        self.function(match name {
            "init" => FunctionKind::Initializer,
            _ => FunctionKind::Method,
        });
        self.emit_with(Op::Method, constant);
    }
}
