//! A protocol's bytes in WebSocket messages (RFC 6455).
//!
//! STOMP: one frame is one message, text when all of it is UTF-8 and binary otherwise, because
//! browsers' clients read text and nothing else can carry a binary body; both kinds are taken.
//! MQTT (MQTT 5, section 6.0) and AMQP: binary messages that need not end where packets end; a
//! text message ends the connection with 1003. Pings are answered below us.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures_util::{Sink, Stream};
use trivium_core::Protocol;

use crate::drive::{Goodbye, Output, Transport};

/// A WebSocket as a carrier of bytes.
#[derive(Debug)]
pub(crate) struct WebSocketTransport {
    socket: WebSocket,
    protocol: Protocol,
    /// What did not fit into the reader's buffer.
    unread: Bytes,
    /// The code that the close frame will have, once it is not the usual one.
    code: Option<(u16, &'static str)>,
    closing: Closing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    Open,
    /// The peer closes; the reply is written with the next flush.
    ByPeer,
    ByUs,
}

impl WebSocketTransport {
    /// `socket`, on which `protocol` is spoken; `first` has been read already.
    pub(crate) const fn new(socket: WebSocket, protocol: Protocol, first: Bytes) -> Self {
        Self { socket, protocol, unread: first, code: None, closing: Closing::Open }
    }

    fn refuse(&mut self, code: u16, reason: &'static str) -> io::Error {
        self.code = Some((code, reason));
        io::Error::new(io::ErrorKind::InvalidData, reason)
    }

    /// The next frame of STOMP, or all there is.
    fn next_message(&self, out: &Output) -> (Message, usize) {
        let ends = &out.transmit.frame_ends;
        let next = ends.get(ends.partition_point(|end| *end <= out.written));
        let end = next.copied().unwrap_or(out.transmit.bytes.len());
        let frame = &out.transmit.bytes[out.written..end];
        let text = (self.protocol == Protocol::Stomp).then(|| std::str::from_utf8(frame));
        let message = match text {
            Some(Ok(text)) => Message::Text(text.into()),
            _ => Message::Binary(Bytes::copy_from_slice(frame)),
        };
        (message, end)
    }
}

impl Transport for WebSocketTransport {
    fn marks_frames(&self) -> bool {
        self.protocol == Protocol::Stomp
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        while self.unread.is_empty() {
            let Some(message) = ready!(Pin::new(&mut self.socket).poll_next(cx)) else {
                return Poll::Ready(Ok(0));
            };
            match message {
                Ok(Message::Binary(bytes)) => self.unread = bytes,
                Ok(Message::Text(text)) if self.protocol == Protocol::Stomp => {
                    self.unread = text.into();
                }
                Ok(Message::Text(_)) => {
                    let reason = "text message where binary is spoken";
                    return Poll::Ready(Err(self.refuse(close_code::UNSUPPORTED, reason)));
                }
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(Message::Close(_)) => {
                    self.closing = Closing::ByPeer;
                    return Poll::Ready(Ok(0));
                }
                Err(error) => {
                    self.code = peers_fault(&error);
                    return Poll::Ready(Err(io::Error::other(error)));
                }
            }
        }
        let room = (into.capacity() - into.len()).min(self.unread.len());
        into.extend_from_slice(&self.unread.split_to(room));
        Poll::Ready(Ok(room))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut Output) -> Poll<io::Result<()>> {
        while !out.is_empty() {
            ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(io::Error::other)?;
            let (message, end) = self.next_message(out);
            Pin::new(&mut self.socket).start_send(message).map_err(io::Error::other)?;
            out.written = end;
        }
        Pin::new(&mut self.socket).poll_flush(cx).map_err(io::Error::other)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, because: Goodbye) -> Poll<io::Result<()>> {
        if self.closing == Closing::Open {
            ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(io::Error::other)?;
            let (code, reason) = self.code.unwrap_or(match because {
                Goodbye::Normal => (close_code::NORMAL, ""),
                Goodbye::Shutdown => (close_code::AWAY, "shutdown"),
            });
            let frame = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
            Pin::new(&mut self.socket).start_send(frame).map_err(io::Error::other)?;
            self.closing = Closing::ByUs;
        }
        Pin::new(&mut self.socket).poll_flush(cx).map_err(io::Error::other)
    }
}

/// The close code for what the peer did wrong (RFC 6455, section 7.4.1); `None` when the socket
/// broke. axum hides the type of the error below it; this is how that one says so, held by
/// `tests/doors.rs` and the hostile run.
fn peers_fault(error: &axum::Error) -> Option<(u16, &'static str)> {
    let faults = [
        ("Space limit exceeded", close_code::SIZE, "message larger than the limit"),
        ("UTF-8 encoding error", close_code::INVALID, "text that is not UTF-8"),
        ("WebSocket protocol error", close_code::PROTOCOL, "not WebSocket"),
    ];
    let text = error.to_string();
    let fault = faults.into_iter().find(|(start, ..)| text.starts_with(start));
    fault.map(|(_, code, reason)| (code, reason))
}
