//! Text in two pieces, which need not be put together to be looked for.

/// A text, and another one behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Halves<'t> {
    pub(crate) left: &'t str,
    pub(crate) right: &'t str,
}

impl<'t> From<&'t str> for Halves<'t> {
    fn from(text: &'t str) -> Self {
        Halves { left: text, right: "" }
    }
}

impl Halves<'_> {
    pub(crate) fn len(self) -> usize {
        // Two that are in memory do not overflow.
        self.left.len() + self.right.len()
    }

    /// Whether they make this text.
    pub(crate) fn is(self, text: &str) -> bool {
        let (text, left) = (text.as_bytes(), self.left.as_bytes());
        text.len() == self.len() && text.starts_with(left) && text.ends_with(self.right.as_bytes())
    }

    /// Writes them into so many bytes.
    pub(crate) fn copy_to(self, bytes: &mut [u8]) {
        let (left, right) = bytes.split_at_mut(self.left.len());
        left.copy_from_slice(self.left.as_bytes());
        right.copy_from_slice(self.right.as_bytes());
    }

    /// The bytes eight at a time, the last filled up with zeros.
    pub(crate) fn words(self) -> impl Iterator<Item = u64> {
        let left = self.left.as_bytes();
        let (left, rest) = left.split_at(left.len() / 8 * 8);
        let missing = if rest.is_empty() { 0 } else { (8 - rest.len()).min(self.right.len()) };
        let (first, right) = self.right.as_bytes().split_at(missing);
        let mut seam = [0; 8];
        seam[..rest.len()].copy_from_slice(rest);
        seam[rest.len()..][..missing].copy_from_slice(first);
        let seam = (!rest.is_empty()).then_some(u64::from_le_bytes(seam));
        words(left).chain(seam).chain(words(right))
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wherever_it_is_divided_it_is_the_same_text() {
        let text = "0123456789abcdefghijklmnopqrstuvwxyz";
        for len in 0..text.len() {
            let whole = Halves::from(&text[..len]);
            for at in 0..=len {
                let halves = Halves { left: &text[..at], right: &text[at..len] };
                assert!(halves.words().eq(whole.words()), "{halves:?}");
                assert!(halves.is(whole.left) && !halves.is(&text[..len + 1]));
                let mut copy = vec![0; len];
                halves.copy_to(&mut copy);
                assert_eq!(copy, whole.left.as_bytes());
            }
        }
        assert_eq!(Halves::from("12345678").words().count(), 1);
        assert!(!Halves { left: "aa", right: "aa" }.is("aaa") && !Halves { left: "ab", right: "c" }.is("abd"));
    }
}
