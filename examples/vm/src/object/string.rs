//! Strings: immutable text, of which there is one copy each.

use std::fmt;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use mimalloc_runtime::{Mutator, Object, OutOfMemory, Ref, Tail, Trace, Untyped};

use crate::halves::Halves;
use crate::intern::{Interner, Node};
use crate::value::Value;

/// Invariant UTF8: the items are UTF-8. Only this module can name the type, so only it can make or change one.
type Text = Tail<TextHead, u8>;

/// A counted handle to a string. Two are equal exactly if they are the same object, because strings are interned.
#[derive(Clone, Trace)]
#[repr(transparent)]
pub(crate) struct Str(Ref<Text>);

#[derive(Trace)]
struct TextHead {
    #[trace(skip)]
    registration: Registration,
}

/// A string's place in the interner, which does not keep it alive: given up when the string dies, before its memory is
/// freed.
struct Registration {
    interner: Rc<Interner>,
    node: Node,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.interner.remove(&self.node);
    }
}

impl Str {
    /// A new string, which the interner is to know under `hash`.
    pub(crate) fn new(
        mutator: &Mutator,
        interner: &Rc<Interner>,
        hash: u32,
        text: Halves<'_>,
    ) -> Result<Str, OutOfMemory> {
        let head = TextHead { registration: Registration { interner: Rc::clone(interner), node: Node::new(hash) } };
        let string: Result<Ref<Text>, _> = if text.right.is_empty() {
            mutator.alloc_tail_copy(head, text.left.as_bytes())
        } else {
            mutator.alloc_tail(head, text.len(), |_| 0).map(|mut string| {
                let (_, bytes) = string.parts_mut().expect("it is new");
                text.copy_to(bytes);
                string
            })
        };
        Ok(Str(string.map_err(|error| error.map(drop))?))
    }

    /// Its place in the interner, and itself.
    pub(crate) fn node(&self) -> (&Node, NonNull<Object>) {
        (&self.0.head().registration.node, Ref::as_raw(&self.0))
    }

    /// The string, if the value is one.
    #[inline(always)]
    pub(crate) fn of(value: &Value) -> Option<&Str> {
        Str::of_object(value.as_object()?)
    }

    /// The string, if the object is one.
    #[inline(always)]
    pub(crate) fn of_object(object: &Ref<Untyped>) -> Option<&Str> {
        let text: &Ref<Text> = Ref::downcast_ref(object)?;
        // SAFETY: a `Str` is transparent around this handle.
        Some(unsafe { &*ptr::from_ref(text).cast::<Str>() })
    }

    /// A handle that takes over a counted reference.
    ///
    /// # Safety
    /// 1. `object` is a string that is alive.
    /// 2. The caller owns one counted reference to it, which the handle takes over.
    pub(crate) unsafe fn from_raw(object: NonNull<Object>) -> Str {
        // SAFETY: 1, 2 and of the mutator's thread, as are all strings: neither they nor their values are `Send`.
        Str(unsafe { Ref::from_raw(object) })
    }

    /// The text.
    #[inline(always)]
    pub(crate) fn as_str(&self) -> &str {
        // SAFETY: UTF8.
        unsafe { std::str::from_utf8_unchecked(self.0.items()) }
    }
}

impl From<Str> for Value {
    fn from(text: Str) -> Value {
        Value::from(text.0)
    }
}

impl PartialEq for Str {
    fn eq(&self, other: &Str) -> bool {
        Ref::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Display for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
