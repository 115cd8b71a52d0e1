//! Clients that keep to the rules, so that most rounds publish, deliver and settle: whatever they
//! say is valid, and what the broker may not do to them is a finding.

mod amqp;
mod mqtt;
mod names;
mod stomp;

pub(crate) use amqp::Amqp;
pub(crate) use mqtt::Mqtt;
pub(crate) use names::policy;
pub(crate) use stomp::Stomp;

use std::fmt::Write;

use crate::random::Random;

/// What the bodies of all calm clients begin with.
const MAGIC: &[u8] = b"calm";

/// A body that says itself whether it is whole: its length and octets follow from its number.
fn body(random: &mut Random) -> Vec<u8> {
    let len = match random.below(40) {
        0 => random.between(4000, 9000),
        1..8 => 0,
        _ => random.below(60),
    };
    let fill = random.octet();
    let mut body = MAGIC.to_vec();
    body.push(fill);
    body.extend_from_slice(&u16::try_from(len).unwrap_or(0).to_be_bytes());
    body.resize(body.len() + len, fill);
    body
}

/// Octets in the words of the golden traces.
fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        write!(text, "{octet:02x}").ok();
        text
    })
}

/// Bodies of calm clients arrive as they were sent.
fn check_body(body: &[u8]) -> Result<(), String> {
    let Some([fill, high, low, rest @ ..]) = body.strip_prefix(MAGIC) else { return Ok(()) };
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    if rest.len() == len && rest.iter().all(|octet| octet == fill) {
        Ok(())
    } else {
        Err(format!("a body of {len} octets arrives with {}", rest.len()))
    }
}
