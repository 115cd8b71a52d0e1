//! Every frame meets every state here.

use amq_protocol::protocol::{AMQPClass, basic, channel, connection};
use amq_protocol::types::ShortString;
use trivium_core::{Batch, Body, Draft, Transmit};

use super::{Connection, Pending, State};
use crate::channel::{Channel, Content, Here, Next, Progress, Slot};
use crate::frame::{self, Frame};
use crate::hot::publish::{self, Publish, WholePublish};
use crate::hot::settle::Settle;
use crate::method::{self, Method, MethodId};
use crate::properties::PROPERTY_CODEC;
use crate::reply_code::{Fault, ReplyCode};

impl Connection {
    /// Takes what stands at the start of `input`; 0 when it is not all there.
    pub(super) fn take_frame(&mut self, input: &[u8], batch: &mut Batch<'_>) -> usize {
        match self.state {
            State::AwaitHeader => return self.take_header(input),
            State::ClosingDeaf | State::Closed => return input.len(),
            State::Open => {
                if batch.alarms().any() && self.waits_for_calm(input, batch) {
                    return 0;
                }
                if let Some(whole) = publish::whole(input, self.frame_bytes_max)
                    && self.on_whole_publish(&whole, batch)
                {
                    return whole.len;
                }
            }
            _ => {}
        }
        match Frame::decode(input, self.frame_bytes_max) {
            Ok(None) => 0,
            Ok(Some((frame, len))) => {
                self.on_frame(&frame, batch);
                len
            }
            Err(error) => {
                let text = error.to_string();
                self.fail_deaf(&Fault::new(ReplyCode::FRAME_ERROR, MethodId::NONE, text));
                input.len()
            }
        }
    }

    /// The common publish; `false` leaves it to the frame by frame way.
    fn on_whole_publish(&mut self, whole: &WholePublish<'_>, batch: &mut Batch<'_>) -> bool {
        let Some(channel) = self.channels.open_mut(whole.channel) else { return false };
        if channel.content.is_some() || whole.body.len() as u64 > self.config.message_bytes_max {
            return false;
        }
        let draft = Draft {
            exchange: whole.publish.exchange,
            routing_key: whole.publish.routing_key,
            codec: PROPERTY_CODEC,
            properties: whole.wire,
            body: Body::Borrowed(whole.body),
            persistent: whole.properties.is_persistent,
            mandatory: whole.publish.mandatory,
            expires_at: None,
            priority: whole.properties.priority,
            retain: false,
        };
        if let Err(fault) = channel.publish(draft, whole.properties, self.client.user(), batch) {
            self.fail(whole.channel, &fault);
        }
        true
    }

    fn on_frame(&mut self, frame: &Frame<'_>, batch: &mut Batch<'_>) {
        if self.state == State::Closing {
            return self.on_frame_while_closing(frame);
        }
        match (frame.kind, frame.channel) {
            (frame::HEARTBEAT, 0) if frame.payload.is_empty() => {}
            (frame::METHOD, 0) if self.state == State::Open => {
                self.on_connection_method(frame.payload);
            }
            (frame::METHOD, 0) => self.on_handshake_method(frame.payload),
            _ if self.state != State::Open => {
                self.close_silently("unexpected frame during the handshake");
            }
            (frame::METHOD | frame::HEADER | frame::BODY, 1..) => {
                if let Err(fault) = self.on_channel_frame(frame, batch) {
                    self.fail(frame.channel, &fault);
                }
            }
            (frame::HEADER | frame::BODY, 0) | (frame::HEARTBEAT, 1..) => {
                let text = frame.describe();
                self.close(&Fault::new(ReplyCode::UNEXPECTED_FRAME, MethodId::NONE, text));
            }
            _ => {
                let text = format!("{}: unknown_frame", frame.describe());
                self.close(&Fault::new(ReplyCode::FRAME_ERROR, MethodId::NONE, text));
            }
        }
    }

    fn on_connection_method(&mut self, payload: &[u8]) {
        const UNEXPECTED: &str = "unexpected method in connection state running";
        let method = match Method::decode(payload) {
            Ok(method) => method,
            Err(fault) => return self.close(&fault),
        };
        match method.class {
            AMQPClass::Connection(connection::AMQPMethod::Close(_)) => self.on_close(),
            AMQPClass::Connection(connection::AMQPMethod::UpdateSecret(_)) => {
                let ok = connection::UpdateSecretOk {};
                self.write_connection(connection::AMQPMethod::UpdateSecretOk(ok));
            }
            _ => self.close(&Fault::new(ReplyCode::CHANNEL_ERROR, method.id, UNEXPECTED)),
        }
    }

    fn on_channel_frame(&mut self, frame: &Frame<'_>, batch: &mut Batch<'_>) -> Result<(), Fault> {
        match self.channels.slot_mut(frame.channel) {
            None => self.on_frame_of_no_channel(frame),
            Some(Slot::Closing) => {
                self.on_frame_of_closing_channel(frame);
                Ok(())
            }
            Some(Slot::Open(channel)) => {
                if let Some(mut content) = channel.content.take() {
                    let max = self.config.message_bytes_max;
                    let progress = content.on_frame(frame, max)?;
                    return on_content(channel, content, progress, self.client.user(), batch);
                }
                if frame.kind != frame::METHOD {
                    let text = "expected method frame, got non method frame instead";
                    return Err(Fault::new(ReplyCode::UNEXPECTED_FRAME, MethodId::NONE, text));
                }
                self.on_channel_method(frame, batch)
            }
        }
    }

    fn on_frame_of_no_channel(&mut self, frame: &Frame<'_>) -> Result<(), Fault> {
        let method = match frame.kind {
            frame::METHOD => Method::decode(frame.payload)?.id,
            _ => MethodId::NONE,
        };
        if method != MethodId::CHANNEL_OPEN {
            let text = "expected 'channel.open'";
            return Err(Fault::new(ReplyCode::CHANNEL_ERROR, method, text));
        }
        let count = self.channels.count();
        let max = self.channel_max;
        if max != 0 && count >= usize::from(max) {
            let text = format!(
                "number of channels opened ({count}) has reached the negotiated channel_max ({max})"
            );
            return Err(Fault::new(ReplyCode::NOT_ALLOWED, MethodId::NONE, text));
        }
        if let Some(broker) = &self.broker {
            let number = frame.channel;
            let channel = Channel::new(number, broker.session(number));
            self.channels.insert(number, Slot::Open(Box::new(channel)));
            let ok = channel::AMQPMethod::OpenOk(channel::OpenOk {});
            method::write(&mut self.out, number, &AMQPClass::Channel(ok));
        }
        Ok(())
    }

    /// After our `channel.close` all is discarded, content too, but the two closing methods.
    fn on_frame_of_closing_channel(&mut self, frame: &Frame<'_>) {
        if frame.kind != frame::METHOD {
            return;
        }
        match MethodId::of(frame.payload) {
            Some((MethodId::CHANNEL_CLOSE, _)) => {
                let ok = channel::AMQPMethod::CloseOk(channel::CloseOk {});
                method::write(&mut self.out, frame.channel, &AMQPClass::Channel(ok));
            }
            Some((MethodId::CHANNEL_CLOSE_OK, _)) => drop(self.channels.remove(frame.channel)),
            _ => {}
        }
    }

    fn on_channel_method(&mut self, frame: &Frame<'_>, batch: &mut Batch<'_>) -> Result<(), Fault> {
        let Some(channel) = self.channels.open_mut(frame.channel) else { return Ok(()) };
        match MethodId::of(frame.payload) {
            Some((id @ MethodId::BASIC_PUBLISH, fields)) => {
                let publish = Publish::decode(fields)?;
                if publish.immediate {
                    return Err(Fault::new(ReplyCode::NOT_IMPLEMENTED, id, "immediate=true"));
                }
                channel.content = Some(Box::new(Content::new(&publish)));
                Ok(())
            }
            Some((
                id @ (MethodId::BASIC_ACK | MethodId::BASIC_NACK | MethodId::BASIC_REJECT),
                fields,
            )) => {
                let settle = Settle::decode(id, fields);
                let settle = settle.ok_or_else(|| method::undecodable(id, fields))?;
                channel.settle(id, settle, batch)
            }
            _ => self.on_other_method(frame, batch),
        }
    }

    fn on_other_method(&mut self, frame: &Frame<'_>, batch: &mut Batch<'_>) -> Result<(), Fault> {
        let method = Method::decode(frame.payload)?;
        let (Some(channel), Some(broker)) = (self.channels.open_mut(frame.channel), &self.broker)
        else {
            return Ok(());
        };
        let here = Here { connection: broker.id(), vhost: broker.vhost() };
        let next = channel.on_method(method, here, batch, &mut self.out)?;
        self.go_on(frame.channel, next);
        Ok(())
    }

    /// What a channel wants done.
    pub(super) fn go_on(&mut self, number: u16, next: Next) {
        match next {
            Next::Continue => {}
            Next::Close => {
                let slot = self.channels.remove(number);
                self.ended.slots.extend(slot);
            }
            Next::Ask(asks) => {
                let (request, asked) = *asks;
                let session = self.channels.open_mut(number).map(|channel| channel.handle());
                self.ask(session, request, Pending::Channel(number, asked));
            }
        }
    }
}

/// What the next frame made of a publish that did not arrive in one piece.
fn on_content(
    channel: &mut Channel,
    content: Box<Content>,
    progress: Progress<'_>,
    user: &str,
    batch: &mut Batch<'_>,
) -> Result<(), Fault> {
    match progress {
        Progress::Incomplete => {
            channel.content = Some(content);
            Ok(())
        }
        Progress::Complete(body) => {
            let (draft, checked) = content.draft(body);
            channel.publish(draft, checked, user, batch)
        }
    }
}

/// Tells a client that a consumer's queue is gone.
pub(super) fn write_cancel(out: &mut Transmit, channel: u16, tag: &str) {
    let consumer_tag = ShortString::try_new(tag).unwrap_or_default();
    let cancel = basic::AMQPMethod::Cancel(basic::Cancel { consumer_tag, nowait: true });
    method::write(out, channel, &AMQPClass::Basic(cancel));
}
