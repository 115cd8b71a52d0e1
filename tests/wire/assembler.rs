//! Lines of binary protocols, in words:
//!
//! ```text
//! 01 8000          octets in hexadecimal
//! "text"           the octets of text, with its escapes
//! u16:5 var:200    numbers: u8, u16, u32, u64 big-endian, and MQTT's variable byte integer
//! u8[ .. ]         a group behind its length in octets; u16, u32, var likewise
//! *  ?  {name}     any run of octets; any one octet; a run that `>` may repeat later
//! queue.declare    class and method id of AMQP
//! method:1[ .. ]   an AMQP frame on channel 1; header:1, body:1 likewise; heartbeat
//! publish:1r[ .. ] an MQTT packet; PUBLISH with its QoS, d for DUP, r for RETAIN
//! # ...            a comment
//! ```
//!
//! A group with a run in it has whatever length it says, and nothing beyond it is compared.

#[cfg(test)]
use crate::pattern::Names;
use crate::pattern::{Pattern, Token, Width};
use crate::text;

/// What an open bracket becomes once it closes.
struct Group {
    width: Width,
    /// Octets before the length.
    start: Vec<u8>,
    content: Vec<Token>,
    /// Octets behind the content.
    end: Vec<u8>,
}

/// Reads one line.
pub(crate) fn parse(line: &str) -> Result<Pattern, String> {
    let outermost =
        Group { width: Width::Octets(0), start: Vec::new(), content: Vec::new(), end: Vec::new() };
    let mut groups = vec![outermost];
    let mut rest = line.trim_start();
    while !rest.is_empty() && !rest.starts_with('#') {
        let innermost = groups.last_mut().ok_or("a bracket closes that is not open")?;
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = string(quoted, &mut innermost.content)?;
        } else if let Some(after) = rest.strip_prefix(']') {
            let closed = groups.pop().ok_or("a bracket closes that is not open")?;
            let outer = groups.last_mut().ok_or("a bracket closes that is not open")?;
            closed.close(&mut outer.content)?;
            rest = after;
        } else {
            let end = rest.find([' ', '[', ']', '"']).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            if let Some(after) = after.strip_prefix('[') {
                groups.push(Group::open(word)?);
                rest = after;
            } else {
                self::word(word, &mut innermost.content)?;
                rest = after;
            }
        }
        rest = rest.trim_start();
    }
    match <[Group; 1]>::try_from(groups) {
        Ok([outermost]) => Ok(Pattern(outermost.content)),
        Err(_) => Err("a bracket is left open".into()),
    }
}

/// Reads to the closing quote and returns what is behind it.
fn string<'a>(quoted: &'a str, content: &mut Vec<Token>) -> Result<&'a str, String> {
    let mut octets = quoted.bytes();
    loop {
        match octets.next() {
            None => return Err("a quote is left open".into()),
            Some(b'"') => return Ok(&quoted[quoted.len() - octets.len()..]),
            Some(b'\\') => content.push(Token::Octet(text::escape(&mut octets)?)),
            Some(octet) => content.push(Token::Octet(octet)),
        }
    }
}

/// A word without a bracket.
fn word(word: &str, content: &mut Vec<Token>) -> Result<(), String> {
    match word {
        "*" => content.push(Token::Run),
        "?" => content.push(Token::Any),
        "heartbeat" => octets(&[8, 0, 0, 0, 0, 0, 0, FRAME_END], content),
        _ => {
            if let Some(name) = word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) {
                content.push(Token::Named(name.to_owned()));
            } else if let Some((_, ids)) = METHODS.iter().find(|(name, _)| *name == word) {
                let [class, method] = ids.map(u16::to_be_bytes);
                octets(&[class, method].concat(), content);
            } else if let Some((width, value)) = word.split_once(':') {
                let value = value.parse().map_err(|_| format!("{word}: not a number"))?;
                octets(&self::width(width)?.write(value)?, content);
            } else {
                octets(&hexadecimal(word)?, content);
            }
        }
    }
    Ok(())
}

fn octets(from: &[u8], to: &mut Vec<Token>) {
    to.extend(from.iter().copied().map(Token::Octet));
}

fn hexadecimal(word: &str) -> Result<Vec<u8>, String> {
    let is_hexadecimal =
        word.len().is_multiple_of(2) && word.bytes().all(|c| c.is_ascii_hexdigit());
    if !is_hexadecimal {
        return Err(format!("unknown word {word}"));
    }
    let pairs = (0..word.len()).step_by(2).map(|at| &word[at..at + 2]);
    pairs.map(|pair| u8::from_str_radix(pair, 16).map_err(|error| error.to_string())).collect()
}

fn width(name: &str) -> Result<Width, String> {
    Ok(match name {
        "u8" => Width::Octets(1),
        "u16" => Width::Octets(2),
        "u32" => Width::Octets(4),
        "u64" => Width::Octets(8),
        "var" => Width::Variable,
        _ => return Err(format!("unknown word {name}")),
    })
}

const FRAME_END: u8 = 0xCE;

impl Group {
    /// The group that `word[` opens.
    fn open(word: &str) -> Result<Self, String> {
        let (name, argument) = word.split_once(':').unwrap_or((word, ""));
        let group = |width, start: Vec<u8>, end| Self { width, start, content: Vec::new(), end };
        let frame = |kind: u8| -> Result<Self, String> {
            let channel: u16 = argument.parse().map_err(|_| format!("{word}: which channel?"))?;
            let start = [&[kind][..], &channel.to_be_bytes()].concat();
            Ok(group(Width::Octets(4), start, vec![FRAME_END]))
        };
        match name {
            "method" => frame(1),
            "header" => frame(2),
            "body" => frame(3),
            "publish" => {
                let flags = argument.chars().try_fold(0x30, |flags, flag| match flag {
                    '0'..='3' => Ok(flags | (flag as u8 - b'0') << 1),
                    'd' => Ok(flags | 8),
                    'r' => Ok(flags | 1),
                    _ => Err(format!("{word}: unknown flag {flag}")),
                })?;
                Ok(group(Width::Variable, vec![flags], Vec::new()))
            }
            name => match PACKETS.iter().find(|(known, _)| *known == name) {
                Some((_, first)) => Ok(group(Width::Variable, vec![*first], Vec::new())),
                None => Ok(group(width(name)?, Vec::new(), Vec::new())),
            },
        }
    }

    fn close(self, outer: &mut Vec<Token>) -> Result<(), String> {
        octets(&self.start, outer);
        let content = Pattern(self.content);
        if content.has_holes() {
            outer.push(Token::Counted(self.width, content));
        } else {
            octets(&self.width.write(content.0.len() as u64)?, outer);
            outer.extend(content.0);
        }
        octets(&self.end, outer);
        Ok(())
    }
}

/// First octets of MQTT packets (section 2.1); PUBLISH has flags of its own.
const PACKETS: &[(&str, u8)] = &[
    ("connect", 0x10),
    ("connack", 0x20),
    ("puback", 0x40),
    ("pubrec", 0x50),
    ("pubrel", 0x62),
    ("pubcomp", 0x70),
    ("subscribe", 0x82),
    ("suback", 0x90),
    ("unsubscribe", 0xA2),
    ("unsuback", 0xB0),
    ("pingreq", 0xC0),
    ("pingresp", 0xD0),
    ("disconnect", 0xE0),
    ("auth", 0xF0),
];

/// Class and method ids of AMQP 0-9-1 with RabbitMQ's extensions.
const METHODS: &[(&str, [u16; 2])] = &[
    ("connection.start", [10, 10]),
    ("connection.start-ok", [10, 11]),
    ("connection.tune", [10, 30]),
    ("connection.tune-ok", [10, 31]),
    ("connection.open", [10, 40]),
    ("connection.open-ok", [10, 41]),
    ("connection.close", [10, 50]),
    ("connection.close-ok", [10, 51]),
    ("connection.secure", [10, 20]),
    ("connection.secure-ok", [10, 21]),
    ("connection.blocked", [10, 60]),
    ("connection.unblocked", [10, 61]),
    ("connection.update-secret", [10, 70]),
    ("connection.update-secret-ok", [10, 71]),
    ("channel.open", [20, 10]),
    ("channel.open-ok", [20, 11]),
    ("channel.flow", [20, 20]),
    ("channel.flow-ok", [20, 21]),
    ("channel.close", [20, 40]),
    ("channel.close-ok", [20, 41]),
    ("access.request", [30, 10]),
    ("access.request-ok", [30, 11]),
    ("exchange.declare", [40, 10]),
    ("exchange.declare-ok", [40, 11]),
    ("exchange.delete", [40, 20]),
    ("exchange.delete-ok", [40, 21]),
    ("exchange.bind", [40, 30]),
    ("exchange.bind-ok", [40, 31]),
    ("exchange.unbind", [40, 40]),
    ("exchange.unbind-ok", [40, 51]),
    ("queue.declare", [50, 10]),
    ("queue.declare-ok", [50, 11]),
    ("queue.bind", [50, 20]),
    ("queue.bind-ok", [50, 21]),
    ("queue.purge", [50, 30]),
    ("queue.purge-ok", [50, 31]),
    ("queue.delete", [50, 40]),
    ("queue.delete-ok", [50, 41]),
    ("queue.unbind", [50, 50]),
    ("queue.unbind-ok", [50, 51]),
    ("basic.qos", [60, 10]),
    ("basic.qos-ok", [60, 11]),
    ("basic.consume", [60, 20]),
    ("basic.consume-ok", [60, 21]),
    ("basic.cancel", [60, 30]),
    ("basic.cancel-ok", [60, 31]),
    ("basic.publish", [60, 40]),
    ("basic.return", [60, 50]),
    ("basic.deliver", [60, 60]),
    ("basic.get", [60, 70]),
    ("basic.get-ok", [60, 71]),
    ("basic.get-empty", [60, 72]),
    ("basic.ack", [60, 80]),
    ("basic.reject", [60, 90]),
    ("basic.recover-async", [60, 100]),
    ("basic.recover", [60, 110]),
    ("basic.recover-ok", [60, 111]),
    ("basic.nack", [60, 120]),
    ("confirm.select", [85, 10]),
    ("confirm.select-ok", [85, 11]),
    ("tx.select", [90, 10]),
    ("tx.select-ok", [90, 11]),
    ("tx.commit", [90, 20]),
    ("tx.commit-ok", [90, 21]),
    ("tx.rollback", [90, 30]),
    ("tx.rollback-ok", [90, 31]),
];

#[test]
fn groups_count_themselves() {
    let octets = |line: &str| parse(line).and_then(|pattern| pattern.fill(&Names::new()));
    assert_eq!(octets("u16[ \"ab\" 0c ] # more"), Ok(vec![0, 3, b'a', b'b', 12]));
    assert_eq!(octets("var:300 u32:258"), Ok(vec![0xAC, 2, 0, 0, 1, 2]));
    assert_eq!(octets("publish:1r[ ff ]"), Ok(vec![0x33, 1, 0xFF]));
    assert_eq!(
        octets("method:7[ basic.qos-ok ]"),
        Ok(vec![1, 0, 7, 0, 0, 0, 4, 0, 60, 0, 11, 0xCE])
    );
    let holes = parse("u8[ * ] 07").expect("the line is right");
    assert!(holes.is(&[2, 7, 7, 7], &mut Names::new()));
    assert!(parse("u16[ ab").is_err() && parse("ab ]").is_err() && parse("nonsense").is_err());
}
