// @stomp/stompjs in headless Chromium: a page from a web server of its own talks STOMP over WebSocket.

import { request } from "node:http";

import { HOST, HTTP_PORT, PASSWORD, WS_STOMP, check, equal, main, test } from "./harness.mjs";
import { LOGIN, browser, open } from "./stomp_pages.mjs";

async function inPage(name, options, host = "localhost") {
  const page = await open(host);
  try {
    return await page.evaluate(([name, options]) => window.cases[name](options), [name, options]);
  } finally {
    await page.close();
  }
}

for (const version of ["1.2", "1.1", "1.0"]) {
  test(`version_${version.replace(".", "_")}`, async () => {
    const subprotocol = `v${version.replace(".", "")}.stomp`;
    equal(await inPage("version", { ...LOGIN, versions: [version] }), { version, header: version, subprotocol }, "negotiated");
  });
}

test("highest_version_wins", async () => {
  const seen = await inPage("version", { ...LOGIN, versions: ["1.0", "1.1", "1.2"] });
  equal([seen.version, seen.subprotocol], ["1.2", "v12.stomp"], "negotiated");
});

test("queue_with_headers", async () => {
  const expected = { body: "grüße", custom: "a:b\nd", type: "text/plain", same: true };
  equal(await inPage("queue", LOGIN), expected, "message");
});

test("topic_fans_out", async () => {
  equal(await inPage("topic", LOGIN), { second: ["one", "two"], first: ["one"], more: 0 }, "messages");
});

test("binary_bodies", async () => {
  equal(await inPage("binary", LOGIN), [true, true, true, true], "empty, NUL, not UTF-8, 1 MiB");
});

test("ack_nack_and_prefetch", async () => {
  const seen = await inPage("acknowledge", LOGIN);
  equal(seen, { order: ["a", "b", "c", "a"], held: 0, redelivered: "true" }, "deliveries");
});

test("transactions", async () => {
  equal(await inPage("transaction", LOGIN), { before: 0, body: "one" }, "committed");
});

test("heart_beats", async () => {
  const { closed, connected, header } = await inPage("heartbeats", LOGIN);
  equal([closed, connected], [false, true], "after four seconds");
  check(header.split(",").every((part) => Number(part) > 0), `both sides beat, saw ${header}`);
});

test("burst_of_10000_in_order", async () => {
  equal(await inPage("burst", LOGIN), true, "all, in order");
});

test("disconnect_closes_cleanly", async () => {
  const { receipt, wasClean } = await inPage("disconnected", LOGIN);
  equal([receipt, wasClean], [true, true], "DISCONNECT's receipt, then the close handshake");
}, { onlyFor: "trivium" }); // Web-STOMP closes without the receipt

test("wrong_passcode_is_an_error", async () => {
  const message = await inPage("refusal", { ...LOGIN, passcode: `${PASSWORD}x` });
  check(message.startsWith("ERROR Bad CONNECT: Access refused for user"), message);
});

test("no_credentials_are_refused", async () => {
  const message = await inPage("refusal", { url: WS_STOMP });
  check(message !== "connected", "over WebSocket nobody is guest without saying so");
}, { onlyFor: "trivium" });

for (const path of ["/ws", "/stomp"]) {
  test(`path_${path.slice(1)}`, async () => {
    const url = new URL(WS_STOMP);
    url.pathname = path;
    equal((await inPage("version", { ...LOGIN, url: url.href })).version, "1.2", "negotiated");
  }, { onlyFor: "trivium" });
}

test("a_page_of_another_site_is_kept_out", async () => {
  const message = await inPage("refusal", LOGIN, "attacker.example");
  check(message.startsWith("closed 1006"), message);
}, { onlyFor: "trivium" });

test("a_rebound_name_is_kept_out", async () => {
  const url = new URL(WS_STOMP);
  url.hostname = "attacker.example";
  const message = await inPage("refusal", { ...LOGIN, url: url.href }, "attacker.example");
  check(message.startsWith("closed 1006"), message);
}, { onlyFor: "trivium" });

/** The status of an upgrade with these headers, which no browser lets a page choose. */
function upgrade(headers) {
  return new Promise((resolve, reject) => {
    const handshake = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==" };
    const sent = request({ host: HOST, port: HTTP_PORT, path: "/ws", headers: { ...handshake, ...headers } });
    sent.on("response", (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    sent.on("upgrade", (_response, socket) => {
      socket.destroy();
      resolve(101);
    });
    sent.on("error", reject);
    sent.end();
  });
}

test("origin_and_host_decide", async () => {
  const here = `localhost:${HTTP_PORT}`;
  const expected = [
    [{ host: here, origin: "http://localhost:8000" }, 101],
    [{ host: here, origin: "http://127.0.0.1:8000" }, 101],
    [{ host: `127.0.0.1:${HTTP_PORT}`, origin: "http://127.0.0.1" }, 101],
    [{ host: here }, 101],
    [{ host: here, origin: "http://attacker.example" }, 403],
    [{ host: here, origin: "https://localhost.attacker.example" }, 403],
    [{ host: here, origin: "null" }, 403],
    [{ host: `attacker.example:${HTTP_PORT}`, origin: `http://attacker.example:${HTTP_PORT}` }, 403],
    [{ host: `attacker.example:${HTTP_PORT}` }, 403],
  ];
  for (const [headers, status] of expected) equal(await upgrade(headers), status, JSON.stringify(headers));
}, { onlyFor: "trivium" });

await main("stompjs", () => browser.close());
