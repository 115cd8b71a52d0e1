//! What a message loses on its way into another protocol: nothing is lost silently.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Protocol;

macro_rules! fields {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// Something that a message says and another protocol cannot.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Field { $($(#[doc = $doc])+ $name,)+ }

        impl Field {
            /// Every field.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// As metrics name it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

fields! {
    /// No address there: the message could not be delivered at all.
    Address = "address",
    /// Everything but address and body (MQTT 3.1.1 has no properties).
    Properties = "properties",
    /// The content type.
    ContentType = "content_type",
    /// The correlation.
    Correlation = "correlation",
    /// The reply address.
    ReplyTo = "reply_to",
    /// MQTT's payload format.
    PayloadFormat = "payload_format",
    /// One of the publisher's headers.
    Header = "header",
    /// A property that has no form of its own there.
    Property = "property",
}

/// The fields that one message lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Lost(u8);

impl Lost {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// Notes a field.
    pub const fn note(&mut self, field: Field) {
        self.0 |= 1 << field as u8;
    }

    /// Notes `field` unless it was written.
    pub const fn unless(&mut self, is_written: bool, field: Field) {
        if !is_written {
            self.note(field);
        }
    }

    /// Whether nothing was lost.
    #[must_use]
    pub const fn is_nothing(self) -> bool {
        self.0 == 0
    }

    /// The fields.
    pub fn fields(self) -> impl Iterator<Item = Field> {
        let has = move |field: &&Field| self.0 & (1 << **field as u8) != 0;
        Field::ALL.iter().filter(has).copied()
    }
}

/// So many messages of one protocol lost this field towards another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// What the publisher speaks.
    pub from: Protocol,
    /// What the receiver speaks.
    pub to: Protocol,
    /// What was lost.
    pub field: Field,
    /// Deliveries that lost it, since the start.
    pub count: u64,
}

/// Every pair of protocols, every field.
#[derive(Debug)]
pub(crate) struct SharedLosses(Vec<AtomicU64>);

impl Default for SharedLosses {
    fn default() -> Self {
        let count = Protocol::ALL.len() * Protocol::ALL.len() * Field::ALL.len();
        Self((0..count).map(|_| AtomicU64::new(0)).collect())
    }
}

impl SharedLosses {
    fn at(&self, from: Protocol, to: Protocol, field: Field) -> &AtomicU64 {
        let pair = from.index() * Protocol::ALL.len() + to.index();
        &self.0[pair * Field::ALL.len() + field as usize]
    }

    pub(crate) fn add(&self, from: Protocol, to: Protocol, lost: Lost, count: u64) {
        for field in lost.fields() {
            self.at(from, to, field).fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Every count that is not zero.
    pub(crate) fn read(&self) -> Vec<Loss> {
        let mut losses = Vec::new();
        for from in Protocol::ALL {
            for to in Protocol::ALL {
                for &field in Field::ALL {
                    let count = self.at(from, to, field).load(Ordering::Relaxed);
                    if count > 0 {
                        losses.push(Loss { from, to, field, count });
                    }
                }
            }
        }
        losses
    }
}
