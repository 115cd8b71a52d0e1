//! Frames: seven octets of head, a payload, an end octet (section 4.2.3).
//!
//! This stands before every other decoder: what it hands on is whole and no longer than was
//! negotiated.

use trivium_core::Transmit;

/// Frame type of a method.
pub(crate) const METHOD: u8 = 1;
/// Frame type of a content header.
pub(crate) const HEADER: u8 = 2;
/// Frame type of a piece of a body.
pub(crate) const BODY: u8 = 3;
/// Frame type of a heartbeat.
pub(crate) const HEARTBEAT: u8 = 8;
/// The octet after every payload.
pub(crate) const END: u8 = 0xCE;
/// Type, channel, payload size.
pub(crate) const HEAD_BYTES: usize = 7;
/// What a frame adds to its payload.
pub(crate) const OVERHEAD_BYTES: usize = 8;

/// One whole frame in the read buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: u8,
    pub(crate) channel: u16,
    pub(crate) payload: &'a [u8],
}

/// Why the stream cannot be read on, as RabbitMQ words it behind `FRAME_ERROR - `.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// Longer than negotiated. Eight octets of slack are allowed, as RabbitMQ does: clients
    /// disagree on whether the negotiated size counts a frame's head and end.
    #[error("type {kind}, all octets = <<>>: {{frame_too_large,{size},{allowed}}}")]
    TooLarge { kind: u8, size: usize, allowed: usize },
    /// The octet after the payload is not 0xCE.
    #[error("type {kind}, {octets}: {{invalid_frame_end_marker,{end}}}")]
    EndMarker { kind: u8, octets: String, end: u8 },
}

impl<'a> Frame<'a> {
    /// The frame at the start of `input` and its whole length, or `None` while part of it is
    /// missing. `bytes_max` is the negotiated `frame_max`.
    pub(crate) fn decode(
        input: &'a [u8],
        bytes_max: usize,
    ) -> Result<Option<(Self, usize)>, FrameError> {
        let Some((&[kind, channel_high, channel_low, a, b, c, d], rest)) =
            input.split_first_chunk::<HEAD_BYTES>()
        else {
            return Ok(None);
        };
        let size = u32::from_be_bytes([a, b, c, d]) as usize;
        if size > bytes_max {
            let allowed = bytes_max.saturating_sub(OVERHEAD_BYTES);
            return Err(FrameError::TooLarge { kind, size, allowed });
        }
        let Some((payload, rest)) = rest.split_at_checked(size) else { return Ok(None) };
        match rest.first() {
            None => Ok(None),
            Some(&END) => {
                let channel = u16::from_be_bytes([channel_high, channel_low]);
                Ok(Some((Frame { kind, channel, payload }, size + OVERHEAD_BYTES)))
            }
            Some(&end) => Err(FrameError::EndMarker { kind, octets: octets(payload), end }),
        }
    }

    /// The frame's type and payload, as RabbitMQ prints a frame it cannot use.
    pub(crate) fn describe(&self) -> String {
        format!("type {}, {}", self.kind, octets(self.payload))
    }
}

/// The start of a payload, in Erlang's notation for octets.
fn octets(payload: &[u8]) -> String {
    const SHOWN_MAX: usize = 16;
    let shown = payload.get(..SHOWN_MAX).unwrap_or(payload);
    let extent = if payload.len() > SHOWN_MAX { "first 16 octets" } else { "all octets" };
    format!("{extent} = {}", binary(shown))
}

/// `<<"abc">>` when every octet prints, else `<<97,0>>`.
pub(crate) fn binary(octets: &[u8]) -> String {
    let prints = |octet: &u8| matches!(octet, b' '..=b'~') && !matches!(octet, b'"' | b'\\');
    if !octets.is_empty() && octets.iter().all(prints) {
        return format!("<<\"{}\">>", String::from_utf8_lossy(octets));
    }
    let numbers: Vec<String> = octets.iter().map(u8::to_string).collect();
    format!("<<{}>>", numbers.join(","))
}

/// Appends a frame whose payload is `write`'s work.
pub(crate) fn write(out: &mut Transmit, kind: u8, channel: u16, write: impl FnOnce(&mut Vec<u8>)) {
    let [high, low] = channel.to_be_bytes();
    let start = out.bytes.len();
    out.bytes.extend_from_slice(&[kind, high, low, 0, 0, 0, 0]);
    write(&mut out.bytes);
    let size = out.bytes.len() - start - HEAD_BYTES;
    let size = u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes();
    out.bytes[start + 3..start + HEAD_BYTES].copy_from_slice(&size);
    out.bytes.push(END);
    out.end_frame();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_once_it_is_whole() {
        let mut out = Transmit { marks_frames: true, ..Transmit::default() };
        write(&mut out, METHOD, 258, |bytes| bytes.extend_from_slice(b"abc"));
        assert_eq!(out.bytes, b"\x01\x01\x02\0\0\0\x03abc\xCE");
        assert_eq!(out.frame_ends, [11]);
        for len in 0..out.bytes.len() {
            assert_eq!(Frame::decode(&out.bytes[..len], 4096), Ok(None), "{len}");
        }
        let (frame, len) = Frame::decode(&out.bytes, 4096).unwrap().unwrap();
        assert_eq!((frame.kind, frame.channel, frame.payload, len), (1, 258, &b"abc"[..], 11));
    }

    #[test]
    fn too_long_is_refused_from_the_head_alone() {
        let head = [BODY, 0, 1, 0, 0, 0x13, 0x88];
        let error = Frame::decode(&head, 4096).unwrap_err();
        assert_eq!(error.to_string(), "type 3, all octets = <<>>: {frame_too_large,5000,4088}");
        let slack = [BODY, 0, 1, 0, 0, 0x10, 0];
        assert_eq!(Frame::decode(&slack, 4096), Ok(None));
        let vast = [BODY, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF];
        assert!(Frame::decode(&vast, 131_072).is_err());
    }

    #[test]
    fn a_wrong_end_is_named() {
        let error = Frame::decode(&[8, 0, 0, 0, 0, 0, 0, 0], 4096).unwrap_err();
        let text = "type 8, all octets = <<>>: {invalid_frame_end_marker,0}";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn unusable_frames_print_as_erlang_prints_them() {
        let text = |payload| Frame { kind: 9, channel: 0, payload }.describe();
        assert_eq!(text(b"abc"), "type 9, all octets = <<\"abc\">>");
        assert_eq!(text(&[1, 2]), "type 9, all octets = <<1,2>>");
        assert_eq!(text(&[b'a'; 17]), "type 9, first 16 octets = <<\"aaaaaaaaaaaaaaaa\">>");
    }
}
