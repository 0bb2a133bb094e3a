//! What values refer to: every kind of object that the machine makes.
//!
//! Objects own what they hold through counted handles alone, and keep items of any number in tail objects
//! ([`Buffer`], [`Table`]), so that whatever dies is freed in steps of bounded length.

mod buffer;
mod caught;
mod class;
mod code;
mod function;
mod job;
mod list;
mod map;
mod native;
mod string;
mod table;
mod weak_ref;

pub(crate) use self::buffer::Buffer;
pub(crate) use self::caught::Caught;
pub(crate) use self::class::{BoundMethod, Class, Instance};
pub(crate) use self::code::Code;
pub(crate) use self::function::{Closure, ClosureHead, Function, FunctionHead, Upvalue};
pub(crate) use self::job::{Callback, Job};
pub(crate) use self::list::List;
pub(crate) use self::map::Map;
pub(crate) use self::native::{NativeClass, NativeFunction};
pub(crate) use self::string::Str;
pub(crate) use self::table::{Hint, Table};
pub(crate) use self::weak_ref::WeakRef;
