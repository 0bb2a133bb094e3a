//! Learns which engine it was given from the engine's own header, and has the C compiler check what `src/sys` declares.

mod declarations;
mod header;

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-changed=src/sys");
    println!("cargo:rerun-if-changed=vendor");
    println!("cargo:rustc-check-cfg=cfg(engine, values(\"v2\", \"v3\"))");

    // `links = "mimalloc"` in libmimalloc-sys3 hands us the directory of the headers its library was built from.
    let include = PathBuf::from(std::env::var_os("DEP_MIMALLOC_INCLUDE_DIR").expect(
        "libmimalloc-sys3 did not export its include directory (DEP_MIMALLOC_INCLUDE_DIR); use version 0.1.56 or later",
    ));
    println!("cargo:rerun-if-changed={}", include.display());
    let version = engine_version(&include.join("mimalloc.h"));
    let engine = match version {
        20_000..30_000 => "v2",
        30_000..40_000 => "v3",
        _ => panic!("mimalloc {version} is neither version 2 nor 3: this crate knows no other engine"),
    };
    println!("cargo:rustc-cfg=engine=\"{engine}\"");
    println!("cargo:rustc-env=MIMALLOC_HEADER_VERSION={version}");
    // For the tests.
    println!("cargo:rustc-env=MIMALLOC_INCLUDE_DIR={}", include.display());

    println!("cargo:rustc-check-cfg=cfg(engine_watches)");
    if engine_watches() {
        println!("cargo:rustc-cfg=engine_watches");
    }

    // Our declarations of the engine's functions are checked by the C compiler against its headers: a wrong one does
    // not build. The object is empty and nothing links to it.
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let declared = declarations::read(Path::new("src/sys"), engine);
    write(&out.join("engine_declarations.h"), &declared.c);
    cc::Build::new()
        .file("vendor/abi_check.c")
        .include(&include)
        .include(&out)
        .warnings(true)
        .warnings_into_errors(true)
        .compile("mimalloc_runtime_abi_check");
    header::write_lists(&include, &out, &declared.names);
    heap_walk(&include);
}

/// The walk reads the engine's structures, which are laid out by the engine's settings: they are set here as `libmimalloc-sys3`
/// sets them for the same features.
fn heap_walk(include: &Path) {
    let feature = |name| std::env::var_os(name).is_some();
    let mut build = cc::Build::new();
    build.file("vendor/heap_walk.c").file("vendor/words.c").include(include).include(include.join("../src"));
    if std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "msvc") {
        build.cpp(true).std("c++17").flag_if_supported("/Zc:__cplusplus");
    }
    if feature("CARGO_FEATURE_SECURE") {
        build.define("MI_SECURE", "4");
    }
    if feature("CARGO_FEATURE_DEBUG") {
        build.define("MI_DEBUG", "3").define("MI_SHOW_ERRORS", "1");
    } else {
        // No assertions in what the headers bring along.
        build.define("MI_DEBUG", "0").define("NDEBUG", None);
    }
    build.compile("mimalloc_runtime_heap_walk");
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

/// Whether the engine is built to find errors in the use of memory, by itself or with a tool. Then it is told of each free
/// at once: no block is kept at hand.
fn engine_watches() -> bool {
    let feature = |name| std::env::var_os(name).is_some();
    // The compiler's arguments with those of CFLAGS, which is how the engine is built for a tool.
    let compiler = cc::Build::new().get_compiler();
    let mut arguments = compiler.args().iter().map(|argument| argument.to_string_lossy());
    feature("CARGO_FEATURE_SECURE")
        || feature("CARGO_FEATURE_DEBUG")
        || arguments.any(|argument| argument.starts_with("-DMI_TRACK_") || argument.starts_with("-fsanitize="))
}

/// `MI_MALLOC_VERSION` as a number: major, two digits minor, two digits patch.
fn engine_version(header: &Path) -> u32 {
    let text =
        std::fs::read_to_string(header).unwrap_or_else(|error| panic!("cannot read {}: {error}", header.display()));
    let digits: String = text
        .lines()
        .find_map(|line| line.strip_prefix("#define MI_MALLOC_VERSION"))
        .unwrap_or_else(|| panic!("{} does not define MI_MALLOC_VERSION", header.display()))
        .trim_start()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().unwrap_or_else(|error| panic!("MI_MALLOC_VERSION in {} is not a number: {error}", header.display()))
}
