// Tabs that stay open: they talk, they sleep while others flood them, they lose their connection.

import { BROKER, HOST, HTTP_PORT, WS_STOMP, check, equal, main, sleep, test, unique, until } from "./harness.mjs";
import { CuttingProxy } from "./cutting_proxy.mjs";
import { LOGIN, browser, open } from "./stomp_pages.mjs";

// Only an error waits so long.
const PATIENCE = 50_000;

/** Opens a tab that is connected and subscribed, for as long as `action` runs. */
async function withTabs(settings, action) {
  const tabs = [];
  try {
    for (const { options = LOGIN, destination, headers } of settings) {
      const page = await open();
      tabs.push(page);
      await page.evaluate((all) => window.tab.start(...all), [options, destination, headers]);
    }
    await action(...tabs);
  } finally {
    await Promise.all(tabs.map((page) => page.close()));
  }
}

const send = (page, destination, body) => page.evaluate(([destination, body]) => send(window.tab.client, destination, { body }), [destination, body]);
const bodies = (page) => page.evaluate(() => window.tab.bodies());
const received = (page, count) => until(async () => ((await page.evaluate(() => window.tab.received.length)) >= count), `${count} messages`, PATIENCE);

/** The page's scripts stop, as those of a tab in the background or of a laptop that sleeps. */
async function fallAsleep(page) {
  const session = await page.context().newCDPSession(page);
  await session.send("Debugger.enable");
  const paused = new Promise((resolve) => session.once("Debugger.paused", resolve));
  await session.send("Debugger.pause");
  // It stops at the next statement it runs.
  page.evaluate(() => 0).catch(() => {});
  await paused;
  return async () => {
    await session.send("Debugger.resume");
    await session.detach();
  };
}

async function residentBytes() {
  const text = await (await fetch(`http://${HOST}:${HTTP_PORT}/metrics`)).text();
  return Number(/^rabbitmq_process_resident_memory_bytes (\d+)/m.exec(text)[1]);
}

test("two_tabs_talk", async () => {
  const room = `/topic/${unique("room")}`;
  await withTabs([{ destination: room }, { destination: room }], async (anna, ben) => {
    const said = [];
    for (let turn = 0; turn < 10; turn += 1) {
      for (const [name, page] of [["anna", anna], ["ben", ben]]) {
        said.push(`${name} ${turn}`);
        await send(page, room, `${name} ${turn}`);
      }
    }
    for (const page of [anna, ben]) {
      await received(page, said.length);
      equal(await bodies(page), said, "what each tab saw");
    }
  });
});

test("a_closed_tab_gives_back_what_it_had_not_acknowledged", async () => {
  const destination = `/queue/${unique("stompjs")}`;
  const held = { destination, headers: { ack: "client-individual", "auto-delete": "false", "x-expires": "60000" } };
  await withTabs([{}], async (sender) => {
    await withTabs([held], async (closing) => {
      for (const body of ["a", "b"]) {
        await sender.evaluate(([destination, body]) => send(window.tab.client, destination, { body, headers: { "x-expires": "60000" } }), [destination, body]);
      }
      await received(closing, 2);
    });
    await withTabs([held], async (next) => {
      await received(next, 2);
      await sleep(200);
      equal(await bodies(next), ["a again", "b again"], "to the next tab");
      await next.evaluate(() => window.tab.received.forEach((message) => message.ack()));
    });
  });
});

test("a_tab_reconnects_and_gets_what_was_unsettled_once_more", async () => {
  const destination = `/queue/${unique("stompjs")}`;
  const expires = { "x-expires": "60000" };
  const url = new URL(WS_STOMP);
  const proxy = await CuttingProxy.start(url.hostname, Number(url.port));
  try {
    url.hostname = "127.0.0.1";
    url.port = proxy.port;
    const cuttable = { options: { ...LOGIN, url: url.href }, destination, headers: { ack: "client-individual", ...expires } };
    await withTabs([cuttable, {}], async (page, other) => {
      const post = (body) => other.evaluate(([destination, body, headers]) => send(window.tab.client, destination, { body, headers }), [destination, body, expires]);
      for (const body of ["settled", "held", "held, too"]) await post(body);
      await received(page, 3);
      await page.evaluate(async () => {
        const receipt = unique("settled");
        const settled = new Promise((resolve) => window.tab.client.watchForReceipt(receipt, resolve));
        window.tab.received[0].ack({ receipt });
        await settled;
      });
      for (let cut = 1; cut <= 3; cut += 1) {
        await page.evaluate(() => void (window.tab.received = []));
        proxy.cut();
        await received(page, 2);
        await sleep(200);
        equal(await bodies(page), ["held again", "held, too again"], `after cut ${cut}`);
      }
      equal(await page.evaluate(() => window.tab.connections), 4, "connections");
      await page.evaluate(() => window.tab.received.forEach((message) => message.ack()));
      await post("new");
      await received(page, 3);
      equal((await bodies(page)).slice(2), ["new"], "and on it goes");
    });
  } finally {
    proxy.close();
  }
});

test("a_tab_that_sleeps_behind_a_flood_is_bounded", async () => {
  const destination = `/topic/${unique("flood")}`;
  const [count, bytes] = [1_000, 64 << 10];
  // At most ten wait for each; the oldest make room.
  const settings = { destination, headers: { "x-max-length": "10" } };
  await withTabs([settings, { destination }, {}], async (sleeper, awake, sender) => {
    await send(sender, destination, "warm");
    await received(sleeper, 1);
    const before = await residentBytes();
    const wake = await fallAsleep(sleeper);
    try {
      await sender.evaluate((all) => window.tab.flood(...all), [destination, count, bytes]);
      await received(awake, count + 1);
      const grown = (await residentBytes()) - before;
      check(grown < 32 << 20, `the broker grew by ${grown >> 20} MiB over a flood of ${(count * bytes) >> 20} MiB`);
    } finally {
      await wake();
    }
    const last = `${count - 1} `;
    await until(() => sleeper.evaluate((last) => window.tab.received.at(-1).body.startsWith(last), last), "the last of the flood", PATIENCE);
    const numbers = await sleeper.evaluate(() => window.tab.received.slice(1).map(({ body }) => parseInt(body, 10)));
    check(numbers.length < count, `${numbers.length} of ${count}`);
    check(numbers.every((number, index) => index === 0 || number > numbers[index - 1]), "in order");
    equal(await sleeper.evaluate(() => [window.tab.connections, window.tab.errors]), [1, []], "its connection");
    equal((await awake.evaluate(() => window.tab.received.slice(1).map(({ body }) => parseInt(body, 10)))).length, count, "the other tab");
  });
}, { onlyFor: "trivium" });

test("a_tab_asleep_past_its_heart_beats_is_let_go_and_comes_back", async () => {
  const destination = `/queue/${unique("stompjs")}`;
  const expires = { "x-expires": "60000" };
  const sleepy = { options: { ...LOGIN, heartbeat: 1000 }, destination, headers: { ack: "client-individual", ...expires } };
  await withTabs([sleepy, {}], async (page, other) => {
    const post = (body) => other.evaluate(([destination, body, headers]) => send(window.tab.client, destination, { body, headers }), [destination, body, expires]);
    await post("held");
    await received(page, 1);
    const wake = await fallAsleep(page);
    const seen = await other.evaluate(
      async ([destination, headers]) => {
        const { next } = await subscribe(window.tab.client, destination, { ack: "client-individual", ...headers });
        const message = await next();
        message.nack();
        return [message.body, message.headers.redelivered];
      },
      [destination, expires],
    );
    equal(seen, ["held", "true"], "another tab has what the sleeping one held");
    await wake();
    await until(() => page.evaluate(() => window.tab.connections > 1), "connected again", PATIENCE);
  });
}, { onlyFor: "trivium" });

await main("stompjs-tabs", () => browser.close());
