//! The scanner: source text to tokens, one at a time and on demand.

use crate::token::{Token, TokenKind};

/// A stretch of source that is not a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanError {
    /// The line on which the stretch ends, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: &'static str,
}

/// Cuts a source text into tokens.
///
/// Whitespace and identifiers are ASCII; other characters may stand in string
/// literals and comments only.
#[derive(Clone, Debug)]
pub struct Scanner<'s> {
    source: &'s str,
    /// Where the token under the knife begins; a character boundary.
    start: usize,
    /// The first byte not consumed yet; a character boundary whenever a token
    /// is sliced, because every delimiter is ASCII.
    offset: usize,
    line: usize,
}

impl<'s> Scanner<'s> {
    /// A scanner at the beginning of `source`.
    pub fn new(source: &'s str) -> Self {
        Self { source, start: 0, offset: 0, line: 1 }
    }

    /// The next token. At the end of the source this is
    /// [`TokenKind::End`], however often it is asked for.
    ///
    /// After an error scanning can go on: the faulty stretch is consumed.
    pub fn scan(&mut self) -> Result<Token<'s>, ScanError> {
        self.skip_blanks();
        self.start = self.offset;
        let Some(byte) = self.peek(0) else {
            return Ok(self.token(TokenKind::End));
        };
        self.offset += 1;
        let kind = match byte {
            b'(' => TokenKind::LeftParen,
            b')' => TokenKind::RightParen,
            b'{' => TokenKind::LeftBrace,
            b'}' => TokenKind::RightBrace,
            b',' => TokenKind::Comma,
            b'.' => TokenKind::Dot,
            b'-' => TokenKind::Minus,
            b'+' => TokenKind::Plus,
            b';' => TokenKind::Semicolon,
            b'/' => TokenKind::Slash,
            b'*' => TokenKind::Star,
            b'!' => self.or_with_equal(TokenKind::Bang, TokenKind::BangEqual),
            b'=' => self.or_with_equal(TokenKind::Equal, TokenKind::EqualEqual),
            b'>' => self.or_with_equal(TokenKind::Greater, TokenKind::GreaterEqual),
            b'<' => self.or_with_equal(TokenKind::Less, TokenKind::LessEqual),
            b'"' => return self.string(),
            b'0'..=b'9' => self.number(),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => self.word(),
            _ => return Err(self.unexpected_character()),
        };
        Ok(self.token(kind))
    }

    /// Gives up on the rest of the source: from here on every token is
    /// [`TokenKind::End`].
    pub fn skip_rest(&mut self) {
        self.offset = self.source.len();
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.source.as_bytes().get(self.offset + ahead).copied()
    }

    fn skip_while(&mut self, wanted: impl Fn(u8) -> bool) {
        while self.peek(0).is_some_and(&wanted) {
            self.offset += 1;
        }
    }

    fn skip_blanks(&mut self) {
        loop {
            match self.peek(0) {
                Some(b' ' | b'\r' | b'\t') => self.offset += 1,
                Some(b'\n') => {
                    self.line += 1;
                    self.offset += 1;
                }
                Some(b'/') if self.peek(1) == Some(b'/') => self.skip_while(|byte| byte != b'\n'),
                _ => return,
            }
        }
    }

    fn or_with_equal(&mut self, alone: TokenKind, with_equal: TokenKind) -> TokenKind {
        if self.peek(0) == Some(b'=') {
            self.offset += 1;
            with_equal
        } else {
            alone
        }
    }

    fn string(&mut self) -> Result<Token<'s>, ScanError> {
        while let Some(byte) = self.peek(0) {
            self.offset += 1;
            match byte {
                b'"' => return Ok(self.token(TokenKind::String)),
                b'\n' => self.line += 1,
                _ => {}
            }
        }
        Err(self.error("Unterminated string."))
    }

    fn number(&mut self) -> TokenKind {
        self.skip_while(|byte| byte.is_ascii_digit());
        // A dot that no digit follows is a property access, or a mistake.
        if self.peek(0) == Some(b'.') && self.peek(1).is_some_and(|byte| byte.is_ascii_digit()) {
            self.offset += 1;
            self.skip_while(|byte| byte.is_ascii_digit());
        }
        TokenKind::Number
    }

    fn word(&mut self) -> TokenKind {
        self.skip_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        TokenKind::of_word(&self.source[self.start..self.offset])
    }

    fn unexpected_character(&mut self) -> ScanError {
        // The rest of a character of several bytes goes with its first byte.
        while !self.source.is_char_boundary(self.offset) {
            self.offset += 1;
        }
        self.error("Unexpected character.")
    }

    fn token(&self, kind: TokenKind) -> Token<'s> {
        Token { kind, lexeme: &self.source[self.start..self.offset], line: self.line }
    }

    fn error(&self, message: &'static str) -> ScanError {
        ScanError { line: self.line, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Scanned<'s> = Result<(TokenKind, &'s str, usize), (usize, &'static str)>;

    fn scan_all(source: &str) -> Vec<Scanned<'_>> {
        let mut scanner = Scanner::new(source);
        let mut tokens = Vec::new();
        loop {
            let token = scanner.scan();
            if matches!(token, Ok(token) if token.kind == TokenKind::End) {
                return tokens;
            }
            tokens.push(
                token.map(|token| (token.kind, token.lexeme, token.line)).map_err(|error| (error.line, error.message)),
            );
        }
    }

    fn kinds(source: &str) -> Vec<TokenKind> {
        scan_all(source).into_iter().map(|token| token.expect("a valid token").0).collect()
    }

    #[test]
    fn operators_take_the_longest_match() {
        use TokenKind::*;
        assert_eq!(
            kinds("(){},.-+;/* ! != = == > >= < <= ==="),
            [
                LeftParen,
                RightParen,
                LeftBrace,
                RightBrace,
                Comma,
                Dot,
                Minus,
                Plus,
                Semicolon,
                Slash,
                Star,
                Bang,
                BangEqual,
                Equal,
                EqualEqual,
                Greater,
                GreaterEqual,
                Less,
                LessEqual,
                EqualEqual,
                Equal,
            ]
        );
    }

    #[test]
    fn keywords_are_whole_words_only() {
        use TokenKind::*;
        assert_eq!(
            kinds("and class else false for fun if nil or print return super this true var while"),
            [And, Class, Else, False, For, Fun, If, Nil, Or, Print, Return, Super, This, True, Var, While,]
        );
        for word in ["an", "andy", "_and", "And", "f", "t", "fort", "thi5", "_", "whil"] {
            assert_eq!(kinds(word), [Identifier], "{word}");
        }
    }

    #[test]
    fn a_number_needs_digits_on_both_sides_of_its_dot() {
        use TokenKind::*;
        assert_eq!(scan_all("12.50"), [Ok((Number, "12.50", 1))]);
        assert_eq!(kinds("12."), [Number, Dot]);
        assert_eq!(kinds(".5"), [Dot, Number]);
        assert_eq!(kinds("1.2.3"), [Number, Dot, Number]);
        assert_eq!(kinds("1.sqrt"), [Number, Dot, Identifier]);
    }

    #[test]
    fn a_string_ends_on_the_line_of_its_closing_quote() {
        assert_eq!(
            scan_all("\"a\n\nb\" x"),
            [Ok((TokenKind::String, "\"a\n\nb\"", 3)), Ok((TokenKind::Identifier, "x", 3))]
        );
        assert_eq!(scan_all("\"a\nb"), [Err((2, "Unterminated string."))]);
    }

    #[test]
    fn blanks_and_comments_are_skipped() {
        assert_eq!(scan_all("\t\r\n// \"é\" //\n / //"), [Ok((TokenKind::Slash, "/", 3))]);
    }

    #[test]
    fn scanning_goes_on_after_an_unexpected_character() {
        let unexpected = Err((1, "Unexpected character."));
        assert_eq!(
            scan_all("é@\0a\u{1F600}"),
            [unexpected, unexpected, unexpected, Ok((TokenKind::Identifier, "a", 1)), unexpected]
        );
    }

    #[test]
    fn the_end_repeats() {
        let mut scanner = Scanner::new("a b\n c");
        assert_eq!(scanner.scan().map(|token| token.lexeme), Ok("a"));
        scanner.skip_rest();
        for _ in 0..3 {
            assert_eq!(scanner.scan(), Ok(Token { kind: TokenKind::End, lexeme: "", line: 1 }));
        }
    }
}
