//! SUBSCRIBE and UNSUBSCRIBE (MQTT 5, sections 3.8 and 3.10). The guard walks each packet; what
//! it let through `mqttbytes` decodes, but for UNSUBSCRIBE of MQTT 5, which the crate prints to
//! standard error.

use bytes::Bytes;
use mqttbytes::v5::RetainForwardRule;
use mqttbytes::{FixedHeader, v4, v5};

use super::Header;
use crate::ReasonCode;
use crate::address::is_shared;
use crate::fault::Fault;
use crate::guard::{Allowed, Reader, walk};
use crate::version::Version;

/// What a client wants to receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscribe {
    pub(crate) packet_id: u16,
    /// Subscription Identifier.
    pub(crate) id: Option<u32>,
    pub(crate) filters: Vec<Requested>,
}

/// One filter with its options (MQTT 5, section 3.8.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Requested {
    /// UTF-8 and not empty; not checked for wildcards.
    pub(crate) filter: String,
    pub(crate) qos: u8,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) retain_handling: RetainHandling,
}

/// When retained messages are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetainHandling {
    Always,
    WhenNew,
    Never,
}

/// What a client no longer wants to receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsubscribe {
    pub(crate) packet_id: u16,
    /// UTF-8 and not empty; not checked for wildcards.
    pub(crate) filters: Vec<String>,
}

/// What the guard let through and the crate cannot read is malformed: never "wait for more".
fn unreadable(_: mqttbytes::Error) -> Fault {
    Fault::malformed("packet cannot be decoded")
}

fn fixed_header(header: Header) -> FixedHeader {
    let body_bytes = header.packet_bytes() - header.header_bytes();
    FixedHeader::new(header.first(), header.header_bytes() - 1, body_bytes)
}

impl Subscribe {
    /// Decodes the whole `packet`, which has at most `filters_max` filters.
    pub(crate) fn decode(
        header: Header,
        packet: &[u8],
        version: Version,
        filters_max: usize,
    ) -> Result<Self, Fault> {
        check_subscribe(header.body(packet), version, filters_max)?;
        let bytes = Bytes::copy_from_slice(packet);
        if version.is_5() {
            let decoded = v5::Subscribe::read(fixed_header(header), bytes).map_err(unreadable)?;
            let id = decoded.properties.and_then(|properties| properties.id);
            Ok(Self {
                packet_id: decoded.pkid,
                id: id.and_then(|id| u32::try_from(id).ok()),
                filters: decoded.filters.into_iter().map(Requested::from).collect(),
            })
        } else {
            let decoded = v4::Subscribe::read(fixed_header(header), bytes).map_err(unreadable)?;
            Ok(Self {
                packet_id: decoded.pkid,
                id: None,
                filters: decoded.filters.into_iter().map(Requested::from).collect(),
            })
        }
    }
}

impl From<v5::SubscribeFilter> for Requested {
    fn from(filter: v5::SubscribeFilter) -> Self {
        Self {
            filter: filter.path,
            qos: filter.qos as u8,
            no_local: filter.nolocal,
            retain_as_published: filter.preserve_retain,
            retain_handling: match filter.retain_forward_rule {
                RetainForwardRule::OnEverySubscribe => RetainHandling::Always,
                RetainForwardRule::OnNewSubscribe => RetainHandling::WhenNew,
                RetainForwardRule::Never => RetainHandling::Never,
            },
        }
    }
}

impl From<v4::SubscribeFilter> for Requested {
    fn from(filter: v4::SubscribeFilter) -> Self {
        Self {
            filter: filter.path,
            qos: filter.qos as u8,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Always,
        }
    }
}

fn check_subscribe(body: &[u8], version: Version, filters_max: usize) -> Result<(), Fault> {
    let mut reader = Reader::new(body);
    reader.packet_id()?;
    if version.is_5() {
        walk(reader.property_block()?, Allowed::SUBSCRIBE, |_, _, _| Ok(()))?;
    }
    let mut count = 0;
    while !reader.is_empty() {
        let filter = check_filter(&mut reader)?;
        check_options(reader.octet()?, filter, version)?;
        count += 1;
    }
    check_count(count, filters_max)
}

/// Reserved bits are 0 [MQTT-3.8.3-5], and No Local does not go with sharing [MQTT-3.8.3-4].
fn check_options(options: u8, filter: &str, version: Version) -> Result<(), Fault> {
    let reserved = if version.is_5() { 0xC0 } else { 0xFC };
    if options & reserved != 0 {
        return Err(Fault::malformed("reserved bits of subscription options"));
    }
    if options & 3 == 3 {
        return Err(Fault::malformed("subscription at QoS 3"));
    }
    if options >> 4 & 3 == 3 {
        return Err(Fault::protocol("retain handling 3"));
    }
    if options & 4 != 0 && is_shared(filter) {
        return Err(Fault::protocol("no local on a shared subscription"));
    }
    Ok(())
}

/// A filter is at least one character long [MQTT-4.7.3-1].
fn check_filter<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Fault> {
    let filter = reader.text()?;
    if filter.is_empty() {
        return Err(Fault::protocol("an empty topic filter"));
    }
    Ok(filter)
}

/// At least one filter [MQTT-3.8.3-2] [MQTT-3.10.3-2].
fn check_count(count: usize, filters_max: usize) -> Result<(), Fault> {
    if count == 0 {
        return Err(Fault::protocol("no topic filter"));
    }
    if count > filters_max {
        return Err(Fault::new(ReasonCode::QUOTA_EXCEEDED, "too many filters in one packet"));
    }
    Ok(())
}

impl Unsubscribe {
    /// Decodes the whole `packet`, which has at most `filters_max` filters.
    pub(crate) fn decode(
        header: Header,
        packet: &[u8],
        version: Version,
        filters_max: usize,
    ) -> Result<Self, Fault> {
        let mut reader = Reader::new(header.body(packet));
        let packet_id = reader.packet_id()?;
        if version.is_5() {
            walk(reader.property_block()?, Allowed::UNSUBSCRIBE, |_, _, _| Ok(()))?;
        }
        let payload = reader;
        let mut count = 0;
        while !reader.is_empty() {
            check_filter(&mut reader)?;
            count += 1;
        }
        check_count(count, filters_max)?;
        if !version.is_5() {
            let decoded =
                v4::Unsubscribe::read(fixed_header(header), Bytes::copy_from_slice(packet))
                    .map_err(unreadable)?;
            return Ok(Self { packet_id: decoded.pkid, filters: decoded.topics });
        }
        let mut filters = Vec::with_capacity(count);
        let mut reader = payload;
        while !reader.is_empty() {
            filters.push(reader.text()?.to_owned());
        }
        Ok(Self { packet_id, filters })
    }
}
