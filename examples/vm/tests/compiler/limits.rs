//! Limits, on both sides of each.

use lox_vm::compiler::MAX_NESTING;

use super::{accept, function, reject};

/// `count` items made by `item`, with `separator` between them.
fn list(count: usize, separator: &str, item: impl Fn(usize) -> String) -> String {
    (0..count).map(item).collect::<Vec<_>>().join(separator)
}

/// Statements that compile to this many bytes, and use no constants.
fn filler(bytes: usize) -> String {
    match bytes % 2 {
        0 => "nil;".repeat(bytes / 2),
        _ => "-nil;".to_owned() + &"nil;".repeat((bytes - 3) / 2),
    }
}

#[test]
fn constants() {
    assert_eq!(accept(&"1;".repeat(256)).constants.len(), 256);
    assert_eq!(reject(&("1;".repeat(256) + "\n2;")), ["[line 2] Error at '2': Too many constants in one chunk."]);
    // Names are constants, too, and every function has its own.
    let full = "a;".repeat(254);
    accept(&format!("{full} fun f() {{ 1; }}"));
    assert_eq!(
        reject(&format!("{full} b; fun f() {{ 1; }}")),
        ["[line 1] Error at '}': Too many constants in one chunk."]
    );
}

#[test]
fn locals() {
    let locals = |count| list(count, " ", |index| format!("var v{index};"));
    // Slot zero is taken.
    assert_eq!(accept(&format!("{{ {} }}", locals(255))).max_stack, 256);
    assert_eq!(
        reject(&format!("{{ {} }}", locals(256))),
        ["[line 1] Error at 'v255': Too many local variables in function."]
    );
    // Those of a closed scope make room.
    accept(&format!("{{ {{ {} }} {{ {} }} }}", locals(255), locals(255)));
    // A superclass takes a slot as well, here after the class.
    let script = |count| format!("{{ {} class A < B {{}} }}", locals(count));
    accept(&script(253));
    assert_eq!(reject(&script(254))[0], "[line 1] Error at 'B': Too many local variables in function.");
}

#[test]
fn parameters() {
    let script = |count, body| {
        let parameters = list(count, ", ", |index| format!("p{index}"));
        format!("fun f({parameters}) {{ {body} }}")
    };
    assert_eq!(function(&accept(&script(255, ""))).arity, 255);
    assert_eq!(reject(&script(256, "")), ["[line 1] Error at 'p255': Can't have more than 255 parameters."]);
    assert_eq!(reject(&script(255, "var v;")), ["[line 1] Error at 'v': Too many local variables in function."]);
}

#[test]
fn arguments() {
    for callee in ["f", "f().m"] {
        let call = |count| format!("{callee}({});", list(count, ", ", |_| "nil".to_owned()));
        assert_eq!(accept(&call(255)).max_stack, 257);
        assert_eq!(reject(&call(256)), ["[line 1] Error at 'nil': Can't have more than 255 arguments."]);
    }
}

#[test]
fn captures() {
    let script = |count: usize| {
        let declare = |from: usize, to: usize| list(to - from, " ", |i| format!("var v{};", from + i));
        format!(
            "fun f() {{ {} fun g() {{ {} fun h() {{ {} }} }} }}",
            declare(0, 200),
            declare(200, count),
            list(count, " ", |index| format!("v{index};")),
        )
    };
    let accepted = accept(&script(256));
    let h = function(function(function(&accepted)));
    assert_eq!(h.upvalue_count, 256);
    assert_eq!(reject(&script(257)), ["[line 1] Error at 'v256': Too many closure variables in function."]);
}

#[test]
fn jumps_over_branches() {
    // Over Pop, the branch and Jump.
    let taken = |bytes| format!("if (nil) {{ {} }}", filler(bytes));
    accept(&taken(65_535 - 4));
    assert_eq!(reject(&taken(65_535 - 3)), ["[line 1] Error at '}': Too much code to jump over."]);
    // Over Pop and the branch.
    let other = |bytes| format!("if (nil) nil; else {{ {} }}", filler(bytes));
    accept(&other(65_535 - 1));
    assert_eq!(reject(&other(65_535)), ["[line 1] Error at '}': Too much code to jump over."]);
    // Over Pop, and two bytes for each comparison.
    let operand = |count| format!("nil and nil{};", " == nil".repeat(count));
    accept(&operand(32_766));
    assert_eq!(reject(&operand(32_767)), ["[line 1] Error at 'nil': Too much code to jump over."]);
}

#[test]
fn loop_bodies() {
    // Back over Nil, JumpIfFalse, Pop, the body and Loop.
    let script = |bytes| format!("while (nil) {{ {} }}", filler(bytes));
    accept(&script(65_535 - 8));
    assert_eq!(reject(&script(65_535 - 7)), ["[line 1] Error at '}': Loop body too large."]);
    // Back over the body and Loop; without a condition there is no exit.
    let endless = |bytes| format!("for (;;) {{ {} }}", filler(bytes));
    accept(&endless(65_535 - 3));
    assert_eq!(reject(&endless(65_535 - 2)), ["[line 1] Error at '}': Loop body too large."]);
}

#[test]
fn nested_expressions() {
    for (open, close, levels) in [
        ("(", ")", 1),
        ("-", "", 1),
        ("!", "", 1),
        ("a = ", "", 1),
        ("a.b = ", "", 1),
        ("a(", ")", 1),
        ("a(nil, ", ")", 1),
        ("a.m(", ")", 1),
        ("nil + (", ")", 1),
        ("-(", ")", 2),
    ] {
        check_nesting(levels, |count| format!("{}nil{};", open.repeat(count), close.repeat(count)));
    }
}

#[test]
fn nested_statements() {
    for (open, close, levels) in [
        ("{", "}", 1),
        ("fun f() {", "}", 1),
        ("class A { m() {", "}}", 2),
        ("while (nil) ", "", 1),
        ("while (nil) {", "}", 1),
        ("for (;;) ", "", 1),
        ("if (nil) ", "", 1),
        ("if (nil) {", "}", 1),
        ("if (nil) nil; else {", "}", 1),
        ("if (nil) nil; else while (nil) ", "", 2),
    ] {
        check_nesting(levels, |count| format!("{}nil;{}", open.repeat(count), close.repeat(count)));
    }
}

/// Checks how often a construct of so many levels can be nested. It stands in
/// a block with a variable, which takes one level.
fn check_nesting(levels: usize, nest: impl Fn(usize) -> String) {
    let most = (MAX_NESTING - 1) / levels;
    accept(&format!("{{ var a; {} }}", nest(most)));
    let errors = reject(&format!("{{ var a; {} }}", nest(most + 1)));
    let [error] = errors.as_slice() else {
        panic!("more than one error: {errors:?}");
    };
    assert!(error.ends_with(": Too much nesting."), "{error}");
}

#[test]
fn nesting_is_reported_where_it_is_too_much() {
    accept(&format!("{}nil{};", "(".repeat(256), ")".repeat(256)));
    assert_eq!(reject(&"(\n".repeat(100_000)), ["[line 257] Error at '(': Too much nesting."]);
    // Also when it comes right after another error.
    assert_eq!(
        reject(&format!("var 1; var (; {}", "{".repeat(100_000))),
        [
            "[line 1] Error at '1': Expect variable name.",
            "[line 1] Error at '(': Expect variable name.",
            "[line 1] Error at '{': Too much nesting.",
        ]
    );
}

#[test]
fn long_chains_are_not_nested() {
    for (first, link) in [("nil", " + nil"), ("nil", " == nil"), ("nil", " * -nil"), ("nil", " + (nil)"), ("nil", "()")]
    {
        accept(&format!("{first}{};", link.repeat(20_000)));
    }
    for (first, link) in [("nil", " and nil"), ("nil", " or nil"), ("nil", " and nil or nil")] {
        accept(&format!("{first}{};", link.repeat(4_000)));
    }
    accept(&format!("{}{{}}", "if (nil) {} else ".repeat(4_000)));
    accept(&format!("{{ var a; a{}; }}", ".b".repeat(256)));
    accept(&"{}".repeat(20_000));
}

/// The deepest recursion there is: between two counted levels an operator of
/// every precedence waits for its right operand.
#[test]
fn nesting_fits_on_a_small_stack() {
    const STACK_SIZE: usize = 1 << 20;
    let thread = std::thread::Builder::new().stack_size(STACK_SIZE);
    let deep = || {
        for level in [
            "nil or nil and nil == nil < nil + nil * (",
            "nil or nil and nil == nil < nil + nil * nil.m(",
            "fun f() { while (nil) {",
            "class A { m() {",
        ] {
            let errors = reject(&level.repeat(MAX_NESTING + 1));
            assert!(errors.iter().any(|error| error.contains("nesting")), "{level}");
        }
    };
    let outcome = thread.spawn(deep).expect("a thread").join();
    assert!(outcome.is_ok());
}
