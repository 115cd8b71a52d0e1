//! Every ERROR frame there is, in RabbitMQ's words where it has any.

use std::borrow::Cow;

use trivium_core::{Refusal, Transmit};

use crate::header;
use crate::version::{self, Version};

/// Characters of an explanation that the log gets.
const LOGGED_CHARS_MAX: usize = 200;

/// Why a conversation ends with an ERROR frame (S-81 to S-84).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The `message` header: one line.
    pub(crate) message: Cow<'static, str>,
    /// The explanation.
    pub(crate) body: String,
    /// The subscription that it is about.
    pub(crate) subscription: Option<String>,
    /// RabbitMQ itself goes on after it: the peer's mistake in one frame, and nothing changed.
    pub(crate) is_about_one_frame: bool,
}

impl Failure {
    /// One of the peer's making.
    pub(crate) fn new(message: &'static str, body: impl Into<String>) -> Self {
        Self {
            message: Cow::Borrowed(message),
            body: body.into(),
            subscription: None,
            is_about_one_frame: true,
        }
    }

    /// Octets that are no frame, or more of them than is allowed (S-21). RabbitMQ closes without
    /// a word here.
    pub(crate) fn invalid_frame(reason: impl std::fmt::Display) -> Self {
        Self::new("Invalid frame", format!("{reason}\n"))
    }

    /// A frame without a header that it needs.
    pub(crate) fn missing_header(command: &str, name: &str) -> Self {
        Self::new("Missing header", format!("\"{command}\" must include the \"{name}\" header\n"))
    }

    /// A frame without the destination that it needs.
    pub(crate) fn missing_destination(command: &str) -> Self {
        let body = format!("\"{command}\" must include a 'destination' header\n");
        Self::new("Missing destination", body)
    }

    /// A header whose value means nothing.
    pub(crate) fn invalid_header(command: &str, name: &str) -> Self {
        let body = format!("\"{command}\" must include a valid \"{name}\" header\n");
        Self::new("Invalid header", body)
    }

    /// What RabbitMQ answers to values that its own code trips over.
    pub(crate) fn processing_error() -> Self {
        Self::new("Processing error", "Processing error")
    }

    /// A frame names a transaction that is not open.
    pub(crate) fn bad_transaction(name: &str) -> Self {
        Self::new("Bad transaction", format!("Invalid transaction identifier: \"{name}\"\n"))
    }

    /// One of `Config`'s limits.
    pub(crate) fn limit(what: &'static str, limit: usize) -> Self {
        Self::from(&Refusal::LimitReached { what, limit: limit as u64 })
    }

    /// A login or a vhost was declined. Whatever the reason is, a stranger does not learn it.
    pub(crate) fn bad_connect(refusal: &Refusal, user: Option<&str>) -> Self {
        let body = match refusal {
            Refusal::LoginRefused { .. } => {
                format!("Access refused for user '{}'\n", user.unwrap_or("guest"))
            }
            Refusal::VhostNotFound { vhost } | Refusal::VhostRefused { vhost, .. } => {
                format!("Virtual host '{vhost}' access denied")
            }
            other => format!("Connection refused: {other}"),
        };
        Self::new("Bad CONNECT", body)
    }

    /// The queue under a subscription is gone.
    pub(crate) fn cancelled(
        id: Option<&str>,
        destination: &str,
        because: Option<&Refusal>,
    ) -> Self {
        let subject = match id {
            Some(id) => format!("id='{id}'"),
            None => format!("destination='{destination}'"),
        };
        let reason = because
            .map(|because| format!("It is slower than those who publish: {because}.\n"))
            .unwrap_or_default();
        let body = format!(
            "The server has canceled a subscription.\n\
             No more messages will be delivered for \"{subject}\".\n{reason}"
        );
        let subscription = id.map(str::to_owned);
        Self { subscription, ..Self::new("Server cancelled subscription", body) }
    }

    /// For the log: no more lines or octets than it takes to see what happened, since names in it
    /// are the client's.
    pub(crate) fn in_one_line(&self) -> String {
        let body = self.body.lines().next().unwrap_or_default();
        let body: String = body.chars().take(LOGGED_CHARS_MAX).collect();
        format!("{}: {body}", self.message)
    }

    /// Appends the ERROR frame. `receipt` is what the failing frame asked for, as it will be
    /// written (S-84).
    pub(crate) fn write(&self, version: Version, receipt: Option<&[u8]>, out: &mut Transmit) {
        let bytes = &mut out.bytes;
        bytes.extend_from_slice(b"ERROR\n");
        header::write(version, b"message", self.message.as_bytes(), bytes);
        bytes.extend_from_slice(b"content-type:text/plain\nversion:");
        bytes.extend_from_slice(version::SUPPORTED.as_bytes());
        bytes.push(b'\n');
        if let Some(receipt) = receipt {
            bytes.extend_from_slice(b"receipt-id:");
            bytes.extend_from_slice(receipt);
            bytes.push(b'\n');
        }
        if let Some(subscription) = &self.subscription {
            header::write(version, b"subscription", subscription.as_bytes(), bytes);
        }
        bytes.extend_from_slice(b"content-length:");
        header::push_decimal(bytes, self.body.len() as u64);
        bytes.extend_from_slice(b"\n\n");
        bytes.extend_from_slice(self.body.as_bytes());
        bytes.push(0);
        out.end_frame();
    }
}

impl From<&Refusal> for Failure {
    /// `message` is the lower-case name of AMQP's reply code, the body AMQP's reply text.
    fn from(refusal: &Refusal) -> Self {
        let name = reply_name(refusal);
        Self {
            message: Cow::Owned(name.to_ascii_lowercase()),
            body: format!("{name} - {refusal}"),
            subscription: None,
            is_about_one_frame: false,
        }
    }
}

/// The name that AMQP 0-9-1 gives to a refusal's reply code.
const fn reply_name(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::LoginRefused { .. }
        | Refusal::AccessRefused { .. }
        | Refusal::PermissionRefused { .. } => "ACCESS_REFUSED",
        Refusal::VhostNotFound { .. }
        | Refusal::VhostRefused { .. }
        | Refusal::NotAllowed { .. } => "NOT_ALLOWED",
        Refusal::NotFound { .. } | Refusal::NoPreviousQueue => "NOT_FOUND",
        Refusal::Locked { .. } | Refusal::SingleActive { .. } => "RESOURCE_LOCKED",
        Refusal::Precondition { .. } => "PRECONDITION_FAILED",
        Refusal::NotImplemented { .. } => "NOT_IMPLEMENTED",
        Refusal::QueueFull { .. } | Refusal::Blocked { .. } | Refusal::LimitReached { .. } => {
            "RESOURCE_ERROR"
        }
        Refusal::TakenOver | Refusal::Closing { .. } => "CONNECTION_FORCED",
        Refusal::Internal => "INTERNAL_ERROR",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_as_amqp_tells_it() {
        let mut out = Transmit::default();
        Failure::from(&Refusal::no_queue("nope", "/")).write(Version::V1_2, Some(b"7"), &mut out);
        let expected = "ERROR\nmessage:not_found\ncontent-type:text/plain\nversion:1.0,1.1,1.2\n\
                        receipt-id:7\ncontent-length:40\n\n\
                        NOT_FOUND - no queue 'nope' in vhost '/'\0";
        let expected =
            expected.replace("41", &"NOT_FOUND - no queue 'nope' in vhost '/'".len().to_string());
        assert_eq!(String::from_utf8(out.bytes).unwrap(), expected);
    }
}
