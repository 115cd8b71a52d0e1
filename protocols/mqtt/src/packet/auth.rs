//! AUTH (MQTT 5, section 3.15), in both directions.

use super::write_variable;
use crate::ReasonCode;
use crate::fault::Fault;
use crate::guard::{Allowed, Property, Reader, id, walk};
use crate::properties::write_field;

/// The method that we know, by the name that CONNECT and AUTH give it.
pub(crate) const METHOD: &str = "SCRAM-SHA-256";

/// A step of an authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Auth<'a> {
    pub(crate) code: ReasonCode,
    /// Authentication Method.
    pub(crate) method: Option<&'a str>,
    /// Authentication Data; empty when absent.
    pub(crate) data: &'a [u8],
}

impl<'a> Auth<'a> {
    /// Decodes the body of a client's AUTH, which goes on with an authentication or begins another
    /// [MQTT-3.15.2-1].
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self, Fault> {
        let mut reader = Reader::new(body);
        let mut auth = Self { code: ReasonCode::SUCCESS, method: None, data: &[] };
        if !reader.is_empty() {
            auth.code = ReasonCode(reader.octet()?);
            if !reader.is_empty() {
                walk(reader.property_block()?, Allowed::AUTH, |id, value, _| {
                    match (id, value) {
                        (id::AUTHENTICATION_METHOD, Property::Text(text)) => {
                            auth.method = Some(text);
                        }
                        (id::AUTHENTICATION_DATA, Property::Binary(data)) => auth.data = data,
                        _ => {}
                    }
                    Ok(())
                })?;
                reader.end()?;
            }
        }
        match auth.code {
            ReasonCode::CONTINUE_AUTHENTICATION | ReasonCode::RE_AUTHENTICATE => Ok(auth),
            ReasonCode::SUCCESS => Err(Fault::protocol("only servers say that it succeeded")),
            _ => Err(Fault::malformed("a reason code that AUTH does not carry")),
        }
    }
}

/// Appends our AUTH.
pub(crate) fn write(code: ReasonCode, data: &[u8], out: &mut Vec<u8>) {
    let mut block = vec![id::AUTHENTICATION_METHOD];
    write_field(METHOD.as_bytes(), &mut block);
    block.push(id::AUTHENTICATION_DATA);
    write_field(data, &mut block);
    let mut length = Vec::new();
    write_variable(block.len(), &mut length);
    out.push(0xF0);
    write_variable(1 + length.len() + block.len(), out);
    out.push(code.0);
    out.extend_from_slice(&length);
    out.extend_from_slice(&block);
}
