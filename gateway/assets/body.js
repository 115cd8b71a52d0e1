// How a body is shown: JSON indented, text as it is, anything else as octets.

/** Octets of a body that are kept; 500 messages of 16 MiB would not fit a browser tab. */
export const KEPT_BYTES_MAX = 64 * 1024;

/** Octets shown as hexadecimal; more of them tells a reader nothing. */
const HEX_BYTES_MAX = 1024;

const decoder = new TextDecoder("utf-8", { fatal: true });
const lenient = new TextDecoder("utf-8");

/** `{ kind, text }` of the first octets of a body; `isCut` says that there were more. */
export function readBody(bytes, contentType, isCut) {
  if (bytes.length === 0) return { kind: "empty", text: "" };
  const text = decode(bytes, isCut);
  if (text === null) return { kind: "binary", text: hexOf(bytes) };
  const mayBeJson = /\bjson\b/i.test(contentType) || /^\s*[[{]/.test(text);
  if (mayBeJson && !isCut && isJson(text)) return { kind: "json", text: indent(text) };
  return { kind: "text", text };
}

/** The text, or `null` if it is not UTF-8 or has control characters: those are not for reading. */
function decode(bytes, isCut) {
  let text;
  try {
    text = decoder.decode(bytes);
  } catch {
    if (!isCut) return null;
    // The cut may have gone through a character: up to three octets at the end are its beginning.
    text = lenient.decode(bytes).replace(/\ufffd{1,3}$/, "");
    if (text.includes("\ufffd")) return null;
  }
  return /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/.test(text) ? null : text;
}

export function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/**
 * Indents valid JSON without reading its values: parsing and writing again would round large
 * numbers and drop repeated names.
 */
function indent(json) {
  let out = "";
  let depth = 0;
  const newline = () => `\n${"  ".repeat(Math.min(depth, 40))}`;
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"|[[{]\s*[\]}]|[[\]{},:]|[^\s[\]{},:"]+/g)) {
    const isEmpty = token.length > 1 && /^[[{]\s*[\]}]$/.test(token);
    if (isEmpty) out += token[0] + token.at(-1);
    else if (token === "{" || token === "[") {
      depth += 1;
      out += token + newline();
    } else if (token === "}" || token === "]") {
      depth -= 1;
      out += newline() + token;
    } else if (token === ",") out += `,${newline()}`;
    else if (token === ":") out += ": ";
    else out += token;
  }
  return out;
}

/** Rows of offset, octets and what of them is printable. */
function hexOf(bytes) {
  const width = matchMedia("(min-width: 45rem)").matches ? 16 : 8;
  const rows = [];
  const shown = bytes.subarray(0, HEX_BYTES_MAX);
  for (let offset = 0; offset < shown.length; offset += width) {
    const row = [...shown.subarray(offset, offset + width)];
    const hex = row.map((octet) => octet.toString(16).padStart(2, "0")).join(" ");
    const print = row.map((octet) => (octet > 0x20 && octet < 0x7f ? String.fromCharCode(octet) : "·")).join("");
    rows.push(`${offset.toString(16).padStart(4, "0")}  ${hex.padEnd(width * 3 - 1)}  ${print}`);
  }
  if (bytes.length > HEX_BYTES_MAX) rows.push("…");
  return rows.join("\n");
}
