//! A message as a client sees it, in the words of the client's own protocol.

/// What a client sends or reads.
#[derive(Clone, PartialEq)]
pub(crate) struct Message {
    /// Routing key of `amq.topic`, topic, or destination.
    pub(crate) address: String,
    /// Properties and headers in their order, without what belongs to one delivery or frame.
    pub(crate) fields: Vec<Field>,
    pub(crate) body: Vec<u8>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { address, fields, body } = self;
        write!(f, "{address} {fields:?} and a body of {} octets", body.len())
    }
}

/// Where a field stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// One of the protocol's own: a property of AMQP or MQTT.
    Property,
    /// In AMQP's headers table, an MQTT user property, a header of STOMP.
    Header,
}

/// One property or header.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) place: Place,
    pub(crate) name: String,
    /// AMQP's tag of the type. What has no tag on the wire has the one that fits: `S` for text.
    pub(crate) tag: u8,
    /// The octets of the value as on the wire, without their length.
    pub(crate) value: Vec<u8>,
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = self.value.get(..60).unwrap_or(&self.value).escape_ascii();
        write!(f, "{:?} {} {}={shown}", self.place, self.name, char::from(self.tag))
    }
}

impl Field {
    pub(crate) fn property(name: &str, tag: u8, value: impl Into<Vec<u8>>) -> Self {
        Self { place: Place::Property, name: name.into(), tag, value: value.into() }
    }

    pub(crate) fn header(name: &str, tag: u8, value: impl Into<Vec<u8>>) -> Self {
        Self { place: Place::Header, name: name.into(), tag, value: value.into() }
    }

    /// Whether both stand in the same place under the same name.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        self.place == other.place && self.name == other.name
    }

    /// What the value says, whatever its type: two fields with the same text say the same.
    pub(crate) fn text(&self) -> Vec<u8> {
        let number = || {
            let shift = 64 - 8 * u32::try_from(self.value.len()).expect("a number is short");
            self.value.iter().fold(0_u64, |sum, &octet| sum << 8 | u64::from(octet)) << shift
        };
        let octets = &self.value;
        match self.tag {
            b't' => (if octets == &[0] { "false" } else { "true" }).into(),
            b'b' | b's' | b'I' | b'l' => {
                let unused = 64 - 8 * octets.len();
                (number().cast_signed() >> unused).to_string().into_bytes()
            }
            b'B' | b'u' | b'i' | b'T' => {
                let value = number() >> (64 - 8 * octets.len());
                let is_seconds = self.name == "Message-Expiry-Interval";
                (if is_seconds { value * 1000 } else { value }).to_string().into_bytes()
            }
            b'f' => f32::from_be_bytes(octets[..].try_into().expect("4 octets")).to_string().into(),
            b'd' => f64::from_be_bytes(octets[..].try_into().expect("8 octets")).to_string().into(),
            b'D' => {
                let value = i32::from_be_bytes(octets[1..].try_into().expect("4 octets"));
                scaled(value, usize::from(octets[0])).into_bytes()
            }
            _ => octets.clone(),
        }
    }
}

/// `value / 10^scale`.
fn scaled(value: i32, scale: usize) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let mut digits = format!("{:0>1$}", value.unsigned_abs(), scale + 1);
    if scale > 0 {
        digits.insert(digits.len() - scale, '.');
    }
    format!("{sign}{digits}")
}

/// The type that AMQP's tag stands for, in a reader's words.
pub(crate) const fn type_name(tag: u8) -> &'static str {
    match tag {
        b't' => "boolean",
        b'b' => "int8",
        b'B' => "uint8",
        b's' => "int16",
        b'u' => "uint16",
        b'I' => "int32",
        b'i' => "uint32",
        b'l' => "int64",
        b'f' => "float",
        b'd' => "double",
        b'D' => "decimal",
        b'x' => "binary",
        b'T' => "timestamp",
        b'A' => "array",
        b'F' => "table",
        b'V' => "void",
        _ => "text",
    }
}
