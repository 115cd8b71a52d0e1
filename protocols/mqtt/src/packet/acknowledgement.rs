//! PUBACK, PUBREC, PUBREL and PUBCOMP (MQTT 5, sections 3.4 to 3.7): one shape, four reason sets.
//! Half of the packets of a QoS 1 conversation, so they are read and written in place.

use super::{kind, reason_string, write_variable};
use crate::ReasonCode;
use crate::fault::Fault;
use crate::guard::{Allowed, Reader, walk};
use crate::version::Version;

/// One of the four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledgement {
    pub(crate) packet_id: u16,
    /// [`ReasonCode::SUCCESS`] in 3.1.1.
    pub(crate) code: ReasonCode,
}

impl Acknowledgement {
    /// Decodes the body of a packet of type `kind`.
    pub(crate) fn decode(kind: u8, body: &[u8], version: Version) -> Result<Self, Fault> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        if reader.is_empty() {
            return Ok(Self { packet_id, code: ReasonCode::SUCCESS });
        }
        if !version.is_5() {
            return Err(Fault::malformed("bytes after the packet identifier"));
        }
        let code = ReasonCode(reader.octet()?);
        if !is_known(kind, code) {
            return Err(Fault::malformed("a reason code that this packet does not carry"));
        }
        if !reader.is_empty() {
            walk(reader.property_block()?, Allowed::ACKNOWLEDGEMENT, |_, _, _| Ok(()))?;
            reader.end()?;
        }
        Ok(Self { packet_id, code })
    }

    /// Appends a packet of type `kind`, in its shortest form.
    pub(crate) fn write(self, kind: u8, version: Version, out: &mut Vec<u8>) {
        let first = kind << 4 | if kind == kind::PUBREL { 2 } else { 0 };
        let [high, low] = self.packet_id.to_be_bytes();
        if version.is_5() && self.code != ReasonCode::SUCCESS {
            out.extend_from_slice(&[first, 3, high, low, self.code.0]);
        } else {
            out.extend_from_slice(&[first, 2, high, low]);
        }
    }
}

/// Appends a PUBACK or PUBREC of MQTT 5 that says why.
pub(crate) fn write_with_reason(
    acknowledgement: Acknowledgement,
    kind: u8,
    reason: &str,
    out: &mut Vec<u8>,
) {
    let block = reason_string(Some(reason));
    let mut length = Vec::new();
    write_variable(block.len(), &mut length);
    out.push(kind << 4);
    write_variable(3 + length.len() + block.len(), out);
    out.extend_from_slice(&acknowledgement.packet_id.to_be_bytes());
    out.push(acknowledgement.code.0);
    out.extend_from_slice(&length);
    out.extend_from_slice(&block);
}

const fn is_known(kind: u8, code: ReasonCode) -> bool {
    match kind {
        kind::PUBACK | kind::PUBREC => {
            matches!(code.0, 0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
        }
        _ => matches!(code.0, 0x00 | 0x92),
    }
}
