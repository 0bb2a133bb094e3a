//! What the engine's headers declare, as lists for `tests/engine_api.rs`. The build itself does not depend on them.

use std::collections::BTreeSet;
use std::path::Path;

use crate::write;

/// Writes what the headers declare, what `src/sys` declares, and the names of the headers' functions once more as Rust.
pub(crate) fn write_lists(include: &Path, out: &Path, declared: &[String]) {
    // A compiler that does not know the argument leaves the lists empty, which the test reports; the crate builds all the
    // same.
    let expanded = cc::Build::new()
        .file("vendor/abi_check.c")
        .include(include)
        .include(out)
        .flag("-dD")
        .cargo_warnings(false)
        .try_expand()
        .unwrap_or_default();
    let names = names(&String::from_utf8_lossy(&expanded));
    let functions: Vec<String> =
        names.iter().filter_map(|name| Some(format!("{:?}", name.strip_prefix("function ")?))).collect();
    write(&out.join("header_names.txt"), &lines(names));
    write(&out.join("sys_names.txt"), &lines(declared.iter().cloned().collect()));
    write(&out.join("header_functions.rs"), &format!("header_functions! {{ {} }}\n", functions.join(" ")));
}

fn lines(names: BTreeSet<String>) -> String {
    names.into_iter().map(|name| name + "\n").collect()
}

/// `function NAME`, `inline NAME`, `type NAME` or `constant NAME` for each declaration in preprocessed text that comes from
/// the engine's headers.
fn names(expanded: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut text = String::new();
    let mut is_engines = false;
    for line in expanded.lines() {
        if let Some(directive) = line.strip_prefix('#') {
            let mut words = directive.split_whitespace();
            match (words.next(), words.next(), words.next()) {
                // `#define NAME VALUE`; macros with arguments have no name of only letters.
                (Some("define"), Some(name), Some(_)) if is_engines && name.starts_with("MI_") && is_word(name) => {
                    found.insert(format!("constant {name}"));
                }
                // `# LINE "FILE"`: what follows comes from there.
                (Some(number), Some(file), _) if number.parse::<u32>().is_ok() => {
                    let name = Path::new(file.trim_matches('"')).file_name().and_then(|name| name.to_str());
                    is_engines = name.is_some_and(|name| name.starts_with("mimalloc"));
                }
                _ => {}
            }
        } else if is_engines {
            text.push_str(line);
            text.push(' ');
        }
    }
    for declaration in declarations(&text) {
        name(&declaration, &mut found);
    }
    found
}

/// The text cut at each `;` and behind each body, both outside of any parentheses and braces.
fn declarations(text: &str) -> Vec<String> {
    let mut cut = Vec::new();
    let mut current = String::new();
    let mut depth = 0_usize;
    for character in text.chars() {
        current.push(character);
        match character {
            '(' | '{' => depth += 1,
            ')' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let is_end = character == ';' || character == '}' && !current.trim_start().starts_with("typedef");
        if depth == 0 && is_end {
            cut.push(std::mem::take(&mut current));
        }
    }
    cut
}

fn name(declaration: &str, found: &mut BTreeSet<String>) {
    let bare = without_attributes(declaration);
    let bare = bare.trim().trim_end_matches(';').trim_end();
    if let Some(defined) = bare.strip_prefix("typedef") {
        if let Some((_, rest)) = defined.split_once('{') {
            let (members, name) = rest.rsplit_once('}').expect("a body has an end");
            found.insert(format!("type {}", name.trim()));
            if defined.trim_start().starts_with("enum") {
                for member in members.split(',').filter_map(|member| member.split('=').next()).map(str::trim) {
                    if !member.is_empty() {
                        found.insert(format!("constant {member}"));
                    }
                }
            }
        } else if let Some((_, rest)) = defined.split_once('(') {
            // RETURNS (NAME)(ARGUMENTS)
            let (name, _) = rest.split_once(')').expect("a parenthesis has an end");
            found.insert(format!("type {}", name.trim()));
        } else {
            let name = defined.split_whitespace().last().expect("a typedef has a name");
            found.insert(format!("type {}", name.trim_start_matches('*')));
        }
    } else if let Some((head, _)) = bare.split_once('(') {
        let name = head.trim_end().rsplit(|c: char| !is_word_part(c)).next().expect("at least one part");
        let kind = if head.trim_start().starts_with("static") { "inline" } else { "function" };
        found.insert(format!("{kind} {name}"));
    }
}

/// The text without `__attribute__((...))`.
fn without_attributes(text: &str) -> String {
    let mut parts = text.split("__attribute__");
    let mut bare = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut depth = 0_usize;
        let end = part.find(|character| {
            match character {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            character == ')' && depth == 0
        });
        bare.push_str(&part[end.map_or(part.len(), |end| end + 1)..]);
    }
    bare
}

fn is_word(text: &str) -> bool {
    text.chars().all(is_word_part)
}

fn is_word_part(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}
