//! STOMP 1.2 over a WebSocket, as a browser does it: frames are text of our own making.

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{Request, StatusCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use trivium::Running;

use super::{HEADER, Letter};
use crate::soon;

/// One frame, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) command: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Frame {
    pub(crate) fn new(command: &str, headers: &[(&str, &str)]) -> Self {
        let owned = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { command: command.to_owned(), headers: owned.collect(), body: Vec::new() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        // CONNECT is not escaped, in any version (S-20).
        let escape = |text: &str| match self.command.as_str() {
            "CONNECT" => text.to_owned(),
            _ => text.replace('\\', "\\\\").replace('\n', "\\n").replace(':', "\\c"),
        };
        let mut written = format!("{}\n", self.command).into_bytes();
        for (name, value) in &self.headers {
            written.extend(format!("{}:{}\n", escape(name), escape(value)).bytes());
        }
        if !self.body.is_empty() {
            written.extend(format!("content-length:{}\n", self.body.len()).bytes());
        }
        written.push(b'\n');
        written.extend(&self.body);
        written.push(0);
        written
    }

    /// Reads one whole frame.
    fn read(octets: &[u8]) -> Self {
        let end = octets.windows(2).position(|pair| pair == b"\n\n").expect("a head ends");
        let head = std::str::from_utf8(&octets[..end]).expect("a head is UTF-8");
        let unescape = |text: &str| {
            let text = text.replace("\\c", ":").replace("\\n", "\n");
            text.replace("\\\\", "\\")
        };
        let mut lines = head.lines();
        let command = lines.next().unwrap_or_default().to_owned();
        let headers = lines
            .map(|line| line.split_once(':').expect("a header has a colon"))
            .map(|(name, value)| (unescape(name), unescape(value)))
            .collect();
        let mut frame = Self { command, headers, body: Vec::new() };
        let body = &octets[end + 2..];
        let length = frame
            .header("content-length")
            .map_or(body.len() - 1, |length| length.parse().expect("content-length is a number"));
        assert_eq!(body[length..], [0], "a frame ends with NUL, and a message with its frame");
        body[..length].clone_into(&mut frame.body);
        frame
    }
}

pub(crate) struct Stomp {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    receipts: u32,
    subscriptions: u32,
    /// Frames that came while another was waited for.
    early: Vec<Frame>,
}

/// A request to open a WebSocket for STOMP at `path` of the gateway.
pub(crate) fn upgrade(running: &Running, path: &str, subprotocol: &str) -> Request<()> {
    let address = running.address("http").expect("the listener is on");
    let url = format!("ws://{address}{path}");
    let mut request = url.into_client_request().expect("the address makes a URL");
    let subprotocol = subprotocol.parse().expect("a name is a header's value");
    request.headers_mut().insert("sec-websocket-protocol", subprotocol);
    request
}

impl Stomp {
    /// Opens the WebSocket and says nothing yet.
    pub(crate) async fn open(request: Request<()>) -> Result<Self, StatusCode> {
        match soon("websocket upgrade", connect_async(request)).await {
            Ok((socket, response)) => {
                let chosen = response.headers().get("sec-websocket-protocol");
                assert_eq!(chosen.map(AsRef::as_ref), Some(&b"v12.stomp"[..]));
                Ok(Self { socket, receipts: 0, subscriptions: 0, early: Vec::new() })
            }
            Err(Error::Http(response)) => Err(response.status()),
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) async fn connect(running: &Running) -> Self {
        let request = upgrade(running, "/ws", "v12.stomp");
        let mut client = Self::open(request).await.expect("the upgrade is taken");
        let headers =
            [("accept-version", "1.2"), ("host", "/"), ("login", "guest"), ("passcode", "guest")];
        client.send(&Frame::new("CONNECT", &headers)).await;
        let connected = client.next().await.expect("an answer to CONNECT");
        assert_eq!(connected.command, "CONNECTED", "{connected:?}");
        assert_eq!(connected.header("version"), Some("1.2"));
        client
    }

    pub(crate) async fn subscribe(&mut self, key: &str) {
        self.subscribe_to(&format!("/topic/{key}"), "auto").await;
    }

    pub(crate) async fn subscribe_to(&mut self, destination: &str, ack: &str) {
        self.subscriptions += 1;
        let id = self.subscriptions.to_string();
        let headers = [("id", id.as_str()), ("destination", destination), ("ack", ack)];
        self.process(Frame::new("SUBSCRIBE", &headers)).await;
    }

    pub(crate) async fn publish(&mut self, key: &str, letter: &Letter) {
        let destination = format!("/topic/{key}");
        let mut frame = Frame::new("SEND", &[("destination", &destination)]);
        let properties = [
            ("content-type", &letter.content_type),
            ("correlation-id", &letter.correlation),
            (HEADER, &letter.header),
        ];
        for (name, value) in properties {
            let present = value.clone().map(|value| (name.to_owned(), value));
            frame.headers.extend(present);
        }
        frame.body.clone_from(&letter.body);
        self.process(frame).await;
    }

    /// Sends a frame and waits for its RECEIPT.
    pub(crate) async fn process(&mut self, mut frame: Frame) {
        self.receipts += 1;
        let receipt = format!("r-{}", self.receipts);
        frame.headers.push(("receipt".to_owned(), receipt.clone()));
        self.send(&frame).await;
        loop {
            let answer = self.fetch().await.expect("the connection stands");
            match answer.command.as_str() {
                "RECEIPT" => return assert_eq!(answer.header("receipt-id"), Some(&*receipt)),
                "MESSAGE" => self.early.push(answer),
                _ => panic!("instead of a receipt: {answer:?}"),
            }
        }
    }

    pub(crate) async fn receive(&mut self) -> Letter {
        let frame = self.next().await.expect("the connection stands");
        assert_eq!(frame.command, "MESSAGE", "{frame:?}");
        let owned = |name: &str| frame.header(name).map(ToOwned::to_owned);
        Letter {
            content_type: owned("content-type"),
            correlation: owned("correlation-id"),
            header: owned(HEADER),
            body: frame.body,
        }
    }

    pub(crate) async fn send(&mut self, frame: &Frame) {
        let message = Message::binary(frame.write());
        self.socket.send(message).await.expect("the WebSocket stands");
    }

    /// The next frame, or `None` once the broker has closed.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        if self.early.is_empty() { self.fetch().await } else { Some(self.early.remove(0)) }
    }

    async fn fetch(&mut self) -> Option<Frame> {
        loop {
            match soon("stomp frame", self.socket.next()).await? {
                Ok(Message::Text(text)) if text.as_str() != "\n" => {
                    return Some(Frame::read(text.as_bytes()));
                }
                Ok(Message::Binary(octets)) => return Some(Frame::read(&octets)),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}
