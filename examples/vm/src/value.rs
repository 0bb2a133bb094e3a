//! Lox values in eight bytes.
//!
//! A value is a word that is read by its range. Numbers are IEEE doubles to which `NUMBERS` was added, which leaves the
//! words below it to everything else; no double reaches the top, because all not-a-numbers are made one.
//!
//! ```text
//! 0000 pppp pppp pppp    a reference, the address as it is: objects lie below 2^48 at multiples of 16
//! 0000 0000 0000 000x    nil, false, true, absent: bit 1 set, where no address has one
//! 0002 0000 0000 0000    the least number
//! ...  fff2 ...          the greatest: minus infinity
//! ```
//!
//! So a value that is a reference has the very bits of a [`Ref`], and can be looked at as one without being taken apart.

use std::fmt;
use std::ptr::{self, NonNull};

use mimalloc_runtime::{Managed, Object, Ref, Slots, Trace, Tracer, Untyped, raw};

use crate::object::{
    BoundMethod, Caught, Class, Closure, Instance, List, Map, NativeClass, NativeFunction, Str, WeakRef,
};

/// What is added to the bits of a number, and so the least word that is one.
const NUMBERS: usize = 1 << 49;

/// Set in nil, false, true and absent.
const CONSTANT: usize = 1 << 1;

/// A word with none of these bits is a reference.
const NOT_REFERENCE: usize = CONSTANT | !(NUMBERS - 1);

/// A Lox value: nil, a boolean, a number, or a counted reference to an object.
///
/// Invariant VALUE: the word is a number or a constant by the ranges above, or else the address of an object in which this
/// value owns one counted reference.
#[repr(transparent)]
pub struct Value(NonNull<Object>);

const _: () = assert!(size_of::<Value>() == 8 && size_of::<Option<Value>>() == 8);

impl Value {
    /// `nil`
    pub const NIL: Value = Value::constant(CONSTANT);
    /// `false`
    pub const FALSE: Value = Value::constant(CONSTANT | 1 << 2);
    /// `true`
    pub const TRUE: Value = Value::constant(CONSTANT | 1 << 2 | 1);
    /// No Lox value: what stands in a place of a table that holds none.
    pub(crate) const ABSENT: Value = Value::constant(CONSTANT | 1 << 3);

    const fn constant(word: usize) -> Value {
        match NonNull::new(ptr::without_provenance_mut(word)) {
            Some(word) => Value(word),
            None => panic!("a constant is not zero"),
        }
    }

    #[inline(always)]
    fn word(&self) -> usize {
        self.0.as_ptr().addr()
    }

    /// The number, if it is one.
    #[inline(always)]
    pub fn as_number(&self) -> Option<f64> {
        let word = self.word();
        (word >= NUMBERS).then(|| f64::from_bits((word - NUMBERS) as u64))
    }

    /// The boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self.word() {
            word if word == Value::TRUE.word() => Some(true),
            word if word == Value::FALSE.word() => Some(false),
            _ => None,
        }
    }

    /// Whether it is nil.
    #[inline(always)]
    pub fn is_nil(&self) -> bool {
        self.word() == Value::NIL.word()
    }

    #[inline(always)]
    pub(crate) fn is_absent(&self) -> bool {
        self.word() == Value::ABSENT.word()
    }

    /// Whether a condition takes it for false: nil and false.
    #[inline(always)]
    pub fn is_falsey(&self) -> bool {
        self.is_nil() || self.word() == Value::FALSE.word()
    }

    /// The reference, if it is one.
    #[inline(always)]
    pub fn as_object(&self) -> Option<&Ref<Untyped>> {
        // SAFETY: a word without these bits is by VALUE a pointer to an object with a reference of its own, which is what a
        // `Ref` is (REF), and both are transparent around that pointer.
        (self.word() & NOT_REFERENCE == 0).then(|| unsafe { &*ptr::from_ref(self).cast::<Ref<Untyped>>() })
    }

    /// A look at the object as a `T`, if it is one.
    #[inline(always)]
    pub fn as_ref<T: Managed>(&self) -> Option<&Ref<T>> {
        Ref::downcast_ref(self.as_object()?)
    }

    /// The string, if it is one.
    #[inline(always)]
    pub(crate) fn as_text(&self) -> Option<&Str> {
        Str::of(self)
    }

    /// The text, if it is a string.
    pub fn as_str(&self) -> Option<&str> {
        self.as_text().map(Str::as_str)
    }

    /// The bits, for hashing: equal for equal values, save that minus zero and zero differ.
    #[inline(always)]
    pub(crate) fn bits(&self) -> usize {
        self.word()
    }

    /// Whether two values have the same bits. As `==` for all that are not numbers.
    #[inline(always)]
    pub(crate) fn is_same(&self, other: &Value) -> bool {
        self.word() == other.word()
    }

    /// What `type()` says of it.
    pub fn type_name(&self) -> &'static str {
        let Some(object) = self.as_object() else {
            return match self.word() {
                word if word >= NUMBERS => "number",
                word if word == Value::NIL.word() => "nil",
                _ => "boolean",
            };
        };
        if self.as_text().is_some() {
            "string"
        } else if Ref::is::<Class>(object) || Ref::is::<NativeClass>(object) {
            "class"
        } else if Ref::is::<Instance>(object) {
            "instance"
        } else if Ref::is::<List>(object) {
            "list"
        } else if Ref::is::<Map>(object) {
            "map"
        } else if Ref::is::<Caught>(object) {
            "error"
        } else if Ref::is::<WeakRef>(object) {
            "weak"
        } else {
            "function"
        }
    }
}

impl Clone for Value {
    #[inline(always)]
    fn clone(&self) -> Value {
        if self.word() & NOT_REFERENCE == 0 {
            // SAFETY: by VALUE alive.
            unsafe { raw::retain(self.0) };
        }
        Value(self.0)
    }
}

impl Drop for Value {
    #[inline(always)]
    fn drop(&mut self) {
        if self.word() & NOT_REFERENCE == 0 {
            // SAFETY: by VALUE this value's own reference, given up once.
            unsafe { raw::release(self.0) }
        }
    }
}

// SAFETY: 1, 2: one slot, which by VALUE holds a reference or none. 3, 4: there is nothing else. 5: does nothing else.
unsafe impl Trace for Value {
    const SLOTS: Slots = Slots::Fixed(1);
    const RESIDUE: bool = false;
    #[inline(always)]
    fn trace(&self, tracer: &mut Tracer<'_>) {
        if self.word() & NOT_REFERENCE == 0 {
            // SAFETY: by VALUE owned.
            unsafe { tracer.reference(self.0) }
        } else {
            tracer.empty(1);
        }
    }
    unsafe fn drop_residue(&mut self) {}
}

impl Default for Value {
    #[inline(always)]
    fn default() -> Value {
        Value::NIL
    }
}

impl From<bool> for Value {
    #[inline(always)]
    fn from(value: bool) -> Value {
        if value { Value::TRUE } else { Value::FALSE }
    }
}

impl From<f64> for Value {
    #[inline(always)]
    fn from(number: f64) -> Value {
        // Other not-a-numbers would, with NUMBERS added, wrap around to what is taken for a reference.
        let number = if number.is_nan() { f64::NAN } else { number };
        let word = number.to_bits() as usize + NUMBERS;
        // The sum does not overflow, so it is at least NUMBERS.
        // SAFETY: not zero.
        Value(unsafe { NonNull::new_unchecked(ptr::without_provenance_mut(word)) })
    }
}

impl<T: ?Sized> From<Ref<T>> for Value {
    #[inline(always)]
    fn from(object: Ref<T>) -> Value {
        Value(Ref::into_raw(object))
    }
}

/// As `==` in Lox: numbers by value, strings by their text (of which there is only one copy), all else by identity.
impl PartialEq for Value {
    #[inline(always)]
    fn eq(&self, other: &Value) -> bool {
        match (self.as_number(), other.as_number()) {
            (Some(a), Some(b)) => a == b,
            _ => self.word() == other.word(),
        }
    }
}

/// As `print` shows it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f, 0)
    }
}

/// Deeper than this, lists and maps are shown as dots.
const SHOWN_LEVELS: usize = 16;

impl Value {
    /// Calls itself for the items of lists and maps, at most [`SHOWN_LEVELS`] deep.
    fn show(&self, f: &mut fmt::Formatter<'_>, level: usize) -> fmt::Result {
        if let Some(number) = self.as_number() {
            return write!(f, "{}", crate::number::General(number));
        }
        if let Some(text) = self.as_str() {
            return f.write_str(text);
        }
        if let Some(list) = self.as_ref::<List>() {
            if level == SHOWN_LEVELS {
                return f.write_str("...");
            }
            f.write_str("[")?;
            for (index, item) in list.items().iter().enumerate() {
                f.write_str(if index > 0 { ", " } else { "" })?;
                item.show(f, level + 1)?;
            }
            return f.write_str("]");
        }
        if let Some(map) = self.as_ref::<Map>() {
            if level == SHOWN_LEVELS {
                return f.write_str("...");
            }
            f.write_str("{")?;
            for (index, (key, value)) in map.table().entries().enumerate() {
                f.write_str(if index > 0 { ", " } else { "" })?;
                key.show(f, level + 1)?;
                f.write_str(": ")?;
                value.show(f, level + 1)?;
            }
            return f.write_str("}");
        }
        if let Some(caught) = self.as_ref::<Caught>() {
            write!(f, "{}", caught.message)
        } else if let Some(closure) = self.as_ref::<Closure>() {
            write!(f, "{}", closure.head().function.head())
        } else if let Some(instance) = self.as_ref::<Instance>() {
            write!(f, "{} instance", instance.class().name())
        } else if let Some(class) = self.as_ref::<Class>() {
            write!(f, "{}", class.name())
        } else if let Some(class) = self.as_ref::<NativeClass>() {
            f.write_str(class.name())
        } else if let Some(bound) = self.as_ref::<BoundMethod>() {
            bound.method().show(f, level)
        } else if self.as_ref::<NativeFunction>().is_some() {
            f.write_str("<native fn>")
        } else if self.as_ref::<WeakRef>().is_some() {
            // Not of what, which depends on the moment.
            f.write_str("<weak reference>")
        } else {
            f.write_str(match self.as_bool() {
                Some(true) => "true",
                Some(false) => "false",
                None => "nil",
            })
        }
    }
}

/// As `print` shows it, strings in quotes.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_str() {
            Some(text) => fmt::Debug::fmt(text, f),
            None => fmt::Display::fmt(self, f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Buffer;
    use mimalloc_runtime::{Budget, Runtime};

    #[test]
    fn every_number_comes_back_and_is_nothing_else() {
        let mut numbers =
            vec![0.0, -0.0, 1.0, -1.5, f64::MIN, f64::MAX, f64::MIN_POSITIVE, f64::INFINITY, f64::NEG_INFINITY];
        numbers.extend((0..64).map(|bit| f64::from_bits(1 << bit)));
        numbers.extend((0..52).map(|bit| f64::from_bits(f64::NEG_INFINITY.to_bits() - (1 << bit))));
        for number in numbers {
            let value = Value::from(number);
            assert_eq!(value.as_number().map(f64::to_bits), Some(number.to_bits()));
            assert!(value.as_object().is_none() && value.as_bool().is_none() && !value.is_nil() && !value.is_falsey());
            assert_eq!(value.type_name(), "number");
            assert!(value == value.clone());
        }
        assert!(Value::from(0.0) == Value::from(-0.0) && !Value::from(0.0).is_same(&Value::from(-0.0)));
    }

    #[test]
    fn no_not_a_number_is_taken_for_a_reference() {
        let quiet = f64::NAN.to_bits();
        for bits in [quiet, quiet | 1 << 63, quiet + 1, u64::MAX, f64::INFINITY.to_bits() + 1, u64::MAX - 0xf] {
            let value = Value::from(f64::from_bits(bits));
            assert!(value.as_number().is_some_and(f64::is_nan) && value.as_object().is_none(), "{bits:#x}");
            assert!(value != value.clone());
        }
    }

    #[test]
    fn constants_are_themselves_alone() {
        let constants = [Value::NIL, Value::FALSE, Value::TRUE, Value::ABSENT];
        for (a, first) in constants.iter().enumerate() {
            assert!(first.as_number().is_none() && first.as_object().is_none());
            for (b, second) in constants.iter().enumerate() {
                assert_eq!(first == second, a == b);
            }
        }
        assert_eq!([Value::from(true), Value::from(false)].map(|value| value.as_bool()), [Some(true), Some(false)]);
        assert!(Value::NIL.is_falsey() && Value::FALSE.is_falsey() && !Value::TRUE.is_falsey());
        assert_eq!(constants.map(|value| value.to_string()), ["nil", "false", "true", "nil"]);
    }

    #[test]
    fn a_reference_is_counted_and_looked_at_in_place() {
        let mutator = Runtime::new().unwrap().attach().unwrap();
        let list = mutator.alloc(List::new(Buffer::new())).unwrap();
        let value = Value::from(list.clone());
        assert!(!Ref::is_unique(&list));
        assert!(value.as_ref::<List>().is_some_and(|found| Ref::ptr_eq(found, &list)));
        assert!(value.as_ref::<Map>().is_none() && value.as_str().is_none() && value.as_number().is_none());
        let second = value.clone();
        assert!(second == value && second.is_same(&value));
        drop((value, second));
        assert!(Ref::is_unique(&list));
        drop(list);
        mutator.collect(Budget::Unbounded);
        assert_eq!(mutator.metrics().live.now.objects, 0);
    }
}
