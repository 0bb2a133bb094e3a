//! The machine from within: scripts whose output, errors and memory are looked at, under every pacing.

use std::io::{self, BufWriter, Cursor, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use lox_vm::error::InterpretError;
use lox_vm::machine::{Config, Limits, Machine};
use mimalloc_runtime::{Budget, Metrics, Pacing, When};

fn pacings() -> [Pacing; 3] {
    [Pacing::default(), Pacing::stress(), Pacing::eager()]
}

fn machine(pacing: Pacing) -> Machine {
    limited(pacing, Limits::default())
}

fn limited(pacing: Pacing, limits: Limits) -> Machine {
    let stdin = Box::new(Cursor::new("first line\nsecond line"));
    let script_args = vec!["one".into(), "two".into()];
    Machine::new(Config { stress: None, pacing, beat_bytes: 64 << 10, limits, heap_limit: None, script_args, stdin })
        .unwrap()
}

/// What a script did.
struct Run {
    result: Result<(), InterpretError>,
    out: String,
    err: String,
    metrics: Metrics,
}

fn interpret(machine: &mut Machine, source: &str) -> (Result<(), InterpretError>, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let result = machine.interpret(source, &mut out, &mut err);
    (result, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn run_paced(source: &str, pacing: Pacing) -> Run {
    let mut machine = machine(pacing);
    let (result, out, err) = interpret(&mut machine, source);
    // No count is more or less than there are references, of which the machine knows all.
    let found = machine.verify().unwrap();
    assert_eq!((&found.problems[..], found.busy, found.closed), (&[][..], 0, 0));
    Run { result, out, err, metrics: machine.shutdown() }
}

/// Runs a script under every pacing, which must make no difference to what can be seen of it.
#[track_caller]
fn run(source: &str) -> Run {
    let mut runs = pacings().map(|pacing| run_paced(source, pacing)).into_iter();
    let first = runs.next().unwrap();
    for other in runs {
        assert_eq!((&other.out, &other.err), (&first.out, &first.err));
        assert_eq!(other.metrics.allocated.objects, first.metrics.allocated.objects);
        assert_eq!(other.metrics.live.now, first.metrics.live.now);
        assert_eq!(other.metrics.beats, first.metrics.beats);
    }
    first
}

/// The script prints this and leaves nothing behind.
#[track_caller]
fn prints(source: &str, out: &str) {
    let run = run(source);
    assert_eq!((run.out.as_str(), run.err.as_str()), (out, ""));
    assert!(run.result.is_ok());
    assert_clean(&run.metrics);
}

/// The script ends with this on standard error, and leaves nothing behind.
#[track_caller]
fn fails(source: &str, err: &str) {
    let run = run(source);
    assert_eq!(run.err, err);
    assert!(matches!(run.result, Err(InterpretError::Runtime)));
    assert_clean(&run.metrics);
}

#[track_caller]
fn assert_clean(metrics: &Metrics) {
    assert_eq!((metrics.live.now.objects, metrics.live.now.bytes), (0, 0), "leaked");
    assert_eq!(metrics.pending.now.objects, 0);
    assert_eq!(metrics.freed, metrics.allocated);
}

#[test]
fn an_empty_script_leaves_nothing_behind() {
    prints("", "");
}

#[test]
fn expressions() {
    prints("print 1 + 2 * 3 - 4 / 8; print \"a\" + \"b\"; print !nil == true;", "6.5\nab\ntrue\n");
    prints("print 1 < 2; print 2 <= 2; print 3 > 3; print 3 >= 4; print -(-1);", "true\ntrue\nfalse\nfalse\n1\n");
    prints("print 0/0 == 0/0; print 0 == -0; print nil == false; print \"1\" == 1;", "false\ntrue\nfalse\nfalse\n");
    prints("print nil or \"or\"; print false and 1; print 0 and 2;", "or\nfalse\n2\n");
}

#[test]
fn variables_and_control() {
    prints("var a = 1; { var a = 2; print a; a = 3; print a; } print a; a = a + 1; print a;", "2\n3\n1\n2\n");
    prints("var s = 0; for (var i = 0; i < 10; i = i + 1) if (i != 5) s = s + i; print s;", "40\n");
    prints("var n = 3; while (n > 0) { write(n); n = n - 1; } print \"!\";", "321!\n");
}

#[test]
fn closures_share_variables_open_and_closed() {
    let source = "
        fun make() {
            var a = \"a\"; var b = \"b\"; var c = \"c\";
            fun set(x) { b = x; }
            fun get() { return c + b + a; }
            set(\"open\"); print get();
            var both = List(); both.add(set); both.add(get);
            return both;
        }
        var both = make();
        both.get(0)(\"closed\");
        print both.get(1)();
    ";
    prints(source, "copena\ncclosed\u{61}\n");
}

#[test]
fn each_round_of_a_loop_body_has_variables_of_its_own() {
    let source = "
        var fs = List();
        for (var i = 0; i < 3; i = i + 1) { var j = i; fun f() { j = j + 10; return j; } fs.add(f); }
        print fs.get(0)(); print fs.get(0)(); print fs.get(2)();
    ";
    prints(source, "10\n20\n12\n");
}

#[test]
fn classes_methods_and_inheritance() {
    let source = "
        class A { init(x) { this.x = x; } get() { return this.x; } name() { return \"A\"; } }
        class B < A { name() { return super.name() + \"B\"; } above() { return super.get; } }
        var b = B(1);
        print b.get(); print b.name(); print b.above()();
        b.get = clock; print b.get() >= 0;
        var m = B(2).name; print m(); print m; print b; print B;
    ";
    prints(source, "1\nAB\n1\ntrue\nAB\n<fn name>\nB instance\nB\n");
}

#[test]
fn sites_that_see_many_shapes_find_the_right_property() {
    // What an instruction remembers of one object must not mislead it on the next.
    let source = "
        class P { init(k) { if (k) { this.a = 1; this.b = 2; } else { this.b = 20; this.a = 10; } } f() { return \"m\"; } }
        fun show(p) { p.b = p.b + 1; print p.a + p.b; print p.f(); }
        var f = P(true); fun g() { return \"field\"; } f.f = g;
        show(P(true)); show(P(false)); show(f); show(P(true)); show(P(false));
    ";
    prints(source, "4\nm\n31\nm\n4\nfield\n4\nm\n31\nm\n");
}

#[test]
fn natives_check_their_arguments() {
    fails("floor();", "Expected 1 arguments but got 0.\n[line 1] in script\n");
    fails("mod(1, nil);", "mod(): argument 2 must be a number.\n[line 1] in script\n");
    fails("List().get(0);", "get(): index out of range.\n[line 1] in script\n");
    fails("List().get(\"0\");", "get(): argument 1 must be a number.\n[line 1] in script\n");
    fails("List().pop();", "pop(): index out of range.\n[line 1] in script\n");
    fails(
        "var l = List(); l.add(1); l.insert(0.5, 1);",
        "insert(): argument 1 must be an integer.\n[line 1] in script\n",
    );
    fails("Map().set(0/0, 1);", "set(): key must not be NaN.\n[line 1] in script\n");
    fails("error(\"mine\");", "mine\n[line 1] in script\n");
}

#[test]
fn errors_name_each_frame() {
    let source = "fun f(x) {\n  return x.y;\n}\nclass C {\n  init() {\n    f(\n      1\n    );\n  }\n}\nC();";
    let trace = "[line 2] in f()\n[line 8] in init()\n[line 11] in script\n";
    fails(source, &format!("Only instances have properties.\n{trace}"));
}

#[test]
fn the_stack_is_bounded_both_ways() {
    let frames = run("fun f() { f(); } f();");
    assert!(frames.err.starts_with("Stack overflow.\n[line 1] in f()\n"));
    assert_eq!(frames.err.lines().count(), 1 + 64);
    assert_clean(&frames.metrics);
    let locals: String = (0..250).map(|n| format!("var v{n};")).collect();
    let slots = run(&format!(
        "fun g(n) {{ {locals} return {}n{}; }} fun f(n) {{ {locals} g({}f(n){}); }} f(1);",
        "n+(".repeat(90),
        ")".repeat(90),
        "n+(".repeat(90),
        ")".repeat(90)
    ));
    assert!(slots.err.starts_with("Stack overflow.\n"));
    assert_clean(&slots.metrics);
}

#[test]
fn globals_outlive_scripts_and_errors() {
    for pacing in pacings() {
        let mut machine = machine(pacing);
        let (result, _, _) = interpret(
            &mut machine,
            "var a = \"kept\"; var get; { var x = \"captured\"; fun g() { return x; } get = g; nil.x; }",
        );
        assert!(matches!(result, Err(InterpretError::Runtime)));
        let (result, _, err) = interpret(&mut machine, "print ;");
        assert!(matches!(result, Err(InterpretError::Compile)));
        assert_eq!(err, "[line 1] Error at ';': Expect expression.\n");
        let (result, out, _) = interpret(&mut machine, "print a; print get();");
        assert!(result.is_ok());
        assert_eq!(out, "kept\ncaptured\n");
        assert_clean(&machine.shutdown());
    }
}

#[test]
fn a_machine_may_be_dropped_without_ceremony() {
    let mut machine = machine(Pacing::default());
    interpret(&mut machine, "class A {} var a = A(); a.list = List(); a.list.add(a);").0.unwrap();
    drop(machine);
}

#[test]
fn machines_do_not_know_of_each_other() {
    let mut first = machine(Pacing::default());
    let mut second = machine(Pacing::eager());
    interpret(&mut first, "var a = \"of the \" + \"first\"; class A {}").0.unwrap();
    assert_eq!(interpret(&mut second, "print a;").2, "Undefined variable 'a'.\n[line 1] in script\n");
    interpret(&mut second, "var a = \"of the \" + \"second\"; var l = List(); l.add(l);").0.unwrap();
    assert_eq!(interpret(&mut first, "print a + str(A());").1, "of the firstA instance\n");
    assert_eq!(interpret(&mut second, "print a;").1, "of the second\n");
    assert_clean(&first.shutdown());
    assert_clean(&second.shutdown());
}

#[test]
fn cycles_are_freed() {
    for source in [
        "fun f() { class Knot {} var knot = Knot(); knot.self = knot; } f();",
        "{ var a = List(); var b = List(); a.add(b); b.add(a); a.add(\"x\" + \"y\"); }",
        "{ var m = Map(); m.set(m, m); }",
        "{ fun again(n) { if (n > 0) return again(n - 1); } again(3); }",
        "{ class A { m() {} } var a = A(); a.m = a.m; }",
        "class A { m() { return A; } } { var c; fun get() { return c; } c = List(); c.add(get); A().get = get; }",
    ] {
        assert_clean(&run(source).metrics);
    }
}

/// Long before the end: the loops of scripts are safepoints.
#[test]
fn cycles_are_freed_while_a_script_runs() {
    let source = "fun f() { var l = List(); fun g() { return g; } l.add(l); l.add(g); }
        for (var i = 0; i < 100000; i = i + 1) f();";
    let metrics = run(source).metrics;
    assert!(metrics.live.peak_bytes < 2 << 20, "{metrics:?}");
    assert_clean(&metrics);
}

#[test]
fn what_dies_at_once_is_freed_over_time() {
    let source =
        "var head; for (var i = 0; i < 20000; i = i + 1) { var l = List(); l.add(head); head = l; } head = nil;";
    let mut machine = machine(Pacing::default());
    interpret(&mut machine, source).0.unwrap();
    let metrics = machine.mutator().metrics();
    // Of each list and its storage the drain knows only the one that it has come to.
    assert!(metrics.live.now.objects > 30_000, "{metrics:?}");
    while !machine.mutator().collect(Budget::Units(100)).is_done() {}
    assert!(machine.mutator().metrics().steps.max_units <= 10_000 + mimalloc_runtime::SLACK_UNITS);
    assert!(machine.mutator().metrics().live.now.objects < 300);
    assert_clean(&machine.shutdown());
}

#[test]
fn strings_built_over_and_over_are_one() {
    let source = "
        var seen = Map();
        for (var i = 0; i < 2000; i = i + 1) { var s = \"k\" + str(mod(i, 7)); seen.set(s, i); s = nil; }
        print seen.len(); print seen.get(\"k\" + \"3\");
    ";
    prints(source, "7\n1998\n");
}

#[test]
fn tables_survive_churn() {
    let source = "
        var m = Map();
        for (var i = 0; i < 3000; i = i + 1) {
            m.set(i, str(i)); m.set(str(i), i);
            if (i >= 10) { m.remove(i - 10); m.remove(str(i - 10)); }
        }
        print m.len(); print m.has(2989); print m.get(2990); print m.get(\"2999\"); print m.keys().get(0);
        m.clear(); print m;
    ";
    prints(source, "20\nfalse\n2990\n2999\n2990\n{}\n");
}

#[test]
fn input_and_arguments() {
    prints(
        "print args(); print readLine(); print readLine(); print readLine();",
        "[one, two]\nfirst line\nsecond line\nnil\n",
    );
}

/// Takes so many bytes and then fails.
struct Pipe(usize);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0 {
            0 => Err(io::ErrorKind::BrokenPipe.into()),
            left => {
                let taken = left.min(bytes.len());
                self.0 -= taken;
                Ok(taken)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn output_that_cannot_be_written_ends_the_script() {
    for statement in ["print i;", "write(i);"] {
        let mut machine = machine(Pacing::default());
        let mut err = Vec::new();
        let source = format!("var i = 0; while (true) {{ {statement} i = i + 1; }}");
        match machine.interpret(&source, &mut Pipe(100), &mut err) {
            Err(InterpretError::Output(error)) => assert_eq!(error.kind(), io::ErrorKind::BrokenPipe),
            other => panic!("{other:?}"),
        }
        assert_eq!(err, b"");
        assert_clean(&machine.shutdown());
    }
}

/// Also where the script has failed by itself: nobody knows then what of its output has come.
#[test]
fn output_that_cannot_be_flushed_is_an_error() {
    for (source, said) in
        [("print 1;", ""), ("print 1; nil.x;", "Only instances have properties.\n[line 1] in script\n")]
    {
        let mut machine = machine(Pacing::default());
        let mut err = Vec::new();
        let result = machine.interpret(source, &mut BufWriter::new(Pipe(0)), &mut err);
        assert!(
            matches!(&result, Err(InterpretError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe),
            "{result:?}"
        );
        assert_eq!(String::from_utf8(err).unwrap(), said);
    }
}

#[test]
fn a_panic_of_the_embedders_own_comes_out_and_leaves_the_machine_usable() {
    for pacing in pacings() {
        let mut machine = machine(pacing);
        let mut calm = 3;
        let subscribed = machine.mutator().on_beat(When::Every(1), move |_, _| {
            calm -= 1;
            assert!(calm != 0, "on the third beat");
        });
        subscribed.unwrap();
        let source = "var l = List(); fun f(x) { return List(); } while (true) l.add(f(\"a\" + \"b\"));";
        let run = catch_unwind(AssertUnwindSafe(|| interpret(&mut machine, source)));
        assert_eq!(run.unwrap_err().downcast_ref::<&str>(), Some(&"on the third beat"));
        assert_eq!(interpret(&mut machine, "print l.len() > 100; l = nil;").1, "true\n");
        assert_clean(&machine.shutdown());
    }
}

#[test]
fn wrong_settings_are_refused() {
    let config = Config {
        stress: None,
        pacing: Pacing::default(),
        beat_bytes: 1,
        limits: Limits::default(),
        heap_limit: None,
        script_args: Vec::new(),
        stdin: Box::new(io::empty()),
    };
    assert!(Machine::new(config).unwrap_err().to_string().contains("beat"));
}
