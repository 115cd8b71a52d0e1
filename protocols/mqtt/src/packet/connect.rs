//! CONNECT (MQTT 5, section 3.1; 3.1.1, section 3.1): our own decoder, since the version is only
//! known inside the packet and passwords are octets.

use super::auth::METHOD;
use super::publish::MessageProperties;
use crate::ReasonCode;
use crate::address::Target;
use crate::fault::Fault;
use crate::guard::{Allowed, Property, Reader, id, walk};
use crate::properties::write_wire_head;
use crate::version::Version;
use crate::will::Will;

/// What a client asks for.
#[derive(Debug)]
pub(crate) struct Connect {
    pub(crate) version: Version,
    pub(crate) clean_start: bool,
    /// Seconds; 0 for none.
    pub(crate) keep_alive_s: u16,
    pub(crate) settings: Settings,
    /// The Session Expiry Interval as the client asked for it.
    pub(crate) asked_expiry: u32,
    /// Empty to have one made.
    pub(crate) client_id: String,
    pub(crate) will: Option<Will>,
    pub(crate) user: Option<String>,
    pub(crate) password: Vec<u8>,
    /// Authentication Data, when the client asked for our [method](METHOD).
    pub(crate) authentication: Option<Vec<u8>>,
}

/// CONNECT's properties; the defaults are what their absence means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Seconds.
    pub(crate) session_expiry: u32,
    pub(crate) receive_maximum: u16,
    pub(crate) packet_bytes_max: Option<u32>,
    /// Aliases that we may set.
    pub(crate) topic_alias_max: u16,
    /// Reason Strings are welcome.
    pub(crate) wants_problems: bool,
    /// So is Response Information.
    pub(crate) wants_response: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            session_expiry: 0,
            receive_maximum: u16::MAX,
            packet_bytes_max: None,
            topic_alias_max: 0,
            wants_problems: true,
            wants_response: false,
        }
    }
}

/// A CONNECT that we do not accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) fault: Fault,
    /// How to write the CONNACK that says so; `None` to close without one.
    pub(crate) answer: Option<Version>,
}

impl Connect {
    /// Decodes the body of a CONNECT.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, Rejected> {
        let mut reader = Reader::new(body);
        let version = version(&mut reader)?;
        Self::decode_version(&mut reader, version).map_err(|fault| Rejected {
            fault,
            answer: (version.is_5() || fault.code == ReasonCode::CLIENT_IDENTIFIER_NOT_VALID)
                .then_some(version),
        })
    }

    fn decode_version(reader: &mut Reader<'_>, version: Version) -> Result<Self, Fault> {
        let flags = ConnectFlags::check(reader.octet()?, version)?;
        let keep_alive_s = reader.two()?;
        let (mut settings, authentication) = if version.is_5() {
            settings(reader.property_block()?)?
        } else {
            (Settings::default(), None)
        };
        if !version.is_5() && !flags.has(ConnectFlags::CLEAN_START) {
            // Clean Session 0 keeps the session [MQTT-3.1.2-4].
            settings.session_expiry = u32::MAX;
        }
        let client_id = reader.text()?.to_owned();
        let will =
            if flags.has(ConnectFlags::WILL) { Some(will(reader, flags, version)?) } else { None };
        let user =
            if flags.has(ConnectFlags::USER) { Some(reader.text()?.to_owned()) } else { None };
        let password =
            if flags.has(ConnectFlags::PASSWORD) { reader.binary()?.to_vec() } else { Vec::new() };
        reader.end()?;
        let clean_start = flags.has(ConnectFlags::CLEAN_START);
        check_client_id(&client_id, clean_start, version)?;
        let asked_expiry = settings.session_expiry;
        Ok(Self {
            version,
            clean_start,
            keep_alive_s,
            settings,
            asked_expiry,
            client_id,
            will,
            user,
            password,
            authentication,
        })
    }
}

/// Name and level. A level we do not know is answered in its own form [MQTT-3.1.2-2], another
/// name not at all [MQTT-3.1.2-1].
fn version(reader: &mut Reader<'_>) -> Result<Version, Rejected> {
    let silent = |fault| Rejected { fault, answer: None };
    let name = reader.binary().map_err(silent)?;
    let level = reader.octet().map_err(silent)?;
    let fault = Fault::new(ReasonCode::UNSUPPORTED_PROTOCOL_VERSION, "protocol version");
    match (name, level) {
        (b"MQIsdp", 3) => Ok(Version::V31),
        (b"MQTT", 4) => Ok(Version::V311),
        (b"MQTT", 5) => Ok(Version::V5),
        (b"MQTT", 6..) => Err(Rejected { fault, answer: Some(Version::V5) }),
        (b"MQTT" | b"MQIsdp", _) => Err(Rejected { fault, answer: Some(Version::V311) }),
        _ => Err(silent(Fault::new(ReasonCode::UNSUPPORTED_PROTOCOL_VERSION, "protocol name"))),
    }
}

/// An empty identifier asks for one to be made, which 3.1 does not know and 3.1.1 grants to clean
/// sessions only [MQTT-3.1.3-8].
fn check_client_id(client_id: &str, clean_start: bool, version: Version) -> Result<(), Fault> {
    let may_be_empty = match version {
        Version::V31 => false,
        Version::V311 => clean_start,
        Version::V5 => true,
    };
    if client_id.is_empty() && !may_be_empty {
        return Err(Fault::new(
            ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
            "an empty client identifier",
        ));
    }
    Ok(())
}

/// Connect Flags (MQTT 5, section 3.1.2.3).
#[derive(Clone, Copy, Debug)]
struct ConnectFlags(u8);

impl ConnectFlags {
    const CLEAN_START: u8 = 0x02;
    const WILL: u8 = 0x04;
    const WILL_RETAIN: u8 = 0x20;
    const PASSWORD: u8 = 0x40;
    const USER: u8 = 0x80;

    fn check(bits: u8, version: Version) -> Result<Self, Fault> {
        let flags = Self(bits);
        if bits & 1 != 0 {
            return Err(Fault::malformed("reserved connect flag"));
        }
        if flags.will_qos() == 3 {
            return Err(Fault::malformed("will at QoS 3"));
        }
        if !flags.has(Self::WILL) && (flags.will_qos() != 0 || flags.has(Self::WILL_RETAIN)) {
            return Err(Fault::malformed("will flags without a will"));
        }
        if !version.is_5() && flags.has(Self::PASSWORD) && !flags.has(Self::USER) {
            return Err(Fault::malformed("password without user name"));
        }
        Ok(flags)
    }

    const fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    const fn will_qos(self) -> u8 {
        self.0 >> 3 & 3
    }
}

/// What the properties say, and the Authentication Data of a client that names a method.
fn settings(block: &[u8]) -> Result<(Settings, Option<Vec<u8>>), Fault> {
    let mut settings = Settings::default();
    let (mut method, mut data) = (None, None);
    walk(block, Allowed::CONNECT, |id, value, _| {
        match (id, value) {
            (id::SESSION_EXPIRY, Property::Number(seconds)) => settings.session_expiry = seconds,
            (id::RECEIVE_MAXIMUM, Property::Number(count)) => {
                settings.receive_maximum = u16::try_from(count).unwrap_or(u16::MAX);
            }
            (id::PACKET_BYTES_MAX, Property::Number(bytes)) => {
                settings.packet_bytes_max = Some(bytes);
            }
            (id::TOPIC_ALIAS_MAXIMUM, Property::Number(count)) => {
                settings.topic_alias_max = u16::try_from(count).unwrap_or(u16::MAX);
            }
            (id::REQUEST_PROBLEM, Property::Number(flag)) => settings.wants_problems = flag == 1,
            (id::REQUEST_RESPONSE, Property::Number(flag)) => settings.wants_response = flag == 1,
            (id::AUTHENTICATION_METHOD, Property::Text(text)) => method = Some(text.to_owned()),
            (id::AUTHENTICATION_DATA, Property::Binary(bytes)) => data = Some(bytes.to_vec()),
            _ => {}
        }
        Ok(())
    })?;
    match (method, data) {
        (None, None) => Ok((settings, None)),
        (None, Some(_)) => Err(Fault::protocol("authentication data without a method")),
        (Some(method), data) if method == METHOD => Ok((settings, Some(data.unwrap_or_default()))),
        (Some(_), _) => {
            Err(Fault::new(ReasonCode::BAD_AUTHENTICATION_METHOD, "authentication method"))
        }
    }
}

fn will(reader: &mut Reader<'_>, flags: ConnectFlags, version: Version) -> Result<Will, Fault> {
    let properties = if version.is_5() {
        MessageProperties::decode(reader.property_block()?, Allowed::WILL, id::WILL_DELAY)?
    } else {
        MessageProperties::default()
    };
    let mut target = Target::default();
    target.point_at(reader.binary()?)?;
    if let Some(reason) = target.refusal() {
        return Err(Fault::new(ReasonCode::TOPIC_NAME_INVALID, reason));
    }
    let qos = flags.will_qos();
    let mut wire = Vec::new();
    write_wire_head(qos, version, &mut wire);
    properties.write(&mut wire);
    Ok(Will {
        target,
        wire,
        payload: reader.binary()?.to_vec(),
        qos,
        retain: flags.has(ConnectFlags::WILL_RETAIN),
        delay_s: properties.own().unwrap_or(0),
        user_id: properties.user_id.map(str::to_owned),
    })
}
