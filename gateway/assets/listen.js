// The form to listen, and the subscriptions that are there.

import { destinationOf, readTopic } from "./address.js";
import { announce, byId, element, plural } from "./dom.js";
import { AddressFields } from "./fields.js";
import { SUBSCRIPTIONS_MAX } from "./session.js";

const STATES = { live: "listening", starting: "starting", waiting: "waiting for the broker" };

export class Listen {
  #fields;
  #session = null;

  constructor() {
    this.#fields = new AddressFields("listen", (text) => readTopic(text, true), true);
    byId("listen-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const address = this.#fields.take();
      if (!address || !this.to(address)) return;
      this.#fields.empty();
    });
  }

  /** Of this session; `null` when there is none. */
  use(session) {
    this.#session = session;
    byId("listen-form").reset();
    this.#fields.empty();
    this.show();
  }

  /** Listens to `address` if that is possible; says why it is not. */
  to(address) {
    const destination = destinationOf(address);
    const all = [...this.#session.subscriptions.values()];
    if (all.some((subscription) => subscription.destination === destination)) {
      return this.#fields.complain(`You are already listening to ${destination}.`);
    }
    if (all.length >= SUBSCRIPTIONS_MAX) {
      return this.#fields.complain(`${SUBSCRIPTIONS_MAX} at once are enough: end one first.`);
    }
    this.#session.subscribe(destination, address);
    announce(`Listening to ${destination}`);
    return true;
  }

  show() {
    const subscriptions = [...(this.#session?.subscriptions.values() ?? [])];
    byId("subscriptions-title").hidden = subscriptions.length === 0;
    const list = byId("subscriptions");
    const known = new Map([...list.children].map((row) => [row.dataset.id, row]));
    const rows = subscriptions.map((subscription) => known.get(subscription.id) ?? this.#row(subscription));
    for (const row of list.children) if (!rows.includes(row)) row.remove();
    rows.forEach((row, index) => {
      if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
    });
    subscriptions.forEach((subscription, index) => this.#fill(rows[index], subscription));
  }

  /** The number of messages of each; apart from the rest because it changes so often. */
  showCounts() {
    for (const row of byId("subscriptions").children) {
      const subscription = this.#session?.subscriptions.get(row.dataset.id);
      if (subscription) this.#fill(row, subscription);
    }
  }

  #row({ id, destination }) {
    const stop = element("button", { type: "button", class: "quiet small", "aria-label": `Stop listening to ${destination}` }, "Stop");
    stop.addEventListener("click", () => {
      const next = stop.closest("li").nextElementSibling ?? stop.closest("li").previousElementSibling;
      this.#session.unsubscribe(id);
      announce(`No longer listening to ${destination}`);
      (next?.querySelector("button") ?? byId("listen-topic")).focus();
    });
    const row = element(
      "li",
      {},
      element("span", { class: "dot", "aria-hidden": "true" }),
      element("div", {}, element("code", {}, destination), element("span", { class: "hint" })),
      stop,
    );
    row.dataset.id = id;
    return row;
  }

  #fill(row, { state, received }) {
    row.dataset.state = state;
    const text = state === "live" ? plural(received, "message") : STATES[state];
    const hint = row.querySelector(".hint");
    if (hint.textContent !== text) hint.textContent = text;
  }
}
