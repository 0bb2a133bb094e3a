//! What the compiler says about wrong sources.

use lox_vm::compiler::{CompileError, Place, compile};

use super::{accept, reject};

/// Checks sources that have one error each.
fn check(cases: &[(&str, &str)]) {
    for (source, expected) in cases {
        assert_eq!(reject(source), [*expected], "{source}");
    }
}

/// Checks sources that have one error each, and a second one at their end:
/// recovery from the first skips the brace that closes a block.
fn check_in_block(cases: &[(&str, &str)]) {
    for (source, expected) in cases {
        assert_eq!(reject(source), [*expected, "[line 1] Error at end: Expect '}' after block."], "{source}");
    }
}

#[test]
fn in_scanning() {
    check(&[
        ("@", "[line 1] Error: Unexpected character."),
        ("var a = 1;\n\nvar b = é;", "[line 3] Error: Unexpected character."),
        ("print 1 & 2;", "[line 1] Error: Unexpected character."),
        ("print \"a\n\nb", "[line 3] Error: Unterminated string."),
    ]);
}

#[test]
fn in_expressions() {
    check(&[
        (";", "[line 1] Error at ';': Expect expression."),
        ("print", "[line 1] Error at end: Expect expression."),
        ("1 + ;", "[line 1] Error at ';': Expect expression."),
        ("(1;", "[line 1] Error at ';': Expect ')' after expression."),
        ("f(1;", "[line 1] Error at ';': Expect ')' after arguments."),
        ("a.1;", "[line 1] Error at '1': Expect property name after '.'."),
        ("1 = 2;", "[line 1] Error at '=': Invalid assignment target."),
        ("a + b = c;", "[line 1] Error at '=': Invalid assignment target."),
        ("a * b.c = d;", "[line 1] Error at '=': Invalid assignment target."),
        ("(a) = b;", "[line 1] Error at '=': Invalid assignment target."),
        ("a() = b;", "[line 1] Error at '=': Invalid assignment target."),
        ("-a = b;", "[line 1] Error at '=': Invalid assignment target."),
        ("a or b = c;", "[line 1] Error at '=': Invalid assignment target."),
    ]);
    accept("a = b.c = d().e = 1;");
}

#[test]
fn in_statements() {
    check(&[
        ("1", "[line 1] Error at end: Expect ';' after expression."),
        ("1 2;", "[line 1] Error at '2': Expect ';' after expression."),
        ("print 1\n\n", "[line 3] Error at end: Expect ';' after value."),
        ("{ 1;", "[line 1] Error at end: Expect '}' after block."),
        ("if 1;", "[line 1] Error at '1': Expect '(' after 'if'."),
        ("if (1;", "[line 1] Error at ';': Expect ')' after condition."),
        ("while 1;", "[line 1] Error at '1': Expect '(' after 'while'."),
        ("while (1;", "[line 1] Error at ';': Expect ')' after condition."),
        ("for 1;", "[line 1] Error at '1': Expect '(' after 'for'."),
        ("for (1) 2;", "[line 1] Error at ')': Expect ';' after expression."),
        ("for (; 1) 2;", "[line 1] Error at ')': Expect ';' after loop condition."),
        ("for (;; 1 2;", "[line 1] Error at '2': Expect ')' after for clauses."),
        ("if (1) var a;", "[line 1] Error at 'var': Expect expression."),
    ]);
}

#[test]
fn in_returns() {
    check(&[
        ("return;", "[line 1] Error at 'return': Can't return from top-level code."),
        ("{ return 1; }", "[line 1] Error at 'return': Can't return from top-level code."),
        ("class A { init() { return 1; } }", "[line 1] Error at 'return': Can't return a value from an initializer."),
    ]);
    check_in_block(&[("fun f() { return 1 }", "[line 1] Error at '}': Expect ';' after return value.")]);
    accept("class A { init() { return; } m() { return 1; } }");
    accept("class A { init() { fun f() { return 1; } } }");
    accept("fun init() { return 1; }");
}

#[test]
fn in_variable_declarations() {
    check(&[
        ("var 1;", "[line 1] Error at '1': Expect variable name."),
        ("var this;", "[line 1] Error at 'this': Expect variable name."),
        ("var a 1;", "[line 1] Error at '1': Expect ';' after variable declaration."),
        ("{ var a; var a; }", "[line 1] Error at 'a': Already a variable with this name in this scope."),
        ("fun f(a) { var a; }", "[line 1] Error at 'a': Already a variable with this name in this scope."),
        ("fun f(a, a) {}", "[line 1] Error at 'a': Already a variable with this name in this scope."),
        ("{ var a = a; }", "[line 1] Error at 'a': Can't read local variable in its own initializer."),
        ("{ var a = 1; { var a = a; } }", "[line 1] Error at 'a': Can't read local variable in its own initializer."),
    ]);
    check_in_block(&[(
        "{ fun f() {} class f {} }",
        "[line 1] Error at 'f': Already a variable with this name in this scope.",
    )]);
    accept("var a = a; var a = a;");
    accept("{ var a; { var a; } }");
    accept("{ var a = 1; fun f(a) { { var a; } } }");
}

#[test]
fn in_function_declarations() {
    check(&[
        ("fun f {}", "[line 1] Error at '{': Expect '(' after function name."),
        ("fun f(a,) {}", "[line 1] Error at ')': Expect parameter name."),
        ("fun f() {", "[line 1] Error at end: Expect '}' after block."),
    ]);
    check_in_block(&[
        ("fun 1() {}", "[line 1] Error at '1': Expect function name."),
        ("fun f(1) {}", "[line 1] Error at '1': Expect parameter name."),
        ("fun f(a b) {}", "[line 1] Error at 'b': Expect ')' after parameters."),
        ("fun f() 1;", "[line 1] Error at '1': Expect '{' before function body."),
    ]);
}

#[test]
fn in_class_declarations() {
    check(&[
        ("class A < {}", "[line 1] Error at '{': Expect superclass name."),
        ("class A < A {}", "[line 1] Error at 'A': A class can't inherit from itself."),
        ("class A {", "[line 1] Error at end: Expect '}' after class body."),
    ]);
    check_in_block(&[
        ("class 1 {}", "[line 1] Error at '1': Expect class name."),
        ("class A 1", "[line 1] Error at '1': Expect '{' before class body."),
        ("class A { 1", "[line 1] Error at '1': Expect method name."),
    ]);
}

#[test]
fn in_this_and_super() {
    check(&[
        ("this;", "[line 1] Error at 'this': Can't use 'this' outside of a class."),
        ("fun f() { this; }", "[line 1] Error at 'this': Can't use 'this' outside of a class."),
        ("class A { m() {} } print this;", "[line 1] Error at 'this': Can't use 'this' outside of a class."),
        ("super.m;", "[line 1] Error at 'super': Can't use 'super' outside of a class."),
        ("class A { m() { super.m; } }", "[line 1] Error at 'super': Can't use 'super' in a class with no superclass."),
        (
            "class A < B { m() { class C { n() { super.m; } } } }",
            "[line 1] Error at 'super': Can't use 'super' in a class with no superclass.",
        ),
        ("class A < B { m() { super; } }", "[line 1] Error at ';': Expect '.' after 'super'."),
        ("class A < B { m() { super.1; } }", "[line 1] Error at '1': Expect superclass method name."),
        ("class A { m() { this = 1; } }", "[line 1] Error at '=': Invalid assignment target."),
    ]);
    accept("class A < B { m() { fun f() { super.m(this); } } }");
}

#[test]
fn one_for_every_statement() {
    assert_eq!(
        reject("var 1 2 3 4;\nprint;\nvar ok = 1;\n{ 1 2; }\nreturn;"),
        [
            "[line 1] Error at '1': Expect variable name.",
            "[line 2] Error at ';': Expect expression.",
            "[line 4] Error at '2': Expect ';' after expression.",
            "[line 5] Error at 'return': Can't return from top-level code.",
        ]
    );
}

#[test]
fn recovery_stops_at_keywords_and_after_semicolons() {
    for keyword in ["class", "fun", "var", "for", "if", "while", "print", "return"] {
        let found = reject(&format!("1 2 3 {keyword}"));
        assert_eq!(found.len(), 2, "{keyword}: {found:?}");
    }
    assert_eq!(reject("1 2 3; 4 5 6;").len(), 2);
    assert_eq!(reject("1 2 3 4 5 6;").len(), 1);
}

#[test]
fn characters_skipped_in_recovery_are_still_checked() {
    assert_eq!(
        reject("1 2 @ 3 @;"),
        ["[line 1] Error at '2': Expect ';' after expression.", "[line 1] Error: Unexpected character.",]
    );
}

#[test]
fn a_lexeme_is_quoted_as_it_stands() {
    assert_eq!(reject("1 \"é\n\";"), ["[line 2] Error at '\"é\n\"': Expect ';' after expression."]);
}

#[test]
fn errors_are_values_and_lines() {
    let errors = compile("1\nvar;").expect_err("two mistakes");
    assert_eq!(
        errors.as_slice(),
        [
            CompileError { line: 2, place: Place::Lexeme("var".into()), message: "Expect ';' after expression." },
            CompileError { line: 2, place: Place::Lexeme(";".into()), message: "Expect variable name." },
        ]
    );
    assert_eq!(
        errors.to_string(),
        "[line 2] Error at 'var': Expect ';' after expression.\n\
         [line 2] Error at ';': Expect variable name."
    );
}
