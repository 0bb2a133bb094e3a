//! That `mimalloc_runtime::sys` is the engine's whole API: nothing that its headers declare is missing, what is declared
//! is in the library, and the table in the documentation says of each function where the safe API has it.
//!
//! The lists are written by `build/header.rs`. That the declarations are right, the build checks (`vendor/abi_check.c`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use mimalloc_runtime::{Runtime, sys};

type Names = BTreeSet<&'static str>;

/// The names of one kind in a list of `KIND NAME`.
fn names(list: &'static str, kind: &str) -> Names {
    list.lines().filter_map(|line| line.strip_prefix(kind)?.strip_prefix(' ')).collect()
}

fn in_header(kind: &str) -> Names {
    names(include_str!(concat!(env!("OUT_DIR"), "/header_names.txt")), kind)
}

fn in_sys(kind: &str) -> Names {
    names(include_str!(concat!(env!("OUT_DIR"), "/sys_names.txt")), kind)
}

/// Weak references to all functions that the headers declare: null for one that the library lacks.
macro_rules! header_functions {
    ($($name:literal)*) => {
        const FUNCTIONS: &[&str] = &[$($name),*];
        core::arch::global_asm!(
            ".pushsection .data.rel.ro.header_functions, \"aw\"",
            ".balign 8",
            ".globl mimalloc_runtime_header_functions",
            "mimalloc_runtime_header_functions:",
            $(concat!(".weak ", $name), concat!(".8byte ", $name),)*
            ".popsection",
        );
    };
}
include!(concat!(env!("OUT_DIR"), "/header_functions.rs"));

unsafe extern "C" {
    #[link_name = "mimalloc_runtime_header_functions"]
    static ADDRESSES: [usize; FUNCTIONS.len()];
}

/// The functions that the headers declare and the library has, and those that it lacks.
fn in_library() -> (Names, Names) {
    // A weak reference does not bring the library into the program, and makes every other one in this file weak too: the
    // crate does.
    Runtime::new().expect("an engine");
    // SAFETY: as many words as there are names, written by the linker.
    let addresses = unsafe { &ADDRESSES };
    let (present, absent): (Vec<_>, Vec<_>) = FUNCTIONS.iter().zip(addresses).partition(|(_, address)| **address != 0);
    (present.into_iter().map(|(name, _)| *name).collect(), absent.into_iter().map(|(name, _)| *name).collect())
}

#[test]
fn every_function_of_the_headers_that_the_library_has_is_declared() {
    assert_eq!(in_library().0, in_sys("function"));
}

#[test]
fn every_type_and_constant_of_the_headers_is_declared() {
    assert_eq!(in_header("type"), in_sys("type"));
    assert_eq!(in_header("constant"), in_sys("constant"));
}

/// The list of what the headers declare is itself complete: a second, coarser reading finds nothing more.
#[test]
fn every_exported_name_is_in_the_list() {
    let mut exported = BTreeSet::new();
    for header in ["mimalloc.h", "mimalloc-stats.h", "mimalloc-profile.h"] {
        let path = Path::new(env!("MIMALLOC_INCLUDE_DIR")).join(header);
        if !path.exists() {
            continue; // version 2 has no profiler
        }
        for line in std::fs::read_to_string(path).unwrap().lines().filter(|line| !line.trim_start().starts_with("//")) {
            if let Some((_, declaration)) = line.split_once("mi_decl_export ") {
                let (head, _) = declaration.split_once('(').unwrap_or_default();
                exported.extend(
                    head.split([' ', '*']).next_back().filter(|name| name.starts_with("mi_")).map(str::to_owned),
                );
            }
        }
    }
    assert!(exported.len() > 100, "the headers were not found");
    let listed = in_header("function");
    let missed: Vec<_> = exported.iter().filter(|name| !listed.contains(name.as_str())).collect();
    assert!(missed.is_empty(), "{missed:?}");
}

/// `(function, reason)` of the table's rows for the engine in use, and all reasons that it explains.
fn table() -> (BTreeMap<&'static str, &'static str>, Vec<&'static str>) {
    let engine = if sys::MI_MALLOC_VERSION >= 30_000 { "3" } else { "2" };
    let (mut rows, mut reasons) = (BTreeMap::new(), Vec::new());
    for line in
        include_str!("../src/sys/api.md").lines().filter(|line| line.starts_with('|') && !line.starts_with("|--"))
    {
        match line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>()[..] {
            ["function" | "reason", ..] => {}
            [reason, _] => reasons.push(reason),
            [function, engines, reason] => {
                assert!(["2", "3", "both"].contains(&engines), "{line}");
                if engines == engine || engines == "both" {
                    let function = function.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')).expect(line);
                    assert_eq!(rows.insert(function, reason), None, "two rows for {function}");
                }
            }
            _ => panic!("not a row: {line}"),
        }
    }
    (rows, reasons)
}

#[test]
fn the_table_has_a_row_for_each_function_and_no_other() {
    let (rows, _) = table();
    let mut functions = in_header("function");
    functions.extend(in_header("inline"));
    assert_eq!(rows.keys().copied().collect::<Names>(), functions);
}

#[test]
fn the_table_says_what_the_library_lacks_and_what_is_only_in_the_header() {
    let (rows, _) = table();
    let with = |wanted| rows.iter().filter(|(_, reason)| **reason == wanted).map(|(name, _)| *name).collect::<Names>();
    assert_eq!(with("declared, not defined"), in_library().1);
    assert_eq!(with("inline in the header"), in_header("inline"));
}

/// A cell is a link to the safe API, which rustdoc checks, or begins with a reason that the table explains.
#[test]
fn the_table_gives_a_place_or_a_reason_that_it_explains() {
    let (rows, reasons) = table();
    for (function, cell) in rows {
        assert!(cell.starts_with("[`") || reasons.iter().any(|reason| cell.starts_with(reason)), "{function}: {cell}");
    }
}

/// The engine fills in only a structure of its own size and version, which version 2 then overwrites.
#[test]
fn new_statistics_are_filled_in_once() {
    // SAFETY: a structure of the engine's type.
    let get = |stats: &mut sys::mi_stats_t| unsafe { sys::mi_stats_get(stats) };
    let mut stats = sys::mi_stats_t::new();
    (stats.pages.total, stats.page_bins[sys::MI_BIN_HUGE].total) = (-1, -1);
    assert!(get(&mut stats));
    assert!(stats.pages.total >= 0 && stats.page_bins[sys::MI_BIN_HUGE].total >= 0);
    assert_eq!(get(&mut stats), sys::MI_MALLOC_VERSION >= 30_000);
    let mut of_another_version = sys::mi_stats_t { version: sys::MI_STAT_VERSION + 1, ..sys::mi_stats_t::new() };
    assert!(!get(&mut of_another_version));
}

/// The feature `override` puts the engine in the place of the C library's `malloc`, from which Rust allocates by default.
#[cfg(target_os = "linux")]
#[test]
fn the_c_librarys_malloc_is_the_engine_on_request() {
    let boxed = Box::new(1_u64);
    // SAFETY: any pointer may be asked about.
    let is_engines = unsafe { sys::mi_is_in_heap_region((&raw const *boxed).cast()) };
    assert_eq!(is_engines, cfg!(feature = "override"));
}
