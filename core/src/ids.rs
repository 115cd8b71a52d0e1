//! Names of things that live only as long as the process.

/// A connection, never reused while the broker runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Who published a message: a connection; of MQTT a client, over whichever connection, because "No
/// Local" is about clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublisherId(pub u64);

impl PublisherId {
    /// Set in the ids of MQTT clients, never in those of connections.
    const CLIENT: u64 = 1 << 63;

    /// The client whose identifier has that hash.
    pub(crate) const fn of_client(hash: u64) -> Self {
        Self(hash | Self::CLIENT)
    }
}

impl From<ConnectionId> for PublisherId {
    fn from(connection: ConnectionId) -> Self {
        Self(connection.0)
    }
}

/// A session on its connection: the adapter's label (the AMQP channel number; 0 elsewhere) and
/// which use of that label it is, so that what was under way for a closed channel does not reach
/// its successor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId {
    /// The adapter's own number for it.
    pub label: u16,
    /// Counts the uses of this label on this connection, and wraps.
    pub epoch: u16,
}

/// A consumer of a session. Never reused within the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsumerId(pub u32);

/// A queue, never reused (architecture: the log names queues by it).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(pub u64);

/// One publish of a session that asked for a confirm: 1, 2, 3, ... in the order of publishing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// One delivery that waits for its settlement; meaningful to the session that received it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeliveryId {
    /// The queue, as the session numbers the queues it has read from.
    pub(crate) queue: u32,
    /// The place in that queue's unsettled entries.
    pub(crate) slot: u32,
    /// Which use of that place: a stale id settles nothing.
    pub(crate) generation: u32,
}

impl DeliveryId {
    /// The place of deliveries that were settled when they were sent.
    pub(crate) const SETTLED: u32 = u32::MAX;

    /// Whether it waits for its settlement: what a consumer gets without acknowledgement does not.
    #[must_use]
    pub const fn is_unsettled(&self) -> bool {
        self.slot != Self::SETTLED
    }
}
