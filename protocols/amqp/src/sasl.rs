//! The SASL mechanisms of `connection.start-ok`: PLAIN (RFC 4616) and AMQPLAIN, RabbitMQ's older
//! form of the same as a field table.

use trivium_core::Value;
use trivium_core::control::Credentials;

use crate::table;

/// As `connection.start` offers them.
pub(crate) const MECHANISMS: &str = "PLAIN AMQPLAIN";

/// Why a response names nobody. RabbitMQ answers none of these with a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SaslError {
    #[error("unknown authentication mechanism '{0}'")]
    UnknownMechanism(String),
    #[error("malformed {0} response")]
    Malformed(&'static str),
}

/// Reads a response.
pub(crate) fn credentials(mechanism: &str, response: &[u8]) -> Result<Credentials, SaslError> {
    match mechanism {
        "PLAIN" => plain(response).ok_or(SaslError::Malformed("PLAIN")),
        "AMQPLAIN" => amqplain(response).ok_or(SaslError::Malformed("AMQPLAIN")),
        _ => Err(SaslError::UnknownMechanism(mechanism.to_owned())),
    }
}

/// `authzid NUL user NUL password`; whom to act as is ignored, as in RabbitMQ.
fn plain(response: &[u8]) -> Option<Credentials> {
    let end = memchr::memchr(0, response)?;
    let rest = response.get(end + 1..)?;
    let end = memchr::memchr(0, rest)?;
    let user = std::str::from_utf8(rest.get(..end)?).ok()?;
    let password = rest.get(end + 1..)?;
    if memchr::memchr(0, password).is_some() {
        return None;
    }
    let (user, password) = (Some(user.to_owned()), password.to_vec());
    Some(Credentials { mechanism: "PLAIN", user, password })
}

/// The inside of a table: no length in front.
fn amqplain(response: &[u8]) -> Option<Credentials> {
    table::check(response).ok()?;
    let fields = table::decode(response);
    let user = fields.get("LOGIN")?.as_str()?.to_owned();
    let Some(Value::Text(password)) = fields.get("PASSWORD") else { return None };
    Some(Credentials { mechanism: "AMQPLAIN", user: Some(user), password: password.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_mechanisms_name_user_and_password() {
        let plain = credentials("PLAIN", b"\0guest\0secret").unwrap();
        let table = b"\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x06secret";
        let amqplain = credentials("AMQPLAIN", table).unwrap();
        for credentials in [plain, amqplain] {
            assert_eq!(credentials.user.as_deref(), Some("guest"));
            assert_eq!(credentials.password, b"secret");
        }
        assert_eq!(credentials("PLAIN", b"me\0guest\0").unwrap().password, b"");
    }

    #[test]
    fn anything_else_is_refused() {
        for response in [&b""[..], b"guest", b"\0guest", b"\0a\0b\0c", b"\0\xFF\0x"] {
            assert_eq!(credentials("PLAIN", response), Err(SaslError::Malformed("PLAIN")));
        }
        for response in [&b""[..], b"\x05LOGINS\0\0\0\x05guest", b"\x05LOGINS\0\0\0\xFFguest"] {
            assert_eq!(credentials("AMQPLAIN", response), Err(SaslError::Malformed("AMQPLAIN")));
        }
        let unknown = SaslError::UnknownMechanism("EXTERNAL".into());
        assert_eq!(credentials("EXTERNAL", b""), Err(unknown));
    }
}
