// Pages with @stomp/stompjs in headless Chromium, from a web server that is not the broker.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

import { chromium } from "playwright-core";

import { PASSWORD, USER, WS_STOMP } from "./harness.mjs";

export const LOGIN = { url: WS_STOMP, login: USER, passcode: PASSWORD };

const files = {
  "/": ["text/html", await readFile(new URL("stompjs.html", import.meta.url))],
  "/stomp.umd.js": ["text/javascript", await readFile(new URL("node_modules/@stomp/stompjs/bundles/stomp.umd.js", import.meta.url))],
};
const server = createServer(({ url }, response) => {
  const [type, body] = files[url] ?? [];
  if (body) response.setHeader("content-type", type);
  response.writeHead(body ? 200 : 404).end(body);
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));

export const browser = await chromium.launch({
  executablePath: process.env.INTEROP_CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox", // CI runs as root
    // A name that some attacker's name server points at this machine.
    "--host-resolver-rules=MAP attacker.example 127.0.0.1",
    // The broker's own check is the subject, not the browser's prompt about local networks.
    "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests",
  ],
});

/** A new tab with stompjs.html, whose functions `page.evaluate` reaches. */
export async function open(host = "localhost") {
  const page = await browser.newPage();
  await page.goto(`http://${host}:${server.address().port}/`);
  return page;
}
