//! Memory over the program's own time, in bounded space.

/// Spans kept; more would not be told apart on a screen.
const SPANS: u64 = 1024;

/// Bytes of a span at first.
const FINEST: u64 = 256;

/// Bytes in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Memory {
    /// Of objects that have a reference.
    pub(super) live: u64,
    /// Of objects known to be dead.
    pub(super) pending: u64,
}

impl Memory {
    fn max(self, other: Memory) -> Memory {
        Memory { live: self.live.max(other.live), pending: self.pending.max(other.pending) }
    }
}

/// What was seen of memory, by the number of bytes allocated before.
///
/// Time is cut into at most [`SPANS`] spans of one width. When it outgrows them, each two become one of twice the width.
/// A span keeps its peaks, so that none is lost however far it is thinned out, and where it ended.
#[derive(Debug)]
pub(super) struct Timeline {
    width: u64,
    /// The time of the last note.
    now: u64,
    spans: Vec<Option<Span>>,
}

/// What was seen in one span.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Span {
    peak: Memory,
    /// The last that was seen, and when.
    last: Memory,
    at: u64,
}

impl Span {
    fn then(self, later: Span) -> Span {
        Span { peak: self.peak.max(later.peak), ..later }
    }
}

impl Timeline {
    /// At the start nothing is allocated.
    pub(super) fn new() -> Timeline {
        let mut timeline = Timeline { width: FINEST, now: 0, spans: Vec::new() };
        timeline.record(0, Memory::default());
        timeline
    }

    /// Takes note of the memory in use when `at` bytes had been allocated. Time does not run backwards: a smaller number than
    /// that of the last note counts as that.
    pub(super) fn record(&mut self, at: u64, memory: Memory) {
        let at = self.now.max(at);
        self.now = at;
        while at / self.width >= SPANS {
            self.thin_out();
        }
        // Below SPANS.
        let index = (at / self.width) as usize;
        if index >= self.spans.len() {
            self.spans.resize(index + 1, None);
        }
        let seen = Span { peak: memory, last: memory, at };
        let span = &mut self.spans[index];
        *span = Some(span.map_or(seen, |earlier| earlier.then(seen)));
    }

    fn thin_out(&mut self) {
        self.width *= 2;
        self.spans = self.spans.chunks(2).map(|pair| pair.iter().copied().flatten().reduce(Span::then)).collect();
    }

    /// Points to draw a line through, in order of time: of each span its peaks and its end.
    pub(super) fn points(&self) -> impl Iterator<Item = (u64, Memory)> {
        self.spans.iter().enumerate().filter_map(|(index, span)| Some((index, (*span)?))).flat_map(|(index, span)| {
            let middle = index as u64 * self.width + self.width / 2;
            [(middle.min(span.at), span.peak), (span.at, span.last)]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_bounded_and_peaks_stay() {
        let mut timeline = Timeline::new();
        for step in 0..1_000_000_u64 {
            let peak = step == 123_456;
            timeline.record(step * 4096, Memory { live: step, pending: if peak { 77 } else { 1 } });
        }
        assert!(timeline.spans.len() as u64 <= SPANS);
        let points: Vec<_> = timeline.points().collect();
        assert!(points.is_sorted_by_key(|(at, _)| *at));
        assert_eq!(points.iter().filter(|(_, memory)| memory.pending == 77).count(), 1);
        assert_eq!(points.last(), Some(&(999_999 * 4096, Memory { live: 999_999, pending: 1 })));
    }

    #[test]
    fn spans_without_steps_are_no_points() {
        let mut timeline = Timeline::new();
        timeline.record(100_000, Memory { live: 100_000, pending: 8 });
        assert_eq!(timeline.points().count(), 4);
        timeline.record(u64::MAX, Memory::default());
        timeline.record(5, Memory::default());
        assert!(timeline.spans.len() as u64 <= SPANS);
        assert!(timeline.points().is_sorted_by_key(|(at, _)| at));
    }
}
