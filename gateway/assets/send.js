// The form to send.

import { destinationOf, exampleOf, readTopic } from "./address.js";
import { isJson } from "./body.js";
import { announce, byId, clockText, element } from "./dom.js";
import { AddressFields } from "./fields.js";

/** Headers that belong to the frame: the form writes them, or they would end the connection. */
const FRAME_HEADERS = new Set(["destination", "receipt", "transaction", "content-length", "content-type", "message-id", "persistent"]);

const HEADERS_MAX = 50;

export class Send {
  #fields;
  #session = null;
  #nextRow = 1;

  constructor() {
    this.#fields = new AddressFields("send", (text) => readTopic(text, false), false);
    const form = byId("send-form");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        form.requestSubmit();
      }
    });
    form.addEventListener("input", () => this.#hint());
    byId("add-header").addEventListener("click", () => this.#addHeader());
  }

  use(session) {
    this.#session = session;
  }

  reset() {
    this.#session = null;
    byId("send-form").reset();
    byId("send-headers").replaceChildren();
    byId("send-done").textContent = "";
    this.#fields.empty();
    this.#hint();
  }

  /** Proposes a message that a new subscription will hear, unless something is written already. */
  propose(address) {
    const body = byId("send-body");
    if (!this.#fields.isEmpty || body.value !== "") return;
    const proposed = address.kind === "topic" ? { kind: "topic", words: exampleOf(address.words) } : address;
    this.#fields.fill(proposed);
    body.value = '{ "celsius": 21.5 }';
    byId("send-type").value = "application/json";
    this.#hint();
  }

  #hint() {
    const isBroken = /\bjson\b/i.test(byId("send-type").value) && !isJson(byId("send-body").value);
    byId("send-body-hint").textContent = isBroken ? "This is not valid JSON. It will be sent as it is." : "";
  }

  async #send() {
    const address = this.#fields.take();
    const headers = address && this.#headers();
    if (!headers) return;
    const destination = destinationOf(address);
    const body = new TextEncoder().encode(byId("send-body").value);
    const done = byId("send-done");
    done.textContent = "Sending …";
    try {
      await this.#session.send(destination, headers, body);
      done.textContent = `Taken by the broker at ${clockText(new Date())}`;
      announce(`Sent to ${destination}`);
    } catch (failure) {
      done.textContent = "";
      this.#fields.complain(failure.message);
    }
  }

  /** The headers as pairs, or `null` after having said what is wrong with them. */
  #headers() {
    const pairs = [];
    const type = byId("send-type").value.trim();
    if (type) pairs.push(["content-type", type]);
    if (byId("send-persistent").checked) pairs.push(["persistent", "true"]);
    for (const row of byId("send-headers").children) {
      const [name, value] = row.querySelectorAll("input");
      const key = name.value.trim();
      if (key === "" && value.value === "") continue;
      const problem = key === "" ? "A header needs a name." : FRAME_HEADERS.has(key) ? `“${key}” belongs to the frame: choose another name.` : null;
      if (problem) {
        this.#fields.complain(problem, name);
        return null;
      }
      pairs.push([key, value.value]);
    }
    return pairs;
  }

  #addHeader() {
    const list = byId("send-headers");
    if (list.childElementCount >= HEADERS_MAX) return;
    const number = this.#nextRow++;
    const input = (part) =>
      element("input", {
        id: `header-${part}-${number}`,
        placeholder: part,
        "aria-label": `Header ${number}: ${part}`,
        autocapitalize: "none",
        autocomplete: "off",
        spellcheck: "false",
      });
    const remove = element("button", { type: "button", class: "quiet small", "aria-label": `Remove header ${number}` }, "Remove");
    const row = element("li", {}, input("name"), input("value"), remove);
    remove.addEventListener("click", () => {
      row.remove();
      byId("add-header").focus();
    });
    list.append(row);
    row.querySelector("input").focus();
  }
}
