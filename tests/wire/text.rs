//! Lines of text protocols: `\n \r \0 \\ \xNN`, `*` for any run of octets and `{name}` for one that
//! `>` may repeat later (`\*` and `\{` for themselves).

use crate::pattern::{Pattern, Token};

/// Reads one line.
pub(crate) fn parse(line: &str) -> Result<Pattern, String> {
    let mut tokens = Vec::new();
    let mut octets = line.bytes();
    while let Some(octet) = octets.next() {
        tokens.push(match octet {
            b'*' => Token::Run,
            b'{' => {
                let name = octets.by_ref().take_while(|octet| *octet != b'}').map(char::from);
                Token::Named(name.collect())
            }
            b'\\' => Token::Octet(escape(&mut octets)?),
            octet => Token::Octet(octet),
        });
    }
    Ok(Pattern(tokens))
}

/// The octet that an escape stands for; `octets` is behind its backslash.
pub(crate) fn escape(octets: &mut impl Iterator<Item = u8>) -> Result<u8, String> {
    Ok(match octets.next() {
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b'0') => 0,
        Some(octet @ (b'\\' | b'*' | b'{' | b'"')) => octet,
        Some(b'x') => {
            let digits = [octets.next(), octets.next()].map(Option::unwrap_or_default);
            let digits = std::str::from_utf8(&digits).map_err(|error| error.to_string())?;
            u8::from_str_radix(digits, 16).map_err(|error| format!("\\x{digits}: {error}"))?
        }
        other => return Err(format!("unknown escape \\{:?}", other.map(char::from))),
    })
}
