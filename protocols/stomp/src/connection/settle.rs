//! ACK and NACK (S-59 to S-64), and transactions (S-65 to S-68).

use stomp_parser::headers::AckType;
use trivium_core::{Answer, Batch, Body, Draft, Outcome, Refusal, Request, Transaction};

use super::send::no_queue;
use super::{Connection, Open, Waiting, receipt_of};
use crate::failure::Failure;
use crate::frame::Frame;
use crate::properties::PROPERTY_CODEC;
use crate::receipt;
use crate::subscription::MessageName;
use crate::transaction::{Pending, PendingSend};
use crate::version::Version;

impl Connection {
    pub(super) fn on_ack(
        &mut self,
        frame: &Frame<'_>,
        batch: &mut Batch<'_>,
    ) -> Result<(), Failure> {
        self.on_settle(frame, Outcome::Accepted, batch)
    }

    /// `requeue:false` gives the message up; else it goes back to where it stood.
    pub(super) fn on_nack(
        &mut self,
        frame: &Frame<'_>,
        batch: &mut Batch<'_>,
    ) -> Result<(), Failure> {
        let is_given_up = matches!(frame.value("requeue").as_deref(), Some("false" | "False"));
        let outcome = if is_given_up { Outcome::Rejected } else { Outcome::Requeued };
        self.on_settle(frame, outcome, batch)
    }

    fn on_settle(
        &mut self,
        frame: &Frame<'_>,
        outcome: Outcome,
        batch: &mut Batch<'_>,
    ) -> Result<(), Failure> {
        let message = self.message_name(frame)?;
        self.check_message(message)?;
        match frame.value("transaction") {
            Some(name) => {
                self.transactions.add(&name, Pending::Settle(message, outcome), &self.config)?;
            }
            None => self.settle(message, outcome, batch),
        }
        self.acknowledge(frame);
        Ok(())
    }

    /// 1.2 names the `ack` header of the MESSAGE, the others its `message-id`; here they are the
    /// same text. `subscription` (S-60) adds nothing to it.
    fn message_name(&self, frame: &Frame<'_>) -> Result<MessageName, Failure> {
        let name = if self.version == Version::V1_2 { "id" } else { "message-id" };
        let text = frame.value(name);
        let text = text.ok_or_else(|| Failure::missing_header(frame.command, name))?;
        let connection = self.open()?.connection.id();
        MessageName::parse(&text, connection)
            .ok_or_else(|| Failure::invalid_header(frame.command, name))
    }

    fn open(&self) -> Result<&Open, Failure> {
        self.open.as_ref().ok_or_else(|| Failure::from(&Refusal::Internal))
    }

    /// An acknowledgement that is not needed is none that is wrong: of an `auto` subscription, of
    /// one that has ended meanwhile, and in `client` mode of a message that a later one covered.
    fn check_message(&mut self, message: MessageName) -> Result<(), Failure> {
        let is_known = match self.subscriptions.of_consumer(message.consumer) {
            None => self.subscriptions.has_known(message.consumer),
            Some(subscription) => match subscription.mode {
                AckType::Auto => true,
                AckType::Client => subscription.has_sent(message.number),
                AckType::ClientIndividual => subscription.is_unsettled(message.number),
            },
        };
        if is_known {
            return Ok(());
        }
        let reason = format!("unknown delivery tag {}", message.number);
        Err(Failure::from(&Refusal::precondition(reason)))
    }

    fn settle(&mut self, message: MessageName, outcome: Outcome, batch: &mut Batch<'_>) {
        let subscription = self.subscriptions.of_consumer(message.consumer);
        if let (Some(subscription), Some(open)) = (subscription, &mut self.open) {
            subscription.settle(message.number, |delivery| {
                batch.settle(&mut open.session, delivery, outcome);
            });
        }
    }

    pub(super) fn on_begin(&mut self, frame: &Frame<'_>) -> Result<(), Failure> {
        self.transactions.begin(&transaction_of(frame)?, &self.config)?;
        self.acknowledge(frame);
        Ok(())
    }

    pub(super) fn on_abort(&mut self, frame: &Frame<'_>) -> Result<(), Failure> {
        self.transactions.end(&transaction_of(frame)?)?;
        self.acknowledge(frame);
        Ok(())
    }

    /// Asks for all of it at once. The receipts come when its messages are safe: those of the SENDs,
    /// then COMMIT's.
    pub(super) fn on_commit(
        &mut self,
        frame: &Frame<'_>,
        batch: &mut Batch<'_>,
    ) -> Result<(), Failure> {
        let mut transaction = Transaction::default();
        let mut receipts = Vec::new();
        for pending in self.transactions.end(&transaction_of(frame)?)? {
            match pending {
                Pending::Settle(message, outcome) => {
                    self.hold_settlement(message, outcome, &mut transaction, batch)?;
                }
                Pending::Send(mut send) => {
                    receipts.extend(send.receipt.take());
                    self.hold_send(send, &mut transaction, batch)?;
                }
            }
        }
        let receipt = receipt_of(frame);
        let request = Request::Commit { transaction, now: batch.now() };
        self.ask(request, Waiting::Commit(Box::new(Committing { receipts, receipt })));
        Ok(())
    }

    pub(super) fn on_committed(&mut self, committing: Committing, answer: Answer) {
        match answer {
            Ok(_) => {
                // What was sent before is confirmed when the commit is, but for what cannot be.
                for receipt in committing.receipts.into_iter().chain(committing.receipt) {
                    match self.receipts.last() {
                        Some(ticket) => self.receipts.push(ticket, &receipt),
                        None => receipt::write(&receipt, &mut self.output),
                    }
                }
                if let Err(failure) = self.check_receipts() {
                    self.fail(&failure, None);
                }
            }
            Err(refusal) => self.fail(&Failure::from(&refusal), committing.receipt.as_deref()),
        }
    }

    fn hold_settlement(
        &mut self,
        message: MessageName,
        outcome: Outcome,
        transaction: &mut Transaction,
        batch: &Batch<'_>,
    ) -> Result<(), Failure> {
        let Some(subscription) = self.subscriptions.of_consumer(message.consumer) else {
            return Ok(());
        };
        let mut held = Ok(());
        subscription.settle(message.number, |delivery| {
            let settled = transaction.settle(delivery, outcome, batch.limits());
            held = std::mem::replace(&mut held, Ok(())).and(settled);
        });
        held.map_err(|refusal| Failure::from(&refusal))
    }

    fn hold_send(
        &self,
        send: PendingSend,
        transaction: &mut Transaction,
        batch: &mut Batch<'_>,
    ) -> Result<(), Failure> {
        let open = self.open()?;
        let draft = Draft {
            exchange: &send.exchange,
            routing_key: &send.key,
            codec: PROPERTY_CODEC,
            properties: &send.properties,
            body: Body::Owned(send.body),
            persistent: send.persistent,
            mandatory: false,
            // It begins to age when it is published.
            expires_at: send.expiry_ms.map(|millis| batch.now().after_millis(millis)),
            priority: send.priority,
            retain: send.retain,
        };
        let held = batch.hold(&open.session, transaction, draft, &[]);
        let routed = held.map_err(|refusal| Failure::from(&refusal))?;
        if send.must_exist && !routed {
            return Err(no_queue(&send.key, open.connection.vhost()));
        }
        Ok(())
    }
}

/// A COMMIT under way.
#[derive(Debug)]
pub(super) struct Committing {
    /// Of its SENDs, in their order.
    receipts: Vec<Vec<u8>>,
    /// Its own.
    receipt: Option<Vec<u8>>,
}

fn transaction_of<'a>(frame: &Frame<'a>) -> Result<std::borrow::Cow<'a, str>, Failure> {
    frame.value("transaction").ok_or_else(|| {
        let body = format!("\"{}\" must include a 'transaction' header\n", frame.command);
        Failure::new("Missing transaction", body)
    })
}
