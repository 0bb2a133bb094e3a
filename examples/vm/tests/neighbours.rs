//! Two machines on two threads, of which one runs out of memory again and again: the other does not notice.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use lox_vm::error::InterpretError;
use lox_vm::machine::{Config, HeapLimit, Limits, Machine};
use mimalloc_runtime::{Budget, Cause, EngineCalls, Metrics, Pacing, Progress};

fn machine(bytes: u64, walled: bool) -> Machine {
    let config = Config {
        stress: None,
        pacing: Pacing::default().with_pause_cap(Budget::Units(100)).unwrap(),
        beat_bytes: 16 << 10,
        limits: Limits::default(),
        heap_limit: Some(HeapLimit { bytes, walled }),
        script_args: Vec::new(),
        stdin: Box::new(io::empty()),
    };
    Machine::new(config).unwrap()
}

/// Makes, keeps and drops some of everything; near its limit at times.
const WORK: &str = "
    class Node { init(next) { this.next = next; this.text = \"node \" + str(next == nil); } }
    var total = 0;
    for (var round = 0; round < 60; round = round + 1) {
        var head;
        var names = Map();
        for (var i = 0; i < 400; i = i + 1) {
            head = Node(head);
            names.set(\"name \" + str(i), head);
        }
        var list = List();
        for (var i = 0; i < 3000; i = i + 1) list.add(i);
        total = total + names.len() + list.len() + len(list.join(\", \"));
        fun last() { return head; }
        if (last().next == nil) error(\"a chain of one\");
    }
    print total;
";

/// A step without what the clock says.
type Step = (Cause, Budget, Progress, u64, u64);

/// What a machine does with its work, counted in everything but time.
#[derive(Debug, PartialEq)]
struct Account {
    out: Vec<u8>,
    steps: Vec<Step>,
    beats: u64,
    metrics: Metrics,
}

fn work(walled: bool) -> Account {
    let mut machine = machine(400_000, walled);
    let steps = Rc::new(RefCell::new(Vec::new()));
    let told = Rc::clone(&steps);
    machine
        .mutator()
        .observe_steps(move |step| {
            told.borrow_mut().push((step.cause, step.budget, step.progress, step.debt, step.allocated_bytes));
        })
        .unwrap();
    let mut out = Vec::new();
    machine.interpret(WORK, &mut out, &mut io::sink()).unwrap();
    let beats = machine.mutator().beats();
    // The engine calls when it likes to.
    let metrics = Metrics { engine_calls: EngineCalls::default(), ..machine.shutdown() };
    Account { out, steps: steps.take(), beats, metrics }
}

/// Runs out of memory until it is told to stop.
fn exhaust(walled: bool, rounds: &AtomicU32, enough: &AtomicBool) {
    let mut machine = machine(3 << 20, walled);
    let ways = [
        "var l = List(); while (true) l.add(\"text \" + str(l.len()));",
        "var s = \"0123456789\"; while (true) s = s + s;",
        "fun wrap(f) { fun g() { return f; } return g; } var f; while (true) f = wrap(f);",
    ];
    while !enough.load(Ordering::Relaxed) {
        for way in ways {
            let mut err = Vec::new();
            let result = machine.interpret(&format!("fun run() {{ {way} }} run();"), &mut io::sink(), &mut err);
            assert!(matches!(result, Err(InterpretError::Runtime)) && err.starts_with(b"Out of memory.\n"));
        }
        rounds.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lets the neighbour end, also where this thread panics: the scope waits for it.
struct Enough<'a>(&'a AtomicBool);

impl Drop for Enough<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn undisturbed(walled: bool) {
    let alone = work(walled);
    assert!(alone.steps.len() > 100 && alone.beats > 100, "{alone:?}");
    let (rounds, enough) = (AtomicU32::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let neighbour = scope.spawn(|| exhaust(walled, &rounds, &enough));
        let _enough = Enough(&enough);
        // At least until it has run out a few times while the other worked.
        let mut compared = 0;
        while (compared < 5 || rounds.load(Ordering::Relaxed) < 3) && !neighbour.is_finished() {
            assert!(work(walled) == alone);
            compared += 1;
        }
    });
}

#[test]
fn a_counted_machine_works_as_if_it_were_alone() {
    undisturbed(false);
}

#[test]
fn a_walled_machine_works_as_if_it_were_alone() {
    undisturbed(true);
}
