// What to do while there is nothing to see: commands for this very broker, ready to copy.

import { exampleOf, levelsOfWords, mqttQueue } from "./address.js";
import { copyButton, element } from "./dom.js";

const BODY = '{"celsius": 21.5}';

/** A host for command lines: IPv6 addresses stand without the brackets that URLs need. */
const host = () => location.hostname.replace(/^\[|\]$/g, "");

export const isLoopback = (name) => /^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\])$/.test(name);

/** One argument of a POSIX shell. */
const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** A string of Python; what JSON escapes, Python reads alike. */
const python = (text) => JSON.stringify(text);

function mqttCommand(address, session) {
  const topic = address.kind === "topic" ? levelsOfWords(exampleOf(address.words), false) : mqttQueue(address.name);
  const vhost = session.vhost === "/" ? "" : `${session.vhost}:`;
  const login = isGuest(session) && !vhost ? "" : ` \\\n  -u ${quoted(vhost + session.user)} -P PASSWORD`;
  return `mosquitto_pub -h ${host()} -t ${quoted(topic)} \\\n  -m ${quoted(BODY)}${login}`;
}

function pikaCommand(address, session) {
  const [exchange, key] =
    address.kind === "topic" ? ["amq.topic", exampleOf(address.words)] : address.kind === "queue" ? ["", address.name] : [address.exchange, address.key];
  const vhost = session.vhost === "/" ? [] : [`virtual_host=${python(session.vhost)}`];
  const login = isGuest(session) ? [] : [`credentials=pika.PlainCredentials(${python(session.user)}, "PASSWORD")`];
  const parameters = [python(host()), ...vhost, ...login].join(",\n    ");
  return [
    "import pika",
    "",
    `connection = pika.BlockingConnection(pika.ConnectionParameters(${parameters}))`,
    "channel = connection.channel()",
    `channel.basic_publish(${python(exchange)}, ${python(key)},`,
    `    '${BODY}')`,
    "connection.close()",
  ].join("\n");
}

const isGuest = (session) => session.user === "guest" && isLoopback(location.hostname);

function command(protocol, title, text, subject) {
  return element(
    "section",
    { class: `command ${protocol}` },
    element("div", { class: "row" }, element("h4", {}, title), copyButton(() => text, subject)),
    element("pre", { tabindex: "0", "aria-label": title }, text),
  );
}

/** Before the first subscription: `listen(address)` makes one. */
function firstSteps(listen) {
  const everything = element("button", { type: "button", class: "primary" }, "Listen to everything");
  everything.addEventListener("click", () => listen({ kind: "topic", words: "#" }));
  return [
    crossing(),
    element("h3", {}, "Nothing to hear yet"),
    element("p", {}, "Choose a topic filter or a queue under Listen, or begin with every topic there is. What devices and services send shows up here."),
    everything,
  ];
}

function waiting(address, session) {
  const commands = [];
  if (address.kind !== "exchange") commands.push(command("mqtt", "From a device, with mosquitto_pub", mqttCommand(address, session), "the mosquitto_pub command"));
  commands.push(command("amqp", "From a service, with Python and pika", pikaCommand(address, session), "the Python program"));
  const jump = element("a", { href: "#send-title" }, "Send");
  return [
    crossing(),
    element("h3", {}, "Listening. Now send something"),
    element("p", {}, "Three ways lead here: a device, a service, or the form under ", jump, " on this page."),
    element("div", { class: "commands" }, ...commands),
    element("p", { class: "hint" }, "With the ports that the protocols use by default: MQTT 1883, AMQP 5672."),
  ];
}

/** The mark of the broker, quiet. */
function crossing() {
  const mark = document.querySelector(".mark").cloneNode(true);
  mark.classList.add("large");
  return mark;
}

/** The content of an empty live list. */
export function guide(session, listen) {
  const last = [...session.subscriptions.values()].at(-1);
  return last ? waiting(last.address, session) : firstSteps(listen);
}
