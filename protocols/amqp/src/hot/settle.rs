//! `basic.ack`, `basic.nack` and `basic.reject` from consumers; `basic.ack` and `basic.nack` to
//! publishers.

use trivium_core::{Outcome, Transmit};

use crate::cursor::Cursor;
use crate::frame::{END, METHOD};
use crate::method::MethodId;

/// What a consumer says about its deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settle {
    pub(crate) tag: u64,
    /// All outstanding up to and with `tag`; with tag 0 all.
    pub(crate) multiple: bool,
    pub(crate) outcome: Outcome,
}

impl Settle {
    /// Reads the fields of `id`; `None` when they do not fit it or it settles nothing.
    pub(crate) fn decode(id: MethodId, fields: &[u8]) -> Option<Self> {
        let mut cursor = Cursor(fields);
        let (tag, bits) = (cursor.long_long()?, cursor.octet()?);
        let (low, high) = (bits & 1 != 0, bits & 2 != 0);
        let (multiple, outcome) = match id {
            MethodId::BASIC_ACK => (low, Outcome::Accepted),
            MethodId::BASIC_NACK => (low, declined(high)),
            MethodId::BASIC_REJECT => (false, declined(low)),
            _ => return None,
        };
        cursor.is_empty().then_some(Self { tag, multiple, outcome })
    }
}

const fn declined(requeue: bool) -> Outcome {
    if requeue { Outcome::Requeued } else { Outcome::Rejected }
}

/// Tells a publisher that all its messages up to and with `tag` are safe, or with `multiple`
/// false this one.
pub(crate) fn confirm(out: &mut Transmit, channel: u16, tag: u64, multiple: bool) {
    answer(out, channel, 80, tag, u8::from(multiple));
}

/// Tells a publisher that this message was refused.
pub(crate) fn refuse(out: &mut Transmit, channel: u16, tag: u64) {
    answer(out, channel, 120, tag, 0);
}

fn answer(out: &mut Transmit, channel: u16, method: u8, tag: u64, bits: u8) {
    let [high, low] = channel.to_be_bytes();
    out.bytes.extend_from_slice(&[METHOD, high, low, 0, 0, 0, 13, 0, 60, 0, method]);
    out.bytes.extend_from_slice(&tag.to_be_bytes());
    out.bytes.extend_from_slice(&[bits, END]);
    out.end_frame();
}
