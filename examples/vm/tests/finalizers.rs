//! `onFinalize` from outside: where its functions are called, what ends them, what they end, and that nothing is left of them.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use lox_vm::error::InterpretError;
use lox_vm::machine::{Config, HeapLimit, Limits, Machine};
use mimalloc_runtime::{Budget, Pacing, When};

const NONE: Limits = Limits { fuel: None, beats: None, time: None };

fn machine_with(pacing: Pacing, limits: Limits, bytes: Option<u64>) -> Machine {
    let config = Config {
        pacing,
        beat_bytes: 4 << 10,
        limits,
        heap_limit: bytes.map(|bytes| HeapLimit { bytes, walled: false }),
        stress: None,
        script_args: Vec::new(),
        stdin: Box::new(io::empty()),
    };
    Machine::new(config).unwrap()
}

fn machine(limits: Limits, bytes: Option<u64>) -> Machine {
    machine_with(Pacing::default(), limits, bytes)
}

const PACINGS: [fn() -> Pacing; 3] = [Pacing::default, Pacing::stress, Pacing::eager];

/// How a script ends, and what it writes to its two streams.
#[derive(Debug, PartialEq, Eq)]
struct Ran {
    succeeded: bool,
    out: String,
    err: String,
}

fn interpret(machine: &mut Machine, source: &str) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let succeeded = match machine.interpret(source, &mut out, &mut err) {
        Ok(()) => true,
        Err(InterpretError::Runtime) => false,
        Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&err)),
    };
    Ran { succeeded, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

#[track_caller]
fn check(ran: &Ran, succeeded: bool, out: &str, err: &str) {
    assert_eq!((ran.succeeded, ran.out.as_str(), ran.err.as_str()), (succeeded, out, err));
}

/// Nothing is left of the machine, whatever finalizers it has.
#[track_caller]
fn end(machine: Machine) {
    let metrics = machine.shutdown();
    assert_eq!((metrics.live.now.objects, metrics.pending.now.objects, metrics.panics), (0, 0, 0));
    assert_eq!((metrics.in_use_bytes, metrics.block_bytes), (0, 0));
}

/// A class, a function that does nothing, and one that makes garbage whose finalizer is its argument.
const MAKE: &str = "class C {} fun nothing() {} fun make(f) { var c = C(); onFinalize(c, f); }\n";

/// Machines that know these.
fn knowing(mut machine: Machine) -> Machine {
    assert!(interpret(&mut machine, MAKE).succeeded);
    machine
}

#[test]
fn errors_end_the_finalizer_alone_and_are_told() {
    for pacing in PACINGS {
        let mut machine = knowing(machine_with(pacing(), NONE, None));
        let source = "
fun inner() { return nil + 1; }
fun wrong() {
  inner();
}
fun said() { error(\"own words\"); }
fun deeper() { deeper(); }
fun fine() { print \"fine\"; }
make(wrong); nothing(); print 1;
make(said); make(fine); nothing(); nothing(); print 2;
make(deeper); make(fine); print 3;
";
        let ran = interpret(&mut machine, source);
        assert!(ran.succeeded);
        assert_eq!(ran.out, "1\nfine\n2\n3\nfine\n");
        let mut told = ran.err.lines();
        let first: Vec<&str> = told.by_ref().take(6).collect();
        let operands = "In a finalizer: Operands must be two numbers or two strings.";
        assert_eq!(first[..4], [operands, "[line 2] in inner()", "[line 4] in wrong()", "In a finalizer: own words"]);
        assert_eq!(first[4..], ["[line 6] in said()", "In a finalizer: Stack overflow."]);
        // As many frames as a script has, though it begins within one.
        let rest: Vec<&str> = told.collect();
        assert_eq!(rest, ["[line 7] in deeper()"; 64]);
        end(machine);
    }
}

/// A finalizer has room of its own, and the script no more for it.
#[test]
fn the_script_may_call_as_deep_after_it_as_before() {
    let mut machine = knowing(machine(NONE, None));
    let source = "fun deeper() { deeper(); }
fun down(n) {
  if (n > 0) return down(n - 1);
  make(says); nothing();
  deeper();
}
fun says() { print \"says\"; }
down(20);";
    let ran = interpret(&mut machine, source);
    assert!(!ran.succeeded);
    assert_eq!((ran.out.as_str(), ran.err.lines().next()), ("says\n", Some("Stack overflow.")));
    assert_eq!(ran.err.lines().filter(|line| line.starts_with("[line ")).count(), 64);
    end(machine);
}

/// Whoever is not there to be told misses it.
#[test]
fn an_error_that_nobody_can_be_told_of_ends_nothing() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
    let mut machine = knowing(machine(NONE, None));
    let mut out = Vec::new();
    let source = "fun wrong() { error(\"wrong\"); } make(wrong); nothing(); print 1;";
    assert!(machine.interpret(source, &mut out, &mut Closed).is_ok());
    assert_eq!(out, b"1\n");
    // But output is.
    let result = machine.interpret("fun says() { print 2; } make(says); nothing();", &mut Closed, &mut io::sink());
    assert!(matches!(result, Err(InterpretError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe));
    check(&interpret(&mut machine, "print 3;"), true, "3\n", "");
    end(machine);
}

/// A function that no stack is high enough for.
#[test]
fn a_function_that_is_too_large_fails_as_any_call_of_it() {
    let arguments = "nil, ".repeat(250);
    let nested = format!("take({arguments}").repeat(70) + "nil" + &")".repeat(70);
    let mut machine = knowing(machine(NONE, None));
    let source = format!("fun take() {{}} fun large() {{ {nested}; }} fun fine() {{ print 1; }}");
    check(&interpret(&mut machine, &source), true, "", "");
    check(&interpret(&mut machine, "large();"), false, "", "Stack overflow.\n[line 1] in script\n");
    let ran = interpret(&mut machine, "make(large); make(fine); nothing(); nothing(); print 2;");
    check(&ran, true, "1\n2\n", "In a finalizer: Stack overflow.\n");
    end(machine);
}

#[test]
fn a_finalizer_without_memory_fails_alone() {
    for pacing in PACINGS {
        let mut machine = knowing(machine_with(pacing(), NONE, Some(300_000)));
        let source = "
fun hoard() {
  var l = List(); while (true) l.add(List());
}
make(hoard); nothing();
print \"on\";
";
        let expected = "In a finalizer: Out of memory.\n[line 3] in hoard()\n";
        check(&interpret(&mut machine, source), true, "on\n", expected);
        check(&interpret(&mut machine, source), true, "on\n", expected);
        end(machine);
    }
}

const ENDLESS: &str = "fun endless() {\n  while (true) List();\n}\n";

#[test]
fn what_ends_scripts_ends_them_in_a_finalizer_too() {
    let trace = "[line 2] in endless()\n[line 4] in script\n";
    let source = format!("{ENDLESS}make(endless); nothing(); print 1;");
    let mut fuelled = knowing(machine(Limits { fuel: Some(1_000), ..NONE }, None));
    let expected =
        format!("Out of fuel.\n{trace}").replace("[line 4] in script", "[line 1] in nothing()\n[line 4] in script");
    check(&interpret(&mut fuelled, &source), false, "", &expected);
    // The next one starts anew, and the finalizer has had its turn.
    check(&interpret(&mut fuelled, "nothing(); print 2;"), true, "2\n", "");
    end(fuelled);

    let mut timed = knowing(machine(Limits { beats: Some(3), ..NONE }, None));
    let ran = interpret(&mut timed, &source);
    assert_eq!(ran.err, expected.replace("Out of fuel.", "Deadline of 3 beats passed."));
    end(timed);

    let mut stopped = knowing(machine(NONE, None));
    let interrupter = stopped.mutator().interrupter();
    stopped.mutator().on_beat(When::Every(2), move |_, _| interrupter.stop()).unwrap();
    assert_eq!(interpret(&mut stopped, &source).err, expected.replace("Out of fuel.", "Interrupted."));
    end(stopped);

    // In the last turn there is no script around it.
    let mut last = knowing(machine(Limits { fuel: Some(1_000), ..NONE }, None));
    let source = format!("{ENDLESS}make(endless);");
    check(&interpret(&mut last, &source), false, "", "Out of fuel.\n[line 2] in endless()\n");
    end(last);
    // Where there is no fuel to begin with.
    let mut empty = knowing(machine(Limits { fuel: Some(5), ..NONE }, None));
    let source = "fun f() { print 1; }\n{ var c = C(); onFinalize(c, f); } for (var i = 0; i < 2; i = i + 1) {}\n{ var c = C(); onFinalize(c, f); }";
    let ran = interpret(&mut empty, source);
    check(&ran, false, "1\n", "Out of fuel.\n[line 1] in f()\n");
    // So it has not been called.
    check(&interpret(&mut empty, "print 2; nothing();"), true, "2\n1\n", "");
    end(empty);
}

#[test]
fn its_calls_cost_fuel_as_all_do() {
    let used = |source: &str| {
        let mut machine = knowing(machine(Limits { fuel: Some(10_000), ..NONE }, None));
        assert!(interpret(&mut machine, source).succeeded);
        10_000 - machine.mutator().fuel().unwrap()
    };
    let idle = used("fun f() {} make(nothing); nothing();");
    // One call more.
    assert_eq!(used("fun f() {} make(f); nothing(); nothing();"), idle + 1);
    assert_eq!(used("fun f() { nothing(); } make(f); nothing();"), idle + 1);
    // Text that is written of an error is paid for, whoever reads it: 64 bytes a unit. Half a one is left over from before.
    let long =
        "fun f() { var s = \"0123456789abcdef\"; s = s + s; s = s + s; s = s + s; s = s + s; s = s + s; s = s + s;";
    let silent = used(&format!("{long} }} make(f); nothing();"));
    assert_eq!(used(&format!("{long} error(s); }} make(f); nothing();")), silent + (32 + 16 + 1024 + 1 + 16) / 64);
}

#[test]
fn limits_of_a_call_hold_for_what_comes_within() {
    let mut machine = knowing(machine(Limits { fuel: Some(100_000), ..NONE }, None));
    let source = format!(
        "{ENDLESS}
fun fine() {{ print \"fine\"; }}
fun within() {{
  {{ var a = C(); var b = C(); onFinalize(b, endless); onFinalize(a, fine); }}
  nothing();
  return \"not reached\";
}}
var error = limited(within, nil, 500);
print error; print error.trace();
nothing(); nothing();
print \"on\";"
    );
    let ran = interpret(&mut machine, &source);
    // The one behind it in the turn was not lost.
    let trace = "[line 2] in endless()\n";
    assert!(ran.out.starts_with(&format!("Out of fuel.\n{trace}")), "{ran:?}");
    assert!(ran.out.ends_with("fine\non\n") && ran.err.is_empty() && ran.succeeded, "{ran:?}");
    end(machine);
}

#[test]
fn what_is_brought_about_without_end_holds_up_neither_the_script_nor_its_end() {
    for pacing in PACINGS {
        let mut machine = knowing(machine_with(pacing(), Limits { fuel: Some(1_000), ..NONE }, None));
        let source = "var calls = 0; fun more() { calls = calls + 1; make(more); make(nothing); }";
        assert!(interpret(&mut machine, source).succeeded);
        let ran = interpret(&mut machine, "make(more); for (var i = 0; i < 10; i = i + 1) {} print \"end\";");
        check(&ran, true, "end\n", "");
        let calls = |machine: &mut Machine| interpret(machine, "print calls;").out.trim().parse::<u32>().unwrap();
        let first = calls(&mut machine);
        assert!((10..=21).contains(&first), "{first}");
        // At the end of each script there is one turn.
        assert_eq!(calls(&mut machine), first + 1);
        assert_eq!(calls(&mut machine), first + 2);
        end(machine);
    }
}

#[test]
fn what_a_failed_script_has_left_is_done_within_the_next() {
    let mut machine = knowing(machine(NONE, None));
    let source = "fun says() { print \"says\"; } { var c = C(); onFinalize(c, says); error(\"failed\"); }";
    check(&interpret(&mut machine, source), false, "", "failed\n[line 1] in script\n");
    check(&interpret(&mut machine, "print 1; nothing(); print 2;"), true, "1\nsays\n2\n", "");
    end(machine);
}

/// A call with little fuel does not use up other finalizers' turns.
#[test]
fn none_is_lost_that_could_not_begin() {
    let mut machine = knowing(machine(NONE, None));
    let source = "
fun within() { { var c = C(); onFinalize(c, fine); } nothing(); return \"done\"; }
fun fine() { write(\"fine \"); }
for (var fuel = 0; fuel < 5; fuel = fuel + 1) {
  write(limited(within, nil, fuel)); write(\" \");
  nothing(); nothing();
}
";
    let expected = "Out of fuel. fine Out of fuel. fine fine done fine done fine done ";
    check(&interpret(&mut machine, source), true, expected, "");
    end(machine);
}

/// Also such as bring about others, and such as would go on for ever: none of them is called.
#[test]
fn a_machine_ends_with_nothing_left() {
    let sources = [
        // Of what lives on, alone and in a cycle, and through others.
        "fun never() { print \"never\"; } var c = C(); onFinalize(c, never);",
        "fun hold() { var c = C(); fun never() { print c; } c.self = c; onFinalize(c, never); return c; } var c = hold();",
        "var list = List(); fun never() { print list; } for (var i = 0; i < 100; i = i + 1) { var c = C(); c.list = list; onFinalize(c, never); list.add(c); }",
        // One whose finalizer is the last to hold another.
        "fun chain(n) { var c = C(); var inner; if (n > 0) inner = chain(n - 1); fun never() { print inner; } onFinalize(c, never); return c; } var c = chain(40);",
        // Queued, and not taken.
        "fun fails() { make(fails); for (var i = 0; i < 50; i = i + 1) make(nothing); } make(fails);",
        // Which know each other weakly.
        "var a = C(); var b = C(); a.other = weak(b); b.other = weak(a); a.strong = b; b.strong = a; onFinalize(a, nothing); a = nil; b = nil;",
    ];
    for source in sources {
        for pacing in PACINGS {
            let mut machine = knowing(machine_with(pacing(), NONE, None));
            check(&interpret(&mut machine, source), true, "", "");
            end(machine);
        }
    }
}

/// A machine that is dropped rather than shut down, while another one is there to inherit its finalizers.
#[test]
fn a_machine_that_is_dropped_leaves_nothing_to_another_one() {
    let mut other = knowing(machine(NONE, None));
    for source in
        ["fun never() { print 1; } var c = C(); onFinalize(c, never);", "fun f() { make(f); make(f); } make(f);"]
    {
        let mut dropped = knowing(machine(NONE, None));
        assert!(interpret(&mut dropped, source).succeeded);
        drop(dropped);
        check(&interpret(&mut other, "for (var i = 0; i < 100; i = i + 1) nothing();"), true, "", "");
    }
    let before = other.mutator().metrics().live.now.objects;
    other.mutator().collect(Budget::Unbounded);
    assert!(other.mutator().metrics().live.now.objects <= before);
    end(other);
}

/// As if the machine's own code had failed: here the stream's does.
#[test]
fn a_panic_within_a_finalizer_leaves_the_machine_usable() {
    struct Panics;
    impl Write for Panics {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            panic!("by the stream")
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut machine = knowing(machine(NONE, None));
    let source = "
fun says() { print 1; }
{ var a = C(); var b = C(); var c = C(); onFinalize(a, says); onFinalize(b, says); onFinalize(c, says); }
nothing();";
    let ran = catch_unwind(AssertUnwindSafe(|| machine.interpret(source, &mut Panics, &mut io::sink()).is_ok()));
    assert!(ran.is_err());
    // The first has had its turn; no other one is lost.
    let ran = interpret(&mut machine, "nothing(); nothing(); print 2;");
    check(&ran, true, "1\n1\n2\n", "");
    end(machine);
}

/// When they are called is a matter of the pacing, and otherwise the same in every run.
#[test]
fn the_moment_is_the_same_in_every_run() {
    let source = "
var seen = List(); var now = 0;
fun note() { seen.add(now); }
class Node { init(next) { this.next = next; } }
for (now = 0; now < 3000; now = now + 1) {
  // Rings, and trees that die in steps.
  var a = Node(nil); a.next = Node(a);
  onFinalize(a, note);
  a = Node(Node(Node(nil)));
  onFinalize(a.next.next, note);
}
print seen;
";
    let mut outputs = Vec::new();
    for pacing in PACINGS {
        let run = || {
            let mut machine = machine_with(pacing(), Limits { fuel: Some(10_000_000), ..NONE }, None);
            let ran = interpret(&mut machine, source);
            let fuel = machine.mutator().fuel();
            end(machine);
            assert!(ran.succeeded && ran.err.is_empty());
            (ran.out, fuel)
        };
        let first = run();
        assert_eq!(run(), first);
        assert!(first.0.len() > 5_000, "{}", first.0.len());
        outputs.push(first.0);
    }
    assert!(outputs[0] != outputs[1] || outputs[1] != outputs[2], "it does not show the moment");
}
