// Uses the page as a person does, in headless Chromium: `npm test`, with the broker running.
//
// CHROMIUM is the browser's program (default: chromium), BROKER_URL the WebSocket of the broker.

import { strict as assert } from "node:assert";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

const broker = process.env.BROKER_URL ?? "ws://localhost:15672/ws";
const program = fileURLToPath(new URL("server.mjs", import.meta.url));
const server = spawn(process.execPath, [program], { env: { ...process.env, PORT: "0" }, stdio: ["ignore", "pipe", "inherit"] });
let browser;
try {
  const [line] = await once(server.stdout, "data");
  const page = new URL(/http:\S+/.exec(line)[0]);
  page.searchParams.set("broker", broker);

  // --no-sandbox: test machines run this as root, with pages of our own only.
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
  const [one, two] = [await browser.newPage(), await browser.newPage()];
  for (const tab of [one, two]) {
    await tab.goto(page.href);
    await tab.getByText("connected", { exact: true }).waitFor({ timeout: 10_000 });
    await tab.getByLabel("Listen to").fill("/topic/examples.#");
    await tab.getByRole("button", { name: "Subscribe" }).click();
  }
  console.log("PASS two tabs are connected");

  // Sending from the second tab tells it when its own subscription stands; the first asked before.
  await two.getByLabel("Send to").fill("/topic/examples.browser");
  await two.getByLabel("Text").fill("grüße <b>an alle</b>");
  await two.getByRole("button", { name: "Send" }).click();
  await two.getByText("the broker has it: grüße").waitFor({ timeout: 10_000 });
  console.log("PASS the broker confirms what a tab sends");

  for (const tab of [one, two]) {
    const line = tab.getByRole("list").getByText("/topic/examples.browser: grüße <b>an alle</b>");
    await line.waitFor({ timeout: 10_000 });
    assert.equal(await tab.locator("#log b").count(), 0, "markup in a message stays text");
  }
  console.log("PASS both tabs show it, as text");
} catch (error) {
  console.log(`FAIL ${String(error).split("\n", 1)}`);
  process.exitCode = 1;
} finally {
  await browser?.close();
  server.kill();
}
