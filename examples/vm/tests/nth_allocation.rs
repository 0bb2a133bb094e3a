//! Scripts of which one allocation fails, each in its turn: the script ends, nothing is lost, and the machine goes on.

use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use lox_vm::error::{InterpretError, StartError};
use lox_vm::machine::{Config, HeapLimit, Limits, Machine};
use mimalloc_runtime::{Budget, Metrics, Pacing, PressureLevel, Runtime};

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A script with what it is given.
struct Script {
    name: String,
    source: String,
    arguments: Vec<String>,
    stdin: String,
}

/// What a run did.
struct Run {
    out: String,
    err: String,
    /// Allocations that were made after the one that failed, or before any did: what was left of the count.
    left: u64,
    machine: Machine,
}

impl Script {
    fn machine(&self, pacing: Pacing) -> Machine {
        let config = Config {
            stress: None,
            pacing,
            beat_bytes: 64 << 10,
            limits: Limits::default(),
            heap_limit: None,
            script_args: self.arguments.clone(),
            stdin: Box::new(Cursor::new(self.stdin.clone())),
        };
        Machine::new(config).unwrap()
    }

    fn run(&self, pacing: Pacing, nth: u64) -> Run {
        let mut machine = self.machine(pacing);
        machine.mutator().fail_allocation(nth);
        let (out, err) = interpret(&mut machine, &self.source);
        let left = machine.mutator().fail_allocation(0);
        Run { out, err, left, machine }
    }

    /// How many allocations it makes. Not the same under every pacing: a string of which only a dead object knows, and that is
    /// not known yet, need not be made anew.
    fn allocations(&self, pacing: Pacing) -> (u64, Machine) {
        const MANY: u64 = 1 << 40;
        let run = self.run(pacing, MANY);
        (MANY - run.left, run.machine)
    }

    /// Lets allocations fail, at most about so many. Returns how many did.
    fn fail(&self, most: u64, pacing: Pacing) -> u64 {
        let (allocations, machine) = self.allocations(pacing);
        assert_eq!(machine.shutdown().live.now.objects, 0);
        // Long ones are run less often.
        let most = most.min(200_000 / allocations).max(4);
        let whole = self.run(pacing, 0).out;
        let mut failed = 0;
        let mut nth = 1;
        while nth <= allocations {
            let Run { out, err, left, mut machine } = self.run(pacing, nth);
            let what = format!("{}, allocation {nth} of {allocations}", self.name);
            assert_eq!(left, 0, "{what} was not made");
            // Where it can be caught, and in a finalizer, the script may go on.
            let finalizes = self.source.contains("onFinalize(");
            if finalizes {
                finish_finalizers(&mut machine);
            } else if !self.source.contains("limited(") {
                assert!(err.starts_with("Out of memory.\n[line ") && !err.contains("[line 0]"), "{what}: {err}");
                assert!(err.lines().last().is_some_and(|line| line.ends_with(" in script")), "{what}: {err}");
                assert!(whole.starts_with(&out) || self.source.contains("clock()"), "{what}: {out}");
            }
            assert_eq!(interpret(&mut machine, PROBE), ("ab12[1]{k: v}C instance\n".into(), "".into()), "{what}");
            let Metrics { live, pending, block_bytes, in_use_bytes, panics, .. } = machine.shutdown();
            assert_eq!((pending.now.objects, panics), (0, 0), "{what}");
            assert_eq!((live.now.objects, block_bytes, in_use_bytes), (0, 0, 0), "{what} leaves something");
            failed += 1;
            // All of the first, and then fewer and fewer.
            nth += 1 + nth.saturating_sub(most / 2) * 2 / most;
        }
        failed
    }
}

/// A bit of everything.
const PROBE: &str = "
    { class C { m() { return \"a\" + \"b\"; } } var l = List(); l.add(1); var m = Map(); m.set(\"k\", \"v\");
      fun f(x) { fun g() { return x; } return g; } write(C().m()); write(f(12)()); write(l); write(m); print C(); }
";

/// Has the finalizers called that are due, and that come to be due of that: they would print within the next script. Those that bring about
/// others for ever print nothing.
fn finish_finalizers(machine: &mut Machine) {
    for _ in 0..20 {
        let before = machine.mutator().metrics().finalizers;
        machine.mutator().collect(Budget::Unbounded);
        interpret(machine, "");
        if machine.mutator().metrics().finalizers == before {
            return;
        }
    }
}

fn interpret(machine: &mut Machine, source: &str) -> (String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    match machine.interpret(source, &mut out, &mut err) {
        Ok(()) | Err(InterpretError::Runtime) => {}
        Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&err)),
    }
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// The scripts of the language's tests that compile.
fn scripts() -> Vec<Script> {
    let mut scripts = Vec::new();
    let mut directories: Vec<PathBuf> =
        fs::read_dir(directory("tests/lox")).unwrap().map(|entry| entry.unwrap().path()).collect();
    directories.sort();
    for directory in directories {
        let mut paths: Vec<PathBuf> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "lox")) {
            let source = fs::read_to_string(path).unwrap();
            let name = path.strip_prefix(self::directory("tests/lox")).unwrap().display().to_string();
            if !source.contains("expect compile error") {
                scripts.push(Script {
                    name,
                    source,
                    arguments: vec!["one".into(), "two".into()],
                    stdin: "a line\n".into(),
                });
            }
        }
    }
    scripts
}

#[test]
fn any_allocation_of_the_languages_tests_may_fail() {
    let most = if cfg!(small_tests) { 8 } else { 100 };
    let failed: u64 = scripts().iter().map(|script| script.fail(most, Pacing::default())).sum();
    assert!(failed > 2_000, "{failed}");
}

/// The example programs, at sizes that take little time.
fn programs() -> Vec<Script> {
    let small: [(&str, &[&str]); 17] = [
        ("brainfuck", &["data/triangle.bf"]),
        ("calc", &[]),
        ("closures", &[]),
        ("cycles", &["3"]),
        ("drop_millions", &["30"]),
        ("json", &["data/orchard.json"]),
        ("life", &["2", "data/glider_gun.txt"]),
        ("lru_cache", &["5", "50"]),
        ("mandelbrot", &["6"]),
        ("nbody", &["5"]),
        ("plugins", &[]),
        ("queue_churn", &["5", "50"]),
        ("sieve", &["200"]),
        ("sort", &["30"]),
        ("string_builder", &["5"]),
        ("weak_cache", &["2", "5", "20"]),
        ("word_count", &["data/tale.txt", "3"]),
    ];
    let programs = directory("programs");
    let path = |argument: &&str| match argument.strip_prefix("data/") {
        Some(file) => programs.join("data").join(file).display().to_string(),
        None => (*argument).to_owned(),
    };
    let script = |(name, arguments): &(&str, &[&str])| Script {
        name: (*name).to_owned(),
        source: fs::read_to_string(programs.join(name).with_extension("lox")).unwrap(),
        arguments: arguments.iter().map(path).collect(),
        stdin: fs::read_to_string(programs.join("data/sums.txt")).unwrap(),
    };
    small.iter().map(script).collect()
}

#[test]
fn any_allocation_of_the_programs_may_fail() {
    let most = if cfg!(small_tests) { 8 } else { 60 };
    for program in programs() {
        // Takes no arguments that would make it shorter.
        if cfg!(small_tests) && program.name == "closures" {
            continue;
        }
        for pacing in [Pacing::default(), Pacing::stress(), Pacing::eager()] {
            assert!(program.fail(most, pacing) >= 4);
        }
    }
}

/// In a wall that a script may fill the machine holds a block in reserve, which it can do without.
#[test]
fn the_reserve_may_be_missing() {
    let machine = || {
        Machine::new(Config {
            stress: None,
            pacing: Pacing::default(),
            beat_bytes: 64 << 10,
            limits: Limits::default(),
            heap_limit: Some(HeapLimit { bytes: 32 << 20, walled: true }),
            script_args: Vec::new(),
            stdin: Box::new(Cursor::new(Vec::new())),
        })
        .unwrap()
    };
    let mut ended = [0, 0];
    for nth in 1.. {
        let mut machine = machine();
        machine.mutator().fail_allocation(nth);
        let (out, err) = interpret(&mut machine, PROBE);
        let left = machine.mutator().fail_allocation(0);
        assert!(err.is_empty() || err.starts_with("Out of memory.\n"), "{nth}: {err}");
        assert_eq!(interpret(&mut machine, PROBE), ("ab12[1]{k: v}C instance\n".into(), "".into()), "{nth}");
        let metrics = machine.shutdown();
        assert_eq!((metrics.live.now.objects, metrics.in_use_bytes), (0, 0), "{nth}");
        if left > 0 {
            assert!(!out.is_empty());
            break;
        }
        ended[usize::from(err.is_empty())] += 1;
    }
    // When it cannot be held again, once the script is loaded, the script runs all the same.
    assert!(ended[0] > 10 && ended[1] >= 1, "{ended:?}");
}

/// Where the machine's source allocates: the file under `src`, and the line.
type Point = (String, usize);

/// The places that the source shows, tests left out.
fn points() -> Vec<Point> {
    fn search(directory: &Path, points: &mut Vec<Point>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                search(&path, points);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            for (index, line) in code.lines().enumerate() {
                let calls = [
                    ".alloc(",
                    ".alloc_tail(",
                    ".alloc_tail_copy(",
                    ".grow_tail(",
                    ".try_reserve(",
                    "::downgrade(",
                    "::set_finalizer(",
                ];
                // These two make the machine's own objects, when it starts.
                let starts = ["NativeFunction(native)", "NativeClass::new("].iter().any(|made| line.contains(made));
                if calls.iter().any(|call| line.contains(call)) && !starts {
                    let file = path.strip_prefix(self::directory("src")).unwrap();
                    points.push((file.display().to_string(), index + 1));
                }
            }
        }
    }
    let mut points = Vec::new();
    search(&directory("src"), &mut points);
    points
}

/// Lets every allocation of the language's tests fail, and looks from within where in the source it is made.
#[test]
#[cfg_attr(small_tests, ignore = "thousands of backtraces")]
fn every_place_that_allocates_has_failed() {
    let mut failed: BTreeMap<Point, u64> = points().into_iter().map(|point| (point, 0)).collect();
    assert!(failed.len() > 15, "{failed:?}");
    for script in scripts() {
        let (allocations, machine) = script.allocations(Pacing::default());
        // Limits of a script's own make other allocations fail too.
        if allocations > 1_000 || machine.mutator().metrics().ladder.refused > 0 {
            continue;
        }
        for nth in 1..=allocations {
            let mut machine = script.machine(Pacing::default());
            let trace = Rc::new(RefCell::new(String::new()));
            let told = Rc::clone(&trace);
            machine
                .mutator()
                .on_pressure(move |_, pressure| {
                    if pressure.level == PressureLevel::Full {
                        *told.borrow_mut() = Backtrace::force_capture().to_string();
                    }
                })
                .unwrap();
            machine.mutator().fail_allocation(nth);
            interpret(&mut machine, &script.source);
            // The innermost that is of this package.
            let trace = trace.borrow();
            let at = trace
                .lines()
                .find_map(|line| line.trim().strip_prefix("at ./src/"))
                .unwrap_or_else(|| panic!("{trace}"));
            let mut parts = at.split(':');
            let (file, line) = (parts.next().unwrap(), parts.next().unwrap().parse::<usize>().unwrap());
            // An expression of several lines counts as its first one.
            for line in line..line + 3 {
                if let Some(count) = failed.get_mut(&(file.to_owned(), line)) {
                    *count += 1;
                    break;
                }
            }
        }
    }
    let never: Vec<&Point> = failed.iter().filter(|(_, count)| **count == 0).map(|(point, _)| point).collect();
    assert!(never.is_empty(), "{never:?} of {failed:?}");
}

/// As many bytes as there may be, from none on: the machine cannot be made, and leaves nothing, until it can.
#[test]
fn any_allocation_at_the_start_may_fail() {
    let start = |bytes| {
        let config = Config {
            stress: None,
            pacing: Pacing::default(),
            beat_bytes: 64 << 10,
            limits: Limits::default(),
            heap_limit: Some(HeapLimit { bytes, walled: true }),
            script_args: Vec::new(),
            stdin: Box::new(Cursor::new("")),
        };
        Machine::new(config)
    };
    let mut failed = 0;
    for bytes in (16..).step_by(16) {
        match start(bytes) {
            Err(error) => assert_eq!(error, StartError::OutOfMemory),
            Ok(machine) => {
                assert!(machine.mutator().metrics().peak_in_use_bytes <= bytes);
                break;
            }
        }
        failed += 1;
        // A wall is free when nothing is left in its heap.
        let walls = Runtime::walls();
        assert_eq!((walls.reserved, walls.free), (1, 1), "with {bytes} bytes");
    }
    assert!(failed > 100, "{failed}");
}
