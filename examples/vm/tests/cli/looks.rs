//! What `--census`, `--heap-snapshot` and `--leaks` tell.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::command::{Lox, scratch, scratch_path};

/// A program with something of every kind, and 100 objects that it drops.
fn program(name: &str) -> PathBuf {
    scratch(
        name,
        "class Account { init(owner) { this.owner = owner; this.log = List(); } add(n) { this.log.add(n); return this; } }\n\
         class Loan < Account {}\n\
         var accounts = List();\n\
         for (var i = 0; i < 10; i = i + 1) accounts.add(Account(\"owner \" + str(i)).add(i));\n\
         var loan = Loan(\"an öwner\");\n\
         loan.self = loan;\n\
         fun counter() { var n = 0; fun count() { n = n + 1; return n; } return count; }\n\
         var count = counter();\n\
         var map = Map();\n\
         map.set(\"key\", accounts); map.set(3, loan);\n\
         var bound = loan.add;\n\
         for (var i = 0; i < 100; i = i + 1) Account(nil);\n\
         print count();\n",
    )
}

#[test]
fn a_census_shows_what_lives_before_the_globals_go() {
    // Otherwise what only the dead refer to may still live.
    let run = Lox::with(&["--census", "--eager"]).arg(program("census")).run();
    assert_eq!((run.code, run.stdout.as_str()), (0, "1\n"));
    let lines: Vec<_> = run.stderr.lines().collect();
    assert!(lines[0].ends_with("what lives") && lines[1].ends_with("in all"), "{}", run.stderr);
    let of = |name: &str| {
        let line = lines.iter().find(|line| line.ends_with(name)).unwrap_or_else(|| panic!("{name}: {}", run.stderr));
        line.split_whitespace().next().unwrap().replace(',', "").parse::<u64>().unwrap()
    };
    // Ten accounts and the loan.
    assert_eq!(of("::Instance"), 11);
    assert_eq!(of("::Class"), 2);
    assert_eq!(of("::List"), 12);
    assert!(of("in all") > 100);
    // Strings are of several sizes.
    assert!(lines.iter().any(|line| line.ends_with("B each")), "{}", run.stderr);
    let total: u64 = lines[2..]
        .iter()
        .filter(|line| !line.ends_with("each"))
        .map(|line| line.split_whitespace().next().unwrap().replace(',', "").parse::<u64>().unwrap())
        .sum();
    assert_eq!(total, of("in all"));
}

#[test]
fn nothing_leaks() {
    for options in [&["--leaks"][..], &["--leaks", "--eager"], &["--leaks", "--stress"]] {
        let run = Lox::with(options).arg(program("leaks")).run();
        assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, "1\n", "nothing lives\n"), "{options:?}");
    }
    // After an error of the program too, whose code is kept.
    let run = Lox::with(&["--leaks"]).arg(scratch("leaks-error", "var l = List(); l.add(l); print nil + 1;\n")).run();
    assert_eq!(run.code, 70);
    assert!(run.stderr.starts_with("Operands must be") && run.stderr.ends_with("nothing lives\n"), "{}", run.stderr);
}

/// Each object by the name that a Lox program has for it.
#[test]
fn a_heap_snapshot_has_lox_names() {
    let path = scratch_path("program.heapsnapshot");
    drop(fs::remove_file(&path));
    let run = Lox::with(&["--eager", "--heap-snapshot"]).arg(&path).arg(program("snapshot")).run();
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, "1\n", ""));
    let json: Value = serde_json::from_str(&fs::read_to_string(&path).expect("the snapshot is there")).unwrap();
    let array = |pointer: &str| json.pointer(pointer).and_then(Value::as_array).unwrap();
    let number = |value: &Value| value.as_u64().unwrap() as usize;
    let (nodes, edges, strings) = (array("/nodes"), array("/edges"), array("/strings"));
    let types = array("/snapshot/meta/node_types/0");
    let text = |value: &Value| strings[number(value)].as_str().unwrap();
    // Type, name, where its edges begin and how many there are.
    let mut first = 0;
    let nodes: Vec<_> = nodes
        .chunks(array("/snapshot/meta/node_fields").len())
        .map(|node| {
            let count = number(&node[4]);
            first += count;
            (types[number(&node[0])].as_str().unwrap(), text(&node[1]), first - count, count)
        })
        .collect();
    let count = |kind: &str, name: &str| nodes.iter().filter(|node| (node.0, node.1) == (kind, name)).count();
    assert_eq!(count("object", "Account"), 10);
    assert_eq!(count("object", "Loan"), 1);
    assert_eq!(count("object", "class Account"), 1);
    assert_eq!(count("object", "class List"), 1);
    assert_eq!(count("closure", "<fn counter>"), 1);
    assert_eq!(count("code", "<fn count>"), 1);
    assert_eq!(count("closure", "clock"), 1);
    assert_eq!(count("object", "captured variable"), 1);
    assert_eq!(count("object", "Map"), 1);
    assert_eq!(count("object", "bound method"), 1);
    assert_eq!(count("string", "an öwner"), 1);
    assert_eq!(count("string", "owner 7"), 1);
    // From an object through an edge of this name.
    let follow = |from: usize, name: &str| {
        let (.., first, count) = nodes[from];
        let edge = edges.chunks(3).skip(first).take(count).find(|edge| number(&edge[0]) == 2 && text(&edge[1]) == name);
        number(&edge.unwrap_or_else(|| panic!("{name} of {}", nodes[from].1))[2]) / 6
    };
    let of = |name: &str| nodes.iter().position(|node| (node.0, node.1) == ("object", name)).unwrap();
    let loan = of("Loan");
    assert_eq!(nodes[follow(loan, "class")].1, "class Loan");
    let fields = follow(loan, "fields");
    assert_eq!(nodes[fields].0, "array");
    assert_eq!(follow(fields, "self"), loan);
    assert_eq!(nodes[follow(fields, "owner")].1, "an öwner");
    assert_eq!(nodes[follow(fields, "log")].1, "List");
    assert_eq!(nodes[follow(fields, "key owner")].1, "owner");
    let entries = follow(of("Map"), "entries");
    assert_eq!(follow(entries, "3"), loan);
    assert_eq!(nodes[follow(entries, "key")].1, "List");
    assert_eq!(follow(of("bound method"), "receiver"), loan);
}

#[test]
fn all_of_them_go_together_and_come_before_the_metrics() {
    let path = scratch_path("together.heapsnapshot");
    let run = Lox::with(&["--metrics=json", "--leaks", "--census", "--heap-snapshot"])
        .arg(&path)
        .arg(program("together"))
        .run();
    assert_eq!((run.code, run.stdout.as_str()), (0, "1\n"));
    let (census, leaks) = (run.stderr.find("what lives").unwrap(), run.stderr.find("nothing lives\n").unwrap());
    let json = run.stderr.lines().last().unwrap();
    assert!(census < leaks && leaks < run.stderr.find(json).unwrap());
    let json: Value = serde_json::from_str(json).unwrap();
    assert_eq!(json["leaked_objects"], 0);
    assert!(fs::metadata(&path).unwrap().len() > 10_000);
}

#[test]
fn a_snapshot_that_cannot_be_kept_is_an_output_error() {
    let path = scratch_path("no-such-directory/a.heapsnapshot");
    let run = Lox::with(&["--heap-snapshot"]).arg(&path).arg(scratch("unkept", "print 1;\n")).run();
    assert_eq!((run.code, run.stdout.as_str()), (74, "1\n"));
    assert!(run.stderr.starts_with("Could not write \"") && run.stderr.contains("a.heapsnapshot"), "{}", run.stderr);
    if cfg!(target_os = "linux") {
        let run = Lox::with(&["--heap-snapshot", "/dev/full"]).arg(program("full")).run();
        assert_eq!((run.code, run.stdout.as_str()), (74, "1\n"));
        assert!(run.stderr.starts_with("Could not write \"/dev/full\": "), "{}", run.stderr);
    }
}

#[test]
fn the_prompt_is_looked_at_when_it_ends() {
    let run = Lox::with(&["--census", "--leaks"]).input("class Here {}\nvar here = Here();\n").run();
    assert_eq!((run.code, run.stdout.as_str()), (0, ""));
    assert!(
        run.stderr.lines().any(|line| line.trim_start().starts_with("1 ") && line.ends_with("::Instance")),
        "{}",
        run.stderr
    );
    assert!(run.stderr.ends_with("nothing lives\n"));
}
