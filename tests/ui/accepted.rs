//! The derive in a program of its own.

use mimalloc_runtime::{Budget, Ref, Runtime, Trace};

#[derive(Trace)]
struct Function {
    name: String,
    constants: Vec<Value>,
    #[trace(skip)]
    native: Option<fn()>,
}

#[derive(Trace)]
enum Value {
    Number(f64),
    Function(Ref<Function>),
}

fn main() {
    let mutator = Runtime::new().unwrap().attach().unwrap();
    let function = |name: &str, constants| Function { name: name.to_owned(), constants, native: None };
    let inner = mutator.alloc(function("inner", vec![Value::Number(1.5)])).unwrap();
    let outer = mutator.alloc(function("outer", vec![Value::Function(inner)])).unwrap();
    assert!(outer.native.is_none());
    match &outer.constants[..] {
        [Value::Function(inner)] => {
            assert_eq!(inner.name, "inner");
            assert!(matches!(inner.constants[..], [Value::Number(1.5)]));
        }
        _ => panic!("another value"),
    }
    drop(outer);
    assert_eq!(mutator.collect(Budget::Unbounded).freed.objects, 2);
}
