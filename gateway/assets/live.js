// The live list: the newest messages first, at most 500 of them, however many arrive.

import { namesOf, readDestination } from "./address.js";
import { KEPT_BYTES_MAX, readBody } from "./body.js";
import { announce, byId, bytesText, clockText, copyButton, element, plural } from "./dom.js";
import { nameRows } from "./names.js";

/** Messages that are kept; older ones go. */
const MESSAGES_MAX = 500;

/** Between two changes of the list: quick for the eye, and cheap at thousands a second. */
const FLUSH_MILLISECONDS = 100;

/** Between two words to a screen reader about new messages. */
const ANNOUNCE_MILLISECONDS = 10_000;

/** Of a longer text this much is shown until more is asked for. */
const PREVIEW_CHARACTERS = 1200;
const PREVIEW_LINES = 12;

/** Headers of the frame, not of the message, and those that are shown elsewhere. */
const FRAME_HEADERS = new Set(["destination", "content-type", "subscription", "message-id", "ack", "content-length", "x-trivium-protocol"]);

const PROTOCOLS = ["AMQP", "MQTT", "STOMP"];

/** Which road a message came in on: the adapter writes it before all headers of the publisher. */
function protocolOf(frame) {
  const name = (frame.header("x-trivium-protocol") ?? "").toUpperCase();
  return PROTOCOLS.find((protocol) => name.startsWith(protocol)) ?? "unknown";
}

export class LiveList {
  /** Newest last; at most MESSAGES_MAX. */
  #arrived = [];
  #isPaused = false;
  #flushTimer = null;
  #tally = new Map();
  #unannounced = 0;
  #announced = 0;
  #announceTimer = null;
  #onChange;

  constructor(onChange) {
    this.#onChange = onChange;
    byId("pause").addEventListener("click", () => this.#setPaused(!this.#isPaused));
    byId("clear").addEventListener("click", () => this.clear());
    this.#showTally();
  }

  get isEmpty() {
    return byId("messages").childElementCount === 0;
  }

  add(subscription, frame) {
    const isCut = frame.body.length > KEPT_BYTES_MAX;
    const protocol = protocolOf(frame);
    this.#tally.set(protocol, (this.#tally.get(protocol) ?? 0) + 1);
    this.#push({
      time: new Date(),
      protocol,
      destination: frame.header("destination") ?? "",
      heardBy: subscription.destination,
      contentType: frame.header("content-type") ?? "",
      headers: frame.pairs.filter(([name, value]) => !FRAME_HEADERS.has(name) && !(name === "redelivered" && value === "false")),
      size: frame.body.length,
      // A copy: a view would keep all of a large frame.
      bytes: isCut ? frame.body.slice(0, KEPT_BYTES_MAX) : frame.body,
      isCut,
    });
    this.#unannounced += 1;
    const wait = Math.max(FLUSH_MILLISECONDS, this.#announced + ANNOUNCE_MILLISECONDS - Date.now());
    this.#announceTimer ??= setTimeout(() => this.#announce(), wait);
  }

  /** A line between messages: what happened to the connection there. */
  addNote(text) {
    this.#push({ time: new Date(), note: text });
  }

  clear() {
    this.#arrived = [];
    this.#tally.clear();
    byId("messages").replaceChildren();
    byId("older").hidden = true;
    this.#showPause();
    this.#showTally();
    this.#onChange();
    announce("Messages cleared");
  }

  /** Back to the beginning, for another person. */
  reset() {
    this.#setPaused(false);
    this.clear();
  }

  #push(entry) {
    this.#arrived.push(entry);
    if (this.#arrived.length > MESSAGES_MAX) this.#arrived.shift();
    this.#flushTimer ??= setTimeout(() => this.#flush(), FLUSH_MILLISECONDS);
  }

  #flush() {
    this.#flushTimer = null;
    this.#showTally();
    if (this.#isPaused) return this.#showPause();
    const list = byId("messages");
    const fragment = document.createDocumentFragment();
    for (const entry of this.#arrived.reverse()) fragment.append(entry.note ? note(entry) : item(entry));
    this.#arrived = [];
    list.prepend(fragment);
    const isFull = list.childElementCount > MESSAGES_MAX;
    while (list.childElementCount > MESSAGES_MAX) list.lastElementChild.remove();
    if (isFull) byId("older").hidden = false;
    byId("older").textContent = `Older messages were let go: the list keeps the last ${MESSAGES_MAX}.`;
    this.#onChange();
  }

  #setPaused(isPaused) {
    this.#isPaused = isPaused;
    byId("pause").setAttribute("aria-pressed", String(isPaused));
    if (!isPaused) this.#flush();
    this.#showPause();
    announce(isPaused ? "Paused" : "Running");
  }

  #showPause() {
    const waiting = this.#arrived.length;
    const count = waiting >= MESSAGES_MAX ? `${MESSAGES_MAX}+` : String(waiting);
    byId("pause").textContent = this.#isPaused ? (waiting > 0 ? `Resume (${count} new)` : "Resume") : "Pause";
  }

  #showTally() {
    const rows = [...PROTOCOLS, "unknown"].filter((name) => name !== "unknown" || this.#tally.has(name));
    const total = [...this.#tally.values()].reduce((sum, count) => sum + count, 0);
    byId("tally").replaceChildren(
      ...rows.map((name) =>
        element("div", { class: name.toLowerCase() }, element("dt", {}, name), element("dd", {}, (this.#tally.get(name) ?? 0).toLocaleString())),
      ),
    );
    const badge = byId("live-badge");
    badge.hidden = total === 0;
    badge.textContent = total > 999 ? "999+" : String(total);
  }

  #announce() {
    this.#announceTimer = null;
    this.#announced = Date.now();
    if (this.#unannounced > 0) announce(plural(this.#unannounced, "new message"));
    this.#unannounced = 0;
  }
}

function note({ time, note: text }) {
  return element("li", { class: "note" }, element("time", { datetime: time.toISOString() }, clockText(time)), element("span", {}, text));
}

function item(entry) {
  const address = readDestination(entry.destination);
  const [, prefix, rest] = /^(\/[a-z-]+\/)(.*)$/s.exec(entry.destination) ?? [null, "", entry.destination];
  const meta = [entry.contentType, bytesText(entry.size)].filter(Boolean).join(" · ");
  return element(
    "li",
    { class: `message ${entry.protocol.toLowerCase()}` },
    element(
      "div",
      { class: "message-top" },
      element("span", { class: "protocol", title: "Protocol of origin" }, entry.protocol),
      element("span", { class: "destination" }, element("span", { class: "prefix" }, prefix), rest),
      element("time", { datetime: entry.time.toISOString(), title: entry.time.toLocaleString() }, clockText(entry.time)),
    ),
    bodyOf(entry),
    element("div", { class: "message-bottom" }, element("span", { class: "meta" }, meta), more(entry, address)),
  );
}

function bodyOf({ bytes, contentType, isCut }) {
  const { kind, text } = readBody(bytes, contentType, isCut);
  if (kind === "empty") return element("p", { class: "body empty" }, "Empty body");
  const preview = previewOf(text);
  const shown = element("pre", { class: `body ${kind}`, dir: "auto" }, preview);
  if (preview === text && !isCut) return shown;
  const show = element("button", { type: "button", class: "quiet small", "aria-expanded": "false" }, "Show all");
  const cut = isCut ? element("p", { class: "hint" }, `The first ${bytesText(KEPT_BYTES_MAX)} are kept.`) : null;
  show.addEventListener("click", () => {
    const isAll = show.getAttribute("aria-expanded") === "true";
    shown.textContent = isAll ? preview : text;
    show.setAttribute("aria-expanded", String(!isAll));
    show.textContent = isAll ? "Show all" : "Show less";
  });
  return element("div", {}, shown, preview === text ? null : show, cut);
}

function previewOf(text) {
  const lines = text.slice(0, PREVIEW_CHARACTERS).split("\n", PREVIEW_LINES + 1);
  const preview = lines.slice(0, PREVIEW_LINES).join("\n");
  return preview.length < text.length ? `${preview}\n…` : text;
}

/** Properties, headers and names; built when opened, since most are never. */
function more(entry, address) {
  const count = entry.headers.length;
  const summary = element("summary", {}, count === 0 ? "Details" : plural(count, "property", "properties"));
  const details = element("details", {}, summary);
  details.addEventListener("toggle", () => {
    if (details.childElementCount > 1) return;
    const rows = entry.headers.flatMap(([name, value]) => [element("dt", {}, name), element("dd", { dir: "auto" }, value)]);
    const none = element("p", { class: "hint" }, "No properties or headers.");
    details.append(rows.length > 0 ? element("dl", { class: "properties" }, ...rows) : none);
    if (address.kind !== "other") details.append(element("dl", { class: "names" }, ...nameRows(namesOf(address, false))));
    details.append(
      element("p", { class: "hint" }, "Heard through ", element("code", {}, entry.heardBy), " ", copyButton(() => bodyText(entry), "body", "Copy body")),
    );
  });
  return details;
}

const bodyText = ({ bytes, contentType, isCut }) => {
  const body = readBody(bytes, contentType, isCut);
  return body.kind === "binary" ? body.text : new TextDecoder().decode(bytes);
};
