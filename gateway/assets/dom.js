// Builds elements. Text goes in as text nodes only: nothing that arrives in a message is ever
// read as markup.

/**
 * An element with attributes and children. `null` and `false` are left out; `on` maps events to
 * listeners; strings become text.
 */
export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === false) continue;
    if (key === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else {
      node.setAttribute(key, value === true ? "" : value);
    }
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const byId = (id) => document.getElementById(id);

/**
 * Focuses a field, but on touch screens what it belongs to: there a focused field calls up a
 * keyboard over half of the page.
 */
export function focusField(id, place) {
  byId(matchMedia("(pointer: coarse)").matches ? place : id).focus();
}

/** Says something to screen readers when they have finished their sentence. */
export function announce(text) {
  const announcer = byId("announcer");
  // The same text twice is no change, and would not be read.
  announcer.textContent = announcer.textContent === text ? `${text}\u00a0` : text;
}

export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString()} ${count === 1 ? one : many}`;
}

export function bytesText(count) {
  if (count < 1024) return `${count} B`;
  if (count < 1024 * 1024) return `${(count / 1024).toFixed(1)} KiB`;
  return `${(count / 1024 / 1024).toFixed(1)} MiB`;
}

export function clockText(date) {
  const two = (number) => String(number).padStart(2, "0");
  const milliseconds = String(date.getMilliseconds()).padStart(3, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${milliseconds}`;
}

const COPIED_MILLISECONDS = 1600;

/** A button that puts `text()` on the clipboard and says so. */
export function copyButton(text, subject, label = "Copy") {
  const button = element("button", { type: "button", class: "quiet small", "aria-label": `Copy ${subject}` }, label);
  button.addEventListener("click", async () => {
    const done = await copy(text());
    button.textContent = done ? "Copied" : "Press Ctrl+C";
    announce(done ? `Copied ${subject}` : "Copying is not allowed here");
    setTimeout(() => (button.textContent = label), COPIED_MILLISECONDS);
  });
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without HTTPS there is no clipboard object; the old way works there.
    return copyBySelection(text);
  }
}

function copyBySelection(text) {
  const before = document.activeElement;
  const area = element("textarea", { class: "visually-hidden", readonly: true, "aria-hidden": "true" });
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  before?.focus();
  return done;
}
