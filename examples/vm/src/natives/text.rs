//! Natives for strings. Offsets count bytes and must lie between characters.

use super::{Arguments, Code, Context, Native};
use crate::error::RuntimeError;
use crate::object::{List, Map};
use crate::value::Value;

pub(crate) const NATIVES: &[Native] = &[
    Native { name: "len", arity: 1, code: Code::Value(len) },
    Native { name: "substr", arity: 3, code: Code::Value(substr) },
    Native { name: "charAt", arity: 2, code: Code::Value(char_at) },
    Native { name: "find", arity: 3, code: Code::Value(find) },
    Native { name: "split", arity: 2, code: Code::Value(split) },
    Native { name: "words", arity: 1, code: Code::Value(words) },
    Native { name: "trim", arity: 1, code: Code::Value(trim) },
    Native { name: "upper", arity: 1, code: Code::Value(upper) },
    Native { name: "lower", arity: 1, code: Code::Value(lower) },
    Native { name: "replace", arity: 3, code: Code::Value(replace) },
    Native { name: "startsWith", arity: 2, code: Code::Value(starts_with) },
    Native { name: "endsWith", arity: 2, code: Code::Value(ends_with) },
    Native { name: "ord", arity: 1, code: Code::Value(ord) },
    Native { name: "chr", arity: 1, code: Code::Value(chr) },
    Native { name: "chars", arity: 1, code: Code::Value(chars) },
];

fn len(_: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let value = arguments.value(1);
    let len = if let Some(text) = value.as_str() {
        text.len()
    } else if let Some(list) = value.as_ref::<List>() {
        list.len()
    } else if let Some(map) = value.as_ref::<Map>() {
        map.len()
    } else {
        return Err(arguments.wrong_type(1, "a string, a list or a map"));
    };
    Ok((len as f64).into())
}

fn substr(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let text = arguments.string(1)?;
    let (from, to) = (offset(arguments, 2, text)?, offset(arguments, 3, text)?);
    let part = text.get(from..to).ok_or_else(|| out_of_range(arguments))?;
    context.heap.string(part)
}

fn char_at(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let text = arguments.string(1)?;
    let rest = &text[offset(arguments, 2, text)?..];
    let character = rest.chars().next().ok_or_else(|| out_of_range(arguments))?;
    context.heap.string(&rest[..character.len_utf8()])
}

fn find(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let (text, part) = (arguments.string(1)?, arguments.string(2)?);
    let from = offset(arguments, 3, text)?;
    context.heap.work(text.len() - from + part.len())?;
    Ok(text[from..].find(part).map_or(-1.0, |found| (from + found) as f64).into())
}

fn split(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let (text, separator) = (arguments.string(1)?, arguments.string(2)?);
    if separator.is_empty() {
        return Err(arguments.error("separator must not be empty"));
    }
    context.heap.work(text.len() + separator.len())?;
    strings(context, text.split(separator))
}

fn words(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let text = arguments.string(1)?;
    context.heap.work(text.len())?;
    strings(context, text.split_whitespace())
}

fn trim(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let text = arguments.string(1)?;
    context.heap.work(text.len())?;
    context.heap.string(text.trim())
}

fn upper(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let text = arguments.string(1)?;
    context.heap.written(|draft| text.chars().try_for_each(|character| write!(draft, "{}", character.to_uppercase())))
}

fn lower(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let text = arguments.string(1)?;
    context.heap.written(|draft| text.chars().try_for_each(|character| write!(draft, "{}", character.to_lowercase())))
}

/// An empty string is found between all characters and at both ends.
fn replace(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let (text, from, to) = (arguments.string(1)?, arguments.string(2)?, arguments.string(3)?);
    context.heap.work(text.len() + from.len())?;
    context.heap.written(|draft| {
        let mut separator = "";
        text.split(from).try_for_each(|part| {
            draft.write_str(separator)?;
            separator = to;
            draft.write_str(part)
        })
    })
}

fn starts_with(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let (text, start) = (arguments.string(1)?, arguments.string(2)?);
    context.heap.work(start.len())?;
    Ok(text.starts_with(start).into())
}

fn ends_with(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let (text, end) = (arguments.string(1)?, arguments.string(2)?);
    context.heap.work(end.len())?;
    Ok(text.ends_with(end).into())
}

fn ord(_: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let first = arguments.string(1)?.chars().next();
    let first = first.ok_or_else(|| arguments.error("argument 1 must not be empty"))?;
    Ok(f64::from(u32::from(first)).into())
}

fn chr(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let code = u32::try_from(arguments.integer(1)?).ok().and_then(char::from_u32);
    let character = code.ok_or_else(|| arguments.error("argument 1 must be a code point"))?;
    context.heap.string(character.encode_utf8(&mut [0; 4]))
}

fn chars(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<Value, RuntimeError> {
    let text = arguments.string(1)?;
    let each = text.char_indices().map(|(start, character)| &text[start..start + character.len_utf8()]);
    strings(context, each)
}

/// A list of strings.
fn strings<'t>(context: &mut Context<'_>, texts: impl Iterator<Item = &'t str>) -> Result<Value, RuntimeError> {
    let heap = &*context.heap;
    heap.list(texts.map(|text| heap.string(text)))
}

/// An argument that is an offset into `text`: of a character, or of the end.
fn offset(arguments: &Arguments<'_>, number: usize, text: &str) -> Result<usize, RuntimeError> {
    let offset = usize::try_from(arguments.integer(number)?).ok();
    offset.filter(|offset| text.is_char_boundary(*offset)).ok_or_else(|| out_of_range(arguments))
}

fn out_of_range(arguments: &Arguments<'_>) -> RuntimeError {
    arguments.error("offset out of range")
}
