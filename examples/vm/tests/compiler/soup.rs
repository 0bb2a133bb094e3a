//! Random sources: none makes the compiler panic, and what it accepts is sound.

use lox_vm::compiler::compile;
use lox_vm::disassembler::disassemble;

use super::verify::verify;

/// Xorshift, which is random enough here and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

const TOKENS: &[&str] = &[
    "(", ")", "{", "}", ",", ".", "-", "+", ";", "/", "*", "!", "!=", "=", "==", ">", ">=", "<", "<=", "a", "b",
    "init", "\"s\"", "\"x\ny\"", "\"", "1", "2.5", "and", "class", "else", "false", "for", "fun", "if", "nil", "or",
    "print", "return", "super", "this", "true", "var", "while", "@", "é", "\n", "// c\n",
];

/// Upper-case letters stand for something to be filled in: an expression, a
/// statement, a declaration, a name or a block.
const EXPRESSIONS: &[&str] = &[
    "1",
    "\"s\"",
    "nil",
    "N",
    "N",
    "(E)",
    "-E",
    "!E",
    "(N = E)",
    "(N.N = E)",
    "N.N",
    "N(E, E)",
    "(E)()",
    "N.N(E)",
    "(E + E)",
    "E * E",
    "E < E",
    "E == E",
    "E and E",
    "E or E",
    "this",
    "super.N",
    "super.N(E)",
];
const STATEMENTS: &[&str] = &[
    "E;",
    "print E;",
    "B",
    "if (E) S",
    "if (E) S else S",
    "while (E) S",
    "for (;;) S",
    "for (var N = E; E; E) S",
    "return;",
    "return E;",
];
const DECLARATIONS: &[&str] = &[
    "S",
    "S",
    "var N;",
    "var N = E;",
    "fun N() B",
    "fun N(x, y) B",
    "class N {}",
    "class N { N() B init() B }",
    "class N < N { N(x) B N() B }",
];
const NAMES: &[&str] = &["a", "b", "c", "d", "e", "f", "g", "h", "x", "init"];
const BLOCKS: &[&str] = &["{}", "{ D }", "{ D\nD }", "{ D\nD\nD }"];

fn sentence(random: &mut Random) -> String {
    const ENOUGH: usize = 1000;
    let mut text = String::new();
    let mut pending = vec!['D'; 3];
    while let Some(next) = pending.pop() {
        let small = pending.len() + text.len() < ENOUGH;
        let expansion = match next {
            'E' if small => random.pick(EXPRESSIONS),
            'S' if small => random.pick(STATEMENTS),
            'D' if small => random.pick(DECLARATIONS),
            'B' if small => random.pick(BLOCKS),
            'E' => "nil",
            'S' | 'D' => "nil;",
            'B' => "{}",
            'N' => random.pick(NAMES),
            other => {
                text.push(other);
                continue;
            }
        };
        pending.extend(expansion.chars().rev());
    }
    text
}

/// Whether the source was accepted.
fn survives(source: &str) -> bool {
    match compile(source) {
        Ok(script) => {
            verify(&script);
            assert!(!disassemble(&script).is_empty());
            true
        }
        Err(errors) => {
            assert!(!errors.as_slice().is_empty());
            false
        }
    }
}

#[test]
fn of_bytes() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..5_000 {
        let len = random.below(100);
        let bytes: Vec<u8> = (0..len).map(|_| random.below(256) as u8).collect();
        survives(&String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn of_tokens() {
    let mut random = Random(0xd1b5_4a32_d192_ed03);
    for _ in 0..20_000 {
        let len = random.below(80);
        let tokens: Vec<_> = (0..len).map(|_| random.pick(TOKENS)).collect();
        survives(&tokens.join(" "));
    }
}

#[test]
fn of_sentences() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let accepted = (0..5_000).filter(|_| survives(&sentence(&mut random))).count();
    assert!(accepted > 500, "{accepted} were accepted, too few to mean much");
}

#[test]
fn of_damaged_sentences() {
    let mut random = Random(0x5851_f42d_4c95_7f2d);
    for _ in 0..3_000 {
        let mut source = sentence(&mut random);
        for _ in 0..random.below(4) {
            let at = random.below(source.len() + 1);
            let until = source.len().min(at + random.below(4));
            source.replace_range(at..until, random.pick(TOKENS));
            if !source.is_ascii() {
                break;
            }
        }
        survives(&source);
    }
}
