//! A client's end of a WebSocket: what it sends is cut wherever chance has it, into fragments and
//! into messages, with pings between them (RFC 6455, sections 5.4 and 5.5); what it reads must be one
//! frame of STOMP a message, as text if all of it is UTF-8.

use std::borrow::Cow;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocket};
use tokio_tungstenite::tungstenite::{self, http};
use trivium_core::Protocol;

use crate::pattern::show;
use crate::tcp::Filled;

/// Pieces of one write at most.
const PIECES_MAX: usize = 5;

/// A connection, and the chance that cuts what it sends.
pub(crate) struct Client {
    socket: WebSocket<TcpStream>,
    protocol: Protocol,
    random: u64,
}

impl Client {
    /// Upgrades at `/ws` with the subprotocols that clients of `protocol` offer.
    pub(crate) fn connect(address: SocketAddr, protocol: Protocol) -> Result<Self, String> {
        let offer = match protocol {
            Protocol::Stomp => "v10.stomp, v11.stomp, v12.stomp",
            Protocol::Mqtt => "mqtt",
            Protocol::Amqp => "amqp",
        };
        let request = format!("ws://{address}/ws").into_client_request();
        let mut request = request.map_err(|error| error.to_string())?;
        let offer = http::HeaderValue::from_static(offer);
        request.headers_mut().insert("sec-websocket-protocol", offer);
        let stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
        let (socket, _) =
            tungstenite::client::client(request, stream).map_err(|error| error.to_string())?;
        Ok(Self { socket, protocol, random: u64::from(address.port()) })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let bytes = &with_login(bytes)[..];
        let cuts = self.cuts(bytes.len());
        let is_text = self.protocol == Protocol::Stomp && std::str::from_utf8(bytes).is_ok();
        // Fragments of one message may end within a character, messages of text may not.
        let is_fragmented = self.chance(2) == 0;
        let data = if is_text && is_fragmented { Data::Text } else { Data::Binary };
        let count = cuts.len() - 1;
        for (index, piece) in cuts.windows(2).enumerate() {
            let (is_first, is_last) = (index == 0, index + 1 == count);
            let opcode = if is_first || !is_fragmented { data } else { Data::Continue };
            let piece = bytes[piece[0]..piece[1]].to_vec();
            self.write(Frame::message(piece, OpCode::Data(opcode), is_last || !is_fragmented))?;
            if self.chance(3) == 0 {
                self.write(Frame::ping(vec![b'?'; 3]))?;
            }
        }
        Ok(())
    }

    /// Where a write of `length` octets is cut: its ends included, empty pieces too.
    fn cuts(&mut self, length: usize) -> Vec<usize> {
        let mut cuts = vec![0, length];
        for _ in 0..self.chance(PIECES_MAX) {
            cuts.push(self.chance(length + 1));
        }
        cuts.sort_unstable();
        cuts
    }

    /// A number below `count`.
    fn chance(&mut self, count: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(self.random >> 33).unwrap_or(0) % count
    }

    fn write(&mut self, frame: Frame) -> Result<(), String> {
        match self.socket.send(Message::Frame(frame)) {
            // The broker may have closed in the middle of what is sent, as it may over TCP.
            Ok(()) | Err(tungstenite::Error::Io(_) | tungstenite::Error::Protocol(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    pub(crate) fn disconnect(&self) -> Result<(), String> {
        let stream = self.socket.get_ref();
        stream.shutdown(std::net::Shutdown::Both).map_err(|error| error.to_string())
    }

    /// Appends the next message to `read`.
    pub(crate) fn fill(
        &mut self,
        read: &mut Vec<u8>,
        patience: Duration,
    ) -> Result<Filled, String> {
        let stream = self.socket.get_ref();
        stream.set_read_timeout(Some(patience)).map_err(|error| error.to_string())?;
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return self.note(text.as_bytes(), true, read),
                Ok(Message::Binary(bytes)) => return self.note(&bytes, false, read),
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Ok(Message::Close(Some(frame))) if matches!(frame.code.into(), 1000_u16 | 1001) => {
                    return Ok(Filled::End);
                }
                Ok(Message::Close(frame)) => return Err(format!("closed with {frame:?}")),
                Err(tungstenite::Error::Io(error)) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Ok(Filled::Silence),
                    _ => return Ok(Filled::End),
                },
                Err(
                    tungstenite::Error::ConnectionClosed
                    | tungstenite::Error::AlreadyClosed
                    | tungstenite::Error::Protocol(_),
                ) => return Ok(Filled::End),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    fn note(&self, bytes: &[u8], is_text: bool, read: &mut Vec<u8>) -> Result<Filled, String> {
        if self.protocol == Protocol::Stomp {
            if !is_one_frame(bytes) {
                return Err(format!("a message that is not one frame: {}", show(bytes)));
            }
            if is_text != std::str::from_utf8(bytes).is_ok() {
                return Err(format!("a message of the wrong kind: {}", show(bytes)));
            }
        } else if is_text {
            return Err(format!("a message of text: {}", show(bytes)));
        }
        read.extend_from_slice(bytes);
        Ok(Filled::Some)
    }
}

/// A STOMP client without credentials is guest over TCP; a browser has to say so.
fn with_login(bytes: &[u8]) -> Cow<'_, [u8]> {
    let rest = bytes.strip_prefix(b"CONNECT\n").or_else(|| bytes.strip_prefix(b"STOMP\n"));
    match rest {
        Some(rest) if !String::from_utf8_lossy(rest).contains("login:") => {
            Cow::Owned([b"CONNECT\nlogin:guest\npasscode:guest\n", rest].concat())
        }
        _ => Cow::Borrowed(bytes),
    }
}

/// Whether these are a heart-beat, or a frame from its command to its NUL.
fn is_one_frame(bytes: &[u8]) -> bool {
    if bytes == b"\n" {
        return true;
    }
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\n\n") else { return false };
    let head = String::from_utf8_lossy(&bytes[..end]);
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.map_or(Ok(0), str::parse).unwrap_or(usize::MAX - end - 3);
    bytes.len() == end + 2 + length + 1 && bytes.ends_with(b"\0")
}
