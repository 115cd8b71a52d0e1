// Choosing a topic, a queue or an exchange: the same fields to listen and to send.

import { byId } from "./dom.js";
import { showNames } from "./names.js";

/** AMQP names queues and exchanges with at most this many octets. */
const NAME_BYTES_MAX = 255;

const isTooLong = (name) => new TextEncoder().encode(name).length > NAME_BYTES_MAX;

export class AddressFields {
  #prefix;
  #readTopic;
  #isFilter;

  constructor(prefix, readTopic, isFilter) {
    this.#prefix = prefix;
    this.#readTopic = readTopic;
    this.#isFilter = isFilter;
    const form = byId(`${prefix}-form`);
    for (const radio of form.elements.kind) radio.addEventListener("change", () => this.#onKind());
    form.addEventListener("input", () => {
      this.complain(null);
      this.#showNames();
    });
  }

  /** The address, or `null` after having said what is wrong with it. */
  take() {
    const { problem, field, ...address } = this.#read();
    this.complain(problem ?? null, field);
    return problem ? null : address;
  }

  /** Shows a problem, none with `null`. Always false, for callers to return. */
  complain(problem, field) {
    const error = byId(`${this.#prefix}-error`);
    error.hidden = !problem;
    error.textContent = problem ?? "";
    for (const input of byId(`${this.#prefix}-form`).querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
    if (problem && field) {
      field.setAttribute("aria-invalid", "true");
      field.focus();
    }
    return false;
  }

  empty() {
    for (const name of ["topic", "queue", "exchange", "key"]) this.#field(name).value = "";
    this.#onKind();
  }

  /** Writes an address into the fields. */
  fill(address) {
    const form = byId(`${this.#prefix}-form`);
    form.elements.kind.value = address.kind;
    this.#field("topic").value = address.words ?? "";
    this.#field("queue").value = address.name ?? "";
    this.#field("exchange").value = address.exchange ?? "";
    this.#field("key").value = address.key ?? "";
    this.#onKind();
  }

  get isEmpty() {
    return ["topic", "queue", "exchange"].every((name) => this.#field(name).value === "");
  }

  #field(name) {
    return byId(`${this.#prefix}-${name}`);
  }

  #read() {
    const kind = byId(`${this.#prefix}-form`).elements.kind.value;
    if (kind === "topic") {
      const field = this.#field("topic");
      return { kind, field, ...this.#readTopic(field.value.trim()) };
    }
    const field = this.#field(kind);
    const name = field.value.trim();
    if (name === "") return { problem: `Give the name of the ${kind}.`, field };
    if (isTooLong(name)) return { problem: `A name has at most ${NAME_BYTES_MAX} bytes.`, field };
    return kind === "queue" ? { kind, name } : { kind, exchange: name, key: this.#field("key").value.trim() };
  }

  #onKind() {
    const form = byId(`${this.#prefix}-form`);
    const kind = form.elements.kind.value;
    for (const part of form.querySelectorAll("[data-kind]")) part.hidden = part.dataset.kind !== kind;
    this.complain(null);
    this.#showNames();
  }

  #showNames() {
    const { problem, field, ...address } = this.#read();
    showNames(`${this.#prefix}-names`, problem ? null : address, this.#isFilter);
  }
}
