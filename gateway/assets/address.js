// One address, three names: MQTT levels (a/+/#), AMQP words (a.*.#) and STOMP destinations
// (/topic/a.*.#). Levels and words are one to one: what one side cannot say raw is percent-coded
// there, and text that already reads like such a code gets one more 25.

const shift = (text, code) => `%25${text}${code}`;
const unshift = (text, code, raw) => (text === "" ? raw : `%${text.slice(2)}${code}`);

const RAW_IN_WORDS = { "2F": "/", "2B": "+", "23": "#", "00": "\0" };
const CODED_IN_LEVELS = { "/": "%2F", "+": "%2B", "#": "%23", "\0": "%00" };

/** The words of an MQTT topic, or of one level of it. */
export function wordsOfTopic(topic) {
  return topic.replace(/%((?:25)*)(2E|2F|2B|23|00)|[./]/g, (found, shifts, code) => {
    if (found === ".") return "%2E";
    if (found === "/") return ".";
    return code === "2E" ? shift(shifts, code) : unshift(shifts, code, RAW_IN_WORDS[code]);
  });
}

/** The MQTT topic of a routing key, or of one word of it. */
export function topicOfWords(words) {
  return words.replace(/%((?:25)*)(2E|2F|2B|23|00)|[./+#\0]/g, (found, shifts, code) => {
    if (found === ".") return "/";
    if (found in CODED_IN_LEVELS) return CODED_IN_LEVELS[found];
    return code === "2E" ? unshift(shifts, code, ".") : shift(shifts, code);
  });
}

/** In a name within a STOMP destination only the slash is coded. */
const encodeName = (name) =>
  name.replace(/%((?:25)*)2F|\//g, (found, shifts) => (found === "/" ? "%2F" : shift(shifts, "2F")));

const decodeName = (name) => name.replace(/%((?:25)*)2F/g, (_, shifts) => unshift(shifts, "2F", "/"));

/**
 * Reads a topic or a filter as people of either world write it: with a slash in it (or just `+`)
 * it is MQTT's, else AMQP's. Gives `{ words }` or `{ problem }`.
 */
export function readTopic(text, isFilter) {
  if (text === "") return { problem: isFilter ? "Give a topic filter, # for everything." : "Give a topic." };
  const isLevels = text.includes("/") || text === "+";
  const segments = text.split(isLevels ? "/" : ".");
  const wildcards = isLevels ? ["+", "*", "#"] : ["*", "#"];
  const isWildcard = (segment) => wildcards.includes(segment);
  if (!isFilter && segments.some(isWildcard)) {
    return { problem: "A message goes to one topic; +, * and # are for listening." };
  }
  if (isLevels) {
    if (segments.slice(0, -1).includes("#")) {
      return { problem: "In MQTT # stands only at the end. AMQP's form allows it anywhere: a.#.b" };
    }
    const mixed = segments.find((segment) => !isWildcard(segment) && /[+#]/.test(segment));
    if (mixed !== undefined) return { problem: `In MQTT + and # stand for a whole level: “${mixed}” mixes them with text.` };
  }
  if (!isLevels) return { words: text };
  const word = (segment) => (segment === "+" ? "*" : isWildcard(segment) ? segment : wordsOfTopic(segment));
  return { words: segments.map(word).join(".") };
}

/** How MQTT writes words; `null` where it cannot. */
export function levelsOfWords(words, isFilter) {
  if (!isFilter) return topicOfWords(words);
  const segments = words.split(".");
  if (segments.slice(0, -1).includes("#")) return null;
  const level = (word) => (word === "*" ? "+" : word === "#" ? "#" : topicOfWords(word));
  return segments.map(level).join("/");
}

/** A topic that `words`, a binding key, lets through: for examples. */
export function exampleOf(words) {
  const segments = words.split(".");
  if (segments.length === 1 && segments[0] === "#") return "sensors.kitchen.temperature";
  return segments.map((word, index) => (word === "*" ? "kitchen" : word === "#" ? (index === 0 ? "any" : "news") : word)).join(".");
}

/** The destination of `{ kind, words | name | exchange, key }`. */
export function destinationOf(address) {
  switch (address.kind) {
    case "topic":
      return `/topic/${encodeName(address.words)}`;
    case "queue":
      return `/queue/${encodeName(address.name)}`;
    default:
      return `/exchange/${encodeName(address.exchange)}${address.key ? `/${encodeName(address.key)}` : ""}`;
  }
}

/** Reads a destination of a MESSAGE; what is none of the three kinds is `{ kind: "other" }`. */
export function readDestination(destination) {
  const [, kind, rest] = /^\/(topic|queue|exchange)\/(.+)$/s.exec(destination) ?? [];
  if (kind === "topic") return { kind, words: decodeName(rest) };
  if (kind === "queue") return { kind, name: decodeName(rest) };
  if (kind === "exchange") {
    const [exchange, key = ""] = rest.split("/");
    return { kind, exchange: decodeName(exchange), key: decodeName(key) };
  }
  return { kind: "other" };
}

/** What each protocol calls an address: rows of protocol, name and a remark. */
export function namesOf(address, isFilter) {
  const stomp = ["STOMP", destinationOf(address), null];
  switch (address.kind) {
    case "topic": {
      const levels = levelsOfWords(address.words, isFilter);
      const mqtt = levels === null ? ["MQTT", "–", "# only at the end"] : ["MQTT", levels, null];
      return [mqtt, ["AMQP", address.words, "exchange amq.topic"], stomp];
    }
    case "queue":
      return [["MQTT", mqttQueue(address.name), null], ["AMQP", address.name, "queue"], stomp];
    default:
      return [["MQTT", "–", "no name for exchanges"], ["AMQP", address.key || "(no key)", `exchange ${address.exchange}`], stomp];
  }
}

const QUEUE_CODES = { "/": "%2F", "+": "%2B", "#": "%23", "%": "%25", "\0": "%00" };

/** The MQTT topic that publishes to a queue. */
export const mqttQueue = (name) => `$queue/${name.replace(/[/+#%\0]/g, (raw) => QUEUE_CODES[raw])}`;
