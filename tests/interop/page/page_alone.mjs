// The page against a broker that does what no real one does on request; and its addresses.

import { check, equal, main, test, unique, until } from "../javascript/harness.mjs";
import { destinationOf, readDestination, readTopic, topicOfWords, wordsOfTopic } from "../../../gateway/assets/address.js";
import { readBody } from "../../../gateway/assets/body.js";
import { FrameReader, encodeFrame } from "../../../gateway/assets/stomp.js";
import { accessibilityFaults, browser, complaints, listen, logIn, message, open } from "./browser.mjs";
import { FakeBroker } from "./fake_broker.mjs";
import { serve } from "./server.mjs";

const server = await serve();
const url = `http://localhost:${server.address().port}/`;
const broker = new FakeBroker(server);

/** Nobody is connected, and nothing has happened. */
async function forget() {
  for (const context of browser.contexts()) await context.close();
  await until(() => broker.sockets.size === 0, "all pages have gone");
  broker.frames.length = 0;
  broker.isMute = false;
}

/** A page that is logged in and listens to `#`, at a broker that knows nothing yet. */
async function listening(options) {
  await forget();
  const page = await open(url, options);
  await logIn(page);
  await listen(page, "#");
  return page;
}

test("addresses_as_the_core_codes_them", async () => {
  const pairs = [
    ["a/b", "a.b"],
    ["192.168/x", "192%2E168.x"],
    ["%2E", "%252E"],
    ["%25252E", "%2525252E"],
    ["a%2Fb", "a/b"],
    ["a%252Fb", "a%2Fb"],
    ["%2B/%23/%00", "+.#.\0"],
    ["50%", "50%"],
    ["a%20b/%2e", "a%20b.%2e"],
    ["/", "."],
    ["%25", "%25"],
    ["%252", "%252"],
  ];
  for (const [topic, words] of pairs) {
    equal(wordsOfTopic(topic), words, `words of ${topic}`);
    equal(topicOfWords(words), topic, `topic of ${words}`);
  }
});

test("filters_of_both_worlds", async () => {
  for (const [text, words] of [
    ["a/+/#", "a.*.#"],
    ["a.*.#", "a.*.#"],
    ["#", "#"],
    ["+", "*"],
    ["a.#.b", "a.#.b"],
    ["v1.2/+", "v1%2E2.*"],
    ["plain", "plain"],
  ]) {
    equal(readTopic(text, true).words, words, text);
  }
  for (const text of ["", "a/#/b", "a/b+"]) check(readTopic(text, true).problem, `${text} is no filter`);
  for (const text of ["", "a/+", "a.*", "#"]) check(readTopic(text, false).problem, `${text} is no topic`);
});

test("destinations_read_back", async () => {
  for (const address of [
    { kind: "topic", words: "a/b.%2F" },
    { kind: "queue", name: "a/b%252F" },
    { kind: "exchange", exchange: "x/y", key: "k" },
    { kind: "exchange", exchange: "x", key: "" },
  ]) {
    equal(readDestination(destinationOf(address)), address, destinationOf(address));
  }
  equal(readDestination("/reply-queue/x").kind, "other", "what has no form");
});

test("json_keeps_its_numbers", async () => {
  const { text } = readBody(new TextEncoder().encode('{"a":12345678901234567890,"a":[1.0,{}, []],"b":"{,}"}'), "", false);
  equal(text, '{\n  "a": 12345678901234567890,\n  "a": [\n    1.0,\n    {},\n    []\n  ],\n  "b": "{,}"\n}', "indented");
});

test("frames_of_any_cut", async () => {
  const body = Uint8Array.from({ length: 300 }, (_, index) => index % 7);
  const octets = [encodeFrame("SEND", [["x", "a:b\n\\c\r"]], body), encodeFrame("SEND", [["y", ""]], new Uint8Array(0))];
  const stream = Uint8Array.from([10, ...octets[0], 10, 13, 10, ...octets[1], 10]);
  for (const piece of [1, 2, 7, stream.length]) {
    const reader = new FrameReader();
    const frames = [];
    for (let at = 0; at < stream.length; at += piece) frames.push(...reader.push(stream.subarray(at, at + piece)));
    equal(frames.map((frame) => [frame.pairs[0], frame.body.length]), [[["x", "a:b\n\\c\r"], 300], [["y", ""], 0]], `in pieces of ${piece}`);
    equal([...frames[0].body], [...body], "body");
  }
});

test("protocol_of_origin", async () => {
  const page = await listening();
  for (const [header, shown] of [["MQTT", "MQTT"], ["AMQP 0-9-1", "AMQP"], ["stomp", "STOMP"]]) {
    const body = unique("from");
    broker.message({ "x-trivium-protocol": header }, body);
    equal(await (await message(page, body)).locator(".protocol").textContent(), shown, header);
  }
  broker.message({}, "from nowhere");
  equal(await (await message(page, "from nowhere")).locator(".protocol").textContent(), "unknown", "without the header");
});

test("frames_cut_by_the_network", async () => {
  const page = await listening();
  broker.message({ note: "a:b" }, "grüße, cut", 1);
  await (await message(page, "grüße, cut")).locator("summary").click();
  await page.locator(".properties dd", { hasText: "a:b" }).waitFor();
});

test("a_silent_broker_is_given_up", async () => {
  await forget();
  const page = await open(url);
  await page.clock.install();
  await logIn(page);
  await listen(page, "#");
  const before = broker.beats;
  await page.clock.runFor(9000);
  await until(() => broker.beats > before, "the page sends heart-beats");
  broker.isMute = true;
  await page.clock.runFor(16_000);
  await page.getByText(/Nothing was heard from the broker for \d+ seconds/).first().waitFor();
  broker.isMute = false;
  // The attempt that met silence ends after 15 s; the next one after 2 s more.
  await page.clock.runFor(15_500);
  await page.clock.runFor(3000);
  await page.locator("#lost").waitFor({ state: "hidden" });
  await until(() => broker.subscriptions().length === 2, "subscribed again");
});

test("an_error_about_nothing_is_shown_whole", async () => {
  const page = await listening();
  broker.error({ message: "Odd" }, "line one\nline <b>two</b>");
  const failure = page.locator(".failure");
  await failure.waitFor();
  const text = await failure.textContent();
  check(text.includes("Odd") && text.includes("line one\nline <b>two</b>"), text);
  await page.locator("#lost").waitFor({ state: "hidden" });
  await until(() => broker.subscriptions().length === 2, "subscribed again");
  await failure.getByRole("button").click();
  await failure.waitFor({ state: "detached" });
});

test("a_refused_subscription_is_not_repeated", async () => {
  const page = await listening();
  broker.isMute = true;
  await page.getByLabel("Topic filter").fill("bad");
  await page.getByLabel("Topic filter").press("Enter");
  await until(() => broker.subscriptions().length === 2, "asked for");
  broker.error({ message: "not_found", "receipt-id": broker.subscriptions().at(-1).headers.receipt }, "no such thing");
  broker.isMute = false;
  await page.locator(".failure", { hasText: "no such thing" }).waitFor();
  await until(() => broker.subscriptions().length === 3, "the good one came back");
  equal(broker.subscriptions().at(-1).headers.destination, "/topic/#", "and it alone");
});

test("back_off_grows", async () => {
  const page = await listening();
  await page.clock.install();
  broker.isMute = true;
  const connects = () => broker.frames.filter(({ command }) => command === "CONNECT").length;
  broker.cut();
  await page.locator("#lost").waitFor();
  const waits = [];
  for (let attempt = 0; attempt < 4; attempt += 1) {
    const before = connects();
    let waited = 0;
    for (; connects() === before; waited += 200) {
      await page.clock.runFor(200);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    waits.push(waited);
    broker.cut();
    await page.getByText("Trying again in").waitFor();
  }
  check(waits[3] > waits[0] * 2 && waits[3] < 12_000, `milliseconds: ${waits}`);
});

test("nothing_serious_for_axe", async () => {
  for (const colorScheme of ["light", "dark"]) {
    const page = await listening({ colorScheme, reducedMotion: "reduce" });
    for (const protocol of ["AMQP", "MQTT", "STOMP", "none"]) broker.message({ "x-trivium-protocol": protocol, a: "b" }, `{"from":"${protocol}"}`);
    await (await message(page, "none")).locator("summary").click();
    broker.isMute = true;
    broker.error({ message: "Odd" }, "to be seen");
    await page.locator("#lost").waitFor();
    equal(await accessibilityFaults(page), [], colorScheme);
    broker.isMute = false;
    }
});

test("nothing_went_wrong_unseen", async () => equal(complaints, [], "errors, violations, dialogs"));

await main("page-alone", () => browser.close());
