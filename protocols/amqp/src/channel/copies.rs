//! CC and BCC, RabbitMQ's extension: headers whose texts are further routing keys. Consumers see
//! CC; BCC goes before anybody sees it.

use trivium_core::Value;

use crate::method::MethodId;
use crate::properties::{Property, PropertyList};
use crate::reply_code::{Fault, ReplyCode};
use crate::table;

const CC: &str = "CC";
const BCC: &str = "BCC";

/// Whether a header of that name asks for copies.
pub(crate) fn is_header(name: &str) -> bool {
    matches!(name, CC | BCC)
}

/// What such headers say.
#[derive(Debug)]
pub(super) struct Copies {
    keys: Vec<String>,
    /// The property list without BCC, if that was there.
    without_bcc: Option<Vec<u8>>,
}

impl Copies {
    /// Reads a list that was found valid.
    pub(super) fn of(wire: &[u8]) -> Result<Self, Fault> {
        let list = PropertyList::split(wire).map_err(super::content::undecodable)?;
        let octets = list.value(Property::Headers).unwrap_or_default();
        let headers = table::decode(octets);
        let mut keys = Vec::new();
        for name in [CC, BCC] {
            match headers.get(name) {
                None => {}
                Some(Value::Array(values)) => {
                    keys.extend(values.iter().filter_map(Value::as_str).map(str::to_owned));
                }
                Some(value) => return Err(unacceptable(name, value)),
            }
        }
        let without_bcc = headers.get(BCC).map(|_| {
            let mut out = Vec::with_capacity(wire.len());
            list.with_headers(&table::without(octets, BCC)).write(&mut out);
            out
        });
        Ok(Self { keys, without_bcc })
    }

    /// The further routing keys.
    pub(super) fn keys(&self) -> Vec<&str> {
        self.keys.iter().map(String::as_str).collect()
    }

    /// The property list as consumers get it.
    pub(super) fn list<'a>(&'a self, wire: &'a [u8]) -> &'a [u8] {
        self.without_bcc.as_deref().unwrap_or(wire)
    }
}

fn unacceptable(name: &str, value: &Value) -> Fault {
    let kind = table::type_name(value);
    let text = format!("invalid message: {{unacceptable_type_in_header,\"{name}\",{kind}}}");
    Fault::new(ReplyCode::PRECONDITION_FAILED, MethodId::BASIC_PUBLISH, text)
}
