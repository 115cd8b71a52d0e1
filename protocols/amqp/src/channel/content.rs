//! A publish that arrives frame by frame: method, header, any number of body frames (section
//! 4.2.6). The common case, all three in one read, does not come here: `hot::publish::whole`.

use trivium_core::{Body, Draft};

use crate::frame::{self, Frame};
use crate::hot::publish::{ContentHeader, Publish};
use crate::method::MethodId;
use crate::properties::{
    Checked, PROPERTY_CODEC, PropertiesError, Property, PropertyList, expiration_ms,
};
use crate::reply_code::{Fault, ReplyCode};

/// A body above this is a fault of the connection, whatever the configuration says (RabbitMQ's
/// hard limit, 512 MiB).
const BODY_BYTES_MAX: u64 = 536_870_912;

/// Memory reserved for a body on the client's word alone; the rest as octets arrive.
const RESERVE_BYTES_MAX: usize = 1024 * 1024;

/// A publish that waits for the rest of its frames.
#[derive(Debug)]
pub(crate) struct Content {
    exchange: String,
    routing_key: String,
    mandatory: bool,
    /// `None` until the header was read.
    header: Option<Header>,
}

#[derive(Debug)]
struct Header {
    properties: Vec<u8>,
    /// What they say.
    checked: Checked,
    body: Vec<u8>,
    /// Octets of the body that are missing.
    missing: u64,
}

/// What a frame did to a publish.
#[derive(Debug)]
pub(crate) enum Progress<'a> {
    /// More frames are to come.
    Incomplete,
    /// Complete; this is its body.
    Complete(Body<'a>),
}

impl Content {
    pub(crate) fn new(publish: &Publish<'_>) -> Self {
        Self {
            exchange: publish.exchange.to_owned(),
            routing_key: publish.routing_key.to_owned(),
            mandatory: publish.mandatory,
            header: None,
        }
    }

    /// The publish, now that [`Progress::Complete`] gave its body, and what its properties say.
    pub(crate) fn draft<'a>(&'a self, body: Body<'a>) -> (Draft<'a>, Checked) {
        let (properties, checked) = match &self.header {
            Some(header) => (header.properties.as_slice(), header.checked),
            None => (&[0; 2][..], Checked::default()),
        };
        let draft = Draft {
            exchange: &self.exchange,
            routing_key: &self.routing_key,
            codec: PROPERTY_CODEC,
            properties,
            body,
            persistent: checked.is_persistent,
            mandatory: self.mandatory,
            expires_at: None,
            priority: checked.priority,
            retain: false,
        };
        (draft, checked)
    }

    /// The next frame of the channel.
    pub(crate) fn on_frame<'a>(
        &mut self,
        frame: &Frame<'a>,
        message_bytes_max: u64,
    ) -> Result<Progress<'a>, Fault> {
        match &mut self.header {
            None => {
                let header = self.header.insert(read_header(frame, message_bytes_max)?);
                Ok(match header.missing {
                    0 => Progress::Complete(Body::Borrowed(&[])),
                    _ => Progress::Incomplete,
                })
            }
            Some(header) => header.on_body(frame),
        }
    }
}

impl Header {
    fn on_body<'a>(&mut self, frame: &Frame<'a>) -> Result<Progress<'a>, Fault> {
        if frame.kind != frame::BODY {
            return Err(unexpected("content body, got non content body frame instead"));
        }
        let size = frame.payload.len() as u64;
        if size > self.missing {
            let text = "content body frame exceeds remaining content size";
            return Err(Fault::new(ReplyCode::FRAME_ERROR, MethodId::BASIC_PUBLISH, text));
        }
        if size == self.missing && self.body.is_empty() {
            return Ok(Progress::Complete(Body::Borrowed(frame.payload)));
        }
        self.append(frame.payload);
        self.missing -= size;
        if self.missing > 0 {
            return Ok(Progress::Incomplete);
        }
        Ok(Progress::Complete(Body::Owned(std::mem::take(&mut self.body))))
    }

    /// Grows by doubling, but never past what the body will need.
    fn append(&mut self, piece: &[u8]) {
        if self.body.capacity() - self.body.len() < piece.len() {
            let missing = usize::try_from(self.missing).unwrap_or(usize::MAX);
            let step = self.body.len().max(RESERVE_BYTES_MAX).max(piece.len());
            self.body.reserve_exact(missing.min(step));
        }
        self.body.extend_from_slice(piece);
    }
}

fn read_header(frame: &Frame<'_>, message_bytes_max: u64) -> Result<Header, Fault> {
    const METHOD: MethodId = MethodId::BASIC_PUBLISH;
    const NO_HEADER: &str = "content header for class 60, got non content header frame instead";
    if frame.kind != frame::HEADER {
        return Err(unexpected(NO_HEADER));
    }
    let content = ContentHeader::decode(frame.payload).ok_or_else(|| unexpected(NO_HEADER))?;
    if content.weight != 0 {
        return Err(unexpected(NO_HEADER));
    }
    if !content.is_basic() {
        let class = content.class;
        let text = format!("content header for class 60, got one for class {class} instead");
        return Err(unexpected(&text));
    }
    let size = content.body_size;
    if size > BODY_BYTES_MAX {
        let text =
            format!("content body size {size} exceeds maximum allowed size {BODY_BYTES_MAX}");
        return Err(Fault::new(ReplyCode::FRAME_ERROR, METHOD, text));
    }
    if size > message_bytes_max {
        let text =
            format!("message size {size} is larger than configured max size {message_bytes_max}");
        return Err(Fault::new(ReplyCode::PRECONDITION_FAILED, METHOD, text));
    }
    let mut properties = content.properties.to_vec();
    if let Some(low) = properties.get_mut(1) {
        // Clients that set the two reserved flags mean nothing by it.
        *low &= !0b11;
    }
    let checked = Checked::check(&properties).map_err(undecodable)?;
    Ok(Header { properties, checked, body: Vec::new(), missing: size })
}

fn unexpected(what: &str) -> Fault {
    let text = format!("expected {what}");
    Fault::new(ReplyCode::UNEXPECTED_FRAME, MethodId::BASIC_PUBLISH, text)
}

pub(super) fn undecodable(error: PropertiesError) -> Fault {
    Fault::new(ReplyCode::SYNTAX_ERROR, MethodId::BASIC_PUBLISH, error.to_string())
}

/// What a valid list must not say about its time.
pub(super) fn check_expiration(wire: &[u8]) -> Result<(), Fault> {
    let list = PropertyList::split(wire).map_err(undecodable)?;
    match list.text(Property::Expiration).map(expiration_ms) {
        Some(Err(text)) => Err(refused(text)),
        _ => Ok(()),
    }
}

/// Nobody publishes in another's name.
pub(super) fn check_user(wire: &[u8], user: &str) -> Result<(), Fault> {
    let list = PropertyList::split(wire).map_err(undecodable)?;
    match list.text(Property::UserId) {
        Some(claimed) if claimed != user => Err(refused(format!(
            "user_id property set to '{claimed}' but authenticated user was '{user}'"
        ))),
        _ => Ok(()),
    }
}

fn refused(text: String) -> Fault {
    Fault::new(ReplyCode::PRECONDITION_FAILED, MethodId::BASIC_PUBLISH, text)
}
