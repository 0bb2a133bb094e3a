//! What people call objects.

use std::fmt::Write as _;

use mimalloc_runtime::{Names, ObjectKind, Ref, Untyped};

use crate::object::{
    BoundMethod, Caught, Class, Closure, Function, Instance, Job, List, Map, NativeClass, NativeFunction, Str, Table,
    Upvalue, WeakRef,
};
use crate::value::Value;

/// Names for a heap snapshot.
pub(crate) struct Labels;

/// So much of a string's text is enough to know it.
const MOST_BYTES: usize = 100;

impl Names for Labels {
    fn object(&mut self, object: &Ref<Untyped>, name: &mut String) -> ObjectKind {
        let is = |kind, text: &str, name: &mut String| {
            name.push_str(text);
            kind
        };
        if let Some(text) = Str::of_object(object) {
            let mut end = text.as_str().len().min(MOST_BYTES);
            while !text.as_str().is_char_boundary(end) {
                end -= 1;
            }
            return is(ObjectKind::String, &text.as_str()[..end], name);
        }
        if let Some(instance) = Ref::downcast_ref::<Instance>(object) {
            return is(ObjectKind::Object, instance.class().name().as_str(), name);
        }
        if let Some(class) = Ref::downcast_ref::<Class>(object) {
            return is(ObjectKind::Object, &format!("class {}", class.name()), name);
        }
        if let Some(closure) = Ref::downcast_ref::<Closure>(object) {
            return is(ObjectKind::Closure, &closure.head().function.head().to_string(), name);
        }
        if let Some(function) = Ref::downcast_ref::<Function>(object) {
            return is(ObjectKind::Code, &function.head().to_string(), name);
        }
        if let Some(native) = Ref::downcast_ref::<NativeFunction>(object) {
            return is(ObjectKind::Closure, native.0.name, name);
        }
        if let Some(class) = Ref::downcast_ref::<NativeClass>(object) {
            return is(ObjectKind::Object, &format!("class {}", class.name()), name);
        }
        let text = match () {
            () if Ref::is::<List>(object) => "List",
            () if Ref::is::<Map>(object) => "Map",
            () if Ref::is::<Caught>(object) => "Error",
            () if Ref::is::<BoundMethod>(object) => "bound method",
            () if Ref::is::<Upvalue>(object) => "captured variable",
            () if Ref::is::<WeakRef>(object) => "Weak",
            () if Ref::is::<Job>(object) => "finalizer",
            () => return is(ObjectKind::Array, Table::storage_name(object).unwrap_or("items"), name),
        };
        is(ObjectKind::Object, text, name)
    }

    fn slot(&mut self, object: &Ref<Untyped>, slot: u32, name: &mut String) {
        let known: &[&str] = match () {
            () if Ref::is::<Instance>(object) => &["class", "fields", "index"],
            () if Ref::is::<Class>(object) => &["name", "methods", "index"],
            () if Ref::is::<NativeClass>(object) => &["methods", "index"],
            () if Ref::is::<BoundMethod>(object) => &["receiver", "method"],
            () if Ref::is::<Caught>(object) => &["message", "trace"],
            () if Ref::is::<Map>(object) => &["entries", "index"],
            () if Ref::is::<List>(object) => &["items"],
            () if Ref::is::<Closure>(object) => &["function"],
            () if Ref::is::<Function>(object) => &["name"],
            () if Ref::is::<Upvalue>(object) => &["value"],
            () => &[],
        };
        if let Some(known) = known.get(slot as usize) {
            name.push_str(known);
        } else if let Some((key, is_key)) = Table::key_of_slot(object, slot as usize) {
            label(key, is_key, name);
        }
    }
}

/// `key`, or `key of` it.
fn label(key: &Value, is_key: bool, name: &mut String) {
    let before = if is_key { "key " } else { "" };
    // Writing to a string fails at nothing.
    let _ = match key.as_str() {
        Some(text) => write!(name, "{before}{}", text.chars().take(MOST_BYTES).collect::<String>()),
        None if key.as_object().is_some() => write!(name, "{before}{}", key.type_name()),
        None => write!(name, "{before}{key}"),
    };
}
