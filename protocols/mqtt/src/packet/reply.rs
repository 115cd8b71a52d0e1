//! CONNACK, SUBACK and UNSUBACK, encoded by `mqttbytes`.

use bytes::BytesMut;
use mqttbytes::v5::{
    ConnAckProperties, ConnectReturnCode, SubAckProperties, SubscribeReasonCode,
    UnsubAckProperties, UnsubAckReason,
};
use mqttbytes::{QoS, v4, v5};

use super::reason_text;
use crate::ReasonCode;
use crate::version::Version;

/// An accepted CONNECT (MQTT 5, section 3.2); 3.1.1 takes the first field only.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) session_present: bool,
    pub(crate) properties: ConnAckProperties,
}

/// Appends what `write` encodes. The crate leaves half a packet behind when it fails, so it writes
/// into a buffer of its own.
fn append(out: &mut Vec<u8>, write: impl FnOnce(&mut BytesMut) -> Result<usize, mqttbytes::Error>) {
    let mut buffer = BytesMut::new();
    let written = write(&mut buffer);
    debug_assert!(written.is_ok(), "replies are far below the largest packet");
    if written.is_ok() {
        out.extend_from_slice(&buffer);
    }
}

pub(crate) fn write_accepted(accepted: Accepted, version: Version, out: &mut Vec<u8>) {
    let Accepted { session_present, properties } = accepted;
    if version.is_5() {
        let packet = v5::ConnAck {
            session_present,
            code: ConnectReturnCode::Success,
            properties: Some(properties),
        };
        append(out, |buffer| packet.write(buffer));
    } else {
        // 3.1 has no session present: the bit is reserved and 0 there.
        let session_present = session_present && version == Version::V311;
        let packet = v4::ConnAck { session_present, code: v4::ConnectReturnCode::Success };
        append(out, |buffer| packet.write(buffer));
    }
}

/// Appends the CONNACK that refuses, and in MQTT 5 may say why.
pub(crate) fn write_refused(
    code: ReasonCode,
    reason: Option<&str>,
    version: Version,
    out: &mut Vec<u8>,
) {
    if version.is_5() {
        let mut properties = ConnAckProperties::new();
        properties.reason_string = reason.and_then(reason_text).map(str::to_owned);
        let packet = v5::ConnAck {
            session_present: false,
            code: connect_code(code),
            properties: Some(properties),
        };
        append(out, |buffer| packet.write(buffer));
    } else {
        let code = match code.return_code() {
            1 => v4::ConnectReturnCode::RefusedProtocolVersion,
            2 => v4::ConnectReturnCode::BadClientId,
            4 => v4::ConnectReturnCode::BadUserNamePassword,
            5 => v4::ConnectReturnCode::NotAuthorized,
            _ => v4::ConnectReturnCode::ServiceUnavailable,
        };
        let packet = v4::ConnAck { session_present: false, code };
        append(out, |buffer| packet.write(buffer));
    }
}

const fn connect_code(code: ReasonCode) -> ConnectReturnCode {
    match code {
        ReasonCode::MALFORMED_PACKET => ConnectReturnCode::MalformedPacket,
        ReasonCode::PROTOCOL_ERROR => ConnectReturnCode::ProtocolError,
        ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR => ConnectReturnCode::ImplementationSpecificError,
        ReasonCode::UNSUPPORTED_PROTOCOL_VERSION => ConnectReturnCode::UnsupportedProtocolVersion,
        ReasonCode::CLIENT_IDENTIFIER_NOT_VALID => ConnectReturnCode::ClientIdentifierNotValid,
        ReasonCode::BAD_USER_NAME_OR_PASSWORD => ConnectReturnCode::BadUserNamePassword,
        ReasonCode::NOT_AUTHORIZED => ConnectReturnCode::NotAuthorized,
        ReasonCode::SERVER_UNAVAILABLE => ConnectReturnCode::ServerUnavailable,
        ReasonCode::BAD_AUTHENTICATION_METHOD => ConnectReturnCode::BadAuthenticationMethod,
        ReasonCode::TOPIC_NAME_INVALID => ConnectReturnCode::TopicNameInvalid,
        ReasonCode::PACKET_TOO_LARGE => ConnectReturnCode::PacketTooLarge,
        ReasonCode::QUOTA_EXCEEDED => ConnectReturnCode::QuotaExceeded,
        _ => ConnectReturnCode::UnspecifiedError,
    }
}

/// Appends a SUBACK with one code a filter [MQTT-3.8.4-6], and in MQTT 5 why one of them is a
/// failure; 3.1.1 knows only 0x80 as one.
pub(crate) fn write_suback(
    packet_id: u16,
    codes: &[ReasonCode],
    reason: Option<&str>,
    version: Version,
    out: &mut Vec<u8>,
) {
    if version.is_5() {
        let properties = reason.and_then(reason_text).map(|reason| SubAckProperties {
            reason_string: Some(reason.to_owned()),
            user_properties: Vec::new(),
        });
        let codes = codes
            .iter()
            .map(|code| SubscribeReasonCode::try_from(code.0))
            .map(|code| code.unwrap_or(SubscribeReasonCode::Unspecified))
            .collect();
        let packet = v5::SubAck { pkid: packet_id, return_codes: codes, properties };
        append(out, |buffer| packet.write(buffer));
    } else {
        let codes = codes
            .iter()
            .map(|code| match code.0 {
                0 => v4::SubscribeReasonCode::Success(QoS::AtMostOnce),
                1 => v4::SubscribeReasonCode::Success(QoS::AtLeastOnce),
                2 => v4::SubscribeReasonCode::Success(QoS::ExactlyOnce),
                _ => v4::SubscribeReasonCode::Failure,
            })
            .collect();
        append(out, |buffer| v4::SubAck::new(packet_id, codes).write(buffer));
    }
}

/// Appends an UNSUBACK; its codes are MQTT 5's, and why one of them is a failure.
pub(crate) fn write_unsuback(
    packet_id: u16,
    codes: &[ReasonCode],
    reason: Option<&str>,
    version: Version,
    out: &mut Vec<u8>,
) {
    if version.is_5() {
        let reasons = codes.iter().copied().map(unsubscribe_code).collect();
        let properties = reason.and_then(reason_text).map(|reason| UnsubAckProperties {
            reason_string: Some(reason.to_owned()),
            user_properties: Vec::new(),
        });
        let packet = v5::UnsubAck { pkid: packet_id, reasons, properties };
        append(out, |buffer| packet.write(buffer));
    } else {
        append(out, |buffer| v4::UnsubAck::new(packet_id).write(buffer));
    }
}

const fn unsubscribe_code(code: ReasonCode) -> UnsubAckReason {
    match code {
        ReasonCode::SUCCESS => UnsubAckReason::Success,
        ReasonCode::NO_SUBSCRIPTION_EXISTED => UnsubAckReason::NoSubscriptionExisted,
        ReasonCode::NOT_AUTHORIZED => UnsubAckReason::NotAuthorized,
        ReasonCode::TOPIC_FILTER_INVALID => UnsubAckReason::TopicFilterInvalid,
        ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR => UnsubAckReason::ImplementationSpecificError,
        _ => UnsubAckReason::UnspecifiedError,
    }
}
