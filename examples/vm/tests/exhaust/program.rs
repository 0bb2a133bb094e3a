//! A script that exhausts memory, and a machine on which it does.

use std::fs;
use std::io;
use std::path::Path;

use lox_vm::error::InterpretError;
use lox_vm::machine::{Config, HeapLimit, Limits, Machine};
use mimalloc_runtime::{Budget, Pacing};

/// A script of this directory.
pub(crate) struct Program {
    pub(crate) name: String,
    source: String,
    /// The globals that it sets.
    globals: Vec<String>,
}

/// All of them.
pub(crate) fn programs() -> Vec<Program> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/exhaust");
    let mut programs: Vec<Program> = fs::read_dir(directory)
        .expect("the directory is there")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "lox"))
        .map(|path| Program::read(&path))
        .collect();
    programs.sort_by(|a, b| a.name.cmp(&b.name));
    programs
}

/// Of ten limits those that there is time for.
pub(crate) fn limits(all: &[u64; 10]) -> Vec<u64> {
    if cfg!(small_tests) { vec![all[0], all[5]] } else { all.to_vec() }
}

impl Program {
    fn read(path: &Path) -> Program {
        let source = fs::read_to_string(path).expect("scripts are text");
        assert!(source.starts_with("// "), "{path:?} does not say what it does");
        let global = |line: &str| {
            let rest = ["var ", "fun ", "class "].iter().find_map(|word| line.strip_prefix(word))?;
            Some(rest.split(|c: char| !c.is_ascii_alphanumeric()).next()?.to_owned())
        };
        let globals = source.lines().filter_map(global).collect();
        let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
        Program { name, source, globals }
    }

    /// A script that makes nil of its globals.
    fn clearing(&self, word: &str) -> String {
        self.globals.iter().map(|global| format!("{word}{global} = nil;")).collect()
    }
}

/// A machine with a limit.
pub(crate) struct Machinery {
    machine: Machine,
    limit: HeapLimit,
}

impl Machinery {
    pub(crate) fn start(limit: HeapLimit) -> Machinery {
        let config = Config {
            stress: None,
            pacing: Pacing::default(),
            beat_bytes: 64 << 10,
            limits: Limits::default(),
            heap_limit: Some(limit),
            script_args: Vec::new(),
            stdin: Box::new(io::empty()),
        };
        Machinery { machine: Machine::new(config).expect("the limit is enough to start with"), limit }
    }

    /// Runs a script; gives what it says on standard error.
    fn run(&mut self, source: &str) -> String {
        let mut err = Vec::new();
        match self.machine.interpret(source, &mut io::sink(), &mut err) {
            Ok(()) => assert_eq!(err, b""),
            Err(InterpretError::Runtime) => assert_ne!(err, b""),
            Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&err)),
        }
        String::from_utf8(err).expect("messages are text")
    }

    /// Frees what is dead, with what finalizers held, and says how much is in use then.
    fn rest(&mut self) -> u64 {
        loop {
            let run = self.machine.mutator().metrics().finalizers.run;
            self.machine.mutator().collect(Budget::Unbounded);
            assert_eq!(self.run(""), "");
            if self.machine.mutator().metrics().finalizers.run == run {
                return self.machine.mutator().in_use();
            }
        }
    }

    /// Runs the program until its memory is used up, and looks at everything that has to hold.
    pub(crate) fn exhaust(&mut self, program: &Program) {
        let what = format!("{} at {:?}", program.name, self.limit);
        // The names of its globals stay in any case.
        assert_eq!(self.run(&program.clearing("var ")), "", "{what}");
        let before = self.rest();
        let metrics_before = self.machine.mutator().metrics();

        let said = self.run(&program.source);
        assert!(said.starts_with("Out of memory.\n[line ") && said.ends_with(" in script\n"), "{what}: {said}");
        assert!(
            said.lines().skip(1).all(|line| line.starts_with("[line ") && !line.starts_with("[line 0]")),
            "{what}: {said}"
        );
        let metrics = self.machine.mutator().metrics();
        assert!(metrics.peak_in_use_bytes <= self.limit.bytes, "{what}: {metrics:?}");
        assert!(metrics.ladder.refused > metrics_before.ladder.refused, "{what}");
        // Builds that watch memory have more in use than is asked for.
        if !cfg!(small_tests) {
            let areas = self.machine.mutator().areas().expect("nobody else frees");
            let bytes: usize = areas.iter().map(|area| area.used * area.block_bytes).sum();
            assert!(bytes as u64 <= self.limit.bytes, "{what}: the engine has {bytes}");
        }

        assert_eq!(self.run("print 1 + 2;"), "", "{what}: a short one");
        assert_eq!(self.run(&program.clearing("")), "", "{what}: clearing");
        assert_eq!(self.rest(), before, "{what}: not all came back");
        assert_eq!(self.machine.mutator().metrics().live.now.objects, metrics_before.live.now.objects, "{what}");
        // Now a quarter of it can be had again.
        let items = self.limit.bytes / 4 / 64;
        let again = format!("{{ var l = List(); for (var i = 0; i < {items}; i = i + 1) l.add(List()); }}");
        assert_eq!(self.run(&again), "", "{what}: a long one");
        assert_eq!(self.rest(), before, "{what}: not all came back after that");
    }
}
