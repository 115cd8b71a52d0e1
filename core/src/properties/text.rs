//! Typed values as text, for protocols whose headers have no types, and the note that restores
//! them.
//!
//! A header `retries` that is a 32-bit 5 reads `5` in STOMP and MQTT. Beside it stands one more
//! header, [`HEADER_TYPES`]: `retries=I`. Who copies both gets the integer back; where the text no
//! longer parses it stays text.
//!
//! ```text
//! types  = entry *( "," entry )
//! entry  = name "=" tags           names with `%`, `,`, `=` and controls percent-coded
//! tags   = 1*tag                   one tag a value, in the order in which the values begin
//! ```
//!
//! | tag | value | text |
//! |---|---|---|
//! | `S` | text | itself (said only where a name repeats, and inside of tables) |
//! | `t` | boolean | `true`, `false` |
//! | `b` `s` `I` `l` | signed integer of 8, 16, 32, 64 bits | decimal |
//! | `B` `u` `i` | unsigned integer of 8, 16, 32 bits | decimal |
//! | `f` `d` | float, double | decimal |
//! | `D` | decimal | its digits with their scale |
//! | `T` | timestamp | seconds since 1970 |
//! | `V` | void | empty |
//! | `x` | binary that reads as text | itself |
//! | `Z` `X` | text, binary that does not read as text | percent-coded |
//! | `A` `F` | array, table | JSON; the tags of the entries follow |
//!
//! The tags are those of AMQP 0-9-1's field tables, `Z` and `X` apart.

use std::collections::HashMap;
use std::fmt::Write;

use super::{Table, Value, json};

/// The header that says which types the others had.
pub const HEADER_TYPES: &str = "x-header-types";

/// Tables and arrays inside each other: what nests deeper has no text.
pub(super) const DEPTH_MAX: usize = 32;

/// How much of a value its text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It is the text.
    Plain,
    /// The text reads as a person expects; the type is said in [`HEADER_TYPES`].
    Typed,
    /// A text that had to be percent-coded: whoever does not read [`HEADER_TYPES`] reads
    /// something else.
    Coded,
}

/// Appends `value` as UTF-8 text without NUL to `text`, and its tags to `tags`. `None`, and
/// neither is changed, when it nests too deep.
pub fn write_value(value: &Value, text: &mut String, tags: &mut String) -> Option<Form> {
    let tag = tag_of(value);
    let form = match value {
        Value::Text(octets) | Value::Bytes(octets) => {
            let is_binary = matches!(value, Value::Bytes(_));
            let Some(plain) = plain_text(octets) else {
                percent_encode(octets, text);
                tags.push(if is_binary { 'X' } else { 'Z' });
                return Some(if is_binary { Form::Typed } else { Form::Coded });
            };
            text.push_str(plain);
            if is_binary { Form::Typed } else { Form::Plain }
        }
        Value::Array(_) | Value::Table(_) => {
            if !json::is_shallow(value) {
                return None;
            }
            json::write(value, text, tags);
            return Some(Form::Typed);
        }
        _ => {
            write_scalar(value, text);
            Form::Typed
        }
    };
    tags.push(tag);
    Some(form)
}

/// The tag of a value, as tables of AMQP have it.
pub(super) const fn tag_of(value: &Value) -> char {
    match value {
        Value::Void => 'V',
        Value::Bool(_) => 't',
        Value::Int(_, 1) => 'b',
        Value::Int(_, 2) => 's',
        Value::Int(_, 4) => 'I',
        Value::Uint(_, 1) => 'B',
        Value::Uint(_, 2) => 'u',
        Value::Uint(_, 4) => 'i',
        Value::Int(..) | Value::Uint(..) => 'l',
        Value::Float(_) => 'f',
        Value::Double(_) => 'd',
        Value::Decimal(..) => 'D',
        Value::Text(_) => 'S',
        Value::Bytes(_) => 'x',
        Value::Timestamp(_) => 'T',
        Value::Array(_) => 'A',
        Value::Table(_) => 'F',
    }
}

/// Appends a number, a truth value, or nothing for void.
pub(super) fn write_scalar(value: &Value, out: &mut String) {
    let written = match value {
        Value::Bool(truth) => write!(out, "{truth}"),
        Value::Int(number, _) => write!(out, "{number}"),
        Value::Uint(number, _) | Value::Timestamp(number) => write!(out, "{number}"),
        Value::Float(number) => write!(out, "{number}"),
        Value::Double(number) => write!(out, "{number}"),
        Value::Decimal(scale, number) => {
            write_scaled(*scale, *number, out);
            Ok(())
        }
        Value::Void | Value::Text(_) | Value::Bytes(_) | Value::Array(_) | Value::Table(_) => {
            Ok(())
        }
    };
    debug_assert!(written.is_ok(), "a string takes everything");
}

/// `number / 10^scale`, without rounding.
fn write_scaled(scale: u8, number: i32, out: &mut String) {
    let scale = usize::from(scale);
    let digits = format!("{:0>width$}", number.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    if number < 0 {
        out.push('-');
    }
    out.push_str(whole);
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
}

/// Reads what [`write_scalar`] wrote, and the texts of `S`, `Z`, `x`, `X`; `None` when `text` is
/// not what a value of that type reads like.
pub(super) fn read_scalar(tag: u8, text: &str) -> Option<Value> {
    let value = match tag {
        b'S' => Value::text(text),
        b'x' => Value::Bytes(text.into()),
        b'Z' => return percent_decode(text).map(Value::Text),
        b'X' => return percent_decode(text).map(Value::Bytes),
        b't' => Value::Bool(text.parse().ok()?),
        b'b' => Value::Int(text.parse::<i8>().ok()?.into(), 1),
        b's' => Value::Int(text.parse::<i16>().ok()?.into(), 2),
        b'I' => Value::Int(text.parse::<i32>().ok()?.into(), 4),
        b'l' => Value::Int(text.parse().ok()?, 8),
        b'B' => Value::Uint(text.parse::<u8>().ok()?.into(), 1),
        b'u' => Value::Uint(text.parse::<u16>().ok()?.into(), 2),
        b'i' => Value::Uint(text.parse::<u32>().ok()?.into(), 4),
        b'f' => Value::Float(text.parse().ok()?),
        b'd' => Value::Double(text.parse().ok()?),
        b'D' => return read_scaled(text),
        b'T' => Value::Timestamp(text.parse().ok()?),
        b'V' if text.is_empty() => Value::Void,
        _ => return None,
    };
    Some(value)
}

fn read_scaled(text: &str) -> Option<Value> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let number = format!("{whole}{fraction}").parse().ok()?;
    let value = Value::Decimal(u8::try_from(fraction.len()).ok()?, number);
    Some(value)
}

/// The octets as text that every protocol can carry: UTF-8 without NUL.
fn plain_text(octets: &[u8]) -> Option<&str> {
    std::str::from_utf8(octets).ok().filter(|text| !text.contains('\0'))
}

/// Appends octets as text: `%` and what is no printable ASCII and no part of valid UTF-8 is coded.
pub(super) fn percent_encode(octets: &[u8], out: &mut String) {
    for chunk in octets.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '%' | '\0' => push_code(character as u8, out),
                _ => out.push(character),
            }
        }
        chunk.invalid().iter().for_each(|&octet| push_code(octet, out));
    }
}

fn push_code(octet: u8, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(DIGITS[usize::from(octet >> 4)].into());
    out.push(DIGITS[usize::from(octet & 15)].into());
}

/// The reverse; `None` for a `%` without two digits.
pub(super) fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            octets.push(*first);
            continue;
        }
        let (digits, after) = tail.split_first_chunk::<2>()?;
        let digit = |at: usize| char::from(digits[at]).to_digit(16);
        octets.push(u8::try_from(digit(0)? * 16 + digit(1)?).ok()?);
        rest = after;
    }
    Some(octets)
}

/// Stands before the percent-coded octets of a correlation that is no text.
const OCTETS: &str = "octets:";

/// Appends a correlation as text, to be read back by [`octets_of_text`] wherever it is copied to,
/// with no note beside it: responders copy the correlation and nothing else. A text that reads
/// like such a code gets one more [`OCTETS`], so that the mapping is one to one.
pub fn text_of_octets(octets: &[u8], out: &mut String) {
    let Some(text) = plain_text(octets) else {
        out.push_str(OCTETS);
        return percent_encode(octets, out);
    };
    if code_of_octets(text).is_some() {
        out.push_str(OCTETS);
    }
    out.push_str(text);
}

/// The correlation that [`text_of_octets`] wrote as `text`.
#[must_use]
pub fn octets_of_text(text: &str) -> Vec<u8> {
    match code_of_octets(text) {
        None => text.into(),
        Some((1, octets)) => octets,
        Some(_) => text.strip_prefix(OCTETS).unwrap_or(text).into(),
    }
}

/// The octets behind any number of [`OCTETS`], and that number, if exactly this stands for them.
fn code_of_octets(text: &str) -> Option<(usize, Vec<u8>)> {
    let (mut code, mut count) = (text, 0);
    while let Some(rest) = code.strip_prefix(OCTETS) {
        code = rest;
        count += 1;
    }
    let octets = if count == 0 { None } else { percent_decode(code) }?;
    let mut again = String::with_capacity(code.len());
    percent_encode(&octets, &mut again);
    (plain_text(&octets).is_none() && again == code).then_some((count, octets))
}

/// Collects what [`HEADER_TYPES`] says of the headers of one message.
#[derive(Debug)]
pub struct TypeNote<'a> {
    /// Names of which some value has a type; of these every value is noted, in order.
    typed: std::collections::HashSet<&'a str>,
    note: String,
}

impl<'a> TypeNote<'a> {
    /// A note about `headers`; `None` when all of them are plain text.
    #[must_use]
    pub fn of(headers: &'a Table) -> Option<Self> {
        let is_typed = |value: &Value| match value {
            Value::Text(octets) => plain_text(octets).is_none(),
            _ => true,
        };
        let typed = headers.0.iter().filter(|(_, value)| is_typed(value));
        let typed: std::collections::HashSet<_> = typed.map(|(name, _)| name.as_str()).collect();
        (!typed.is_empty()).then(|| Self { typed, note: String::new() })
    }

    /// Notes that the next value of `name` had these tags; it travels under `travelling`.
    pub fn add(&mut self, name: &str, travelling: &str, tags: &str) {
        if !self.typed.contains(name) {
            return;
        }
        if !self.note.is_empty() {
            self.note.push(',');
        }
        for character in travelling.chars() {
            match character {
                '%' | ',' | '=' | '\0'..=' ' => push_code(character as u8, &mut self.note),
                _ => self.note.push(character),
            }
        }
        self.note.push('=');
        self.note.push_str(tags);
    }

    /// The value of [`HEADER_TYPES`].
    #[must_use]
    pub fn into_text(self) -> String {
        self.note
    }
}

/// Restores the types of headers that came as text.
#[derive(Debug, Default)]
pub struct TypesOfText<'a> {
    /// Tags by name, those of repeats in their order.
    tags: HashMap<Vec<u8>, std::collections::VecDeque<&'a str>>,
}

impl<'a> TypesOfText<'a> {
    /// Reads the value of [`HEADER_TYPES`]; `None` when it is not one.
    #[must_use]
    pub fn read(note: &'a str) -> Option<Self> {
        let mut types = Self::default();
        for entry in note.split(',') {
            let (name, tags) = entry.split_once('=')?;
            if tags.is_empty() || !tags.bytes().all(|tag| tag.is_ascii_alphabetic()) {
                return None;
            }
            types.tags.entry(percent_decode(name)?).or_default().push_back(tags);
        }
        Some(types)
    }

    /// The next value of the header that travels as `name`: typed if it was, and `text` still
    /// reads like that type; else text.
    pub fn restore(&mut self, name: &str, text: &str) -> Value {
        let tags =
            self.tags.get_mut(name.as_bytes()).and_then(std::collections::VecDeque::pop_front);
        let value = tags.and_then(|tags| match tags.as_bytes() {
            [b'A' | b'F', ..] => json::read(text, tags),
            [tag] => read_scalar(*tag, text),
            _ => None,
        });
        value.unwrap_or_else(|| Value::text(text))
    }
}

#[cfg(test)]
mod tests;
