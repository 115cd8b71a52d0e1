//! What a client asks of an open channel, off the message path.

use amq_protocol::protocol::{AMQPClass, access, basic, channel, confirm, exchange, queue};
use amq_protocol::types::ShortString;
use trivium_core::control::{Binding, Consume, DeclareExchange, DeclareQueue, Destination};
use trivium_core::{Batch, ConnectionId, Outcome, Refusal, Request, Table, Transmit};

use super::Channel;
use super::answers::{Asked, Then};
use super::consumers::made_tag;
use super::replies;
use crate::hot::settle::Settle;
use crate::method::{self, Method, MethodId};
use crate::properties::DIRECT_REPLY_TO;
use crate::reply_code::{Fault, ReplyCode};
use crate::table;

/// Where the channel is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Here<'a> {
    pub(crate) connection: ConnectionId,
    pub(crate) vhost: &'a str,
}

/// What the connection does after a method.
#[derive(Debug)]
pub(crate) enum Next {
    /// Reads on.
    Continue,
    /// Asks the broker, and reads on after the answer.
    Ask(Box<(Request, Asked)>),
    /// Lets the channel go: the client closed it.
    Close,
}

impl Channel {
    /// Every method but those of the message path meets the channel here.
    pub(crate) fn on_method(
        &mut self,
        method: Method,
        here: Here<'_>,
        batch: &mut Batch<'_>,
        out: &mut Transmit,
    ) -> Result<Next, Fault> {
        let Method { id, class, table, prefetch_bytes } = method;
        if prefetch_bytes != 0 {
            return Err(not_implemented(id, format!("prefetch_size!=0 ({prefetch_bytes})")));
        }
        match class {
            AMQPClass::Channel(channel::AMQPMethod::Flow(flow)) => {
                if !flow.active {
                    return Err(not_implemented(id, "active=false"));
                }
                self.reply(
                    out,
                    &channel_class(channel::AMQPMethod::FlowOk(channel::FlowOk { active: true })),
                );
                Ok(Next::Continue)
            }
            AMQPClass::Channel(channel::AMQPMethod::Close(_)) => {
                self.reply(out, &channel_class(channel::AMQPMethod::CloseOk(channel::CloseOk {})));
                Ok(Next::Close)
            }
            AMQPClass::Channel(channel::AMQPMethod::Open(_)) => {
                Err(Fault::new(ReplyCode::CHANNEL_ERROR, id, "second 'channel.open' seen"))
            }
            AMQPClass::Access(access::AMQPMethod::Request(_)) => {
                let ok = access::AMQPMethod::RequestOk(access::RequestOk {});
                self.reply(out, &AMQPClass::Access(ok));
                Ok(Next::Continue)
            }
            AMQPClass::Exchange(method) => exchange_request(id, method, table),
            AMQPClass::Queue(method) => self.on_queue(id, method, table, out),
            AMQPClass::Basic(method) => self.on_basic(id, method, table, here, batch, out),
            AMQPClass::Confirm(confirm::AMQPMethod::Select(select)) => {
                if self.held.is_some() {
                    let text = "cannot switch from tx to confirm mode";
                    return Err(Fault::new(ReplyCode::PRECONDITION_FAILED, id, text));
                }
                self.confirmed.get_or_insert(0);
                if !select.nowait {
                    let ok = confirm::AMQPMethod::SelectOk(confirm::SelectOk {});
                    self.reply(out, &AMQPClass::Confirm(ok));
                }
                Ok(Next::Continue)
            }
            AMQPClass::Tx(method) => self.on_tx(id, &method, batch, out),
            _ => Err(method::unimplemented(id)),
        }
    }

    pub(super) fn reply(&self, out: &mut Transmit, method: &AMQPClass) {
        method::write(out, self.number, method);
    }

    fn on_queue(
        &mut self,
        id: MethodId,
        method: queue::AMQPMethod,
        arguments: Table,
        out: &mut Transmit,
    ) -> Result<Next, Fault> {
        let (request, nowait, then) = match method {
            queue::AMQPMethod::Declare(declare) => {
                return self.on_declare(id, &declare, arguments, out);
            }
            queue::AMQPMethod::Bind(bind) => {
                let binding =
                    self.binding(id, [&bind.queue, &bind.exchange, &bind.routing_key], arguments)?;
                let ok = queue::AMQPMethod::BindOk(queue::BindOk {});
                (Request::Bind(binding), bind.nowait, Then::Reply(AMQPClass::Queue(ok)))
            }
            queue::AMQPMethod::Unbind(unbind) => {
                let names = [&unbind.queue, &unbind.exchange, &unbind.routing_key];
                let binding = self.binding(id, names, arguments)?;
                let ok = queue::AMQPMethod::UnbindOk(queue::UnbindOk {});
                (Request::Unbind(binding), false, Then::Reply(AMQPClass::Queue(ok)))
            }
            queue::AMQPMethod::Purge(purge) => {
                let name = self.expand(id, stripped(&purge.queue))?;
                (Request::PurgeQueue { name }, purge.nowait, Then::Purged)
            }
            queue::AMQPMethod::Delete(delete) => {
                let name = self.expand(id, stripped(&delete.queue))?;
                let (if_unused, if_empty) = (delete.if_unused, delete.if_empty);
                let request = Request::DeleteQueue { name, if_unused, if_empty };
                (request, delete.nowait, Then::Deleted)
            }
            _ => return Err(method::unimplemented(id)),
        };
        Ok(ask(request, Asked { method: id, nowait, then }))
    }

    fn on_declare(
        &mut self,
        id: MethodId,
        declare: &queue::Declare,
        arguments: Table,
        out: &mut Transmit,
    ) -> Result<Next, Fault> {
        let name = match stripped(&declare.queue) {
            name if name.is_empty() && declare.passive => self.expand(id, name)?,
            name => name,
        };
        if replies::is_reserved(&name) {
            return Ok(self.on_declare_replies(id, name, declare.nowait, out));
        }
        let request = Request::DeclareQueue(DeclareQueue {
            name,
            name_prefix: "",
            passive: declare.passive,
            durable: declare.durable,
            exclusive: declare.exclusive,
            auto_delete: declare.auto_delete,
            is_private: false,
            arguments,
        });
        Ok(ask(request, Asked { method: id, nowait: declare.nowait, then: Then::Declared }))
    }

    fn on_basic(
        &mut self,
        id: MethodId,
        method: basic::AMQPMethod,
        arguments: Table,
        here: Here<'_>,
        batch: &mut Batch<'_>,
        out: &mut Transmit,
    ) -> Result<Next, Fault> {
        match method {
            basic::AMQPMethod::Qos(qos) => {
                let count = u32::from(qos.prefetch_count);
                if qos.global {
                    batch.limit_session(&mut self.session, count);
                } else {
                    self.prefetch = count;
                }
                self.reply(out, &basic_class(basic::AMQPMethod::QosOk(basic::QosOk {})));
                Ok(Next::Continue)
            }
            basic::AMQPMethod::Consume(consume) => self.on_consume(id, &consume, arguments, here),
            basic::AMQPMethod::Cancel(cancel) => Ok(self.on_cancel(id, cancel, out)),
            basic::AMQPMethod::Get(get) => {
                let queue = self.expand(id, stripped(&get.queue))?;
                let then = Then::Got { no_ack: get.no_ack };
                let request = Request::Get { queue, no_ack: get.no_ack };
                Ok(ask(request, Asked { method: id, nowait: false, then }))
            }
            basic::AMQPMethod::Recover(recover) => {
                self.recover(id, recover.requeue, batch)?;
                self.reply(out, &basic_class(basic::AMQPMethod::RecoverOk(basic::RecoverOk {})));
                Ok(Next::Continue)
            }
            basic::AMQPMethod::RecoverAsync(recover) => {
                self.recover(id, recover.requeue, batch)?;
                Ok(Next::Continue)
            }
            _ => Err(method::unimplemented(id)),
        }
    }

    fn on_consume(
        &mut self,
        id: MethodId,
        consume: &basic::Consume,
        arguments: Table,
        here: Here<'_>,
    ) -> Result<Next, Fault> {
        let queue = self.expand(id, stripped(&consume.queue))?;
        let tag = consume.consumer_tag.as_str();
        if self.consumers.by_tag(tag).is_some() {
            let text = format!("attempt to reuse consumer tag '{tag}'");
            return Err(Fault::new(ReplyCode::NOT_ALLOWED, id, text));
        }
        let priority = priority(id, &queue, here.vhost, &arguments)?;
        let tag = match tag {
            "" => self.make_tag(here.connection),
            tag => tag.to_owned(),
        };
        if queue == DIRECT_REPLY_TO {
            return self.on_consume_replies(id, consume, tag.into());
        }
        let request = Request::Consume(Consume {
            queue,
            no_ack: consume.no_ack,
            exclusive: consume.exclusive,
            prefetch: self.prefetch,
            priority,
            arguments,
        });
        let then = Then::Consuming { tag: tag.into(), no_ack: consume.no_ack, replies: None };
        Ok(ask(request, Asked { method: id, nowait: consume.nowait, then }))
    }

    fn make_tag(&mut self, connection: ConnectionId) -> String {
        loop {
            self.tags_made = self.tags_made.wrapping_add(1);
            let tag = made_tag(connection, self.id, self.tags_made);
            if self.consumers.by_tag(&tag).is_none() {
                return tag;
            }
        }
    }

    fn on_cancel(&self, id: MethodId, cancel: basic::Cancel, out: &mut Transmit) -> Next {
        let tag = cancel.consumer_tag;
        let Some(consumer) = self.consumers.by_tag(tag.as_str()) else {
            if !cancel.nowait {
                self.reply(out, &cancel_ok(tag));
            }
            return Next::Continue;
        };
        let then = Then::Cancelled { consumer: consumer.id, tag };
        let request = Request::Cancel { consumer: consumer.id };
        ask(request, Asked { method: id, nowait: cancel.nowait, then })
    }

    fn recover(&mut self, id: MethodId, requeue: bool, batch: &mut Batch<'_>) -> Result<(), Fault> {
        if !requeue {
            return Err(not_implemented(id, "requeue=false"));
        }
        let all = Settle { tag: 0, multiple: true, outcome: Outcome::Requeued };
        self.settle_now(id, all, batch)
    }

    /// An empty name means the queue that this channel declared last.
    fn expand(&self, id: MethodId, name: String) -> Result<String, Fault> {
        match (name.is_empty(), self.last_queue.is_empty()) {
            (false, _) => Ok(name),
            (true, false) => Ok(self.last_queue.clone()),
            (true, true) => Err(Fault::of(&Refusal::NoPreviousQueue, id)),
        }
    }

    /// A binding of a queue. With the queue's name the key may be left out too, and then is it.
    fn binding(
        &self,
        id: MethodId,
        [queue, source, key]: [&ShortString; 3],
        arguments: Table,
    ) -> Result<Binding, Fault> {
        let given = stripped(queue);
        let key = if given.is_empty() && key.as_str().is_empty() {
            self.last_queue.clone()
        } else {
            key.as_str().to_owned()
        };
        let destination = Destination::Queue(self.expand(id, given)?);
        Ok(Binding { source: stripped(source), destination, key, arguments })
    }
}

fn exchange_request(
    id: MethodId,
    method: exchange::AMQPMethod,
    arguments: Table,
) -> Result<Next, Fault> {
    let binding = |destination, source, key: &ShortString, arguments| Binding {
        source: stripped(source),
        destination: Destination::Exchange(stripped(destination)),
        key: key.as_str().to_owned(),
        arguments,
    };
    let (request, nowait, ok) = match method {
        exchange::AMQPMethod::Declare(declare) => {
            let request = Request::DeclareExchange(DeclareExchange {
                name: stripped(&declare.exchange),
                kind: declare.kind.as_str().to_owned(),
                passive: declare.passive,
                durable: declare.durable,
                auto_delete: declare.auto_delete,
                internal: declare.internal,
                arguments,
            });
            let ok = exchange::AMQPMethod::DeclareOk(exchange::DeclareOk {});
            (request, declare.nowait, ok)
        }
        exchange::AMQPMethod::Delete(delete) => {
            let (name, if_unused) = (stripped(&delete.exchange), delete.if_unused);
            let ok = exchange::AMQPMethod::DeleteOk(exchange::DeleteOk {});
            (Request::DeleteExchange { name, if_unused }, delete.nowait, ok)
        }
        exchange::AMQPMethod::Bind(bind) => {
            let binding = binding(&bind.destination, &bind.source, &bind.routing_key, arguments);
            let ok = exchange::AMQPMethod::BindOk(exchange::BindOk {});
            (Request::Bind(binding), bind.nowait, ok)
        }
        exchange::AMQPMethod::Unbind(bind) => {
            let binding = binding(&bind.destination, &bind.source, &bind.routing_key, arguments);
            let ok = exchange::AMQPMethod::UnbindOk(exchange::UnbindOk {});
            (Request::Unbind(binding), bind.nowait, ok)
        }
        _ => return Err(method::unimplemented(id)),
    };
    let then = Then::Reply(AMQPClass::Exchange(ok));
    Ok(ask(request, Asked { method: id, nowait, then }))
}

pub(super) fn ask(request: Request, asked: Asked) -> Next {
    Next::Ask(Box::new((request, asked)))
}

/// `x-priority` of a consumer.
fn priority(id: MethodId, queue: &str, vhost: &str, arguments: &Table) -> Result<i64, Fault> {
    let Some(value) = arguments.get("x-priority") else { return Ok(0) };
    value.as_integer().ok_or_else(|| {
        let found = table::type_name(value);
        let text = format!(
            "invalid arg 'x-priority' for queue '{queue}' in vhost '{vhost}': \
             \"expected integer, got {found}\""
        );
        Fault::new(ReplyCode::PRECONDITION_FAILED, id, text)
    })
}

/// A name without CR and LF, which RabbitMQ removes before use.
fn stripped(name: &ShortString) -> String {
    name.as_str().chars().filter(|c| !matches!(c, '\r' | '\n')).collect()
}

fn not_implemented(id: MethodId, text: impl Into<String>) -> Fault {
    Fault::new(ReplyCode::NOT_IMPLEMENTED, id, text)
}

pub(super) fn cancel_ok(consumer_tag: ShortString) -> AMQPClass {
    basic_class(basic::AMQPMethod::CancelOk(basic::CancelOk { consumer_tag }))
}

pub(super) const fn basic_class(method: basic::AMQPMethod) -> AMQPClass {
    AMQPClass::Basic(method)
}

const fn channel_class(method: channel::AMQPMethod) -> AMQPClass {
    AMQPClass::Channel(method)
}
