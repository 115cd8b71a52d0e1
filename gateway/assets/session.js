// What a person means by "connected": a login whose subscriptions come back after every loss.
//
//   idle -- logIn --> connecting -- CONNECTED --> open
//                       ^   |                      |
//             time is up|   | ERROR: refused       | lost
//                       |   v                      v
//                       | refused <----------- waiting
//                       '------------------------'
//
// Of an ERROR the broker says which frame it is about (receipt-id, subscription); that frame is
// not repeated after coming back, so one bad subscription cannot keep the page from its others.

import { Connection } from "./stomp.js";

const RETRY_MILLISECONDS = [1000, 2000, 4000, 8000, 15_000, 30_000];

/** More would be more than anybody reads. */
export const SUBSCRIPTIONS_MAX = 50;

/** How long a log-out waits for the broker's receipt. */
const GOODBYE_MILLISECONDS = 1000;

/** An ERROR frame: `title` is its message header, `detail` its body. */
export class Failure extends Error {
  constructor(title, detail) {
    super(detail ? `${title}: ${detail}` : title);
    this.title = title;
    this.detail = detail;
  }

  static ofFrame(frame) {
    return new Failure(frame.header("message") ?? "Error", frame.text().trim());
  }
}

/**
 * `on` has `state(name, more)`, `message(subscription, frame)`, `subscriptions()`,
 * and `failure(context, failure)` for errors that no promise carries.
 */
export class Session {
  #url;
  #login;
  #on;
  #connection = null;
  #state = "idle";
  #wasOpen = false;
  #attempt = 0;
  #retryTimer;
  #nextId = 1;
  /** Why the broker closed, if it said so in an ERROR frame. */
  #failure = null;
  /** That failure has been shown where it belongs. */
  #isTold = false;
  /** By receipt: what was sent and is not yet confirmed. */
  #sends = new Map();
  subscriptions = new Map();

  constructor(url, login, on) {
    this.#url = url;
    this.#login = login;
    this.#on = on;
  }

  get user() {
    return this.#login.login;
  }

  get vhost() {
    return this.#login.host;
  }

  get isOpen() {
    return this.#state === "open";
  }

  connect() {
    clearTimeout(this.#retryTimer);
    if (this.#connection) return;
    this.#failure = null;
    this.#isTold = false;
    this.#enter("connecting", { isAgain: this.#wasOpen });
    try {
      this.#connection = new Connection(this.#url, this.#login, {
        connected: () => this.#onConnected(),
        frame: (frame) => this.#onFrame(frame),
        closed: (reason) => this.#onClosed(reason),
      });
    } catch (error) {
      this.#onClosed(error.message);
    }
  }

  logOut() {
    clearTimeout(this.#retryTimer);
    const connection = this.#connection;
    this.#connection = null;
    this.#enter("idle");
    this.subscriptions.clear();
    this.#rejectSends(new Failure("Logged out"));
    if (!connection?.isConnected) return connection?.close();
    connection.send("DISCONNECT", [["receipt", "goodbye"]]);
    setTimeout(() => connection.close(), GOODBYE_MILLISECONDS);
  }

  /** Listens to a destination, now and after every loss of the connection. */
  subscribe(destination, address) {
    const subscription = { id: `s${this.#nextId++}`, destination, address, state: "waiting", received: 0 };
    this.subscriptions.set(subscription.id, subscription);
    if (this.isOpen) this.#start(subscription);
    this.#on.subscriptions();
    return subscription;
  }

  unsubscribe(id) {
    const subscription = this.subscriptions.get(id);
    if (!subscription) return;
    this.subscriptions.delete(id);
    if (this.isOpen) this.#connection.send("UNSUBSCRIBE", [["id", id]]);
    this.#on.subscriptions();
  }

  /** Resolves when the broker has confirmed the message. */
  send(destination, headers, body) {
    if (!this.isOpen) return Promise.reject(new Failure("Not connected", "Nothing was sent."));
    const receipt = `m${this.#nextId++}`;
    this.#connection.send("SEND", [["destination", destination], ["receipt", receipt], ...headers], body);
    return new Promise((resolve, reject) => this.#sends.set(receipt, { resolve, reject }));
  }

  #enter(state, more = {}) {
    this.#state = state;
    this.#on.state(state, more);
  }

  #start(subscription) {
    subscription.state = "starting";
    const { id, destination } = subscription;
    // The last header asks the broker to say which protocol each message was published in.
    const headers = [["id", id], ["destination", destination], ["receipt", id], ["ack", "auto"], ["x-trivium-origin", "true"]];
    this.#connection.send("SUBSCRIBE", headers);
  }

  #onConnected() {
    const isAgain = this.#wasOpen;
    this.#wasOpen = true;
    this.#attempt = 0;
    this.#state = "open";
    for (const subscription of this.subscriptions.values()) this.#start(subscription);
    this.#enter("open", { isAgain });
    this.#on.subscriptions();
  }

  #onFrame(frame) {
    switch (frame.command) {
      case "MESSAGE":
        return this.#onMessage(frame);
      case "RECEIPT":
        return this.#onReceipt(frame.header("receipt-id"));
      case "ERROR":
        return this.#onError(frame);
    }
  }

  #onMessage(frame) {
    // One that was on its way when its subscription ended is nobody's.
    const subscription = this.subscriptions.get(frame.header("subscription"));
    if (!subscription) return;
    subscription.received += 1;
    this.#on.message(subscription, frame);
  }

  #onReceipt(id) {
    this.#sends.get(id)?.resolve();
    this.#sends.delete(id);
    const subscription = this.subscriptions.get(id);
    if (!subscription) return;
    subscription.state = "live";
    this.#on.subscriptions();
  }

  #onError(frame) {
    const failure = Failure.ofFrame(frame);
    this.#failure = failure;
    if (this.#state !== "open") return;
    const receipt = frame.header("receipt-id");
    // Without a receipt-id there is no doubt only if one message was under way.
    const sent = receipt ?? (this.#sends.size === 1 ? this.#sends.keys().next().value : undefined);
    const send = this.#sends.get(sent);
    if (send) {
      this.#isTold = true;
      this.#sends.delete(sent);
      return send.reject(failure);
    }
    const starting = [...this.subscriptions.values()].find(({ state }) => state === "starting");
    const subscription =
      this.subscriptions.get(frame.header("subscription")) ?? this.subscriptions.get(receipt) ?? (receipt ? undefined : starting);
    const isShutdown = failure.title === "connection_forced";
    this.#isTold = !isShutdown;
    if (subscription) {
      this.subscriptions.delete(subscription.id);
      this.#on.failure(`No longer listening to ${subscription.destination}`, failure);
      return this.#on.subscriptions();
    }
    if (!isShutdown) this.#on.failure("The broker refused something", failure);
  }

  #onClosed(reason) {
    if (this.#state === "idle") return;
    this.#connection = null;
    const wasConnecting = this.#state === "connecting";
    const lost = new Failure("Connection lost", "It is not known whether the broker took the message.");
    this.#rejectSends(lost);
    for (const subscription of this.subscriptions.values()) subscription.state = "waiting";
    const isRefused = wasConnecting && this.#failure?.title === "Bad CONNECT";
    if (isRefused || !this.#wasOpen) {
      return this.#enter("refused", { failure: this.#failure ?? new Failure("No connection", reason) });
    }
    const delay = RETRY_MILLISECONDS[Math.min(this.#attempt, RETRY_MILLISECONDS.length - 1)];
    this.#attempt += 1;
    // Not all pages of a broker that restarts come back in the same instant.
    const wait = Math.round(delay * (0.8 + Math.random() * 0.4));
    this.#retryTimer = setTimeout(() => this.connect(), wait);
    this.#enter("waiting", { reason: this.#reason(reason), until: Date.now() + wait, isAgain: wasConnecting });
    this.#on.subscriptions();
  }

  #reason(otherwise) {
    if (this.#isTold) return "In STOMP a refusal ends the connection.";
    return this.#failure ? `The broker said: ${this.#failure.detail || this.#failure.title}` : otherwise;
  }

  #rejectSends(failure) {
    for (const { reject } of this.#sends.values()) reject(failure);
    this.#sends.clear();
  }
}
