//! The reason codes of MQTT 5 (section 2.4), the return codes of 3.1.1, and which of them answers
//! which refusal.

use trivium_core::Refusal;

/// A reason code as it travels. A newtype over the number: a peer may send one we do not know,
/// and we must still be able to log it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReasonCode(pub u8);

macro_rules! reason_codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal;)+) => {
        impl ReasonCode {
            $($(#[doc = $doc])+ pub const $name: Self = Self($code);)+

            /// The name the specification uses; `UNKNOWN` for others.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $($code => stringify!($name),)+
                    _ => "UNKNOWN",
                }
            }
        }
    };
}

reason_codes! {
    /// All is well; also a normal disconnection and a granted QoS 0.
    SUCCESS = 0x00;
    /// The client leaves and wants its will published.
    DISCONNECT_WITH_WILL = 0x04;
    /// Accepted, and nobody subscribes to it.
    NO_MATCHING_SUBSCRIBERS = 0x10;
    /// There was no such subscription.
    NO_SUBSCRIPTION_EXISTED = 0x11;
    /// The authentication goes on.
    CONTINUE_AUTHENTICATION = 0x18;
    /// The client authenticates anew.
    RE_AUTHENTICATE = 0x19;
    /// Nothing fits better.
    UNSPECIFIED_ERROR = 0x80;
    /// The packet cannot be parsed.
    MALFORMED_PACKET = 0x81;
    /// The packet must not be there, or not like this.
    PROTOCOL_ERROR = 0x82;
    /// Valid, and not done by this server.
    IMPLEMENTATION_SPECIFIC_ERROR = 0x83;
    /// A protocol version we do not speak.
    UNSUPPORTED_PROTOCOL_VERSION = 0x84;
    /// A client identifier we do not take.
    CLIENT_IDENTIFIER_NOT_VALID = 0x85;
    /// Login failed.
    BAD_USER_NAME_OR_PASSWORD = 0x86;
    /// Not permitted.
    NOT_AUTHORIZED = 0x87;
    /// The server cannot serve now.
    SERVER_UNAVAILABLE = 0x88;
    /// The server is going down.
    SERVER_SHUTTING_DOWN = 0x8B;
    /// An authentication method we do not know.
    BAD_AUTHENTICATION_METHOD = 0x8C;
    /// Silent for one and a half keep-alives.
    KEEP_ALIVE_TIMEOUT = 0x8D;
    /// Another connection uses this client identifier.
    SESSION_TAKEN_OVER = 0x8E;
    /// A filter that is not one.
    TOPIC_FILTER_INVALID = 0x8F;
    /// A topic that nobody may publish to.
    TOPIC_NAME_INVALID = 0x90;
    /// This identifier is not in use.
    PACKET_IDENTIFIER_NOT_FOUND = 0x92;
    /// More unacknowledged publishes than were agreed.
    RECEIVE_MAXIMUM_EXCEEDED = 0x93;
    /// Topic alias 0, or above what was agreed.
    TOPIC_ALIAS_INVALID = 0x94;
    /// Larger than was agreed.
    PACKET_TOO_LARGE = 0x95;
    /// A limit of the server.
    QUOTA_EXCEEDED = 0x97;
    /// An operator did it.
    ADMINISTRATIVE_ACTION = 0x98;
    /// `$share` is not served.
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E;
}

impl std::fmt::Debug for ReasonCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "0x{:02X} {}", self.0, self.name())
    }
}

impl ReasonCode {
    /// Whether it reports a failure (section 2.4).
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.0 >= 0x80
    }

    /// The code of `refusal`, whatever packet carries it.
    #[must_use]
    pub const fn of(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::LoginRefused { .. } | Refusal::VhostNotFound { .. } => {
                Self::BAD_USER_NAME_OR_PASSWORD
            }
            Refusal::VhostRefused { .. }
            | Refusal::AccessRefused { .. }
            | Refusal::PermissionRefused { .. }
            | Refusal::Locked { .. }
            | Refusal::SingleActive { .. }
            | Refusal::NotAllowed { .. } => Self::NOT_AUTHORIZED,
            Refusal::NotFound { .. }
            | Refusal::NoPreviousQueue
            | Refusal::Precondition { .. }
            | Refusal::NotImplemented { .. } => Self::IMPLEMENTATION_SPECIFIC_ERROR,
            Refusal::QueueFull { .. } | Refusal::Blocked { .. } | Refusal::LimitReached { .. } => {
                Self::QUOTA_EXCEEDED
            }
            Refusal::TakenOver => Self::SESSION_TAKEN_OVER,
            Refusal::Closing { .. } => Self::SERVER_SHUTTING_DOWN,
            Refusal::Internal => Self::UNSPECIFIED_ERROR,
        }
    }

    /// The code of `refusal` in PUBACK, PUBREC, SUBACK or UNSUBACK, which know fewer.
    #[must_use]
    pub const fn of_answer(refusal: &Refusal) -> Self {
        match Self::of(refusal) {
            code @ (Self::NOT_AUTHORIZED
            | Self::IMPLEMENTATION_SPECIFIC_ERROR
            | Self::QUOTA_EXCEEDED) => code,
            _ => Self::UNSPECIFIED_ERROR,
        }
    }

    /// The code of `refusal` in CONNACK, which has no taken-over and no shutting-down.
    #[must_use]
    pub const fn of_connect(refusal: &Refusal) -> Self {
        match Self::of(refusal) {
            Self::SESSION_TAKEN_OVER | Self::SERVER_SHUTTING_DOWN => Self::SERVER_UNAVAILABLE,
            code => code,
        }
    }

    /// The return code of a refused CONNECT in 3.1.1 (section 3.2.2.3).
    #[must_use]
    pub const fn return_code(self) -> u8 {
        match self {
            Self::UNSUPPORTED_PROTOCOL_VERSION => 1,
            Self::CLIENT_IDENTIFIER_NOT_VALID => 2,
            Self::BAD_USER_NAME_OR_PASSWORD => 4,
            Self::NOT_AUTHORIZED | Self::QUOTA_EXCEEDED => 5,
            _ => 3,
        }
    }
}
