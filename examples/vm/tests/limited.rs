//! `limited` from outside: what passes through it, and what is restored after it.

use std::io::{self, Write};
use std::time::Duration;

use lox_vm::error::InterpretError;
use lox_vm::machine::{Config, HeapLimit, Limits, Machine};
use mimalloc_runtime::{Budget, Pacing, When};

const NONE: Limits = Limits { fuel: None, beats: None, time: None };

fn config(limits: Limits, bytes: Option<u64>) -> Config {
    Config {
        stress: None,
        pacing: Pacing::default(),
        beat_bytes: 4 << 10,
        limits,
        heap_limit: bytes.map(|bytes| HeapLimit { bytes, walled: false }),
        script_args: Vec::new(),
        stdin: Box::new(io::empty()),
    }
}

fn machine(limits: Limits, bytes: Option<u64>) -> Machine {
    Machine::new(config(limits, bytes)).unwrap()
}

/// What a script writes to its two streams.
fn interpret(machine: &mut Machine, source: &str) -> (String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let result = machine.interpret(source, &mut out, &mut err);
    assert_eq!(matches!(result, Err(InterpretError::Runtime)), !err.is_empty());
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn rest(machine: &Machine) -> u64 {
    machine.mutator().collect(Budget::Unbounded);
    machine.mutator().in_use()
}

/// The script does not go on after the call, and the machine is as it was.
#[track_caller]
fn passes(mut machine: Machine, source: &str, err: &str) {
    let limit = machine.mutator().limit();
    let first = interpret(&mut machine, source);
    assert_eq!((first.0.as_str(), first.1.as_str()), ("", err));
    assert_eq!(machine.mutator().limit(), limit);
    let before = rest(&machine);
    assert_eq!(interpret(&mut machine, source), first, "the second time");
    assert_eq!(rest(&machine), before);
    assert_eq!(interpret(&mut machine, "print 1;").0, "1\n");
}

const ENDLESS: &str = "fun f() {\n  while (true) List();\n}\n";

#[test]
fn what_belongs_to_the_outside_passes() {
    let call = |source: &str| format!("{ENDLESS}{source}");
    let trace = |line| format!("[line 2] in f()\n[line {line}] in script\n");
    for arguments in ["nil, nil", "100000, nil", "nil, 1000000", "100000, 1000000"] {
        let source = call(&format!("limited(f, {arguments});\nprint 0;"));
        passes(machine(Limits { fuel: Some(1000), ..NONE }, None), &source, &format!("Out of fuel.\n{}", trace(4)));
        let deadline = Limits { beats: Some(3), ..NONE };
        passes(machine(deadline, None), &source, &format!("Deadline of 3 beats passed.\n{}", trace(4)));
        // When it comes is up to the clock, and so whether the call has been made; that it comes is not.
        let mut timed = machine(Limits { time: Some(Duration::from_millis(5)), ..NONE }, None);
        let source = source.replace(", 1000000)", ", 1000000000000)");
        let (out, err) = interpret(&mut timed, &source);
        assert!(
            out.is_empty() && err.starts_with("Timed out.\n[line ") && err.ends_with("[line 4] in script\n"),
            "{err}"
        );
        assert_eq!((timed.mutator().limit(), timed.mutator().fuel()), (None, None));
    }
    let hoard = "fun f() {\n  var l = List(); while (true) l.add(List());\n}\n";
    for arguments in ["nil, nil", "100000, nil", "nil, 1000000", "1000000000, 1000000"] {
        let source = format!("{hoard}limited(f, {arguments});\nprint 0;");
        passes(machine(NONE, Some(50_000)), &source, &format!("Out of memory.\n{}", trace(4)));
    }
}

#[test]
fn a_stop_passes() {
    let mut machine = machine(NONE, None);
    let interrupter = machine.mutator().interrupter();
    machine.mutator().on_beat(When::Every(2), move |_, _| interrupter.stop()).unwrap();
    let source = format!("{ENDLESS}limited(f, 100000, 1000000000);\nprint 0;");
    let expected = (String::new(), "Interrupted.\n[line 2] in f()\n[line 4] in script\n".to_owned());
    assert_eq!(interpret(&mut machine, &source), expected);
    assert_eq!((machine.mutator().limit(), machine.mutator().fuel()), (None, None));
}

/// A stream that takes nothing.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_output_error_passes() {
    let mut machine = machine(NONE, None);
    let result = machine.interpret("fun f() { print 1; } limited(f, nil, nil);", &mut Closed, &mut io::sink());
    assert!(matches!(result, Err(InterpretError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe));
}

#[test]
fn fuel_is_taken_off_the_outer_fuel_to_the_unit() {
    // A call, and as many jumps back as there is fuel for; or as are made.
    let failing = "fun f() { while (true) {} } limited(f, nil, 100);";
    let ending = "fun f() { var i = 0; while (i < 70) i = i + 1; } limited(f, nil, 100);";
    let nested =
        "fun f() { while (true) {} } fun g() { limited(f, nil, 30); limited(f, nil, 1000); } limited(g, nil, 50);";
    // What errors are written of is paid for outside: that of the last two comes to 70 bytes.
    for (source, used) in [(failing, 1 + 100), (ending, 1 + 70), (nested, 1 + 50 + 1)] {
        let mut machine = machine(Limits { fuel: Some(10_000), ..NONE }, None);
        interpret(&mut machine, source);
        assert_eq!(machine.mutator().fuel(), Some(10_000 - used), "{source}");
    }
}

#[test]
fn bytes_are_counted_from_what_is_in_use() {
    let mut machine = machine(NONE, Some(10 << 20));
    let grow = "fun grow() { var l = List(); while (true) { l.add(List()); reached = l.len(); } }";
    interpret(&mut machine, &format!("var held = List(); var reached; {grow}"));
    let reached = |machine: &mut Machine, bytes: u64| -> u64 {
        let (out, err) = interpret(machine, &format!("print limited(grow, {bytes}, nil); print reached;"));
        assert!(err.is_empty() && out.starts_with("Out of memory.\n"), "{out}{err}");
        out.lines().last().unwrap().parse().unwrap()
    };
    let few = reached(&mut machine, 100_000);
    let many = reached(&mut machine, 1_000_000);
    assert!(few > 1000 && many >= 8 * few, "{few} {many}");
    // Much in use beforehand is not counted.
    interpret(&mut machine, "for (var i = 0; i < 100000; i = i + 1) held.add(i);");
    let again = reached(&mut machine, 100_000);
    assert!(again >= few, "{again} {few}");
    // Nor is what has died, and not been freed, room for more.
    interpret(&mut machine, "for (var i = 0; i < 100000; i = i + 1) held.add(List());");
    let (out, _) = interpret(&mut machine, "held = nil; limited(grow, 100000, nil); print reached;");
    assert_eq!(out, format!("{few}\n"));
    assert_eq!(machine.mutator().limit(), Some(10 << 20));
    assert!(machine.mutator().metrics().peak_in_use_bytes <= 10 << 20);
}

/// The next one that is read is the one after it, paid for by whoever reads that.
#[test]
fn a_line_that_could_not_be_read_is_passed_over() {
    for (bytes, fuel, why) in [("nil", "10", "Out of fuel."), ("20000", "nil", "Out of memory.")] {
        let stdin = Box::new(io::Cursor::new("x".repeat(64_000) + "\nnext\n"));
        let limits = Limits { fuel: Some(10_000), ..NONE };
        let mut machine = Machine::new(Config { stdin, ..config(limits, None) }).unwrap();
        let source = format!("fun f() {{ return readLine(); }} print limited(f, {bytes}, {fuel}); print readLine();");
        assert_eq!(interpret(&mut machine, &source), (format!("{why}\nnext\n"), String::new()));
        assert!(machine.mutator().fuel().unwrap() < 10_000 - 64_000 / 64);
        assert_eq!(interpret(&mut machine, "print readLine();").0, "nil\n");
    }
}

/// The trace is written under the limits outside, as all that natives write; one for which these leave nothing is their error.
#[test]
fn the_trace_of_an_error_is_paid_for() {
    let name = "n".repeat(2_000);
    let source = format!(
        "fun {name}(n) {{ if (n == 0) nil.x; {name}(n - 1); }} fun f() {{ {name}(50); }}
         var e = limited(f, nil, nil); print len(e.trace());"
    );
    let trace = 51 * ("[line 1] in ()\n".len() + 2_000) + "[line 1] in f()".len();
    let mut machine = machine(Limits { fuel: Some(1 << 40), ..NONE }, None);
    assert_eq!(interpret(&mut machine, &source).0, format!("{trace}\n"));
    let used = (1 << 40) - machine.mutator().fuel().unwrap();
    assert!(used > 52 + trace as u64 / 64 && used < 60 + trace as u64 / 64, "{used}");

    let mut machine = self::machine(Limits { fuel: Some(used / 2), ..NONE }, None);
    assert_eq!(interpret(&mut machine, &source).1, "Out of fuel.\n[line 2] in script\n");
    let mut machine = self::machine(NONE, Some(100_000));
    assert_eq!(interpret(&mut machine, &source).1, "Out of memory.\n[line 2] in script\n");
}

#[test]
fn a_function_that_fails_over_and_over_leaves_nothing() {
    let mut machine = machine(NONE, Some(200_000));
    let source = "
        fun fails() { var l = List(); fun g() { return l; } while (true) l.add(g); }
        fun other() { var l = List(); l.add(str(l)); return l - l; }
        fun repeat(n) {
            for (var i = 0; i < n; i = i + 1) { limited(fails, 5000, 100); limited(other, 5000, 100); }
        }
    ";
    interpret(&mut machine, &source.replace("l.add(g)", "l.add(1)"));
    interpret(&mut machine, "repeat(1);");
    let before = rest(&machine);
    let peak = machine.mutator().metrics().peak_in_use_bytes;
    assert_eq!(interpret(&mut machine, "repeat(20000);").1, "");
    assert_eq!(rest(&machine), before);
    assert!(machine.mutator().metrics().peak_in_use_bytes < peak + 50_000);
}

/// Of the three objects that an error is made of (its message, its trace, itself) each may find no memory. That is an error for
/// the barrier around.
#[test]
fn an_error_for_which_there_is_no_memory_is_out_of_memory_outside() {
    let source = "fun f() { return nil.a; } fun g() { return limited(f, nil, nil); } print limited(g, 100000, nil);";
    let mut seen = Vec::new();
    for nth in 1.. {
        let mut machine = machine(NONE, None);
        machine.mutator().fail_allocation(nth);
        let (out, err) = interpret(&mut machine, source);
        if machine.mutator().fail_allocation(0) > 0 {
            assert_eq!((out.as_str(), err.as_str()), ("Only instances have properties.\n", ""));
            break;
        }
        let known = ["", "Out of memory.\n", "Only instances have properties.\n"];
        assert!(known.contains(&out.as_str()) && (out.is_empty() || err.is_empty()), "{nth}: {out}{err}");
        assert!(err.is_empty() || err.starts_with("Out of memory.\n[line 1] in "), "{nth}: {err}");
        seen.push(out);
        assert_eq!(interpret(&mut machine, source).0, "Only instances have properties.\n");
    }
    assert_eq!(seen.iter().filter(|out| out.starts_with("Out")).count(), 3, "{seen:?}");
}

#[test]
fn a_panic_of_the_embedders_own_leaves_no_limit_behind() {
    let mut machine = machine(NONE, Some(1 << 20));
    let mut beats = 0;
    let handler = move |_: &_, _| {
        beats += 1;
        assert!(beats != 3, "on the third beat");
    };
    machine.mutator().on_beat(When::Every(1), handler).unwrap();
    let source = format!("{ENDLESS}limited(f, 10000, 1000000000);");
    let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| interpret(&mut machine, &source)));
    assert!(run.is_err());
    let source = "var l = List(); for (var i = 0; i < 10000; i = i + 1) l.add(i); print l.len();";
    assert_eq!(interpret(&mut machine, source).0, "10000\n");
    assert_eq!(machine.mutator().limit(), Some(1 << 20));
}
