// A STOMP broker over WebSocket that does as it is told, for what a real one does not do on
// request: fall silent, cut frames anywhere, name a protocol of origin, refuse in odd words.

import { WebSocketServer } from "ws";

const encode = (command, headers, body = "") => {
  const escape = (text) => String(text).replace(/[\\\r\n:]/g, (c) => ({ "\\": "\\\\", "\r": "\\r", "\n": "\\n", ":": "\\c" })[c]);
  const lines = Object.entries(headers).map(([name, value]) => `${escape(name)}:${escape(value)}\n`);
  const octets = Buffer.from(body);
  return Buffer.concat([Buffer.from(`${command}\n${lines.join("")}content-length:${octets.length}\n\n`), octets, Buffer.from([0])]);
};

export class FakeBroker {
  sockets = new Set();
  /** Every frame of every client: `{ command, headers, body }`; heart-beats are counted. */
  frames = [];
  beats = 0;
  heartBeat = "10000,10000";
  isMute = false;

  constructor(server) {
    const sockets = new WebSocketServer({ server, path: "/ws", handleProtocols: () => "v12.stomp" });
    sockets.on("connection", (socket) => {
      this.sockets.add(socket);
      socket.on("close", () => this.sockets.delete(socket));
      socket.on("message", (data) => this.#onData(socket, data.toString()));
    });
  }

  subscriptions = () => this.frames.filter(({ command }) => command === "SUBSCRIBE");

  /** To all: one MESSAGE for the newest subscription, in pieces of `piece` octets. */
  message(headers, body, piece = Infinity) {
    const id = this.subscriptions().at(-1).headers.id;
    const frame = encode("MESSAGE", { subscription: id, "message-id": "1", destination: "/topic/fake", ...headers }, body);
    for (const socket of this.sockets) {
      for (let at = 0; at < frame.length; at += piece) socket.send(frame.subarray(at, Math.min(frame.length, at + piece)));
    }
  }

  error(headers, body) {
    for (const socket of this.sockets) {
      socket.send(encode("ERROR", headers, body));
      socket.close();
    }
  }

  cut() {
    for (const socket of this.sockets) socket.terminate();
  }

  #onData(socket, text) {
    if (text === "\n") return void (this.beats += 1);
    const [head, body] = [text.slice(0, text.indexOf("\n\n")), text.slice(text.indexOf("\n\n") + 2, -1)];
    const [command, ...lines] = head.split("\n");
    const headers = Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1)]));
    this.frames.push({ command, headers, body });
    if (this.isMute) return;
    if (command === "CONNECT") socket.send(encode("CONNECTED", { version: "1.2", "heart-beat": this.heartBeat }));
    else if (headers.receipt) socket.send(encode("RECEIPT", { "receipt-id": headers.receipt }));
  }
}
