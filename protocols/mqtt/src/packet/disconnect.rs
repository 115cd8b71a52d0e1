//! DISCONNECT (MQTT 5, section 3.14) and AUTH (section 3.15) from a client, and our DISCONNECT.

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

/// Appends a DISCONNECT of MQTT 5, with its empty property block: clients built on `mqttbytes`
/// wait for ever on the form without.
pub(crate) fn write(code: ReasonCode, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xE0, 2, code.0, 0]);
}

/// Checks an AUTH packet (MQTT 5 only); there is nothing in it that we use yet.
pub(crate) fn check_auth(body: &[u8]) -> Result<(), Fault> {
    let mut reader = Reader::new(body);
    if reader.is_empty() {
        return Ok(());
    }
    if !matches!(reader.octet()?, 0x00 | 0x18 | 0x19) {
        return Err(Fault::malformed("a reason code that AUTH does not carry"));
    }
    walk(reader.property_block()?, Allowed::AUTH, |_, _, _| Ok(()))?;
    reader.end()
}
