//! Open transactions: frames that take effect together at COMMIT, or not at all (S-65 to S-68).

use trivium_core::Outcome;

use crate::config::Config;
use crate::failure::Failure;
use crate::subscription::MessageName;

/// A frame that waits for COMMIT.
#[derive(Debug)]
pub(crate) enum Pending {
    /// A SEND.
    Send(PendingSend),
    /// An ACK or NACK.
    Settle(MessageName, Outcome),
}

/// A SEND that waits for COMMIT.
#[derive(Debug)]
pub(crate) struct PendingSend {
    /// Where it is published.
    pub(crate) exchange: String,
    /// With which key.
    pub(crate) key: String,
    /// Its travelling headers.
    pub(crate) properties: Vec<u8>,
    /// Its body.
    pub(crate) body: Vec<u8>,
    /// `persistent:true`.
    pub(crate) persistent: bool,
    /// `expiration`, in milliseconds.
    pub(crate) expiry_ms: Option<u64>,
    /// `priority`, 0 when there is none.
    pub(crate) priority: u8,
    /// Become the last value of the address.
    pub(crate) retain: bool,
    /// The queue must exist.
    pub(crate) must_exist: bool,
    /// Its receipt, as it will be written.
    pub(crate) receipt: Option<Vec<u8>>,
}

impl PendingSend {
    fn cost_bytes(&self) -> usize {
        let receipt_len = self.receipt.as_ref().map_or(0, Vec::len);
        self.exchange.len() + self.key.len() + self.properties.len() + self.body.len() + receipt_len
    }
}

impl Pending {
    fn cost_bytes(&self) -> usize {
        match self {
            Self::Send(send) => send.cost_bytes(),
            Self::Settle(..) => 0,
        }
    }
}

/// The open transactions of a connection, by name; a few at most.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    open: Vec<(String, Vec<Pending>)>,
    bytes: usize,
}

impl Transactions {
    /// Opens one. Its name must not be open already (S-67).
    pub(crate) fn begin(&mut self, name: &str, config: &Config) -> Result<(), Failure> {
        if self.open.iter().any(|(other, _)| other == name) {
            let body = format!("Duplicate transaction identifier: \"{name}\"\n");
            return Err(Failure::new("Bad transaction", body));
        }
        if self.open.len() == config.transactions_max {
            return Err(Failure::limit("open transactions", config.transactions_max));
        }
        self.open.push((name.to_owned(), Vec::new()));
        Ok(())
    }

    /// Adds a frame to one.
    pub(crate) fn add(
        &mut self,
        name: &str,
        pending: Pending,
        config: &Config,
    ) -> Result<(), Failure> {
        let open = self.open.iter_mut().find(|(other, _)| other == name);
        let (_, frames) = open.ok_or_else(|| Failure::bad_transaction(name))?;
        if frames.len() == config.transaction_frames_max {
            let max = config.transaction_frames_max;
            return Err(Failure::limit("frames in a transaction", max));
        }
        let bytes = self.bytes.saturating_add(pending.cost_bytes());
        if bytes > config.transaction_bytes_max {
            return Err(Failure::limit("bytes in open transactions", config.transaction_bytes_max));
        }
        self.bytes = bytes;
        frames.push(pending);
        Ok(())
    }

    /// Ends one and gives its frames in their order.
    pub(crate) fn end(&mut self, name: &str) -> Result<Vec<Pending>, Failure> {
        let at = self.open.iter().position(|(other, _)| other == name);
        let at = at.ok_or_else(|| Failure::bad_transaction(name))?;
        let (_, frames) = self.open.swap_remove(at);
        self.bytes -= frames.iter().map(Pending::cost_bytes).sum::<usize>();
        Ok(frames)
    }
}
