//! The prompt, fed from a pipe: it reads line after line, shows no prompt, and survives errors.

use crate::process::{Run, lox};

fn repl(input: &str) -> Run {
    lox(&[], input)
}

#[track_caller]
fn shows(input: &str, stdout: &str) {
    let run = repl(input);
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, stdout, ""), "{input}");
}

#[test]
fn nothing_to_read() {
    shows("", "");
    shows("\n\n", "");
    shows("// only a comment\n", "");
}

#[test]
fn lines_share_globals() {
    shows("var a = 1;\nprint a;\na = a + 1;\nprint a;\n", "1\n2\n");
}

#[test]
fn functions_and_classes_outlive_their_line() {
    shows(
        "class A { init(x) { this.x = x; } get() { return this.x; } }\n\
         fun make(x) { var y = x + 1; fun get() { return y; } return get; }\n\
         var a = A(make(1));\n\
         print a.get()();\n\
         var get = a.get; a = nil;\n\
         print get()();\n",
        "2\n2\n",
    );
}

#[test]
fn finalizers_are_called_at_the_end_of_the_line_and_errors_in_them_end_nothing() {
    let run = repl(
        "class A {} fun closed() { print \"closed\"; } fun wrong() { error(\"wrong\"); }\n\
         var a = A(); onFinalize(a, closed); print 1;\n\
         print 2; a = nil; print 3;\n\
         a = A(); onFinalize(a, wrong); a = nil; print 4;\n\
         print 5; a = A(); onFinalize(a, closed);\n",
    );
    assert_eq!((run.code, run.stdout.as_str()), (0, "1\n2\n3\nclosed\n4\n5\n"));
    assert_eq!(run.stderr, "In a finalizer: wrong\n[line 1] in wrong()\n");
}

#[test]
fn strings_outlive_their_line() {
    shows("var s = \"kept\";\nvar t = s + \" on\";\nprint t == \"kept on\";\nprint t;\n", "true\nkept on\n");
}

#[test]
fn globals_are_not_limited() {
    // One script can name 256 constants; line by line there is no end.
    let mut input: String = (0..5_000).map(|n| format!("var g{n} = {n};\n")).collect();
    input += "print g0 + g4999;\nprint g2500;\n";
    shows(&input, "4999\n2500\n");
}

#[test]
fn the_last_line_needs_no_break() {
    shows("print 1;\nprint 2;", "1\n2\n");
}

#[test]
fn several_statements_on_a_line() {
    shows("var x = 2; { var y = x * 2; print y; } print x;\n", "4\n2\n");
}

#[test]
fn a_runtime_error_does_not_end_it() {
    let run = repl("var a = 1;\nfun f() { return nil + a; }\nf();\nprint a;\nmissing;\nprint \"still here\";\n");
    assert_eq!((run.code, run.stdout.as_str()), (0, "1\nstill here\n"));
    let errors = "Operands must be two numbers or two strings.\n[line 1] in f()\n[line 1] in script\n\
                  Undefined variable 'missing'.\n[line 1] in script\n";
    assert_eq!(run.stderr, errors);
}

#[test]
fn a_compile_error_does_not_end_it() {
    let run = repl("print 1 print 2;\nvar = 2;\nprint #;\nprint 3;\n");
    assert_eq!((run.code, run.stdout.as_str()), (0, "3\n"));
    let errors = "[line 1] Error at 'print': Expect ';' after value.\n\
                  [line 1] Error at '=': Expect variable name.\n\
                  [line 1] Error: Unexpected character.\n";
    assert_eq!(run.stderr, errors);
}

#[test]
fn a_stack_overflow_does_not_end_it() {
    let run = repl("fun f() { f(); }\nf();\nf();\nprint \"ok\";\n");
    assert_eq!((run.code, run.stdout.as_str()), (0, "ok\n"));
    assert_eq!(run.stderr.matches("Stack overflow.").count(), 2);
}

#[test]
fn what_an_error_left_on_the_stack_is_freed() {
    let mut input = String::from("class Box { init(x) { this.x = x; } }\n");
    input += &"fun f() { var b = Box(Box(nil)); fun g() { return b; } return Box(g).x().nothing; } f();\n".repeat(20);
    let run = lox(&["--metrics=json"], &input);
    assert_eq!(run.code, 0);
    let (rest, metrics) = crate::metrics::Metrics::split(run).unwrap();
    assert_eq!(rest.stderr.matches("Undefined property 'nothing'.").count(), 20);
    assert_eq!(metrics.check(), [""; 0]);
}

#[test]
fn modes_work_at_the_prompt() {
    for option in ["--stress", "--eager"] {
        let run = lox(&[option], "var s = \"a\";\nfor (var i = 0; i < 3; i = i + 1) s = s + s;\nprint s;\n");
        assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, "aaaaaaaa\n", ""), "{option}");
    }
}
