//! Words that name one of several, on the command line and in JSON.

use lexopt::ValueExt as _;
use serde::{Serialize, Serializer};

/// One of several, each of which has a word.
pub(crate) trait Word: Copy + 'static {
    /// What they are, as a message has it.
    const KIND: &'static str;
    const ALL: &'static [Self];

    fn word(self) -> &'static str;
}

/// The next word of a command line.
pub(crate) fn next<W: Word>(parser: &mut lexopt::Parser) -> Result<W, lexopt::Error> {
    parser.value()?.parse_with(find)
}

fn find<W: Word>(text: &str) -> Result<W, String> {
    let found = W::ALL.iter().copied().find(|one| one.word() == text);
    found.ok_or_else(|| format!("'{text}' is not a {}", W::KIND))
}

/// For a field of this type: serde writes the word.
pub(crate) fn serialize<W: Word, S: Serializer>(one: &W, serializer: S) -> Result<S::Ok, S::Error> {
    one.word().serialize(serializer)
}
