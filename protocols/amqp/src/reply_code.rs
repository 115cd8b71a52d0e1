//! The reply codes of AMQP 0-9-1 (`constant` in `amqp0-9-1.xml`), how far each one reaches, and
//! which refusal of the core gets which.

use trivium_core::Refusal;

use crate::method::MethodId;

/// How much of the connection an error takes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Only the channel closes ("soft error" in the specification).
    Channel,
    /// The whole connection closes ("hard error").
    Connection,
}

/// A reply code as it travels in `connection.close` and `channel.close`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReplyCode(pub(crate) u16);

macro_rules! reply_codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $scope:ident;)+) => {
        impl ReplyCode {
            $($(#[doc = $doc])+ pub(crate) const $name: Self = Self($code);)+

            /// What closes; unknown codes are taken as the worse case.
            pub(crate) const fn scope(self) -> Scope {
                match self.0 {
                    $($code => Scope::$scope,)+
                    _ => Scope::Connection,
                }
            }

            /// The name the specification uses, as clients expect it in `reply-text`.
            pub(crate) const fn name(self) -> &'static str {
                match self.0 {
                    $($code => stringify!($name),)+
                    _ => "UNKNOWN",
                }
            }
        }
    };
}

reply_codes! {
    /// An operator closes the connection, or the broker goes down.
    CONNECTION_FORCED = 320, Connection;
    /// No access, by security settings or by a rule for everyone.
    ACCESS_REFUSED = 403, Channel;
    /// The entity does not exist.
    NOT_FOUND = 404, Channel;
    /// Somebody else owns it exclusively.
    RESOURCE_LOCKED = 405, Channel;
    /// Arguments differ, unknown tag, in use.
    PRECONDITION_FAILED = 406, Channel;
    /// A frame cannot be decoded.
    FRAME_ERROR = 501, Connection;
    /// A field holds what it must not.
    SYNTAX_ERROR = 502, Connection;
    /// A method that is unknown or out of place.
    COMMAND_INVALID = 503, Connection;
    /// The channel is not open, or already is.
    CHANNEL_ERROR = 504, Connection;
    /// A frame that this state does not allow.
    UNEXPECTED_FRAME = 505, Connection;
    /// Prohibited here.
    NOT_ALLOWED = 530, Connection;
    /// Not done by this broker.
    NOT_IMPLEMENTED = 540, Connection;
    /// Something of ours is broken.
    INTERNAL_ERROR = 541, Connection;
}

impl std::fmt::Debug for ReplyCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.0, self.name())
    }
}

impl ReplyCode {
    /// The code of `refusal` when `method` met it.
    pub(crate) fn of(refusal: &Refusal, method: MethodId) -> Self {
        match refusal {
            Refusal::LoginRefused { .. }
            | Refusal::AccessRefused { .. }
            | Refusal::PermissionRefused { .. } => Self::ACCESS_REFUSED,
            Refusal::VhostNotFound { .. }
            | Refusal::VhostRefused { .. }
            | Refusal::NotAllowed { .. } => Self::NOT_ALLOWED,
            Refusal::NotFound { .. } | Refusal::NoPreviousQueue => Self::NOT_FOUND,
            Refusal::Locked { .. } | Refusal::SingleActive { .. } => Self::RESOURCE_LOCKED,
            Refusal::LimitReached { .. } if method == MethodId::CONNECTION_OPEN => {
                Self::NOT_ALLOWED
            }
            Refusal::Precondition { .. }
            | Refusal::QueueFull { .. }
            | Refusal::Blocked { .. }
            | Refusal::LimitReached { .. } => Self::PRECONDITION_FAILED,
            Refusal::NotImplemented { .. } => Self::NOT_IMPLEMENTED,
            Refusal::TakenOver | Refusal::Closing { .. } => Self::CONNECTION_FORCED,
            Refusal::Internal => Self::INTERNAL_ERROR,
        }
    }
}

/// Why a channel or the connection closes: the content of its close method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: ReplyCode,
    /// The explanation, without the code's name.
    pub(crate) text: String,
    /// The method that failed; [`MethodId::NONE`] for faults of framing.
    pub(crate) method: MethodId,
}

impl Fault {
    pub(crate) fn new(code: ReplyCode, method: MethodId, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), method }
    }

    pub(crate) fn of(refusal: &Refusal, method: MethodId) -> Self {
        Self::new(ReplyCode::of(refusal, method), method, refusal.to_string())
    }

    /// `NAME - explanation`, cut as RabbitMQ cuts it to fit a shortstr.
    pub(crate) fn reply_text(&self) -> String {
        const MAX: usize = 255;
        const CUT: &str = "...";
        let mut text = format!("{} - {}", self.code.name(), self.text);
        if text.len() > MAX {
            text.truncate(text.floor_char_boundary(MAX - CUT.len()));
            text.push_str(CUT);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_end_at_255_octets() {
        let fault = Fault::new(ReplyCode::NOT_FOUND, MethodId::NONE, "ä".repeat(300));
        let text = fault.reply_text();
        assert!(text.starts_with("NOT_FOUND - ää"));
        assert!(text.ends_with("ä..."));
        assert!(text.len() <= 255, "{}", text.len());
    }

    #[test]
    fn limits_depend_on_the_method() {
        let refusal = Refusal::LimitReached { what: "connection", limit: 1 };
        assert_eq!(ReplyCode::of(&refusal, MethodId::CONNECTION_OPEN), ReplyCode::NOT_ALLOWED);
        let declare = MethodId { class: 50, method: 10 };
        assert_eq!(ReplyCode::of(&refusal, declare), ReplyCode::PRECONDITION_FAILED);
    }
}
