//! Limits: where scripts end that run out of fuel, beats or time, or are stopped.

use std::fs;
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::path::Path;
use std::time::Duration;

use lox_vm::error::InterpretError;
use lox_vm::machine::{Config, HeapLimit, Limits, Machine};
use mimalloc_runtime::{Interrupter, Pacing, Tally};

const NONE: Limits = Limits { fuel: None, beats: None, time: None };

fn config(pacing: Pacing, limits: Limits) -> Config {
    Config {
        stress: None,
        pacing,
        beat_bytes: 4 << 10,
        limits,
        heap_limit: None,
        script_args: Vec::new(),
        stdin: Box::new(io::empty()),
    }
}

fn machine(pacing: Pacing, limits: Limits) -> Machine {
    Machine::new(config(pacing, limits)).unwrap()
}

fn limited(limits: Limits) -> Machine {
    machine(Pacing::default(), limits)
}

/// What a script writes to its two streams.
fn interpret(machine: &mut Machine, source: &str) -> (String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let result = machine.interpret(source, &mut out, &mut err);
    assert_eq!(matches!(result, Err(InterpretError::Runtime)), !err.is_empty());
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[track_caller]
fn ends(limits: Limits, source: &str, err: &str) {
    let mut machine = limited(limits);
    // Each script has all of the limit.
    for _ in 0..2 {
        assert_eq!(interpret(&mut machine, source).1, err, "{source}");
    }
}

#[test]
fn a_script_ends_where_its_fuel_does() {
    let fuel = |fuel| Limits { fuel: Some(fuel), ..NONE };
    ends(fuel(0), "while (true)\n  {\n  }", "Out of fuel.\n[line 3] in script\n");
    for rounds in [0, 1, 1_000] {
        let mut machine = limited(fuel(rounds));
        interpret(&mut machine, "var n = 0; while (true) n = n + 1;");
        // The round that jumps back in vain has been made.
        assert_eq!(interpret(&mut machine, "print n;").0, format!("{}\n", rounds + 1));
    }
    // A call is paid for by the caller, before it is made.
    let trace = "[line 2] in f()\n".repeat(5);
    ends(fuel(5), "fun f() {\n  f();\n}\nf();", &format!("Out of fuel.\n{trace}[line 4] in script\n"));
    ends(fuel(5), "fun f() { return 1; }\nclass C { init() {} m() {} }\nvar c = C(); c.m(); f(); C().m();", "");
    ends(
        fuel(4),
        "class C {\n  init() {}\n  m() {}\n}\nvar c = C(); c.m(); c.m();\nC().m();",
        "Out of fuel.\n[line 6] in script\n",
    );
}

#[test]
fn a_script_ends_at_its_other_limits_too() {
    let beats = Limits { beats: Some(3), ..NONE };
    ends(beats, "var l = List();\nwhile (true)\n  l.add(List());", "Deadline of 3 beats passed.\n[line 3] in script\n");
    ends(Limits { beats: Some(0), ..NONE }, "while (true) {}", "Deadline of 0 beats passed.\n[line 1] in script\n");
    let time = Limits { time: Some(Duration::ZERO), ..NONE };
    ends(time, "print 1;\nwhile (true) {}", "Timed out.\n[line 2] in script\n");
    // Without limits, or below them.
    let high = Limits { fuel: Some(1_000_000), beats: Some(1_000_000), time: Some(Duration::from_secs(3600)) };
    for limits in [NONE, high] {
        ends(limits, "for (var i = 0; i < 1000; i = i + 1) List();", "");
    }
}

/// Calls, loops, natives and objects of several sizes.
const PROGRAM: &str = "
var n = 0;
fun grow(list, i) {
  list.add(\"item \" + str(i + n));
  n = n + 1;
}
fun work(count) {
  var list = List();
  for (var i = 0; i < count; i = i + 1)
    grow(list, i);
  list.sort();
  var text = list.join(\", \");
  return split(text, \"9\").concat(list);
}
while (true) {
  work(10);
  work(100);
}
";

/// Where a run was when it ended: its trace, its own counter and those of the machine.
#[derive(Clone, PartialEq, Debug)]
struct End {
    trace: String,
    n: String,
    charged: u64,
    allocated: Tally,
    beats: u64,
    fuel: Option<u64>,
}

fn run(pacing: Pacing, limits: Limits) -> (String, End) {
    let mut machine = machine(pacing, limits);
    let (_, err) = interpret(&mut machine, PROGRAM);
    let mutator = machine.mutator();
    let (charged, beats, fuel) = (mutator.charged(), mutator.beats(), mutator.fuel());
    let allocated = mutator.metrics().allocated;
    let (n, _) = interpret(&mut machine, "print n;");
    let (message, trace) = err.split_once('\n').expect("a message and a trace");
    (message.to_owned(), End { trace: trace.to_owned(), n, charged, allocated, beats, fuel })
}

/// Ten runs under each of the two; and where the one limit ends it, the other can, at the same instruction. Not so under another
/// pacing: a string that only the dead refer to is found again until they are freed, and need not be made anew.
#[test]
fn the_same_script_ends_at_the_same_instruction_in_every_run() {
    for (pacing, beats) in
        [(Pacing::default(), 1), (Pacing::default(), 100), (Pacing::stress(), 7), (Pacing::eager(), 7)]
    {
        let fuel = 1 << 40;
        let by_beats = Limits { beats: Some(beats), fuel: Some(fuel), ..NONE };
        let (message, first) = run(pacing, by_beats);
        assert_eq!(message, format!("Deadline of {beats} beats passed."));
        let used = fuel - first.fuel.unwrap();
        // One less than it took.
        let by_fuel = Limits { fuel: Some(used - 1), ..NONE };
        for round in 0..10 {
            // A time limit reads the clock as it comes, and must not matter.
            let time = (round % 2 == 1).then_some(Duration::from_secs(3600));
            assert_eq!(run(pacing, Limits { time, ..by_beats }), (message.clone(), first.clone()));
            let expected = End { fuel: Some(0), ..first.clone() };
            assert_eq!(run(pacing, Limits { time, ..by_fuel }), ("Out of fuel.".to_owned(), expected));
        }
    }
}

/// The fuel that a line takes when `l` is a list of so many strings, `m` a map, `s` a string and `t` one of blanks, and a file and the line
/// to be read have as many bytes. The path of the file stands for `FILE` in the line.
fn fuel_of(line: &str, size: usize) -> u64 {
    let text = "x".repeat(size) + "\n";
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bytes-{size}"));
    fs::write(&file, &text).unwrap();
    let line = line.replace("FILE", file.to_str().unwrap());
    let limits = Limits { fuel: Some(1 << 40), ..NONE };
    let config = Config { stdin: Box::new(Cursor::new(text)), ..config(Pacing::default(), limits) };
    let mut machine = Machine::new(config).unwrap();
    let setup = format!(
        "var l = List(); var m = Map(); var s = \"\"; var t = \"\";
         for (var i = 0; i < {size}; i = i + 1) {{ l.add(str(i)); m.set(i, i); s = s + \"x\"; t = t + \" \"; }}"
    );
    assert_eq!(interpret(&mut machine, &setup).1, "");
    assert_eq!(interpret(&mut machine, &line).1, "", "{line}");
    (1 << 40) - machine.mutator().fuel().unwrap()
}

#[test]
fn natives_use_fuel_for_what_they_work_through() {
    const SIZE: usize = 640;
    for line in [
        "print l;",
        "print m;",
        "print s;",
        "write(l);",
        "str(l);",
        "str(m);",
        "s + \"y\";",
        "number(t);",
        "l.contains(nil);",
        "l.indexOf(nil);",
        "l.insert(0, 1);",
        "l.removeAt(0);",
        "l.slice(0, len(l));",
        "l.concat(List());",
        "List().concat(l);",
        "l.reverse();",
        "l.sort();",
        "l.join(\"\");",
        "m.keys();",
        "m.values();",
        "substr(s, 0, len(s));",
        "find(s, \"y\", 0);",
        "split(s, \"y\");",
        "split(s, \"x\");",
        "words(t);",
        "trim(t);",
        "upper(s);",
        "lower(s);",
        "split(\"\", s);",
        "replace(s, \"x\", \"\");",
        "replace(\"\", s, \"\");",
        "startsWith(s, s);",
        "endsWith(s, s);",
        "chars(s);",
        "readFile(\"FILE\");",
        "readLine();",
    ] {
        let (fuel, more) = (fuel_of(line, SIZE), fuel_of(line, 4 * SIZE));
        assert!(fuel >= SIZE as u64 / 64, "{line} {fuel}");
        assert!(more >= 3 * fuel && more <= 8 * fuel, "{line} {fuel} and {more}");
    }
    // In constant time, but for a last piece of text below 64 bytes.
    for line in [
        "l.get(1);",
        "l.set(1, 2);",
        "l.add(1);",
        "l.pop();",
        "len(l);",
        "len(s);",
        "len(m);",
        "m.get(1);",
        "m.has(-1);",
        "m.set(1, 1);",
        "m.remove(1);",
        "charAt(s, 1);",
        "ord(s);",
        "type(l);",
        "l.clear();",
        "m.clear();",
    ] {
        assert_eq!(fuel_of(line, 4 * SIZE), 0, "{line}");
    }
}

/// A class is made with copies of all methods that it inherits.
#[test]
fn inheriting_is_paid_for() {
    let fuel_with = |methods: usize| {
        let methods: String = (0..methods).map(|number| format!("m{number}() {{}} ")).collect();
        let mut machine = limited(Limits { fuel: Some(1 << 40), ..NONE });
        assert_eq!(interpret(&mut machine, &format!("class A {{ {methods} }}")).1, "");
        assert_eq!(interpret(&mut machine, "class B < A {}").1, "");
        (1 << 40) - machine.mutator().fuel().unwrap()
    };
    assert_eq!((fuel_with(0), fuel_with(1)), (0, 0));
    assert_eq!(fuel_with(120), 120 * 16 / 64);
}

/// Gaps that a map has are as long to walk as its entries. One from which almost everything was removed has none.
#[test]
fn gaps_in_a_map_are_paid_for() {
    let fuel_after = |removed: u32, line: &str| {
        let mut machine = limited(Limits { fuel: Some(1 << 40), ..NONE });
        interpret(&mut machine, "var m = Map(); for (var i = 0; i < 1000; i = i + 1) { m.set(i, i); }");
        interpret(&mut machine, &format!("for (var i = 0; i < {removed}; i = i + 1) m.remove(i);"));
        interpret(&mut machine, line);
        (1 << 40) - machine.mutator().fuel().unwrap()
    };
    assert!(fuel_after(700, "m.keys();") >= 1000 * 16 / 64);
    for line in ["m.keys();", "m.values();", "print m;"] {
        assert!(fuel_after(0, line) >= 100, "{line}");
        assert!(fuel_after(999, line) <= 2, "{line}");
    }
}

/// Little memory, and more text than could ever be written.
#[test]
fn text_without_end_is_interrupted_while_it_is_written() {
    let mut machine = limited(Limits { fuel: Some(1_000), ..NONE });
    let nested = "var l = List(); l.add(\"text\");
        for (var i = 0; i < 15; i = i + 1) { var k = List(); for (var j = 0; j < 10; j = j + 1) k.add(l); l = k; }";
    assert_eq!(interpret(&mut machine, nested).1, "");
    for line in ["print l;", "write(l);", "str(l);", "List().concat(l).join(str(1));"] {
        let (out, err) = interpret(&mut machine, line);
        assert_eq!(err, "Out of fuel.\n[line 1] in script\n");
        assert!(out.len() <= 64 * 1_002, "{}", out.len());
    }
    // A short line is written whole.
    let (out, err) = interpret(&mut machine, "while (true) print \"short\";");
    assert_eq!((out.replace("short\n", ""), err), (String::new(), "Out of fuel.\n[line 1] in script\n".to_owned()));
    assert_eq!(interpret(&mut machine, "print str(1) + \"!\";"), ("1!\n".to_owned(), String::new()));
}

/// Also where there would be no fuel for what was to be written.
#[test]
fn an_output_error_is_not_taken_for_the_end_of_fuel() {
    let mut machine = limited(Limits { fuel: Some(0), ..NONE });
    let half = "x".repeat(30);
    let source = format!("print \"{half}\" + \"{half}\";");
    let mut nowhere: &mut [u8] = &mut [];
    let result = machine.interpret(&source, &mut nowhere, &mut io::sink());
    assert!(
        matches!(&result, Err(InterpretError::Output(error)) if error.kind() == io::ErrorKind::WriteZero),
        "{result:?}"
    );
    // Where it can be written there is not enough for it.
    assert_eq!(interpret(&mut machine, &source).1, "Out of fuel.\n[line 1] in script\n");
}

/// Gives as much at a time as is said.
struct Trickle {
    text: Cursor<String>,
    piece: usize,
}

impl Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let piece = self.piece.min(buffer.len());
        self.text.read(&mut buffer[..piece])
    }
}

impl BufRead for Trickle {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let all = self.text.fill_buf()?;
        Ok(&all[..self.piece.min(all.len())])
    }

    fn consume(&mut self, amount: usize) {
        self.text.consume(amount);
    }
}

/// Bytes charged, and so beats, fuel, and where a script ends.
#[test]
fn how_input_arrives_makes_no_difference() {
    let source = "
        fun all() { for (var s = readLine(); s != nil; s = readLine()) n = n + len(s); }
        var n = 0; print limited(all, 100000, 600); all(); print n;
    ";
    let lens = [0, 1, 63, 64, 65, 4_095, 4_096, 4_097, 5_000, 8_191, 8_192, 8_193, 12_345, 20_000, 70_000];
    let text: String = lens.iter().map(|len| "x".repeat(*len) + "\n").collect();
    let run = |piece, limits| {
        let stdin = Box::new(Trickle { text: Cursor::new(text.clone()), piece });
        let mut machine = Machine::new(Config { stdin, ..config(Pacing::default(), limits) }).unwrap();
        let told = interpret(&mut machine, source);
        let left = interpret(&mut machine, "print n; print readLine();").0;
        let mutator = machine.mutator();
        (told, left, mutator.charged(), mutator.beats(), mutator.metrics().peak_in_use_bytes)
    };
    let fuel = |fuel| Limits { fuel: Some(fuel), ..NONE };
    let beats = |beats| Limits { beats: Some(beats), ..NONE };
    for limits in [NONE, fuel(500), fuel(1_000), fuel(1_501), beats(3), beats(10), beats(20)] {
        let whole = run(usize::MAX, limits);
        for piece in [1, 2, 100, 4_096, 5_000] {
            assert_eq!(run(piece, limits), whole, "{piece} at a time, {limits:?}");
        }
    }
}

/// A stream and a file that never end. Without fuel they would fill the heap.
#[test]
fn reading_without_end_is_interrupted() {
    let lines = if cfg!(unix) { &["readLine();", "readFile(\"/dev/zero\");"][..] } else { &["readLine();"] };
    for line in lines {
        let mut config = config(Pacing::default(), Limits { fuel: Some(1_000), ..NONE });
        config.heap_limit = Some(HeapLimit { bytes: 1 << 20, walled: false });
        config.stdin = Box::new(BufReader::new(io::repeat(b'x')));
        let mut machine = Machine::new(config).unwrap();
        assert_eq!(interpret(&mut machine, line).1, "Out of fuel.\n[line 1] in script\n");
        let peak = machine.mutator().metrics().peak_in_use_bytes;
        assert!(peak < 200_000, "{peak} bytes for 64,000");
    }
}

/// Asks for a stop when something is written: in the middle of the script.
struct Stops {
    interrupter: Interrupter,
    written: Vec<u8>,
}

impl Write for Stops {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.interrupter.stop();
        self.written.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_stop_ends_the_script_that_runs_and_no_other() {
    let mut machine = limited(NONE);
    let mut out = Stops { interrupter: machine.mutator().interrupter(), written: Vec::new() };
    let mut err = Vec::new();
    let result = machine.interpret("var a = 1;\nprint a;\nwhile (true) a = a + 1;", &mut out, &mut err);
    assert!(matches!(result, Err(InterpretError::Runtime)));
    assert_eq!(String::from_utf8(err).unwrap(), "Interrupted.\n[line 3] in script\n");
    assert_eq!(out.written, b"1\n");
    assert_eq!(interpret(&mut machine, "while (a < 10) a = a + 1; print a;"), ("10\n".to_owned(), String::new()));
    // One that came before it started, unless it is taken back.
    let interrupter = machine.mutator().interrupter();
    interrupter.stop();
    assert_eq!(interpret(&mut machine, "print a; while (true) {}").1, "Interrupted.\n[line 1] in script\n");
    interrupter.stop();
    assert!(machine.mutator().clear_stop());
    assert_eq!(interpret(&mut machine, "while (a < 20) a = a + 1; print a;"), ("20\n".to_owned(), String::new()));
}
