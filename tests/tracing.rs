//! What `tracing` subscribers are told.

use std::alloc::Layout;
use std::fmt::{Debug, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use mimalloc_runtime::{Budget, Ref, Runtime, Trace, engine, sys};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

#[derive(Default)]
struct Notes {
    lines: Mutex<Vec<String>>,
    ids: AtomicU64,
    panics: AtomicBool,
}

/// Writes spans and events down, and panics at events if it is told to.
#[derive(Clone, Default)]
struct Notebook(Arc<Notes>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Notebook {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "mimalloc_runtime"
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut line = Line(format!("span {}", span.metadata().name()));
        span.record(&mut line);
        self.0.lines.lock().unwrap().push(line.0);
        Id::from_u64(self.0.ids.fetch_add(1, Ordering::Relaxed) + 1)
    }
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lines.lock().unwrap().push(line.0);
        assert!(!self.0.panics.load(Ordering::Relaxed), "a subscriber's panic");
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Notebook {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lines.lock().unwrap())
    }
}

#[derive(Trace)]
struct Link {
    next: Option<Ref<Link>>,
}

#[test]
fn collections_beats_and_messages_are_told() {
    let notebook = Notebook::default();
    let _default = tracing::subscriber::set_default(notebook.clone());
    let mutator = Runtime::new().unwrap().attach().unwrap();
    assert_eq!(notebook.take(), ["span attach"]);
    let chain = |length| (0..length).fold(None, |next, _| Some(mutator.alloc(Link { next }).unwrap()));

    drop(chain(10));
    mutator.collect(Budget::Units(4));
    let lines = notebook.take();
    assert_eq!(lines[0], "span collect budget=Units(4)");
    let step = &lines[1];
    assert!(step.starts_with("TRACE ") && step.contains("cause=Request units=4 freed_objects=2"), "{step}");
    assert!(step.contains("pending_objects=1"), "{step}");

    let block = Layout::from_size_align(3 * (64 << 10), 8).unwrap();
    let block = (mutator.allocate(block).unwrap(), block);
    assert!(notebook.take().iter().any(|line| line.contains("number=3 passed=3")));
    // SAFETY: allocated above with this layout.
    unsafe { mutator.deallocate(block.0, block.1) };

    let _handler = engine::on_message(|_| ()).unwrap();
    // SAFETY: a size that no engine has.
    assert!(unsafe { sys::mi_malloc(usize::MAX / 2) }.is_null());
    mutator.safepoint();
    assert!(notebook.take().iter().any(|line| line.starts_with("ERROR ") && line.contains("mimalloc: error")));

    // A subscriber is code of the user's: its panic is kept for the safepoint, and nothing is lost.
    notebook.0.panics.store(true, Ordering::Relaxed);
    drop(chain(10));
    let result = catch_unwind(AssertUnwindSafe(|| mutator.collect(Budget::Unbounded)));
    assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), "a subscriber's panic");
    notebook.0.panics.store(false, Ordering::Relaxed);
    assert_eq!(mutator.metrics().live.now.objects, 0);
    notebook.take();
    assert_eq!(mutator.detach().live.objects, 0);
    assert_eq!(notebook.take()[0], "span detach");
}
