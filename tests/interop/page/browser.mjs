// Chromium with one page per call, each watched for errors that its user would not see.

import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";

import { chromium } from "playwright-core";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export const browser = await chromium.launch({
  executablePath: process.env.INTEROP_CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox"], // CI runs as root
});

/** Script errors, violations of the Content-Security-Policy, dialogs: none may ever be. */
export const complaints = [];

// The browser says this of every attempt while the broker is away; the page says it to its user.
const EXPECTED = /WebSocket connection to .* failed/;

/** A new page on `url`, in a context of its own. */
export async function open(url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("dialog", (dialog) => complaints.push(`a dialog: ${dialog.message()}`) && dialog.dismiss());
  page.on("console", (message) => {
    if (message.type() === "error" && !EXPECTED.test(message.text())) complaints.push(message.text());
  });
  await page.goto(url);
  return page;
}

export async function logIn(page, user = "guest", password = "guest") {
  await page.getByLabel("User name").fill(user);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Log in" }).click();
}

/** Listens to `text` of `kind` and waits until the broker has confirmed it. */
export async function listen(page, text, kind = "Topic") {
  const form = page.locator("#listen-form");
  await form.getByRole("radio", { name: kind }).check();
  const label = { Topic: "Topic filter", Queue: "Queue", Exchange: "Exchange" }[kind];
  await form.getByRole("textbox", { name: label }).fill(text);
  const before = await page.locator("#subscriptions li").count();
  await form.getByRole("button", { name: "Listen" }).click();
  await page.locator("#subscriptions li").nth(before).and(page.locator("[data-state=live]")).waitFor();
}

/** The first message in the live list that holds `text`. */
export async function message(page, text) {
  const found = page.locator(".message", { hasText: text }).first();
  await found.waitFor();
  return found;
}

/** What axe-core finds that is serious or critical, in words. */
export async function accessibilityFaults(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ target, failureSummary }) => `${target} ${failureSummary}`).join("; ")}`);
}

const SCREENSHOTS = process.env.INTEROP_SCREENSHOTS;

/** For people to look at, when INTEROP_SCREENSHOTS names a folder. */
export async function screenshot(page, name) {
  if (!SCREENSHOTS) return;
  await mkdir(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: `${SCREENSHOTS}/${name}.png` });
}
