//! The class `List`.

use mimalloc_runtime::Ref;

use super::{Arguments, Code, Context, Native};
use crate::error::RuntimeError;
use crate::heap::Heap;
use crate::object::{Buffer, List};
use crate::value::Value;

pub(crate) const NAME: &str = "List";

pub(crate) const METHODS: &[Native] = &[
    Native { name: "add", arity: 1, code: Code::Value(add) },
    Native { name: "get", arity: 1, code: Code::Value(get) },
    Native { name: "set", arity: 2, code: Code::Value(set) },
    Native { name: "len", arity: 0, code: Code::Value(len) },
    Native { name: "pop", arity: 0, code: Code::Value(pop) },
    Native { name: "insert", arity: 2, code: Code::Value(insert) },
    Native { name: "removeAt", arity: 1, code: Code::Value(remove_at) },
    Native { name: "clear", arity: 0, code: Code::Value(clear) },
    Native { name: "contains", arity: 1, code: Code::Value(contains) },
    Native { name: "indexOf", arity: 1, code: Code::Value(index_of) },
    Native { name: "slice", arity: 2, code: Code::Value(slice) },
    Native { name: "concat", arity: 1, code: Code::Value(concat) },
    Native { name: "reverse", arity: 0, code: Code::Value(reverse) },
    Native { name: "sort", arity: 0, code: Code::Value(sort) },
    Native { name: "join", arity: 1, code: Code::Value(join) },
];

/// `List()`
pub(crate) fn construct(heap: &Heap) -> Result<Value, RuntimeError> {
    heap.list_of(Buffer::new())
}

fn this<'a>(arguments: &Arguments<'a>) -> &'a Ref<List> {
    arguments.receiver().as_ref().expect("methods of lists are found through lists alone")
}

fn add(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    this(arguments).push(context.heap.mutator(), arguments.value(1).clone())?;
    Ok(Value::NIL)
}

fn get(_: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let items = this(arguments).items();
    let index = arguments.index(1, items.len())?;
    Ok(items[index].clone())
}

fn set(_: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let mut buffer = this(arguments).buffer();
    let index = arguments.index(1, buffer.len())?;
    buffer.items_mut()[index] = arguments.value(2).clone();
    Ok(Value::NIL)
}

fn len(_: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    Ok((this(arguments).len() as f64).into())
}

fn pop(_: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    this(arguments).buffer().pop().ok_or_else(|| arguments.error("index out of range"))
}

fn insert(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let mut buffer = this(arguments).buffer();
    let index = arguments.index(1, buffer.len() + 1)?;
    context.heap.work(size_of_val(&buffer.items()[index..]))?;
    buffer.insert(context.heap.mutator(), index, arguments.value(2).clone())?;
    Ok(Value::NIL)
}

fn remove_at(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let mut buffer = this(arguments).buffer();
    let index = arguments.index(1, buffer.len())?;
    context.heap.work(size_of_val(&buffer.items()[index..]))?;
    Ok(buffer.remove(index))
}

fn clear(_: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    *this(arguments).buffer() = Buffer::new();
    Ok(Value::NIL)
}

fn position(context: &Context<'_>, arguments: &Arguments<'_>) -> Result<Option<usize>, RuntimeError> {
    let (wanted, items) = (arguments.value(1), this(arguments).items());
    context.heap.work(size_of_val(&*items))?;
    Ok(items.iter().position(|item| item == wanted))
}

fn contains(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    Ok(position(context, arguments)?.is_some().into())
}

fn index_of(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    Ok(position(context, arguments)?.map_or(-1.0, |index| index as f64).into())
}

fn slice(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let items = this(arguments).items();
    let from = arguments.index(1, items.len() + 1)?;
    let to = arguments.index(2, items.len() + 1)?;
    let part = items.get(from..to).ok_or_else(|| arguments.error("index out of range"))?;
    context.heap.work(size_of_val(part))?;
    let copy = Buffer::filled(context.heap.mutator(), part.len(), |index| part[index].clone())?;
    context.heap.list_of(copy)
}

fn concat(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let (left, right) = (this(arguments).items(), arguments.list(1)?.items());
    context.heap.work(size_of_val(&*left) + size_of_val(&*right))?;
    let copy = Buffer::filled(context.heap.mutator(), left.len() + right.len(), |index| {
        let item = left.get(index).unwrap_or_else(|| &right[index - left.len()]);
        item.clone()
    })?;
    context.heap.list_of(copy)
}

fn reverse(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let mut buffer = this(arguments).buffer();
    context.heap.work(size_of_val(buffer.items()))?;
    buffer.items_mut().reverse();
    Ok(Value::NIL)
}

/// Numbers by value, a not-a-number after all others; strings by their bytes.
fn sort(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let mut buffer = this(arguments).buffer();
    let items = buffer.items_mut();
    // Each item is compared with about as many others as it takes halvings to come to one.
    let texts: usize = items.iter().filter_map(Value::as_str).map(str::len).sum();
    let rounds = items.len().checked_ilog2().map_or(0, |log| log as usize + 1);
    context.heap.work((size_of_val(items) + texts).saturating_mul(rounds))?;
    // Equal items cannot be told apart, so the sort need not be stable, and needs no memory.
    if items.iter().all(|item| item.as_number().is_some()) {
        items.sort_unstable_by(|a, b| match (a.as_number(), b.as_number()) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            _ => unreachable!("all are numbers"),
        });
    } else if items.iter().all(|item| item.as_str().is_some()) {
        items.sort_unstable_by(|a, b| a.as_str().cmp(&b.as_str()));
    } else {
        return Err(arguments.error("items must be all numbers or all strings"));
    }
    Ok(Value::NIL)
}

fn join(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let (items, separator) = (this(arguments).items(), arguments.string(1)?);
    // Besides the text that is written, which may be none.
    context.heap.work(size_of_val(&*items))?;
    context.heap.written(|text| {
        for (index, item) in items.iter().enumerate() {
            text.write_str(if index > 0 { separator } else { "" })?;
            write!(text, "{item}")?;
        }
        Ok(())
    })
}
