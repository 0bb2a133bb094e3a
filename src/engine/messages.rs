//! What the engine has to say: errors, warnings, statistics, as Rust values.
//!
//! The engine prints from wherever it is, with locks held, on threads that are not initialised yet, in the middle of an
//! allocation. Nothing of the user's can run there. So its text is put into a buffer of fixed size, without allocating and
//! without waiting, and handed to handlers at the next safepoint of any mutator, or when [`deliver_messages`] is called.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::fmt::{self, Write as _};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Once;

use crate::aside::aside;
use crate::error::Error;
use crate::fallible;
use crate::lock::Mutex;
use crate::registry::{Registry, Round};
use crate::sys;
use crate::traced::event;

/// What kind of message it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MessageKind {
    /// Something went wrong: corrupted memory, an impossible request, a double free.
    Error,
    /// Something did not go as it should have.
    Warning,
    /// Anything else: statistics, what it does when it is verbose.
    Text,
}

/// A line that the engine printed, or an error that it reported.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// What kind it is.
    pub kind: MessageKind,
    /// The line, without its end.
    pub text: String,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Bytes of text that are kept until somebody takes them.
const ROOM: usize = 16 << 10;

struct Buffer {
    bytes: [u8; ROOM],
    len: usize,
}

/// Invariant BUFFER: where the engine prints, the lock is only tried. Who takes the text holds it for a copy of it, into
/// memory that was there before.
static BUFFER: Mutex<Buffer> = Mutex::new(Buffer { bytes: [0; ROOM], len: 0 });

/// Whether there is text: what a safepoint looks at.
static WAITING: AtomicBool = AtomicBool::new(false);

/// Pieces of text that found no room, or the lock taken.
static LOST: AtomicU64 = AtomicU64::new(0);

fn keep(text: &[u8]) {
    if let Some(mut buffer) = BUFFER.try_lock() {
        let Buffer { bytes, len } = &mut *buffer;
        if let Some(place) = bytes.get_mut(*len..*len + text.len()) {
            place.copy_from_slice(text);
            *len += text.len();
            drop(buffer);
            WAITING.store(true, Ordering::Release);
            return;
        }
    }
    LOST.fetch_add(1, Ordering::Relaxed);
    WAITING.store(true, Ordering::Release);
}

/// Takes text of the engine's. It runs anywhere: no allocation, no waiting, no panic.
unsafe extern "C" fn output(text: *const c_char, _null: *mut c_void) {
    if !text.is_null() {
        // SAFETY: the engine passes a string that ends with a zero.
        keep(unsafe { CStr::from_ptr(text) }.to_bytes());
    }
}

/// Takes an error's number. It runs anywhere, as `output`.
unsafe extern "C" fn error(number: c_int, _null: *mut c_void) {
    keep(match number {
        libc::EFAULT => b"mimalloc: error: EFAULT: memory of the allocator is corrupted\n",
        libc::EAGAIN => b"mimalloc: error: EAGAIN: a block was freed twice\n",
        libc::ENOMEM => b"mimalloc: error: ENOMEM: memory has run out\n",
        libc::EOVERFLOW => b"mimalloc: error: EOVERFLOW: a request is too large\n",
        libc::EINVAL => b"mimalloc: error: EINVAL: a pointer or an argument is not valid\n",
        _ => b"mimalloc: error: of an unknown number\n",
    });
    // As without a handler: these builds do not go on with corrupted memory. What it was is printed first.
    if number == libc::EFAULT && cfg!(any(feature = "secure", feature = "debug")) {
        if let Some(buffer) = BUFFER.try_lock() {
            // SAFETY: so many bytes of the buffer.
            unsafe { libc::write(2, buffer.bytes.as_ptr().cast(), buffer.len as _) };
        }
        std::process::abort();
    }
}

type Handler = dyn Fn(&Message) + Send + Sync;

static HANDLERS: Registry<Handler> = Registry::new();

/// Calls `handler` with what the engine has to say, from now on instead of printing it on standard error.
///
/// It is called outside of the engine and of other handlers, on the thread whose [`Mutator::safepoint`](crate::Mutator::safepoint) or
/// [`collect`](crate::Mutator::collect) comes next, or that calls [`deliver_messages`]; it may do anything. Of more than 16 KiB
/// between two such moments the rest is lost, and said to be. If it panics, the panic passes through the safepoint, when all
/// messages have been told to all handlers.
///
/// With the feature `tracing` each message is also an event, of the level that its kind is; for that alone a handler that does nothing
/// will do.
///
/// In `secure` and `debug` builds corrupted memory still ends the process, after its text has been printed.
///
/// # Errors
/// [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory).
pub fn on_message(handler: impl Fn(&Message) + Send + Sync + 'static) -> Result<MessageHandler, Error> {
    static INSTALLED: Once = Once::new();
    // The table is the process's.
    let id = aside(|| HANDLERS.add(fallible::boxed(handler)?))?;
    INSTALLED.call_once(|| {
        // SAFETY: it neither allocates nor unwinds, and lives as long as the process. What was held back comes at once.
        unsafe { sys::mi_register_output(Some(output), ptr::null_mut()) };
        // SAFETY: as above.
        unsafe { sys::mi_register_error(Some(error), ptr::null_mut()) };
    });
    Ok(MessageHandler { id })
}

/// A handler of messages; dropping it removes the handler. [`core::mem::forget`] keeps it for good. Messages without a handler
/// go to standard error, at the same moments.
#[derive(Debug)]
#[must_use = "the handler is removed when this is dropped"]
pub struct MessageHandler {
    id: u64,
}

impl Drop for MessageHandler {
    fn drop(&mut self) {
        HANDLERS.remove(self.id);
    }
}

/// Whether there is something to deliver.
#[inline(always)]
pub(crate) fn has_messages() -> bool {
    WAITING.load(Ordering::Relaxed)
}

/// Hands to the handlers what the engine has said since this was done last, by a safepoint or by this function. When Rust's own memory
/// has run out it waits for the next time.
pub fn deliver_messages() {
    if !WAITING.swap(false, Ordering::Acquire) {
        return;
    }
    // What the engine prints is no work of the program's: nobody is charged for it.
    let taken = aside(|| Ok::<_, Error>((HANDLERS.all()?, take_messages()?)));
    let Ok((handlers, messages)) = taken else {
        WAITING.store(true, Ordering::Release);
        return;
    };
    let mut round = Round::new(handlers);
    for message in &messages {
        round.run(|| match message.kind {
            MessageKind::Error => event!(ERROR, "engine", text = %message),
            MessageKind::Warning => event!(WARN, "engine", text = %message),
            MessageKind::Text => event!(INFO, "engine", text = %message),
        });
        if round.is_empty() {
            round.run(|| eprintln!("{message}"));
        }
        round.tell(|handler| handler(message));
    }
    round.end();
}

/// Takes all whole lines out of the buffer. For what there is no memory, that is lost, and said to be.
fn take_messages() -> Result<Vec<Message>, Error> {
    let mut text: Vec<u8> = Vec::new();
    text.try_reserve_exact(ROOM).map_err(|_| fallible::out_of_memory())?;
    {
        let mut buffer = BUFFER.lock();
        // A line that is still being printed waits for its end, unless it fills the buffer.
        let end = match buffer.bytes[..buffer.len].iter().rposition(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            None if buffer.len == ROOM => ROOM,
            None => 0,
        };
        text.extend_from_slice(&buffer.bytes[..end]);
        let len = buffer.len;
        buffer.bytes.copy_within(end..len, 0);
        buffer.len = len - end;
    }
    let mut messages = Vec::new();
    let mut lost = LOST.swap(0, Ordering::Relaxed);
    for line in text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).filter(|line| !line.is_empty()) {
        match message(line).filter(|_| messages.try_reserve(1).is_ok()) {
            Some(message) => messages.push(message),
            None => lost += 1,
        }
    }
    if lost > 0 {
        let said = format_args!(
            "{lost} pieces of text were lost: more than {ROOM} bytes came between two safepoints, or memory ran out"
        );
        let mut text = String::new();
        if text.try_reserve(200).is_ok() && messages.try_reserve(1).is_ok() {
            // Writing to a string does not fail.
            let _ = write!(text, "{said}");
            messages.push(Message { kind: MessageKind::Warning, text });
        } else {
            LOST.fetch_add(lost, Ordering::Relaxed);
        }
    }
    Ok(messages)
}

/// What is no UTF-8 is replaced by a mark. `None` if there is no memory.
fn message(line: &[u8]) -> Option<Message> {
    let mut text = String::new();
    text.try_reserve(line.len() * char::REPLACEMENT_CHARACTER.len_utf8()).ok()?;
    for chunk in line.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    Some(Message { kind: kind_of(&text), text })
}

fn kind_of(line: &str) -> MessageKind {
    if line.contains("mimalloc: error:") {
        MessageKind::Error
    } else if line.contains("mimalloc: warning:") {
        MessageKind::Warning
    } else {
        MessageKind::Text
    }
}
