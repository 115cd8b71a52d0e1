//! What a client reads, taken apart by a reader that is not the broker's.

use stomp_parser::server::ServerFrame;

/// A frame from the server; its headers as they were written.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) command: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Frame {
    /// The first header of that name; empty without one.
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }
}

/// Takes all whole frames off the beginning of `octets`.
pub(crate) fn take(octets: &mut Vec<u8>) -> Vec<Frame> {
    let (mut frames, mut taken) = (Vec::new(), 0);
    while let Some((frame, length)) = first(&octets[taken..]) {
        frames.push(frame);
        taken += length;
    }
    octets.drain(..taken);
    frames
}

fn first(octets: &[u8]) -> Option<(Frame, usize)> {
    let head_end = octets.windows(2).position(|pair| pair == b"\n\n")?;
    let head = String::from_utf8_lossy(&octets[..head_end]).into_owned();
    let mut lines = head.split('\n');
    let command = lines.next()?.to_owned();
    let header = |line: &str| {
        let (name, value) = line.split_once(':').expect("a header has a colon");
        (name.to_owned(), value.to_owned())
    };
    let headers: Vec<_> = lines.map(header).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.map_or(0, |(_, value)| value.parse().expect("a length"));
    let body = octets.get(head_end + 2..head_end + 2 + length)?.to_vec();
    let end = *octets.get(head_end + 2 + length)?;
    assert_eq!(end, 0, "a frame ends with NUL, and one without content-length has no body");
    Some((Frame { command, headers, body }, head_end + 3 + length))
}

/// Whether `stomp-parser` reads the same in a frame of 1.1 or 1.2.
pub(crate) fn check_independently(frame: &Frame) {
    let mut octets = frame.command.clone().into_bytes();
    for (name, value) in &frame.headers {
        octets.extend_from_slice(format!("\n{name}:{value}").as_bytes());
    }
    octets.extend_from_slice(b"\n\n");
    octets.extend_from_slice(&frame.body);
    octets.push(0);
    match ServerFrame::try_from(octets) {
        Ok(ServerFrame::Message(read)) => {
            assert_eq!(frame.command, "MESSAGE");
            assert_eq!(read.message_id().value(), frame.header("message-id"));
            assert_eq!(read.destination().value(), frame.header("destination"));
            assert_eq!(read.subscription().value(), frame.header("subscription"));
            assert_eq!(read.body().unwrap_or_default(), frame.body);
        }
        Ok(ServerFrame::Receipt(read)) => {
            assert_eq!(read.receipt_id().value(), frame.header("receipt-id"));
        }
        Ok(ServerFrame::Error(read)) => {
            let message = read.message().map_or("", |message| message.value());
            assert_eq!(message, frame.header("message"));
            assert_eq!(read.body().unwrap_or_default(), frame.body);
        }
        Ok(ServerFrame::Connected(_)) => assert_eq!(frame.command, "CONNECTED"),
        Err(error) => panic!("stomp-parser cannot read {frame:?}: {error:?}"),
    }
}
