// STOMP 1.2 over one WebSocket, from CONNECT to the end: frames, heart-beats, nothing else.
// What outlives a connection (subscriptions, coming back) is in session.js.

/** Both ways: often enough to notice a lost network soon, seldom enough to cost nothing. */
const HEART_BEAT_MILLISECONDS = 10_000;

/** A frame larger than this is no message of ours (bodies end at 256 MiB by MQTT's limit). */
const FRAME_BYTES_MAX = 300 * 1024 * 1024;

/** A reader that has read everything keeps at most this. */
const KEPT_BUFFER_BYTES = 1024 * 1024;

/** From opening the WebSocket to CONNECTED. */
const CONNECT_MILLISECONDS_MAX = 15_000;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

const ESCAPES = { "\r": "\\r", "\n": "\\n", ":": "\\c", "\\": "\\\\" };
const escape = (text) => text.replace(/[\r\n:\\]/g, (character) => ESCAPES[character]);

const PLAIN = { "\\r": "\r", "\\n": "\n", "\\c": ":", "\\\\": "\\" };
const unescape = (text) => (text.includes("\\") ? text.replace(/\\[rnc\\]/g, (code) => PLAIN[code]) : text);

/** The octets of a frame; `headers` are pairs. CONNECT is the one frame that is not escaped. */
export function encodeFrame(command, headers, body = new Uint8Array(0)) {
  const write = command === "CONNECT" ? (text) => text.replace(/[\r\n]/g, "") : escape;
  const lines = headers.map(([name, value]) => `${write(name)}:${write(String(value))}\n`);
  if (command === "SEND") lines.push(`content-length:${body.length}\n`);
  const head = encoder.encode(`${command}\n${lines.join("")}\n`);
  const frame = new Uint8Array(head.length + body.length + 1);
  frame.set(head);
  frame.set(body, head.length);
  return frame;
}

/** One frame from the broker. Of repeated headers the first counts; `pairs` has them all. */
export class Frame {
  constructor(command, pairs, body) {
    this.command = command;
    this.pairs = pairs;
    this.body = body;
  }

  header(name) {
    return this.pairs.find(([key]) => key === name)?.[1];
  }

  text() {
    return decoder.decode(this.body);
  }
}

/** Cuts a stream of octets into frames: they need not be aligned with WebSocket messages. */
export class FrameReader {
  #bytes = new Uint8Array(0);
  #length = 0;
  /** Octets that are known to hold no end of a frame. */
  #scanned = 0;

  /** Takes octets; returns the frames that are complete with them. */
  push(bytes) {
    this.#append(bytes);
    const frames = [];
    let start = 0;
    for (;;) {
      while (start < this.#length && (this.#bytes[start] === 10 || this.#bytes[start] === 13)) start += 1;
      const found = this.#frameAt(start);
      if (!found) break;
      frames.push(found.frame);
      start = found.end;
      this.#scanned = start;
    }
    this.#bytes.copyWithin(0, start, this.#length);
    this.#length -= start;
    this.#scanned = Math.max(0, this.#scanned - start);
    // One large message must not hold its memory for the rest of the day.
    if (this.#length === 0 && this.#bytes.length > KEPT_BUFFER_BYTES) this.#bytes = new Uint8Array(0);
    return frames;
  }

  #append(bytes) {
    const length = this.#length + bytes.length;
    if (length > FRAME_BYTES_MAX) throw new Error("a frame is larger than 300 MiB");
    if (length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(length, this.#bytes.length * 2, 4096));
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    this.#bytes.set(bytes, this.#length);
    this.#length = length;
  }

  #frameAt(start) {
    const bytes = this.#bytes.subarray(0, this.#length);
    const headEnd = this.#endOfHead(bytes, start);
    if (headEnd === null) return null;
    const [command, ...lines] = decoder.decode(bytes.subarray(start, headEnd.at)).split(/\r?\n/);
    const pairs = lines.map((line) => readHeader(line, command));
    const stated = pairs.find(([name]) => name === "content-length")?.[1];
    const bodyStart = headEnd.next;
    const bodyEnd = stated === undefined ? bytes.indexOf(0, bodyStart) : bodyStart + Number(stated);
    if (!(bodyEnd >= 0 && bodyEnd < bytes.length)) return null;
    if (bytes[bodyEnd] !== 0) throw new Error("a frame does not end where it says");
    return { frame: new Frame(command, pairs, bytes.slice(bodyStart, bodyEnd)), end: bodyEnd + 1 };
  }

  /** Where the empty line is; remembered, so that a long body is not searched again and again. */
  #endOfHead(bytes, start) {
    let at = Math.max(start, this.#scanned - 3);
    while ((at = bytes.indexOf(10, at)) !== -1) {
      if (bytes[at + 1] === 10) return this.#found(at, at + 2);
      if (bytes[at + 1] === 13 && bytes[at + 2] === 10) return this.#found(at, at + 3);
      at += 1;
    }
    this.#scanned = bytes.length;
    return null;
  }

  #found(at, next) {
    this.#scanned = at;
    return { at, next };
  }
}

function readHeader(line, command) {
  const colon = line.indexOf(":");
  const [name, value] = [line.slice(0, colon), line.slice(colon + 1)];
  return command === "CONNECTED" ? [name, value] : [unescape(name), unescape(value)];
}

/**
 * One connection. `on` has `connected(frame)`, `frame(frame)` and `closed(reason)`; `closed` comes
 * exactly once, with a sentence for people.
 */
export class Connection {
  #socket;
  #on;
  #reader = new FrameReader();
  #isConnected = false;
  #isClosed = false;
  #sendEvery = 0;
  #receiveEvery = 0;
  #sent = Date.now();
  #received = Date.now();
  #timer;

  constructor(url, { login, passcode, host }, on) {
    this.#on = on;
    this.#socket = new WebSocket(url, ["v12.stomp"]);
    this.#socket.binaryType = "arraybuffer";
    this.#socket.onopen = () => this.#connect(login, passcode, host);
    this.#socket.onmessage = ({ data }) => this.#onData(data);
    this.#socket.onclose = ({ wasClean }) => this.#end(wasClean ? "The broker closed the connection." : "The broker does not answer.");
    this.#timer = setInterval(() => this.#onTick(), 1000);
  }

  get isConnected() {
    return this.#isConnected && !this.#isClosed;
  }

  send(command, headers, body) {
    this.#write(encodeFrame(command, headers, body));
  }

  /** Ends without waiting for anything. */
  close(reason = "Closed.") {
    this.#socket.close();
    this.#end(reason);
  }

  #write(bytes) {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    this.#socket.send(bytes);
    this.#sent = Date.now();
  }

  #connect(login, passcode, host) {
    const beat = `${HEART_BEAT_MILLISECONDS},${HEART_BEAT_MILLISECONDS}`;
    const headers = [["accept-version", "1.2"], ["host", host], ["login", login], ["passcode", passcode], ["heart-beat", beat]];
    this.send("CONNECT", headers);
  }

  #onData(data) {
    if (this.#isClosed) return;
    this.#received = Date.now();
    let frames;
    try {
      frames = this.#reader.push(typeof data === "string" ? encoder.encode(data) : new Uint8Array(data));
    } catch (error) {
      return this.close(`What the broker sent is not STOMP: ${error.message}.`);
    }
    for (const frame of frames) this.#onFrame(frame);
    // Timers of a tab in the background run once a minute; what arrives wakes us in time.
    if (this.#sendEvery > 0 && Date.now() - this.#sent >= this.#sendEvery / 2) this.#beat();
  }

  #onFrame(frame) {
    if (this.#isClosed) return;
    if (frame.command !== "CONNECTED") return this.#on.frame(frame);
    const [theirs, ours] = (frame.header("heart-beat") ?? "0,0").split(",").map(Number);
    this.#receiveEvery = theirs > 0 ? Math.max(theirs, HEART_BEAT_MILLISECONDS) : 0;
    this.#sendEvery = ours > 0 ? Math.max(ours, HEART_BEAT_MILLISECONDS) : 0;
    this.#isConnected = true;
    this.#on.connected(frame);
  }

  #beat() {
    this.#write(Uint8Array.of(10));
  }

  #onTick() {
    const silence = Date.now() - this.#received;
    if (!this.#isConnected) {
      if (silence > CONNECT_MILLISECONDS_MAX) this.close("The broker does not answer.");
    } else if (this.#receiveEvery > 0 && silence > this.#receiveEvery * 2) {
      this.close(`Nothing was heard from the broker for ${Math.round(silence / 1000)} seconds.`);
    } else if (this.#sendEvery > 0 && Date.now() - this.#sent >= this.#sendEvery * 0.7) {
      this.#beat();
    }
  }

  #end(reason) {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.#on.closed(reason);
  }
}
