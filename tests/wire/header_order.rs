//! STOMP says nothing about the order of headers, so a broker that writes them in another one than a
//! trace answers the same.

use crate::pattern::{Pattern, Token};

/// What stands for any run of octets; no header begins with it.
const RUN: u8 = 1;

/// `read` with the headers of its frames in the order in which `pattern` has them; those that it does
/// not name come last. As it is if it is no sequence of frames.
pub(crate) fn as_in(pattern: &Pattern, read: &[u8]) -> Vec<u8> {
    let orders = orders_of(pattern);
    let (mut ordered, mut rest, mut index) = (Vec::new(), read, 0);
    while let Some((head, body)) = next_frame(rest) {
        let order = orders.get(index).map_or(&[][..], Vec::as_slice);
        let mut lines: Vec<&[u8]> = head.split(|octet| *octet == b'\n').collect();
        let place = |line: &[u8]| {
            let name = line.split(|octet| *octet == b':').next();
            order.iter().position(|known| Some(known.as_slice()) == name).unwrap_or(order.len())
        };
        lines[1..].sort_by_key(|line| place(line));
        ordered.extend(lines.join(&b'\n'));
        ordered.extend_from_slice(b"\n\n");
        ordered.extend_from_slice(body);
        rest = &rest[head.len() + 2 + body.len()..];
        index += 1;
    }
    ordered.extend_from_slice(rest);
    ordered
}

/// The names of headers in each frame of a pattern, in their order.
fn orders_of(pattern: &Pattern) -> Vec<Vec<Vec<u8>>> {
    let octets: Vec<u8> = pattern
        .0
        .iter()
        .map(|token| if let Token::Octet(octet) = token { *octet } else { RUN })
        .collect();
    let (mut orders, mut rest) = (Vec::new(), &octets[..]);
    while let Some((head, body)) = next_frame(rest) {
        let lines = head.split(|octet| *octet == b'\n').skip(1);
        let name = |line: &[u8]| {
            let line = line.strip_prefix(&[RUN]).unwrap_or(line);
            line.split(|octet| *octet == b':').next().unwrap_or_default().to_vec()
        };
        orders.push(lines.map(name).collect());
        rest = &rest[head.len() + 2 + body.len()..];
    }
    orders
}

/// The head of the frame at the beginning, without its empty line, and its body with the NUL.
fn next_frame(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = octets.windows(2).position(|pair| pair == b"\n\n")?;
    let (head, behind) = (&octets[..end], &octets[end + 2..]);
    let text = String::from_utf8_lossy(head);
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.parse().ok());
    let length: usize = match length {
        Some(length) => length,
        None => behind.iter().position(|octet| *octet == 0)?,
    };
    (behind.get(length) == Some(&0)).then(|| (head, &behind[..=length]))
}

#[test]
fn only_the_order_changes() {
    let pattern = crate::text::parse("MESSAGE\\nb:*\\n*a:1\\n\\nx\\0R\\na:1\\nb:2\\n\\n\\0");
    let pattern = pattern.expect("a line that is right");
    let read = b"MESSAGE\nc:3\na:1\nb:2\n\nx\0R\nb:2\na:1\n\n\0rest";
    let ordered = b"MESSAGE\nb:2\na:1\nc:3\n\nx\0R\na:1\nb:2\n\n\0rest";
    assert_eq!(as_in(&pattern, read), ordered);
}
