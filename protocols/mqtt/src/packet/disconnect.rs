//! DISCONNECT (MQTT 5, section 3.14), in both directions.

use super::{reason_string, write_variable};
use crate::ReasonCode;
use crate::fault::Fault;
use crate::guard::{Allowed, Property, Reader, id, walk};
use crate::version::Version;

/// A client's goodbye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Disconnect {
    /// [`ReasonCode::SUCCESS`] in 3.1.1.
    pub(crate) code: ReasonCode,
    /// Seconds, when given.
    pub(crate) session_expiry: Option<u32>,
}

impl Disconnect {
    pub(crate) fn decode(body: &[u8], version: Version) -> Result<Self, Fault> {
        let mut disconnect = Self { code: ReasonCode::SUCCESS, session_expiry: None };
        let mut reader = Reader::new(body);
        if reader.is_empty() {
            return Ok(disconnect);
        }
        if !version.is_5() {
            return Err(Fault::malformed("DISCONNECT with a body"));
        }
        disconnect.code = ReasonCode(reader.octet()?);
        if !is_from_client(disconnect.code) {
            return Err(Fault::protocol("a reason code that no client disconnects with"));
        }
        if !reader.is_empty() {
            walk(reader.property_block()?, Allowed::DISCONNECT, |id, value, _| {
                if let (id::SESSION_EXPIRY, Property::Number(seconds)) = (id, value) {
                    disconnect.session_expiry = Some(seconds);
                }
                Ok(())
            })?;
            reader.end()?;
        }
        Ok(disconnect)
    }
}

const fn is_from_client(code: ReasonCode) -> bool {
    matches!(code.0, 0x00 | 0x04 | 0x80..=0x83 | 0x90 | 0x93..=0x99)
}

/// Appends a DISCONNECT of MQTT 5, in any case with its property block: clients built on
/// `mqttbytes` wait for ever on the form without.
pub(crate) fn write(code: ReasonCode, reason: Option<&str>, out: &mut Vec<u8>) {
    let block = reason_string(reason);
    let mut length = Vec::new();
    write_variable(block.len(), &mut length);
    out.push(0xE0);
    write_variable(1 + length.len() + block.len(), out);
    out.push(code.0);
    out.extend_from_slice(&length);
    out.extend_from_slice(&block);
}
