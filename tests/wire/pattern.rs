//! Octets with holes: what a client must read where the broker makes names, and what it sends
//! with the names it read.

use std::collections::BTreeMap;
use std::fmt::Write;

/// One place in a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// Exactly this octet.
    Octet(u8),
    /// Any one octet.
    Any,
    /// Any run of octets, also none.
    Run,
    /// A run that is remembered under this name when read, and stands for it when sent.
    Named(String),
    /// A group with holes behind its length.
    Counted(Width, Pattern),
}

/// How a length is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// Big-endian, in so many octets.
    Octets(usize),
    /// MQTT's variable byte integer.
    Variable,
}

/// A sequence of places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pattern(pub(crate) Vec<Token>);

/// What was read in named places.
pub(crate) type Names = BTreeMap<String, Vec<u8>>;

/// What a pattern says to what was read so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its first so many octets match, and no shorter beginning does.
    Matches(usize),
    /// More is needed.
    Incomplete,
    /// No continuation can match.
    Wrong,
}

/// Where the octets end that a pattern is compared to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// More may come, and more may be there.
    Open,
    /// These are all, and all of them must match.
    Exact,
}

impl Pattern {
    /// Compares the beginning of `read`; more may come.
    pub(crate) fn compare(&self, read: &[u8], names: &mut Names) -> Verdict {
        compare(&self.0, read, End::Open, names)
    }

    /// Whether it is `read`, the whole of it.
    pub(crate) fn is(&self, read: &[u8], names: &mut Names) -> bool {
        matches!(compare(&self.0, read, End::Exact, names), Verdict::Matches(_))
    }

    /// Its octets, with what was read in the places of names.
    pub(crate) fn fill(&self, names: &Names) -> Result<Vec<u8>, String> {
        let mut filled = Vec::new();
        for token in &self.0 {
            match token {
                Token::Octet(octet) => filled.push(*octet),
                Token::Named(name) => {
                    filled.extend(names.get(name).ok_or_else(|| format!("{name} was not read"))?);
                }
                Token::Counted(width, inner) => {
                    let inner = inner.fill(names)?;
                    filled.extend(width.write(inner.len() as u64)?);
                    filled.extend(inner);
                }
                Token::Any | Token::Run => return Err("a client sends no wildcard".into()),
            }
        }
        Ok(filled)
    }

    pub(crate) fn has_holes(&self) -> bool {
        self.0.iter().any(|token| !matches!(token, Token::Octet(_) | Token::Any))
    }

    /// For people.
    pub(crate) fn show(&self) -> String {
        let mut shown = String::new();
        for token in &self.0 {
            match token {
                Token::Octet(octet) => show_octet(*octet, &mut shown),
                Token::Any => shown.push('?'),
                Token::Run => shown.push('*'),
                Token::Named(name) => write!(shown, "{{{name}}}").expect("writing to a string"),
                Token::Counted(_, inner) => {
                    write!(shown, "<{}>", inner.show()).expect("writing to a string");
                }
            }
        }
        shown
    }
}

fn compare(tokens: &[Token], read: &[u8], end: End, names: &mut Names) -> Verdict {
    let short = if end == End::Open { Verdict::Incomplete } else { Verdict::Wrong };
    let Some((token, rest)) = tokens.split_first() else {
        let is_all = end == End::Open || read.is_empty();
        return if is_all { Verdict::Matches(0) } else { Verdict::Wrong };
    };
    let behind = |length: usize, names: &mut Names| {
        let verdict = compare(rest, &read[length..], end, names);
        if let Verdict::Matches(more) = verdict { Verdict::Matches(length + more) } else { verdict }
    };
    match token {
        Token::Octet(wanted) => match read.first() {
            Some(octet) if octet == wanted => behind(1, names),
            Some(_) => Verdict::Wrong,
            None => short,
        },
        Token::Any if read.is_empty() => short,
        Token::Any => behind(1, names),
        Token::Run | Token::Named(_) => {
            let matching = (0..=read.len()).find_map(|length| match behind(length, names) {
                Verdict::Matches(all) => Some((length, all)),
                _ => None,
            });
            let Some((length, all)) = matching else { return short };
            if let Token::Named(name) = token {
                names.insert(name.clone(), read[..length].to_owned());
            }
            Verdict::Matches(all)
        }
        Token::Counted(width, inner) => {
            let Some((start, length)) = width.read(read) else { return short };
            let Some(content) = read.get(start..start + length) else { return short };
            if inner.is(content, names) { behind(start + length, names) } else { Verdict::Wrong }
        }
    }
}

impl Width {
    /// `value` in this width.
    pub(crate) fn write(self, value: u64) -> Result<Vec<u8>, String> {
        match self {
            Self::Octets(width) => {
                let all = value.to_be_bytes();
                let (unused, used) = all.split_at(all.len() - width);
                let fits = unused.iter().all(|octet| *octet == 0);
                fits.then(|| used.to_vec()).ok_or_else(|| format!("{value} is too large"))
            }
            Self::Variable => {
                let (mut rest, mut written) = (value, Vec::new());
                loop {
                    let low = (rest & 0x7F) as u8;
                    rest >>= 7;
                    written.push(if rest > 0 { low | 0x80 } else { low });
                    if rest == 0 {
                        return Ok(written);
                    }
                }
            }
        }
    }

    /// How long the length is, and what it says.
    fn read(self, octets: &[u8]) -> Option<(usize, usize)> {
        match self {
            Self::Octets(width) => {
                let octets = octets.get(..width)?;
                Some((width, octets.iter().fold(0, |all, octet| all << 8 | usize::from(*octet))))
            }
            Self::Variable => {
                let width = octets.iter().take(4).position(|octet| octet & 0x80 == 0)? + 1;
                let low_first = octets[..width].iter().rev();
                Some((width, low_first.fold(0, |all, octet| all << 7 | usize::from(octet & 0x7F))))
            }
        }
    }
}

/// Octets for people: text as it is, everything else as `\xNN`.
pub(crate) fn show(octets: &[u8]) -> String {
    let mut shown = String::new();
    for &octet in octets {
        show_octet(octet, &mut shown);
    }
    shown
}

fn show_octet(octet: u8, shown: &mut String) {
    match octet {
        b'\n' => shown.push_str("\\n"),
        b'\r' => shown.push_str("\\r"),
        0 => shown.push_str("\\0"),
        b' '..=b'~' => shown.push(char::from(octet)),
        _ => write!(shown, "\\x{octet:02x}").expect("writing to a string"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(tokens: &[Token]) -> Pattern {
        Pattern(tokens.to_vec())
    }

    fn literal(text: &str) -> Vec<Token> {
        text.bytes().map(Token::Octet).collect()
    }

    #[test]
    fn a_pattern_matches_its_shortest_beginning() {
        let tokens = [literal("id:"), vec![Token::Named("x".into())], literal("\n;")].concat();
        let (frame, mut names) = (pattern(&tokens), Names::new());
        assert_eq!(frame.compare(b"id:abc\n;more", &mut names), Verdict::Matches(8));
        assert_eq!(names["x"], b"abc");
        assert_eq!(frame.compare(b"id:a\nb\n;", &mut names), Verdict::Matches(8));
        assert_eq!(frame.compare(b"id:abc", &mut names), Verdict::Incomplete);
        assert_eq!(frame.compare(b"ie", &mut names), Verdict::Wrong);
        assert_eq!(Pattern::default().compare(b"x", &mut names), Verdict::Matches(0));
        assert!(!Pattern::default().is(b"x", &mut names));
    }

    #[test]
    fn a_group_with_a_hole_is_as_long_as_it_says() {
        let inner = Pattern([literal("a"), vec![Token::Run]].concat());
        for width in [Width::Octets(1), Width::Variable] {
            let group = pattern(&[Token::Counted(width, inner.clone()), Token::Octet(b'!')]);
            let mut names = Names::new();
            assert_eq!(group.compare(b"\x03a!!!?", &mut names), Verdict::Matches(5));
            assert_eq!(group.compare(b"\x03a!", &mut names), Verdict::Incomplete);
            assert_eq!(group.compare(b"\x03b!!!", &mut names), Verdict::Wrong);
        }
        let filled = pattern(&[Token::Counted(Width::Octets(2), Pattern(literal("abc")))]);
        assert_eq!(filled.fill(&Names::new()), Ok(b"\0\x03abc".to_vec()));
    }
}
