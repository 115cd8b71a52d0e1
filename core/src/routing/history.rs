//! What an `x-recent-history` exchange keeps: its last messages, for queues that are bound later.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Message, Refusal, Table, Value};

const LENGTH: &str = "x-recent-history-length";

/// A header of messages that are not to be kept.
const NO_STORE: &str = "x-recent-history-no-store";

/// Messages kept when the exchange does not say how many, as in RabbitMQ.
const LENGTH_DEFAULT: usize = 20;

/// Messages kept whatever the exchange says.
const LENGTH_MAX: usize = 10_000;

/// Bytes of messages kept by one exchange, the newest one aside (C-5).
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// The last messages of one exchange.
#[derive(Debug)]
pub(crate) struct History {
    length_max: usize,
    /// Guards the messages. A leaf.
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    messages: VecDeque<Message>,
    bytes: usize,
}

/// Refuses arguments that are no length.
pub(crate) fn check(arguments: &Table) -> Result<(), Refusal> {
    let Some(length) = arguments.get(LENGTH) else { return Ok(()) };
    if length.as_integer().is_some_and(|length| length > 0) {
        return Ok(());
    }
    let shown = match (length.as_integer(), length.as_str()) {
        (Some(integer), _) => integer.to_string(),
        (_, Some(text)) => format!("<<\"{text}\">>"),
        _ => format!("{length:?}"),
    };
    Err(Refusal::precondition(format!(
        "Invalid argument {shown}, '{LENGTH}' must be a positive integer"
    )))
}

impl History {
    /// As the exchange's arguments say.
    pub(super) fn of(arguments: &Table) -> Self {
        let length = arguments.get(LENGTH).and_then(Value::as_integer);
        let length = length.and_then(|length| usize::try_from(length).ok());
        let length_max = length.unwrap_or(LENGTH_DEFAULT).min(LENGTH_MAX);
        Self { length_max, kept: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a message, unless it asks not to be.
    pub(crate) fn keep(&self, message: &Message) {
        if message.properties().headers.get(NO_STORE) == Some(&Value::Bool(true)) {
            return;
        }
        let mut kept = self.kept();
        kept.bytes += message.cost_bytes();
        kept.messages.push_back(message.clone());
        while kept.messages.len() > self.length_max
            || (kept.bytes > BYTES_MAX && kept.messages.len() > 1)
        {
            let Some(oldest) = kept.messages.pop_front() else { break };
            kept.bytes -= oldest.cost_bytes();
        }
    }

    /// What is kept, the oldest first.
    pub(crate) fn messages(&self) -> Vec<Message> {
        self.kept().messages.iter().cloned().collect()
    }
}
