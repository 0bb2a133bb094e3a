//! The code that the compiler makes of right sources.

use lox_vm::disassembler::disassemble;
use lox_vm::opcode::Op;
use lox_vm::proto::{Capture, Constant, Proto};

use super::verify::verify;
use super::{accept, function, functions};

fn ops(proto: &Proto) -> Vec<Op> {
    proto.instructions().map(|instruction| instruction.op).collect()
}

/// Where the jumps of `proto` stand, and where they go.
fn jumps(proto: &Proto) -> Vec<(Op, usize, usize)> {
    proto
        .instructions()
        .filter_map(|instruction| {
            let target = instruction.jump_target()?;
            Some((instruction.op, instruction.offset, target))
        })
        .collect()
}

/// The captures of the closures that `proto` makes.
fn captures(proto: &Proto) -> Vec<Vec<Capture>> {
    proto
        .instructions()
        .filter(|instruction| instruction.op == Op::Closure)
        .map(|instruction| {
            instruction.operands[1..].chunks(2).map(|pair| Capture::decode([pair[0], pair[1]])).collect()
        })
        .collect()
}

fn string(text: &str) -> Constant {
    Constant::String(text.into())
}

#[test]
fn an_empty_script_returns_nil() {
    let script = accept("");
    assert_eq!(&*script.code, [Op::Nil as u8, Op::Return as u8]);
    assert_eq!(script.name, None);
    assert_eq!((script.arity, script.upvalue_count), (0, 0));
    assert_eq!(script.max_stack, 2);
}

#[test]
fn operators_follow_their_operands_by_precedence() {
    use Op::*;
    let cases: &[(&str, &[Op])] = &[
        ("nil - nil - nil", &[Nil, Nil, Subtract, Nil, Subtract]),
        ("nil - nil * nil", &[Nil, Nil, Nil, Multiply, Subtract]),
        ("nil * nil - nil", &[Nil, Nil, Multiply, Nil, Subtract]),
        ("(nil - nil) / nil", &[Nil, Nil, Subtract, Nil, Divide]),
        ("-nil + !nil", &[Nil, Negate, Nil, Not, Add]),
        ("!-nil", &[Nil, Negate, Not]),
        ("-nil()", &[Nil, Call, Negate]),
        ("nil < nil == true", &[Nil, Nil, Less, True, Equal]),
        ("nil + nil > false", &[Nil, Nil, Add, False, Greater]),
        ("nil != nil", &[Nil, Nil, Equal, Not]),
        ("nil <= nil", &[Nil, Nil, Greater, Not]),
        ("nil >= nil", &[Nil, Nil, Less, Not]),
    ];
    for (source, expected) in cases {
        let found = ops(&accept(&format!("{source};")));
        let (body, end) = found.split_at(expected.len());
        assert_eq!(body, *expected, "{source}");
        assert_eq!(end, [Pop, Nil, Return], "{source}");
    }
}

#[test]
fn constants_are_not_shared() {
    let script = accept("print 1 + 1; a = \"a\"; a.b;");
    assert_eq!(
        &*script.constants,
        [Constant::Number(1.0), Constant::Number(1.0), string("a"), string("a"), string("a"), string("b"),]
    );
}

#[test]
fn literals_keep_their_values() {
    let script = accept("0.1; 123456789012345678901234567890; \"é\n\\n\"; \"\";");
    assert_eq!(
        &*script.constants,
        [
            Constant::Number(0.1),
            Constant::Number(123_456_789_012_345_680_000_000_000_000.0),
            string("é\n\\n"),
            string(""),
        ]
    );
}

#[test]
fn locals_are_slots_and_globals_are_names() {
    use Op::*;
    let script = accept("var a; a = a; { var b = a; b = b; { var c = b; c; } }");
    assert_eq!(
        ops(&script),
        [
            Nil,
            DefineGlobal,
            GetGlobal,
            SetGlobal,
            Pop, // var a; a = a;
            GetGlobal,
            GetLocal,
            SetLocal,
            Pop, // var b = a; b = b;
            GetLocal,
            GetLocal,
            Pop,
            Pop,
            Pop, // var c = b; c; and both scopes
            Nil,
            Return,
        ]
    );
    let slots: Vec<_> = script
        .instructions()
        .filter(|instruction| matches!(instruction.op, GetLocal | SetLocal))
        .map(|instruction| instruction.operands[0])
        .collect();
    assert_eq!(slots, [1, 1, 1, 2]);
}

#[test]
fn if_and_else_jump_over_each_other() {
    // 0 True, 1 JumpIfFalse, 4 Pop, 5 nil; 7 Jump, 10 Pop, 11 true; 13 Nil
    let script = accept("if (true) nil; else true;");
    assert_eq!(jumps(&script), [(Op::JumpIfFalse, 1, 10), (Op::Jump, 7, 13)]);
    let script = accept("if (true) nil;");
    assert_eq!(jumps(&script), [(Op::JumpIfFalse, 1, 10), (Op::Jump, 7, 11)]);
}

#[test]
fn a_chain_of_branches_leaves_at_its_end() {
    // Each link is True, JumpIfFalse, Pop, Nil, Pop, Jump, Pop.
    let script = accept("if (true) nil; else if (true) nil; else nil;");
    assert_eq!(
        jumps(&script),
        [(Op::JumpIfFalse, 1, 10), (Op::Jump, 7, 24), (Op::JumpIfFalse, 12, 21), (Op::Jump, 18, 24),]
    );
}

#[test]
fn and_and_or_skip_all_that_remains() {
    // 0 True, 1 JumpIfFalse, 4 Pop, 5 True, 6 JumpIfFalse, 9 Pop, 10 True, 11 Pop
    assert_eq!(jumps(&accept("true and true and true;")), [(Op::JumpIfFalse, 1, 11), (Op::JumpIfFalse, 6, 11)]);
    // 0 True, 1 JumpIfFalse, 4 Jump, 7 Pop, 8 True, 9 JumpIfFalse, 12 Jump, 15 Pop, 16 True
    assert_eq!(
        jumps(&accept("true or true or true;")),
        [(Op::JumpIfFalse, 1, 7), (Op::Jump, 4, 17), (Op::JumpIfFalse, 9, 15), (Op::Jump, 12, 17),]
    );
}

#[test]
fn while_loops_to_its_condition() {
    // 0 True, 1 JumpIfFalse, 4 Pop, 5 Nil, 6 Pop, 7 Loop, 10 Pop
    assert_eq!(jumps(&accept("while (true) nil;")), [(Op::JumpIfFalse, 1, 10), (Op::Loop, 7, 0)]);
}

#[test]
fn for_loops_by_way_of_its_increment() {
    // 0 Nil, 1 GetLocal, 3 JumpIfFalse, 6 Pop, 7 Jump, 10 True, 11 Pop, 12 Loop,
    // 15 False, 16 Pop, 17 Loop, 20 Pop, 21 Pop
    let script = accept("for (var a; a; true) false;");
    assert_eq!(jumps(&script), [(Op::JumpIfFalse, 3, 20), (Op::Jump, 7, 15), (Op::Loop, 12, 1), (Op::Loop, 17, 10),]);
    assert_eq!(jumps(&accept("for (;;) nil;")), [(Op::Loop, 2, 0)]);
}

#[test]
fn functions_are_named_constants() {
    let script = accept("fun f(a, b) { return a; } { fun g() {} }");
    let [f, g] = functions(&script)[..] else {
        panic!("two functions");
    };
    assert_eq!((f.name.as_deref(), f.arity), (Some("f"), 2));
    assert_eq!((g.name.as_deref(), g.arity), (Some("g"), 0));
    assert_eq!(ops(f), [Op::GetLocal, Op::Return, Op::Nil, Op::Return]);
    assert_eq!(f.code[1], 1);
}

#[test]
fn closures_capture_locals_and_upvalues_once() {
    let script = accept(
        "fun f(a) {
           var b;
           fun g() {
             var c;
             fun h() { a; c; b; a = c; }
           }
           fun i() { b; }
         }",
    );
    let f = function(&script);
    let [g, i] = functions(f)[..] else {
        panic!("two functions");
    };
    let h = function(g);
    assert_eq!(captures(&script), [[]]);
    assert_eq!(captures(f), [vec![Capture::Local(1), Capture::Local(2)], vec![Capture::Local(2)]]);
    assert_eq!(captures(g), [[Capture::Upvalue(0), Capture::Local(1), Capture::Upvalue(1)]]);
    assert_eq!((g.upvalue_count, h.upvalue_count, i.upvalue_count), (2, 3, 1));
    let upvalues: Vec<_> = h
        .instructions()
        .filter(|instruction| matches!(instruction.op, Op::GetUpvalue | Op::SetUpvalue))
        .map(|instruction| instruction.operands[0])
        .collect();
    assert_eq!(upvalues, [0, 1, 2, 1, 0]);
}

#[test]
fn only_captured_locals_are_closed() {
    let script = accept("{ var a; var b; var c; fun f() { b; } }");
    let found = ops(&script);
    assert_eq!(found[4..], [Op::Pop, Op::Pop, Op::CloseUpvalue, Op::Pop, Op::Nil, Op::Return]);
}

#[test]
fn a_local_function_captures_itself() {
    let script = accept("{ fun f() { f(); } }");
    assert_eq!(captures(&script), [[Capture::Local(1)]]);
    verify(&script);
}

#[test]
fn an_initializer_returns_its_instance() {
    let script = accept("class A { init() { return; } init2() {} }");
    let [init, other] = functions(&script)[..] else {
        panic!("two functions");
    };
    assert_eq!(ops(init), [Op::GetLocal, Op::Return, Op::GetLocal, Op::Return]);
    assert_eq!(init.code[1], 0);
    assert_eq!(ops(other), [Op::Nil, Op::Return]);
}

#[test]
fn a_class_stays_on_the_stack_for_its_methods() {
    use Op::*;
    let script = accept("class A < B { m() { super.m; return super.n(this, 1); } }");
    assert_eq!(
        ops(&script),
        [
            Class,
            DefineGlobal,
            GetGlobal,
            GetGlobal,
            Inherit,
            GetGlobal,
            Closure,
            Method,
            Pop,
            CloseUpvalue,
            Nil,
            Return,
        ]
    );
    assert_eq!(captures(&script), [[Capture::Local(1)]]);
    assert_eq!(
        ops(function(&script)),
        [
            GetLocal,
            GetUpvalue,
            GetSuper,
            Pop,
            GetLocal,
            GetLocal,
            Constant,
            GetUpvalue,
            SuperInvoke,
            Return,
            Nil,
            Return,
        ]
    );
}

#[test]
fn a_called_property_is_invoked() {
    use Op::*;
    assert_eq!(
        ops(&accept("a.b; a.b(nil); (a.b)(nil); a.b = nil;")),
        [
            GetGlobal,
            GetProperty,
            Pop,
            GetGlobal,
            Nil,
            Invoke,
            Pop,
            GetGlobal,
            GetProperty,
            Nil,
            Call,
            Pop,
            GetGlobal,
            Nil,
            SetProperty,
            Pop,
            Nil,
            Return,
        ]
    );
}

#[test]
fn code_has_the_line_of_the_last_token_read() {
    let script = accept("1 +\n2\n;\nf(\n)\n;\n\n");
    let lines: Vec<_> =
        script.instructions().map(|instruction| (instruction.op, script.lines.line(instruction.offset))).collect();
    assert_eq!(
        lines,
        [
            (Op::Constant, 1),
            (Op::Constant, 2),
            (Op::Add, 2),
            (Op::Pop, 3),
            (Op::GetGlobal, 4),
            (Op::Call, 5),
            (Op::Pop, 6),
            (Op::Nil, 8),
            (Op::Return, 8),
        ]
    );
    // Operands have the line of their opcode.
    assert_eq!((script.lines.line(0), script.lines.line(1)), (1, 1));

    let script = accept("fun f() {\n  \"a\n\";\n}\n");
    let f = function(&script);
    assert_eq!((f.lines.line(0), f.lines.line(3)), (3, 4));
    assert_eq!(script.lines.line(0), 4);
}

#[test]
fn max_stack_counts_slots_and_temporaries() {
    for (source, expected) in [
        ("", 2),
        ("1;", 2),
        ("1 + 2;", 3),
        ("1 + 2 + 3 + 4;", 3),
        ("1 + (2 + (3 + 4));", 5),
        ("f(1, 2, f(3));", 6),
        ("a.m(1, 2);", 4),
        ("a = b = c = 1;", 2),
        ("a.x = b.x = c;", 4),
        ("{ var a; var b; }", 3),
        ("{ var a; var b; a + b; }", 5),
        ("{ { var a; } { var b; } }", 2),
        ("1 and 2 and 3;", 2),
        ("1 + (2 or 3);", 3),
        ("if (1) 2; else 3 + 4;", 3),
        ("if (1) 2; else { var a; var b; a; }", 4),
        ("for (var a = 1; a < 2; a = a + 1) print a;", 4),
        ("while (1) { var a = 2; if (a) a; else a + a; }", 4),
        ("class A {}", 2),
        ("class A < B { m() {} }", 4),
        ("{ class A < B { m() {} } }", 5),
    ] {
        let script = accept(source);
        assert_eq!(script.max_stack, expected, "{source}");
        verify(&script);
    }
}

#[test]
fn max_stack_of_a_function_includes_its_parameters() {
    for (source, expected) in [
        ("fun f() {}", 2),
        ("fun f(a, b) {}", 4),
        ("fun f(a, b) { return a + b; }", 5),
        ("fun f(a) { if (a) return 1; return a * (a + 2); }", 5),
        ("fun f(a) { return; var b; var c; }", 5),
        ("class A < B { m(a) { super.m(a, a); } }", 6),
    ] {
        let script = accept(source);
        assert_eq!(function(&script).max_stack, expected, "{source}");
        verify(&script);
    }
}

#[test]
fn a_listing_names_what_an_instruction_works_on() {
    let script = accept("fun f(a) {\n  fun g() { return a; }\n}\nwhile (f(1)) f.m(\"s\");");
    assert_eq!(
        disassemble(&script),
        "\
== <script>: arity 0, upvalues 0, stack 3 ==
00000     3 Closure 1 <fn f>
00002     | DefineGlobal 0 \"f\"
00004     4 GetGlobal 2 \"f\"
00006     | Constant 3 1
00008     | Call (1)
00010     | JumpIfFalse -> 00025
00013     | Pop
00014     | GetGlobal 4 \"f\"
00016     | Constant 6 \"s\"
00018     | Invoke 5 \"m\" (1)
00021     | Pop
00022     | Loop -> 00004
00025     | Pop
00026     | Nil
00027     | Return
== f: arity 1, upvalues 0, stack 4 ==
00000     2 Closure 0 <fn g> local 1
00004     3 Nil
00005     | Return
== g: arity 0, upvalues 1, stack 2 ==
00000     2 GetUpvalue 0
00002     | Return
00003     | Nil
00004     | Return
"
    );
}
