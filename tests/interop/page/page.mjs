// A person at the page, a device and a service: everybody hears the others, through a real gateway.

import { execFile } from "node:child_process";
import { promisify } from "node:util";

import amqplib from "amqplib";
import mqtt from "mqtt";

import { check, equal, main, sleep, test, unique, until } from "../javascript/harness.mjs";
import { accessibilityFaults, browser, complaints, listen, logIn, message, open, screenshot } from "./browser.mjs";
import { Gateway } from "./gateway.mjs";
import { POLICY } from "./server.mjs";

const gateway = await Gateway.start();
const url = `http://localhost:${gateway.ports.http}/`;

async function amqp() {
  const connection = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${gateway.ports.amqp}`);
  // Of a case that failed it is still open when the gateway is killed.
  connection.on("error", () => {});
  return connection;
}

const device = () => mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.ports.mqtt}`, { protocolVersion: 5, username: "guest", password: "guest" });

async function loggedIn(options) {
  const page = await open(url, options);
  await logIn(page);
  await page.getByText("Connected as").waitFor();
  return page;
}

/** Fills the form and sends; waits for the broker's word. */
async function send(page, { kind = "Topic", to, key, body, type = "text/plain", persistent = false, headers = {} }) {
  const form = page.locator("#send-form");
  await form.getByRole("radio", { name: kind }).check();
  await form.getByLabel(kind, { exact: true }).and(form.locator("input:not([type=radio])")).fill(to);
  if (key !== undefined) await form.getByLabel("Routing key").fill(key);
  await form.getByLabel("Body").fill(body);
  await form.getByLabel("Content type").fill(type);
  await form.getByLabel("Persistent").setChecked(persistent);
  for (const [name, value] of Object.entries(headers)) {
    await form.getByRole("button", { name: "Add a header" }).click();
    await form.getByPlaceholder("name").last().fill(name);
    await form.getByPlaceholder("value").last().fill(value);
  }
  await form.getByRole("button", { name: "Send" }).click();
}

const taken = (page) => page.getByText("Taken by the broker at").waitFor();

/** The properties of a shown message, by name. */
async function properties(shown) {
  await shown.locator("summary").click();
  const list = shown.locator(".properties");
  await list.waitFor();
  const [names, values] = [await list.locator("dt").allTextContents(), await list.locator("dd").allTextContents()];
  return Object.fromEntries(names.map((name, index) => [name, values[index]]));
}

test("the_policy_is_the_one_page_alone_is_tested_under", async () => {
  const { headers } = await fetch(`http://127.0.0.1:${gateway.ports.http}/`);
  equal(headers.get("content-security-policy"), POLICY, "Content-Security-Policy");
});

test("wrong_password_says_so", async () => {
  const page = await open(url);
  await logIn(page, "guest", "wrong");
  const error = page.locator("#login-error");
  await error.waitFor();
  check((await error.textContent()).includes("Access refused for user 'guest'"), await error.textContent());
  await screenshot(page, "refused-1280-light");
  await page.getByLabel("Password").fill("guest");
  await page.keyboard.press("Enter");
  await page.getByText("Connected as").waitFor();
  check(await error.isHidden(), "the error is gone");
});

test("guest_is_one_click_on_loopback", async () => {
  const page = await open(url);
  await page.getByRole("button", { name: "Use guest" }).click();
  await page.getByRole("button", { name: "Listen to everything" }).click();
  await page.locator("#subscriptions [data-state=live]").waitFor();
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByRole("button", { name: "Use guest" }).waitFor();
  equal(await page.locator("#subscriptions li").count(), 0, "subscriptions of the next person");
});

test("one_address_three_names", async () => {
  const page = await loggedIn();
  await page.getByLabel("Topic filter").fill("plant-1.2/+/#");
  equal(await page.locator("#listen-names code").allTextContents(), ["plant-1.2/+/#", "plant-1%2E2.*.#", "/topic/plant-1%2E2.*.#"], "names");
  await page.getByLabel("Topic filter").fill("a/#/b");
  await page.getByLabel("Topic filter").press("Enter");
  await page.getByText("In MQTT # stands only at the end").waitFor();
});

test("two_tabs_a_service_and_a_device", async () => {
  const root = unique("plant");
  const [one, two, client, connection] = await Promise.all([loggedIn(), loggedIn(), device(), amqp()]);
  await listen(one, `${root}/+/temperature`);
  await listen(two, `${root}.#`);
  const channel = await connection.createChannel();
  const { queue } = await channel.assertQueue("", { exclusive: true });
  await channel.bindQueue(queue, "amq.topic", `${root}.#`);
  const service = [];
  await channel.consume(queue, (delivery) => service.push(delivery), { noAck: true });
  const heard = [];
  client.on("message", (topic, body, packet) => heard.push({ topic, body: body.toString(), packet }));
  await client.subscribeAsync(`${root}/#`, { qos: 1 });

  const options = { contentType: "application/json", userProperties: { sensor: "north", unit: "C" } };
  await client.publishAsync(`${root}/kitchen/temperature`, '{"celsius":21.5}', { qos: 1, properties: options });
  for (const page of [one, two]) {
    const shown = await message(page, "21.5");
    equal(await shown.locator(".body").textContent(), '{\n  "celsius": 21.5\n}', "JSON");
    equal(await shown.locator(".destination").textContent(), `/topic/${root}.kitchen.temperature`, "destination");
    const { sensor, unit } = await properties(shown);
    equal([sensor, unit], ["north", "C"], "user properties");
    equal(await shown.locator(".protocol").textContent(), "MQTT", "protocol of origin");
  }

  const sent = { contentType: "text/plain", correlationId: "c-1", appId: "billing", headers: { attempt: 2 } };
  channel.publish("amq.topic", `${root}.hall.temperature`, Buffer.from("from a service: grüße"), sent);
  const fromService = await message(one, "from a service: grüße");
  equal(await fromService.locator(".protocol").textContent(), "AMQP", "protocol of origin");
  const seen = await properties(fromService);
  equal([seen["correlation-id"], seen["app-id"], seen.attempt], ["c-1", "billing", "2"], "properties");

  await send(two, { to: `${root}/roof/temperature`, body: "from a person", headers: { why: "a:b" }, persistent: true });
  await taken(two);
  equal(await (await message(one, "from a person")).locator(".protocol").textContent(), "STOMP", "protocol of origin");
  const atService = await until(() => service.find(({ content }) => content.toString() === "from a person"), "the service hears the page");
  equal([atService.fields.routingKey, atService.properties.headers.why, atService.properties.deliveryMode], [`${root}.roof.temperature`, "a:b", 2], "at the service");
  const atDevice = await until(() => heard.find(({ body }) => body === "from a person"), "the device hears the page");
  equal([atDevice.topic, atDevice.packet.properties.userProperties.why], [`${root}/roof/temperature`, "a:b"], "at the device");

  await client.publishAsync(`${root}/cellar/humidity`, "61 %");
  await message(two, "61 %");
  equal(await one.locator(".message", { hasText: "61 %" }).count(), 0, "what the filter keeps out");
  await one.getByRole("button", { name: `Stop listening to /topic/${root}.*.temperature` }).click();
  await sleep(100);
  await client.publishAsync(`${root}/attic/temperature`, "after the end");
  await message(two, "after the end");
  equal(await one.locator(".message", { hasText: "after the end" }).count(), 0, "after unsubscribing");
  await client.endAsync();
  await connection.close();
});

test("the_command_for_a_device_works_as_copied", async () => {
  const root = unique("it's");
  const page = await loggedIn({ permissions: ["clipboard-read", "clipboard-write"] });
  await listen(page, `${root}/+`);
  await page.getByRole("button", { name: "Copy the mosquitto_pub command" }).click();
  await page.getByRole("button", { name: "Copy the mosquitto_pub command" }).getByText("Copied").waitFor();
  const command = await page.evaluate(() => navigator.clipboard.readText());
  await promisify(execFile)("sh", ["-c", `${command} -p ${gateway.ports.mqtt}`]);
  equal(await (await message(page, "celsius")).locator(".destination").textContent(), `/topic/${root}.kitchen`, "destination");
});

test("queues_both_ways", async () => {
  const name = unique("jobs");
  const [page, connection] = await Promise.all([loggedIn(), amqp()]);
  const channel = await connection.createChannel();
  await send(page, { kind: "Queue", to: name, body: "a job", persistent: true, headers: { tries: "1" } });
  await taken(page);
  const got = await channel.get(name, { noAck: true });
  equal([got.content.toString(), got.properties.deliveryMode, got.properties.headers.tries, got.properties.contentType], ["a job", 2, "1", "text/plain"], "in the queue");
  await listen(page, name, "Queue");
  channel.sendToQueue(name, Buffer.from("an answer"));
  equal(await (await message(page, "an answer")).locator(".destination").textContent(), `/queue/${name}`, "destination");
  await connection.close();
});

test("exchanges_both_ways", async () => {
  const name = unique("orders");
  const [page, connection] = await Promise.all([loggedIn(), amqp()]);
  const channel = await connection.createChannel();
  await channel.assertExchange(name, "direct", { durable: false });
  const { queue } = await channel.assertQueue("", { exclusive: true });
  await channel.bindQueue(queue, name, "new");
  await send(page, { kind: "Exchange", to: name, key: "new", body: "an order" });
  await taken(page);
  equal((await channel.get(queue, { noAck: true })).content.toString(), "an order", "at the queue");
  const form = page.locator("#listen-form");
  await form.getByRole("radio", { name: "Exchange" }).check();
  await form.getByLabel("Binding key").fill("old");
  await listen(page, name, "Exchange");
  channel.publish(name, "old", Buffer.from("an old order"));
  equal(await (await message(page, "an old order")).locator(".destination").textContent(), `/exchange/${name}/old`, "destination");
  await connection.close();
});

test("markup_stays_text", async () => {
  const root = unique("xss");
  const [page, connection] = await Promise.all([loggedIn(), amqp()]);
  await listen(page, `${root}.#`);
  const attack = `<img src=x onerror="alert(1)"><script>alert(2)</script>`;
  const channel = await connection.createChannel();
  channel.publish("amq.topic", `${root}.${attack}`, Buffer.from(attack), { type: attack, contentType: attack, headers: { [attack]: attack } });
  const shown = await message(page, "alert(1)");
  equal(await shown.locator(".body").textContent(), attack, "body");
  equal((await properties(shown))[attack], attack, "header");
  equal(await page.locator("#live img, #live script").count(), 0, "elements that a message made");
  await connection.close();
});

test("bodies_of_all_kinds", async () => {
  const root = unique("bodies");
  const [page, client] = await Promise.all([loggedIn(), device()]);
  await listen(page, `${root}/#`);
  const publish = (name, body) => client.publishAsync(`${root}/${name}`, body, { qos: 1 });
  await publish("binary", Buffer.from([0, 1, 2, 0xff, 0x41, 0x42]));
  equal((await (await message(page, `${root}.binary`)).locator(".body").textContent()).split(/\s{2,}/), ["0000", "00 01 02 ff 41 42", "····AB"], "hexadecimal");
  await publish("empty", "");
  await (await message(page, `${root}.empty`)).getByText("Empty body").waitFor();
  await publish("large", "0123456789".repeat(100_000));
  const large = await message(page, `${root}.large`);
  await large.getByText("The first 64.0 KiB are kept.").waitFor();
  await large.getByRole("button", { name: "Show all" }).click();
  equal((await large.locator(".body").textContent()).length, 65_536, "characters");
  await client.endAsync();
});

test("a_flood_keeps_500_and_pauses", async () => {
  const root = unique("flood");
  const [page, client] = await Promise.all([loggedIn(), device()]);
  await listen(page, `${root}/#`);
  for (let number = 0; number < 3000; number += 1) client.publish(`${root}/a`, `number ${number}`, { qos: 1 });
  await page.locator(".message").first().getByText("number 2999").waitFor();
  equal(await page.locator(".message").count(), 500, "messages shown");
  equal(await page.locator("#tally dd").allTextContents().then((all) => all.map((text) => Number(text.replace(/\D/g, ""))).reduce((a, b) => a + b)), 3000, "received");
  await page.getByRole("button", { name: "Pause" }).click();
  for (const text of ["one", "two"]) await client.publishAsync(`${root}/a`, `while paused ${text}`, { qos: 1 });
  const resume = page.getByRole("button", { name: "Resume (2 new)" });
  await resume.waitFor();
  equal(await page.locator(".message", { hasText: "while paused" }).count(), 0, "while paused");
  await resume.click();
  await page.locator(".message").first().getByText("while paused two").waitFor();
  await page.getByRole("button", { name: "Clear" }).click();
  await page.getByText("Now send something").waitFor();
  await client.endAsync();
});

test("refusals_are_told_and_the_rest_goes_on", async () => {
  const name = unique("mine");
  const [page, connection] = await Promise.all([loggedIn(), amqp()]);
  const channel = await connection.createChannel();
  await channel.assertQueue(name, { exclusive: true });
  await listen(page, `${name}.#`);
  const form = page.locator("#listen-form");
  await form.getByRole("radio", { name: "Queue" }).check();
  await form.getByRole("textbox", { name: "Queue" }).fill(name);
  await form.getByRole("button", { name: "Listen" }).click();
  const failure = page.locator(".failure");
  await failure.waitFor();
  check(/resource_locked.*RESOURCE_LOCKED - /s.test(await failure.textContent()), await failure.textContent());
  await screenshot(page, "failure-1280-light");
  await page.locator("#subscriptions [data-state=live]").waitFor();
  equal(await page.locator("#subscriptions li").count(), 1, "subscriptions that go on");

  await send(page, { kind: "Exchange", to: unique("nowhere"), body: "lost" });
  await page.locator("#send-error", { hasText: "NOT_FOUND" }).waitFor();
  await page.getByText("Connected as").waitFor();
  await page.locator("#subscriptions [data-state=live]").waitFor();
  await send(page, { to: `${name}/x`, body: "it goes on" });
  await message(page, "it goes on");
  await connection.close();
});

test("keyboard_alone", async () => {
  const page = await open(url);
  const type = (text) => page.keyboard.type(text);
  const press = (...keys) => keys.reduce((done, key) => done.then(() => page.keyboard.press(key)), Promise.resolve());
  await type("guest");
  await press("Tab");
  await type("guest");
  await press("Enter");
  await page.getByText("Connected as").waitFor();
  const topic = unique("keys");
  await type(`${topic}/#`);
  await press("Enter");
  await page.locator("#subscriptions [data-state=live]").waitFor();
  equal(await page.evaluate(() => document.activeElement.id), "listen-topic", "focus stays");
  const reached = new Set();
  for (let step = 0; step < 40; step += 1) {
    await press("Tab");
    reached.add(await page.evaluate(() => document.activeElement.id || document.activeElement.textContent));
  }
  for (const id of ["send-topic", "send-body", "send-type", "send-persistent", "add-header", "pause", "clear", "scroller", "theme", "log-out"]) {
    check(reached.has(id), `Tab reaches ${id}, and ${[...reached]}`);
  }
  await page.locator("#send-body").fill("by keyboard");
  await page.locator("#send-topic").fill(`${topic}/a`);
  await page.locator("#send-body").focus();
  await press("Control+Enter");
  await message(page, "by keyboard");
});

test("light_and_dark", async () => {
  const page = await open(url, { colorScheme: "dark" });
  const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
  equal(await theme(), "dark", "as the system says");
  await page.getByRole("button", { name: "Dark colours" }).click();
  await page.reload();
  equal(await theme(), "light", "as chosen, after a reload");
});

test("a_killed_gateway_is_missed_and_found_again", async () => {
  const root = unique("again");
  const page = await loggedIn();
  await listen(page, `${root}.#`);
  await listen(page, `${root}-jobs`, "Queue");
  await gateway.end("SIGKILL");
  await page.getByText("Connection lost.").first().waitFor();
  await page.getByText("Not connected").first().waitFor();
  await screenshot(page, "lost-1280-light");
  await send(page, { to: `${root}/a`, body: "too early" });
  await page.locator("#send-error", { hasText: "Not connected" }).waitFor();
  await sleep(2000);
  await gateway.restart();
  await page.getByText("Connected as").waitFor({ timeout: 20_000 });
  await until(async () => (await page.locator("#subscriptions [data-state=live]").count()) === 2, "both subscriptions are back");
  const client = await device();
  await client.publishAsync(`${root}/b`, "after the restart", { qos: 1 });
  await message(page, "after the restart");
  await page.locator(".note", { hasText: "Connected again" }).waitFor();
  await client.endAsync();
});

test("a_gateway_that_shuts_down_says_so", async () => {
  const page = await loggedIn();
  await gateway.end("SIGTERM");
  await page.locator("#lost", { hasText: "shutdown" }).waitFor();
  await gateway.restart();
  await page.getByRole("button", { name: "Try now" }).click({ timeout: 1000 }).catch(() => {});
  await page.getByText("Connected as").waitFor({ timeout: 20_000 });
});

/** A desk with something on it, for eyes and for axe. */
async function scene(page, client, channel, root, name) {
  const wide = page.viewportSize().width > 900;
  const show = async (id) => {
    if (!wide) await page.evaluate((id) => document.getElementById(id).scrollIntoView({ behavior: "instant" }), id);
    await sleep(150);
  };
  await screenshot(page, `login-${name}`);
  equal(await accessibilityFaults(page), [], `login ${name}`);
  await page.getByRole("button", { name: "Use guest" }).click();
  await page.getByText("Nothing to hear yet").waitFor();
  await screenshot(page, `empty-${name}`);
  await listen(page, `${root}/#`);
  await page.getByText("Now send something").waitFor();
  await show("live");
  await screenshot(page, `guide-${name}`);
  equal(await accessibilityFaults(page), [], `guide ${name}`);
  await client.publishAsync(`${root}/kitchen/temperature`, '{"celsius":21.5,"sensor":"north","battery":0.93}', { qos: 1, properties: { contentType: "application/json", userProperties: { firmware: "2.1.0" } } });
  await client.publishAsync(`${root}/door/frame`, Buffer.from(Array.from({ length: 40 }, (_, index) => (index * 37) % 256)), { qos: 1 });
  channel.publish("amq.topic", `${root}.orders.created`, Buffer.from("Order 4711 is packed and leaves at noon."), { contentType: "text/plain", appId: "warehouse", correlationId: "4711", persistent: true });
  await message(page, "Order 4711");
  await show("send");
  await page.locator("#send-topic").fill(`${root}/hall/light`);
  await page.locator("#send-body").fill("on");
  await page.locator("#send-type").fill("text/plain");
  await page.locator("#send-form").getByRole("button", { name: "Send" }).click();
  await taken(page);
  await screenshot(page, `send-${name}`);
  await show("live");
  await (await message(page, "Order 4711")).locator("summary").click();
  await screenshot(page, `live-${name}`);
  equal(await accessibilityFaults(page), [], `live ${name}`);
  equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0, `width ${name}`);
}

for (const [width, height] of [[1280, 800], [390, 844], [360, 740]]) {
  for (const colorScheme of ["light", "dark"]) {
    test(`seen_at_${width}_${colorScheme}`, async () => {
      const page = await open(url, { viewport: { width, height }, colorScheme, reducedMotion: "reduce", hasTouch: width < 900 });
      const [client, connection] = await Promise.all([device(), amqp()]);
      await scene(page, client, await connection.createChannel(), unique("home"), `${width}-${colorScheme}`);
      await client.endAsync();
      await connection.close();
    });
  }
}

test("nothing_went_wrong_unseen", async () => equal(complaints, [], "errors, violations, dialogs"));

await main("page", async () => {
  await browser.close();
  await gateway.end("SIGTERM");
});
