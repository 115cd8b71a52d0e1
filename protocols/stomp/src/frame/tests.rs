//! Every case is read whole and then one octet at a time; both must agree (ST-1).

use super::*;

/// All frames in `input`, as text, and how it ends.
fn read(input: &[u8], version: Option<Version>, config: &Config, chunk_len: usize) -> Vec<String> {
    let (mut framer, mut buffer, mut read) = (Framer::default(), Vec::new(), Vec::new());
    for chunk in input.chunks(chunk_len.max(1)) {
        buffer.extend_from_slice(chunk);
        loop {
            buffer.drain(..framer.padding_len(&buffer));
            let frame = match framer.advance(&buffer, version, config) {
                Ok(false) => break,
                Ok(true) => framer.frame(&buffer, version),
                Err(failure) => Err(failure),
            };
            let frame = match frame {
                Ok(frame) => frame,
                Err(failure) => {
                    read.push(format!("{}: {}", failure.message, failure.body.trim_end()));
                    return read;
                }
            };
            let headers: Vec<_> = frame
                .headers()
                .map(|header| format!("{}={}", header.name(), header.value()))
                .collect();
            let body = String::from_utf8_lossy(frame.body);
            read.push(format!("{} [{}] {body}", frame.command, headers.join("|")));
            let len = frame.len;
            framer.reset();
            buffer.drain(..len);
        }
    }
    read
}

fn small() -> Config {
    Config {
        message_bytes_max: 20,
        header_line_bytes_max: 30,
        head_bytes_max: 60,
        headers_max: 3,
        ..Config::default()
    }
}

/// The rule, the version, what arrives, and what is read.
type Case<'a> = (&'a str, Option<Version>, &'a [u8], &'a [&'a str]);

fn check(cases: &[Case<'_>]) {
    for (rule, version, input, frames) in cases {
        for chunk_len in [input.len(), 1, 3] {
            let read = read(input, *version, &small(), chunk_len);
            assert_eq!(&read, frames, "{rule} (pieces of {chunk_len})");
        }
    }
}

const V0: Option<Version> = Some(Version::V1_0);
const V1: Option<Version> = Some(Version::V1_1);
const V2: Option<Version> = Some(Version::V1_2);

#[test]
fn frames_end_where_they_should() {
    check(&[
        (
            "S-1: line ends and NULs between frames",
            V2,
            b"\n\r\nA\n\n\0\n\0\r\nB\n\n\0\n",
            &["A [] ", "B [] "],
        ),
        ("S-2: CR LF in 1.2", V2, b"SEND\r\na:b\r\n\r\nhi\r\n\0", &["SEND [a=b] hi\r\n"]),
        ("S-2: CR is content in 1.1", V1, b"SEND\na:b\r\n\nhi\0", &["SEND [a=b\r] hi"]),
        ("S-2: CR LF everywhere also in 1.1", V1, b"SEND\r\na:b\r\n\r\nhi\0", &["SEND [a=b] hi"]),
        ("S-3: commands are case sensitive", V2, b"send\n\n\0", &["send [] "]),
        (
            "S-7: content-length",
            V2,
            b"SEND\ncontent-length:3\n\na\0b\0C\n\n\0",
            &["SEND [content-length=3] a\0b", "C [] "],
        ),
        ("S-8: the first NUL", V2, b"SEND\n\na\0B\n\n\0", &["SEND [] a", "B [] "]),
        ("S-7: an empty body", V2, b"SEND\ncontent-length:0\n\n\0", &["SEND [content-length=0] "]),
        (
            "S-15: the first content-length",
            V2,
            b"SEND\ncontent-length:1\ncontent-length:2\n\na\0",
            &["SEND [content-length=1|content-length=2] a"],
        ),
        ("S-14: no trimming", V2, b"A\n b : c \n\n\0", &["A [ b = c ] "]),
        ("S-14: padding in 1.0", V0, b"A\nb: c \n\n\0", &["A [b=c ] "]),
        ("S-16: escapes", V2, b"A\na\\cb:c\\nd:e\n\n\0", &["A [a:b=c\nd:e] "]),
        ("S-16: none in 1.0", V0, b"A\nb:c\\nd\n\n\0", &["A [b=c\\nd] "]),
        ("S-20: none in CONNECT", None, b"CONNECT\nb:c\\td:\n\n\0", &["CONNECT [b=c\\td:] "]),
        ("S-4: UTF-8", V2, "A\nä:ö\n\n\0".as_bytes(), &["A [ä=ö] "]),
    ]);
}

#[test]
fn what_is_no_frame_is_told_so() {
    check(&[
        (
            "S-18: undefined escape",
            V2,
            b"A\nb:\\t\n\n\0",
            &["Invalid frame: undefined escape in a header"],
        ),
        (
            "S-17: CR escape in 1.1",
            V1,
            b"A\nb:\\r\n\n\0",
            &["Invalid frame: undefined escape in a header"],
        ),
        (
            "S-5: no colon",
            V2,
            b"A\nb\n\n\0",
            &["Invalid frame: header line without a name and a colon"],
        ),
        ("no name", V2, b"A\n:b\n\n\0", &["Invalid frame: header line without a name and a colon"]),
        ("S-4: not UTF-8", V2, b"A\nb:\xFF\n\n\0", &["Invalid frame: headers are not UTF-8"]),
        ("NUL in a header", V2, b"A\nb:\0\n\n\0", &["Invalid frame: NUL octet in the headers"]),
        (
            "S-7: too short",
            V2,
            b"A\ncontent-length:1\n\nab\0",
            &["Invalid frame: no NUL octet behind the body"],
        ),
        (
            "not a number",
            V2,
            b"A\ncontent-length:x\n\n\0",
            &["Invalid frame: content-length is not a number"],
        ),
    ]);
}

#[test]
fn limits_are_told() {
    check(&[
        (
            "S-21: promised body",
            V2,
            b"A\ncontent-length:21\n\n",
            &["Invalid frame: body of more than 20 octets"],
        ),
        (
            "S-21: vast body",
            V2,
            b"A\ncontent-length:999999999999999\n\n",
            &["Invalid frame: body of more than 20 octets"],
        ),
        (
            "S-21: endless body",
            V2,
            b"A\n\n123456789012345678901",
            &["Invalid frame: body of more than 20 octets"],
        ),
        ("S-21: headers", V2, b"A\na:\nb:\nc:\nd:\n\n\0", &["Invalid frame: more than 3 headers"]),
        (
            "S-21: long line",
            V2,
            b"A\n1234567890123456789012345678901",
            &["Invalid frame: header line of more than 30 octets"],
        ),
        (
            "S-21: long head",
            V2,
            b"A\n1234567890123456789012345678:\n1234567890123456789012345678:\n",
            &["Invalid frame: headers of more than 60 octets"],
        ),
        ("no command", V2, b"123456789012345678901234567890123", &["Invalid frame: no command"]),
        (
            "S-23: another protocol",
            None,
            b"GET / HTTP/1.1\r\n",
            &["Illegal command: You must log in using CONNECT first"],
        ),
    ]);
}

#[test]
fn the_longest_allowed_is_allowed() {
    check(&[
        (
            "line",
            V2,
            b"A\n1234567890123456789012345678:2\n\n\0",
            &["A [1234567890123456789012345678=2] "],
        ),
        ("body", V2, b"A\n\n12345678901234567890\0", &["A [] 12345678901234567890"]),
        ("headers", V2, b"A\na:\nb:\nc:\n\n\0", &["A [a=|b=|c=] "]),
    ]);
}

#[test]
fn what_was_looked_at_is_not_looked_at_again() {
    let config = Config::default();
    let mut framer = Framer::default();
    let mut input = b"SEND\ndestination:/queue/a\n\n".to_vec();
    assert!(!framer.advance(&input, V2, &config).unwrap());
    input.extend_from_slice(&[b'x'; 1000]);
    assert!(!framer.advance(&input, V2, &config).unwrap());
    assert_eq!(framer.scanned, input.len());
    input.push(0);
    assert!(framer.advance(&input, V2, &config).unwrap());
    assert_eq!(framer.frame(&input, V2).unwrap().body.len(), 1000);
}

#[test]
fn numbers_too_large_to_count_are_the_largest() {
    assert_eq!(decimal(b"99999999999999999999999"), Some(usize::MAX));
    assert_eq!(decimal(b" 12 "), Some(12));
    for text in [&b""[..], b" ", b"+1", b"-1", b"1.0", b"0x1"] {
        assert_eq!(decimal(text), None);
    }
}
