//! Tables and arrays as JSON text, with the types of their entries beside it.
//!
//! The tags stand in the order in which the values begin, so that the text's own structure says
//! which entry each belongs to: `{"n":5,"a":[true,"x"]}` with `FIAtS`.

use super::text::{DEPTH_MAX, percent_encode, read_scalar, tag_of, write_scalar};
use super::{Table, Value};

/// Whether the value nests no deeper than [`DEPTH_MAX`].
pub(super) fn is_shallow(value: &Value) -> bool {
    let mut level: Vec<&Value> = vec![value];
    for _ in 0..=DEPTH_MAX {
        let inner = level.iter().flat_map(|value| match value {
            Value::Array(values) => values.iter().collect::<Vec<_>>(),
            Value::Table(Table(entries)) => entries.iter().map(|(_, value)| value).collect(),
            _ => Vec::new(),
        });
        level = inner.collect();
        if level.is_empty() {
            return true;
        }
    }
    false
}

/// Appends the text of a value that [`is_shallow`], and its tags.
pub(super) fn write(value: &Value, text: &mut String, tags: &mut String) {
    match value {
        Value::Array(values) => {
            tags.push('A');
            text.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(value, text, tags);
            }
            text.push(']');
        }
        Value::Table(Table(entries)) => {
            tags.push('F');
            text.push('{');
            for (index, (name, value)) in entries.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_string(name, text);
                text.push(':');
                write(value, text, tags);
            }
            text.push('}');
        }
        Value::Text(octets) | Value::Bytes(octets) => {
            let is_binary = matches!(value, Value::Bytes(_));
            if let Ok(string) = std::str::from_utf8(octets) {
                tags.push(tag_of(value));
                return write_string(string, text);
            }
            tags.push(if is_binary { 'X' } else { 'Z' });
            let mut coded = String::new();
            percent_encode(octets, &mut coded);
            write_string(&coded, text);
        }
        Value::Void => {
            tags.push('V');
            text.push_str("null");
        }
        _ => {
            tags.push(tag_of(value));
            let is_number = match value {
                Value::Float(number) => number.is_finite(),
                Value::Double(number) => number.is_finite(),
                _ => true,
            };
            let quote = if is_number { "" } else { "\"" };
            text.push_str(quote);
            write_scalar(value, text);
            text.push_str(quote);
        }
    }
}

fn write_string(string: &str, out: &mut String) {
    out.push('"');
    for character in string.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\x1F' | '\x7F'..='\u{9F}' => {
                out.push_str("\\u00");
                let digit = |nibble: u32| char::from_digit(nibble, 16).unwrap_or('0');
                out.push(digit(character as u32 >> 4));
                out.push(digit(character as u32 & 15));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

/// A container that is being filled, with its own name in the one around it.
enum Filling {
    Table(Option<String>, Vec<(String, Value)>),
    Array(Option<String>, Vec<Value>),
}

/// Reads what [`write`] wrote; `None` when `text` is no JSON array or object, or its values are
/// not of these types. Octets from outside: nothing recurses, [`DEPTH_MAX`] bounds the nesting.
pub(super) fn read(text: &str, tags: &str) -> Option<Value> {
    let mut tags = tags.bytes();
    let mut rest = text.trim_ascii();
    let mut open: Vec<Filling> = Vec::new();
    // Whether a comma must come before the next entry of the innermost container.
    let mut needs_comma = false;
    loop {
        rest = rest.trim_ascii_start();
        if let Some(container) = open.last()
            && let Some(after) = rest.strip_prefix(match container {
                Filling::Table(..) => '}',
                Filling::Array(..) => ']',
            })
        {
            rest = after;
            let (name, value) = match open.pop()? {
                Filling::Table(name, entries) => (name, Value::Table(Table(entries))),
                Filling::Array(name, values) => (name, Value::Array(values)),
            };
            needs_comma = true;
            match open.last_mut() {
                Some(around) => around.add(name, value)?,
                None => return (rest.is_empty() && tags.next().is_none()).then_some(value),
            }
            continue;
        }
        if needs_comma {
            rest = rest.strip_prefix(',')?.trim_ascii_start();
        }
        let mut name = None;
        if let Some(Filling::Table(..)) = open.last() {
            let (string, after) = read_string(rest)?;
            name = Some(string);
            rest = after.trim_ascii_start().strip_prefix(':')?.trim_ascii_start();
        }
        match tags.next()? {
            tag @ (b'F' | b'A') => {
                if open.len() == DEPTH_MAX {
                    return None;
                }
                rest = rest.strip_prefix(if tag == b'F' { '{' } else { '[' })?;
                open.push(match tag {
                    b'F' => Filling::Table(name, Vec::new()),
                    _ => Filling::Array(name, Vec::new()),
                });
                needs_comma = false;
            }
            tag => {
                let (value, after) = read_leaf(tag, rest)?;
                rest = after;
                open.last_mut()?.add(name, value)?;
                needs_comma = true;
            }
        }
    }
}

impl Filling {
    fn add(&mut self, name: Option<String>, value: Value) -> Option<()> {
        match self {
            Self::Table(_, entries) => entries.push((name?, value)),
            Self::Array(_, values) => values.push(value),
        }
        Some(())
    }
}

fn read_leaf(tag: u8, text: &str) -> Option<(Value, &str)> {
    if text.starts_with('"') {
        let (string, rest) = read_string(text)?;
        return Some((read_scalar(tag, &string)?, rest));
    }
    let end = text.find([',', ']', '}']).unwrap_or(text.len());
    let (token, rest) = text.split_at(end);
    let token = token.trim_ascii_end();
    match (tag, token) {
        (b'V', "null") => Some((Value::Void, rest)),
        (b'S' | b'x' | b'Z' | b'X' | b'V', _) => None,
        _ => Some((read_scalar(tag, token)?, rest)),
    }
}

fn read_string(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('"')?;
    let mut string = String::new();
    loop {
        let at = rest.find(['"', '\\'])?;
        string.push_str(&rest[..at]);
        let is_end = rest.as_bytes()[at] == b'"';
        rest = &rest[at + 1..];
        if is_end {
            return Some((string, rest));
        }
        let escape = rest.chars().next()?;
        rest = &rest[escape.len_utf8()..];
        string.push(match escape {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'b' => '\x08',
            'f' => '\x0C',
            '"' | '\\' | '/' => escape,
            'u' => {
                // Only what this module writes: pairs of surrogates are not needed for it.
                let digits = rest.get(..4)?;
                rest = &rest[4..];
                char::from_u32(u32::from_str_radix(digits, 16).ok()?)?
            }
            _ => return None,
        });
    }
}
