//! How names and values of headers are written (S-16 to S-19).
//!
//! 1.2 escapes LF, CR, colon and backslash, 1.1 all of these but CR, 1.0 nothing. What a version
//! cannot escape is percent-coded towards its clients, so that no value can add a header.

use std::borrow::Cow;

use memchr::memchr;
use trivium_core::{Field, Lost};

use crate::version::Version;

/// An escape that the version does not know (S-17, S-18).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidEscape;

/// Which side of the colon a text stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Before it.
    Name,
    /// Behind it.
    Value,
}

/// Reads an escaped text.
pub(crate) fn unescape(version: Version, text: &str) -> Result<Cow<'_, str>, InvalidEscape> {
    if version == Version::V1_0 {
        return Ok(Cow::Borrowed(text));
    }
    let Some(first) = memchr(b'\\', text.as_bytes()) else { return Ok(Cow::Borrowed(text)) };
    let mut plain = String::with_capacity(text.len());
    let (head, mut rest) = text.split_at(first);
    plain.push_str(head);
    while let Some(at) = memchr(b'\\', rest.as_bytes()) {
        plain.push_str(&rest[..at]);
        plain.push(match rest.as_bytes().get(at + 1) {
            Some(b'n') => '\n',
            Some(b'c') => ':',
            Some(b'\\') => '\\',
            Some(b'r') if version == Version::V1_2 => '\r',
            _ => return Err(InvalidEscape),
        });
        rest = &rest[at + 2..];
    }
    plain.push_str(rest);
    Ok(Cow::Owned(plain))
}

/// Appends `text` so that a reader of `version` gets it back.
pub(crate) fn escape(version: Version, side: Side, text: &[u8], out: &mut Vec<u8>) {
    let mut copied = 0;
    for (index, &octet) in text.iter().enumerate() {
        if let Some(coded) = coded(version, side, octet) {
            out.extend_from_slice(&text[copied..index]);
            out.extend_from_slice(coded);
            copied = index + 1;
        }
    }
    out.extend_from_slice(&text[copied..]);
}

/// What stands for an octet that may not stand for itself.
const fn coded(version: Version, side: Side, octet: u8) -> Option<&'static [u8]> {
    match (version, octet) {
        (_, 0) => Some(b"%00"),
        (Version::V1_0, b'\n') => Some(b"%0A"),
        (Version::V1_0, b'\r') => Some(b"%0D"),
        (Version::V1_0, b':') if matches!(side, Side::Name) => Some(b"%3A"),
        (Version::V1_0, _) => None,
        (_, b'\n') => Some(b"\\n"),
        (_, b':') => Some(b"\\c"),
        (_, b'\\') => Some(b"\\\\"),
        (Version::V1_2, b'\r') => Some(b"\\r"),
        _ => None,
    }
}

/// Appends one header line. A name that is empty, which no version can write, becomes `%`.
pub(crate) fn write(version: Version, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let name: &[u8] = if name.is_empty() { b"%" } else { name };
    escape(version, Side::Name, name, out);
    out.push(b':');
    escape(version, Side::Value, value, out);
    out.push(b'\n');
}

/// Appends header lines that are escaped as 1.2 wants it to a frame of `version`. Returns what had
/// to be percent-coded: its reader cannot tell that from what was said.
pub(crate) fn write_block(version: Version, block: &[u8], out: &mut Vec<u8>) -> Lost {
    let mut lost = Lost::NONE;
    if version == Version::V1_2 || memchr(b'\\', block).is_none() {
        out.extend_from_slice(block);
        return lost;
    }
    for (name, value) in lines(block) {
        write(version, name.as_bytes(), value.as_bytes(), out);
        let is_coded =
            |text: &str, codes: &[char]| version == Version::V1_0 && text.contains(codes);
        lost.unless(
            !is_coded(&name, &['\r', '\n', ':']) && !is_coded(&value, &['\r', '\n']),
            Field::Header,
        );
    }
    lost
}

/// The names and values of header lines that are escaped as 1.2 wants it. Lines that are not such
/// are passed over: a block may come back from a disk.
pub(crate) fn lines(block: &[u8]) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    block.split(|&octet| octet == b'\n').filter_map(|line| {
        let line = std::str::from_utf8(line).ok()?;
        let (name, value) = line.split_once(':')?;
        Some((unescape(Version::V1_2, name).ok()?, unescape(Version::V1_2, value).ok()?))
    })
}

/// Appends a number as text.
pub(crate) fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_are_those_of_the_version() {
        for (version, coded, plain) in [
            (Version::V1_2, r"a\nb\rc\cd\\e", Ok("a\nb\rc:d\\e")),
            (Version::V1_2, r"\\n", Ok("\\n")),
            (Version::V1_2, r"\t", Err(InvalidEscape)),
            (Version::V1_2, r"a\", Err(InvalidEscape)),
            (Version::V1_1, r"a\nb\cd\\e", Ok("a\nb:d\\e")),
            (Version::V1_1, r"\r", Err(InvalidEscape)),
            (Version::V1_0, r"a\tb\", Ok(r"a\tb\")),
            (Version::V1_2, "\\é", Err(InvalidEscape)),
        ] {
            let read = unescape(version, coded);
            assert_eq!(read.as_deref(), plain.as_deref(), "S-16 to S-18: {coded} in {version:?}");
        }
    }

    #[test]
    fn what_one_zero_cannot_escape_is_percent_coded() {
        let mut out = Vec::new();
        write(Version::V1_0, b"a:b\n", b"c:d\r\n\0", &mut out);
        write(Version::V1_0, b"", b"", &mut out);
        assert_eq!(out, b"a%3Ab%0A:c:d%0D%0A%00\n%:\n");
    }

    #[test]
    fn numbers() {
        for number in [0, 7, 10, 99, 100, u64::MAX] {
            let mut out = Vec::new();
            push_decimal(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }

    proptest! {
        #[test]
        fn what_is_escaped_reads_back(text in "[^\0]*", is_newer in any::<bool>()) {
            let version = if is_newer { Version::V1_2 } else { Version::V1_1 };
            let mut out = Vec::new();
            escape(version, Side::Value, text.as_bytes(), &mut out);
            prop_assert!(memchr(b'\n', &out).is_none() && memchr(b':', &out).is_none());
            prop_assert!(version == Version::V1_1 || memchr(b'\r', &out).is_none());
            let out = String::from_utf8(out).unwrap();
            prop_assert_eq!(unescape(version, &out).unwrap(), text);
        }

        #[test]
        fn a_block_reads_back_in_every_version(
            headers in prop::collection::vec(("[^\0]+", "[^\0]*"), 0..8),
        ) {
            let mut block = Vec::new();
            for (name, value) in &headers {
                write(Version::V1_2, name.as_bytes(), value.as_bytes(), &mut block);
            }
            let read: Vec<_> =
                lines(&block).map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
            prop_assert_eq!(&read, &headers);
            let mut out = Vec::new();
            prop_assert_eq!(write_block(Version::V1_1, &block, &mut out), Lost::NONE);
            prop_assert_eq!(memchr::memchr_iter(b'\n', &out).count(), headers.len());
            out.clear();
            let is_lost = write_block(Version::V1_0, &block, &mut out) != Lost::NONE;
            let is_coded = headers.iter().any(|(name, value)| {
                name.contains(['\r', '\n', ':']) || value.contains(['\r', '\n'])
            });
            prop_assert_eq!(is_lost, is_coded);
            prop_assert_eq!(memchr::memchr_iter(b'\n', &out).count(), headers.len());
        }

        #[test]
        fn reading_never_panics(text in ".*", block in prop::collection::vec(any::<u8>(), 0..200)) {
            for version in [Version::V1_0, Version::V1_1, Version::V1_2] {
                drop(unescape(version, &text));
                write_block(version, &block, &mut Vec::new()).fields().for_each(drop);
            }
        }
    }
}
