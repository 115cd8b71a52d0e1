//! What carries the bytes: a TCP stream, a test's pipe, or (in `listen::websocket`) a WebSocket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};
use trivium_core::Transmit;

/// Bytes on their way out, and how far they have got.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// What is to be written, with the ends of frames where the transport wants them.
    pub(crate) transmit: Transmit,
    /// How many of those bytes are written.
    pub(crate) written: usize,
}

impl Output {
    /// Bytes still to be written.
    pub(crate) fn len(&self) -> usize {
        self.transmit.bytes.len() - self.written
    }

    /// Everything is written.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives up the room of what is written once that is most of the buffer, so that a peer who
    /// always reads a little does not make it grow.
    pub(crate) fn compact(&mut self) {
        if self.written > self.len() {
            self.transmit.bytes.drain(..self.written);
            self.transmit.frame_ends.retain(|end| *end > self.written);
            self.transmit.frame_ends.iter_mut().for_each(|end| *end -= self.written);
            self.written = 0;
        }
    }

    /// Forgets everything; keeps the buffer.
    pub(crate) fn clear(&mut self) {
        self.transmit.bytes.clear();
        self.transmit.frame_ends.clear();
        self.written = 0;
    }
}

/// A carrier of bytes in both directions. All calls are those of one task.
pub(crate) trait Transport: Send + Unpin {
    /// Whether `poll_write` wants to know where frames end.
    fn marks_frames(&self) -> bool {
        false
    }

    /// Appends what has arrived to `into`, within its spare capacity; 0 when the peer has ended.
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<io::Result<usize>>;

    /// Writes all of `out`, and moves its `written` on; pending while the peer does not read.
    fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut Output) -> Poll<io::Result<()>>;

    /// Tells the peer now that what was read has arrived, where the carrier knows how.
    fn acknowledge(&mut self) {}

    /// Says that nothing more will be written.
    fn poll_close(&mut self, cx: &mut Context<'_>, because: Goodbye) -> Poll<io::Result<()>>;
}

/// Why we close, for transports that can say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goodbye {
    /// The conversation is over.
    Normal,
    /// The gateway is going down.
    Shutdown,
}

/// A stream of bytes without frames.
#[derive(Debug)]
pub(crate) struct Stream<Io>(pub Io);

/// What a [`Stream`] is made of.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {
    /// See [`Transport::acknowledge`].
    fn acknowledge(&self) {}
}

impl Io for tokio::net::TcpStream {
    #[cfg(target_os = "linux")]
    fn acknowledge(&self) {
        // A socket that refuses it acknowledges when the kernel thinks it should.
        socket2::SockRef::from(self).set_tcp_quickack(true).ok();
    }
}

impl<S: Io> Transport for Stream<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        tokio_util::io::poll_read_buf(Pin::new(&mut self.0), cx, into)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut Output) -> Poll<io::Result<()>> {
        while !out.is_empty() {
            let rest = &out.transmit.bytes[out.written..];
            let written = ready!(Pin::new(&mut self.0).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            out.written += written;
        }
        Poll::Ready(Ok(()))
    }

    fn acknowledge(&mut self) {
        self.0.acknowledge();
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, _: Goodbye) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
