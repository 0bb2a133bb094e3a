//! `#[derive(Trace)]` for `mimalloc-runtime`, which re-exports it. Use it from there.
//!
//! - `input`: what the derive accepts, and what it says to the rest.
//! - `bounds`: what an implementation for a generic type asks of the type's parameters.
//! - `expand`: the implementation.

mod bounds;
mod expand;
mod input;

use proc_macro::TokenStream;

/// Implements `Trace`: tells the runtime which references a struct or an enum holds, and how to drop the rest.
///
/// ```
/// use mimalloc_runtime::{Budget, Ref, Runtime, Trace};
///
/// #[derive(Trace)]
/// struct Function {
///     name: String,
///     constants: Vec<Value>,
///     #[trace(skip)]
///     native: Option<fn(&[Value]) -> Value>,
/// }
///
/// #[derive(Trace)]
/// enum Value {
///     Nil,
///     Number(f64),
///     Function(Ref<Function>),
/// }
///
/// let mutator = Runtime::new()?.attach()?;
/// let callee = Function { name: "callee".into(), constants: vec![Value::Number(1.0)], native: None };
/// let callee = Value::Function(mutator.alloc(callee).unwrap());
/// let caller = Function { name: "caller".into(), constants: vec![Value::Nil, callee], native: None };
/// drop(mutator.alloc(caller).unwrap());
/// assert_eq!(mutator.collect(Budget::Unbounded).freed.objects, 2);
/// # Ok::<(), mimalloc_runtime::Error>(())
/// ```
///
/// Every field must be `Trace` itself, or be marked `#[trace(skip)]`. Slots are visited in the order in which the fields are
/// declared. A struct has the slots of all of its fields. An enum has the slots of its largest variant, and fills the
/// smaller ones up with empty slots, so that a visit to a vector or a tail of enums can be left and resumed at any item; it
/// has a varying number of slots if one of its variants has.
///
/// # `#[trace(skip)]`
///
/// A skipped field may be of any `'static` type. It has no slots, and is dropped as a whole by its own `Drop` when the
/// object around it dies. So it is the mark for foreign types: a file, a map, a function pointer. A skipped field may hold
/// references: they are counted down all at once when it is dropped, which no budget bounds.
///
/// # `#[trace(acyclic)]`
///
/// Said of the type, as in `#[derive(Trace)] #[trace(acyclic)] struct Token { ... }`: no object of it is ever part of a cycle of
/// references. Then releases of such objects are never looked into for garbage cycles. Types without slots are known to be acyclic. If it is
/// said of a type that is part of cycles after all, those are never freed.
///
/// # Generic types
///
/// A type parameter `T` must be `T: Trace` if it occurs in a field that is not skipped, other than within `Ref<...>` or
/// `PhantomData<...>`. Where an associated type occurs, such as `T::Item`, it is the associated type that must be `Trace`.
/// All other type parameters must be `'static`.
///
/// # What is refused
///
/// - A type with `Drop` of its own: it would run on a value whose references are gone. Give the `Drop` to a field. The
///   compiler reports conflicting implementations of `TypesThatDeriveTraceMustNotImplementDrop`.
/// - A type with lifetime parameters: an object may outlive any borrow.
/// - A union: nothing says which of its fields is in use.
/// - A `repr(packed)` type: its fields cannot be referred to.
/// - A type that owns values of its own type, in boxes or vectors: it would be freed by recursion. The compiler reports a
///   cycle in `SLOTS`, which depends on itself. Put a reference in place of the box.
/// - A vector of vectors: a visit could not be resumed in the middle of it. The compiler reports it when an object of such a
///   type is allocated. Put the inner vector into an object of its own.
///
/// ```compile_fail
/// # use mimalloc_runtime::{Ref, Runtime, Trace};
/// #[derive(Trace)]
/// struct Table {
///     rows: Vec<Vec<Ref<Table>>>,
/// }
///
/// # let mutator = Runtime::new()?.attach()?;
/// mutator.alloc(Table { rows: Vec::new() }).unwrap();
/// # Ok::<(), mimalloc_runtime::Error>(())
/// ```
#[proc_macro_derive(Trace, attributes(trace))]
pub fn derive_trace(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    match input::Input::of(&input) {
        Ok(input) => expand::implementation(&input).into(),
        Err(errors) => errors.into_compile_error().into(),
    }
}
