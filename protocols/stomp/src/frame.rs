//! Finds frames in a stream of octets (S-1 to S-9), and says where their headers are.
//!
//! Incremental: what was looked at is not looked at again when more arrives, whatever the sizes of
//! the pieces. Nothing is copied; offsets count from the first octet of the frame, which the
//! driver presents again until the frame is taken.

use std::borrow::Cow;

use memchr::{memchr, memchr3};

use crate::config::Config;
use crate::failure::Failure;
use crate::header::{self, unescape};
use crate::version::Version;

/// Longest command line. The longest command has 11 octets.
const COMMAND_BYTES_MAX: usize = 32;

/// Largest body before the login. CONNECT has none (S-6); a stranger gets no memory for it.
const STRANGER_BODY_BYTES_MAX: usize = 1024;

/// Where one header line is.
#[derive(Clone, Copy, Debug)]
struct Line {
    start: usize,
    colon: usize,
    end: usize,
    /// Holds octets that may mean something else or are written differently elsewhere: a
    /// backslash, a CR, or a colon in the value.
    is_special: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Command,
    Headers,
    Body,
    Complete,
}

/// How far the frame at the beginning of the input has been read.
#[derive(Debug, Default)]
pub(crate) struct Framer {
    stage: Stage,
    /// First octet of the line that is being read.
    line_start: usize,
    /// No octet before this one ends the line or body that is being read.
    scanned: usize,
    command_end: usize,
    /// CR LF ends lines: always in 1.2 and before CONNECT; in 1.0 and 1.1, where CR is content
    /// (S-2), if the command line ended so, since no command ends in CR.
    has_cr_lf: bool,
    lines: Vec<Line>,
    /// First octet of the body.
    body_start: usize,
    content_length: Option<usize>,
    body_end: usize,
}

impl Framer {
    /// How many octets before the next frame mean nothing: ends of lines, which are heart-beats
    /// too, and NULs, which some clients add. Call it between frames only.
    pub(crate) fn padding_len(&self, input: &[u8]) -> usize {
        if self.scanned > 0 {
            return 0;
        }
        let is_padding = |octet: &u8| matches!(octet, b'\n' | b'\r' | 0);
        input.iter().position(|octet| !is_padding(octet)).unwrap_or(input.len())
    }

    /// Reads on. `version` is `None` before CONNECT. True when a whole frame is there.
    pub(crate) fn advance(
        &mut self,
        input: &[u8],
        version: Option<Version>,
        config: &Config,
    ) -> Result<bool, Failure> {
        loop {
            let goes_on = match self.stage {
                Stage::Command => self.read_command(input, version)?,
                Stage::Headers => self.read_line(input, config)?,
                Stage::Body => self.read_body(input, version, config)?,
                Stage::Complete => return Ok(true),
            };
            if !goes_on {
                return Ok(false);
            }
        }
    }

    /// The frame that [`Framer::advance`] found complete.
    pub(crate) fn frame<'a>(
        &'a mut self,
        input: &'a [u8],
        version: Option<Version>,
    ) -> Result<Frame<'a>, Failure> {
        let head = &input[..self.body_start];
        if memchr(b'\r', head).is_some() {
            for line in &mut self.lines {
                line.is_special |= memchr(b'\r', &head[line.start..line.end]).is_some();
            }
        }
        if memchr(0, head).is_some() {
            return Err(Failure::invalid_frame("NUL octet in the headers"));
        }
        let Ok(head) = std::str::from_utf8(head) else {
            return Err(Failure::invalid_frame("headers are not UTF-8"));
        };
        let frame = Frame {
            command: &head[..self.command_end],
            body: &input[self.body_start..self.body_end],
            head,
            lines: &self.lines,
            version,
            len: self.body_end + 1,
        };
        frame.check_escapes()?;
        Ok(frame)
    }

    /// The frame was taken: the next one begins behind it.
    pub(crate) fn reset(&mut self) {
        self.lines.clear();
        *self = Self { lines: std::mem::take(&mut self.lines), ..Self::default() };
    }

    fn read_command(&mut self, input: &[u8], version: Option<Version>) -> Result<bool, Failure> {
        let found = memchr(b'\n', &input[self.scanned..]).map(|at| self.scanned + at);
        if found.unwrap_or(input.len()) > COMMAND_BYTES_MAX {
            return Err(Failure::invalid_frame("no command"));
        }
        let Some(end) = found else {
            self.scanned = input.len();
            return Ok(false);
        };
        let line = &input[..end];
        let command = line.strip_suffix(b"\r").unwrap_or(line);
        if version.is_none() && !matches!(command, b"CONNECT" | b"STOMP") {
            // Before anything else is waited for: it may be another protocol altogether.
            return Err(Failure::new("Illegal command", "You must log in using CONNECT first"));
        }
        self.command_end = command.len();
        self.has_cr_lf = command.len() < line.len() || version == Some(Version::V1_2);
        self.begin_line(end + 1);
        self.stage = Stage::Headers;
        Ok(true)
    }

    fn begin_line(&mut self, start: usize) {
        self.line_start = start;
        self.scanned = start;
    }

    fn read_line(&mut self, input: &[u8], config: &Config) -> Result<bool, Failure> {
        let line = self.find_line(input);
        let end = line.map_or(input.len(), |line| line.end);
        if end - self.line_start > config.header_line_bytes_max {
            let reason =
                format!("header line of more than {} octets", config.header_line_bytes_max);
            return Err(Failure::invalid_frame(reason));
        }
        if end > config.head_bytes_max {
            let reason = format!("headers of more than {} octets", config.head_bytes_max);
            return Err(Failure::invalid_frame(reason));
        }
        let Some(mut line) = line else {
            self.scanned = input.len();
            return Ok(false);
        };
        self.begin_line(line.end + 1);
        if self.has_cr_lf && input[line.start..line.end].ends_with(b"\r") {
            line.end -= 1;
        }
        if line.end == line.start {
            return self.end_head(input);
        }
        if line.colon >= line.end || line.colon == line.start {
            return Err(Failure::invalid_frame("header line without a name and a colon"));
        }
        if self.lines.len() == config.headers_max {
            let reason = format!("more than {} headers", config.headers_max);
            return Err(Failure::invalid_frame(reason));
        }
        self.lines.push(line);
        Ok(true)
    }

    /// The line that is being read, once its end is there; its colon is `usize::MAX` without one.
    fn find_line(&self, input: &[u8]) -> Option<Line> {
        let start = self.line_start;
        if self.scanned > start {
            // It came in pieces: look only at the new one before the line is read as a whole.
            memchr(b'\n', &input[self.scanned..])?;
        }
        let (mut at, mut colon, mut is_special) = (start, usize::MAX, false);
        loop {
            at += memchr3(b'\n', b':', b'\\', &input[at..])?;
            match input[at] {
                b'\n' => return Some(Line { start, colon, end: at, is_special }),
                b':' if colon == usize::MAX => colon = at,
                _ => {
                    is_special = true;
                    if colon != usize::MAX {
                        let end = at + memchr(b'\n', &input[at..])?;
                        return Some(Line { start, colon, end, is_special });
                    }
                }
            }
            at += 1;
        }
    }

    fn end_head(&mut self, input: &[u8]) -> Result<bool, Failure> {
        self.body_start = self.line_start;
        let first =
            self.lines.iter().find(|line| &input[line.start..line.colon] == b"content-length");
        if let Some(line) = first {
            let Some(length) = decimal(&input[line.colon + 1..line.end]) else {
                return Err(Failure::invalid_frame("content-length is not a number"));
            };
            self.content_length = Some(length);
        }
        self.stage = Stage::Body;
        Ok(true)
    }

    /// S-7, S-8: so many octets as promised, or up to the first NUL.
    fn read_body(
        &mut self,
        input: &[u8],
        version: Option<Version>,
        config: &Config,
    ) -> Result<bool, Failure> {
        let max = match version {
            Some(_) => config.message_bytes_max,
            None => STRANGER_BODY_BYTES_MAX,
        };
        let found = match self.content_length {
            Some(length) => {
                let end = self.body_start.saturating_add(length);
                (input.len() > end || length > max).then_some(end)
            }
            None => memchr(0, &input[self.scanned..]).map(|at| self.scanned + at),
        };
        if found.unwrap_or(input.len()) - self.body_start > max {
            return Err(Failure::invalid_frame(format!("body of more than {max} octets")));
        }
        let Some(end) = found else {
            self.scanned = input.len();
            return Ok(false);
        };
        if input[end] != 0 {
            return Err(Failure::invalid_frame("no NUL octet behind the body"));
        }
        self.body_end = end;
        self.stage = Stage::Complete;
        Ok(true)
    }
}

/// A number as `content-length` has it. Padding is common in 1.0. One too large to count is as
/// wrong as the largest.
fn decimal(text: &[u8]) -> Option<usize> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_usize, |sum, octet| {
        octet
            .is_ascii_digit()
            .then(|| sum.saturating_mul(10).saturating_add(usize::from(octet - b'0')))
    })
}

/// One whole frame, borrowed from the input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    /// As it was sent; may be none that exists.
    pub(crate) command: &'a str,
    /// The octets behind the empty line.
    pub(crate) body: &'a [u8],
    /// Octets of input with its NUL.
    pub(crate) len: usize,
    head: &'a str,
    lines: &'a [Line],
    version: Option<Version>,
}

impl<'a> Frame<'a> {
    /// The headers, repeats included, in order.
    pub(crate) fn headers(&self) -> impl Iterator<Item = Header<'a>> + use<'a> {
        let frame = *self;
        self.lines.iter().map(move |line| frame.header_at(line))
    }

    fn header_at(&self, line: &Line) -> Header<'a> {
        let name = &self.head[line.start..line.colon];
        let value = &self.head[line.colon + 1..line.end];
        let is_padded = self.version == Some(Version::V1_0);
        let value = if is_padded { value.trim_start_matches(' ') } else { value };
        let version = self.version.unwrap_or_default();
        Header { name, value, is_special: line.is_special, version }
    }

    /// The first header of that name, which is the one that counts (S-15).
    pub(crate) fn header(&self, name: &str) -> Option<Header<'a>> {
        self.headers().find(|header| header.is_named(name))
    }

    /// Its value, decoded.
    pub(crate) fn value(&self, name: &str) -> Option<Cow<'a, str>> {
        self.header(name).map(|header| header.value())
    }

    /// An unknown escape is fatal also in a header that nobody asks for (S-18).
    fn check_escapes(&self) -> Result<(), Failure> {
        for line in self.lines.iter().filter(|line| line.is_special) {
            let Header { name, value, version, .. } = self.header_at(line);
            if unescape(version, name).is_err() || unescape(version, value).is_err() {
                return Err(Failure::invalid_frame("undefined escape in a header"));
            }
        }
        Ok(())
    }
}

/// One header, as it was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header<'a> {
    /// The name, still escaped.
    pub(crate) name: &'a str,
    /// The value, still escaped. Within one connection equal octets mean equal values.
    pub(crate) value: &'a str,
    is_special: bool,
    version: Version,
}

impl<'a> Header<'a> {
    fn is_named(&self, name: &str) -> bool {
        self.name == name || (self.is_special && self.name() == name)
    }

    /// The name, decoded.
    pub(crate) fn name(&self) -> Cow<'a, str> {
        self.decoded(self.name)
    }

    /// The value, decoded.
    pub(crate) fn value(&self) -> Cow<'a, str> {
        self.decoded(self.value)
    }

    fn decoded(&self, text: &'a str) -> Cow<'a, str> {
        if !self.is_special {
            return Cow::Borrowed(text);
        }
        // Escapes were checked when the frame was made.
        unescape(self.version, text).unwrap_or(Cow::Borrowed(text))
    }

    /// Appends the line as 1.2 writes it.
    pub(crate) fn write_line(&self, out: &mut Vec<u8>) {
        if self.is_special {
            header::write(Version::V1_2, self.name().as_bytes(), self.value().as_bytes(), out);
            return;
        }
        out.extend_from_slice(self.name.as_bytes());
        out.push(b':');
        out.extend_from_slice(self.value.as_bytes());
        out.push(b'\n');
    }

    /// Appends the value as a header of this connection's version.
    pub(crate) fn write_value(&self, out: &mut Vec<u8>) {
        if self.is_special {
            header::escape(self.version, header::Side::Value, self.value().as_bytes(), out);
        } else {
            out.extend_from_slice(self.value.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
