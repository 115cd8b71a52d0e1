// mqtt.js over TCP and over WebSocket, in MQTT 3.1.1 and 5.

import { randomBytes } from "node:crypto";

import mqtt from "mqtt";

import {
  BROKER, HOST, MQTT_PORT, PASSWORD, USER, WS_MQTT, check, equal, main, refusal, sleep, test, unique, until,
} from "./harness.mjs";

const URLS = { tcp: `mqtt://${HOST}:${MQTT_PORT}`, websocket: WS_MQTT };
// Debian 12's RabbitMQ does not speak MQTT 5.
const VERSIONS = BROKER === "rabbitmq" ? { mqtt_3_1_1: 4 } : { mqtt_3_1_1: 4, mqtt_5: 5 };

async function device(transport, protocolVersion, more = {}) {
  const client = await mqtt.connectAsync(URLS[transport], {
    protocolVersion, clean: true, reconnectPeriod: 0, username: USER, password: PASSWORD, clientId: unique("mqttjs"), ...more,
  });
  client.inbox = [];
  client.on("message", (topic, payload, packet) => client.inbox.push({ topic, payload, packet }));
  client.on("error", () => {});
  client.next = async () => {
    await until(() => client.inbox.length > 0, "a message");
    return client.inbox.shift();
  };
  return client;
}

/** The case over each transport, in each version, with a function that opens devices and closes them. */
function everywhere(name, action) {
  for (const transport of Object.keys(URLS)) {
    for (const [label, version] of Object.entries(VERSIONS)) {
      test(`${name}_${transport}_${label}`, async () => {
        const opened = [];
        const open = async (more) => {
          opened.push(await device(transport, version, more));
          return opened.at(-1);
        };
        try {
          await action(open, version, transport);
        } finally {
          await Promise.all(opened.map((client) => client.endAsync(true)));
        }
      });
    }
  }
}

everywhere("qos_0_and_1", async (open) => {
  const client = await open();
  const topic = unique("mqttjs/qos");
  equal((await client.subscribeAsync(topic, { qos: 1 })).map(({ qos }) => qos), [1], "granted");
  for (const qos of [0, 1]) {
    await client.publishAsync(topic, `qos ${qos}`, { qos });
    const { payload, packet } = await client.next();
    equal([payload.toString(), packet.qos, packet.retain], [`qos ${qos}`, qos, false], "message");
  }
});

everywhere("payloads_arrive_as_they_are", async (open) => {
  const client = await open();
  const topic = unique("mqttjs/payload");
  await client.subscribeAsync(topic, { qos: 1 });
  for (const payload of [Buffer.alloc(0), Buffer.from([0]), Buffer.from([0xff, 0xfe]), randomBytes(1 << 20)]) {
    await client.publishAsync(topic, payload, { qos: 1 });
    const seen = (await client.next()).payload;
    check(payload.equals(seen), `${payload.length} bytes, saw ${seen.length}`);
  }
});

everywhere("wildcards_and_unsubscribe", async (open) => {
  const client = await open();
  const root = unique("mqttjs");
  await client.subscribeAsync({ [`${root}/+/x`]: { qos: 1 }, [`${root}/deep/#`]: { qos: 1 } });
  for (const rest of ["a/x", "a/y", "deep", "deep/er/still"]) await client.publishAsync(`${root}/${rest}`, "", { qos: 1 });
  await until(() => client.inbox.length >= 3, "3 messages");
  equal(client.inbox.map(({ topic }) => topic), [`${root}/a/x`, `${root}/deep`, `${root}/deep/er/still`], "topics");
  client.inbox.length = 0;
  await client.unsubscribeAsync(`${root}/+/x`);
  await client.publishAsync(`${root}/a/x`, "", { qos: 1 });
  await sleep(200);
  equal(client.inbox.length, 0, "after UNSUBACK");
});

everywhere("retained", async (open) => {
  const sender = await open();
  const topic = unique("mqttjs/retained");
  await sender.publishAsync(topic, "kept", { qos: 1, retain: true });
  const late = await open();
  await late.subscribeAsync(topic, { qos: 1 });
  const { payload, packet } = await late.next();
  equal([payload.toString(), packet.retain], ["kept", true], "retained message");
  await sender.publishAsync(topic, "", { qos: 1, retain: true });
});

everywhere("will", async (open) => {
  const topic = unique("mqttjs/will");
  const watcher = await open();
  await watcher.subscribeAsync(topic, { qos: 1 });
  const doomed = await open({ will: { topic, payload: Buffer.from("gone"), qos: 1, retain: false } });
  doomed.stream.destroy();
  equal((await watcher.next()).payload.toString(), "gone", "the will");
});

everywhere("takeover", async (open, version) => {
  const clientId = unique("mqttjs-twice");
  const older = await open({ clientId });
  let reason;
  older.on("disconnect", (packet) => (reason = packet.reasonCode));
  const closed = new Promise((resolve) => older.once("close", resolve));
  const newer = await open({ clientId });
  await closed;
  if (version === 5) equal(reason, 0x8e, "DISCONNECT says session taken over");
  check(newer.connected, "the newer one is connected");
});

everywhere("keep_alive", async (open) => {
  const client = await open({ keepalive: 1 });
  await sleep(3200);
  check(client.connected, "alive after three intervals");
});

everywhere("in_order_under_load", async (open) => {
  const reader = await open();
  const writer = await open();
  const topic = unique("mqttjs/order");
  const count = 2000;
  await reader.subscribeAsync(topic, { qos: 1 });
  await Promise.all(Array.from({ length: count }, (_, number) => writer.publishAsync(topic, `${number}`, { qos: 1 })));
  await until(() => reader.inbox.length >= count, `${count} messages`);
  equal(reader.inbox.map(({ payload }) => Number(payload)).every((value, index) => value === index), true, "all, in order");
});

everywhere("a_session_is_kept_and_qos_2_arrives_once", async (open, version) => {
  const [topic, clientId] = [unique("mqttjs/kept"), unique("mqttjs-kept")];
  const stays = { clientId, clean: false, ...(version === 5 ? { properties: { sessionExpiryInterval: 60 } } : {}) };
  const first = await open(stays);
  await first.subscribeAsync(topic, { qos: 2 });
  await first.endAsync();
  const writer = await open();
  for (const number of Array(20).keys()) await writer.publishAsync(topic, `${number}`, { qos: 2 });
  const again = await open(stays);
  await until(() => again.inbox.length >= 20, "what came meanwhile");
  await sleep(200);
  equal(again.inbox.map(({ payload }) => Number(payload)), [...Array(20).keys()], "each once, in order");
  equal([...new Set(again.inbox.map(({ packet }) => packet.qos))], [2], "QoS");
}, { onlyFor: "trivium" });

everywhere("wrong_password", async (open, _version, transport) => {
  // Web-MQTT closes without a word, which mqtt.js waits for.
  if (BROKER === "rabbitmq" && transport === "websocket") return;
  const error = await refusal(() => open({ password: `${PASSWORD}x` }), "a wrong password");
  check(/Bad User Name or Password|Bad username or password|Not authorized/i.test(error.message), error.message);
});

for (const transport of Object.keys(URLS)) {
  test(`properties_${transport}_mqtt_5`, async () => {
    const client = await device(transport, 5);
    const topic = unique("mqttjs/properties");
    const properties = {
      contentType: "application/json", responseTopic: "reply/here", correlationData: Buffer.from([0, 1, 255]),
      payloadFormatIndicator: true, messageExpiryInterval: 600, userProperties: { colour: "deep red", many: ["1", "2"] },
    };
    await client.subscribeAsync(topic, { qos: 1, properties: { subscriptionIdentifier: 9 } });
    await client.publishAsync(topic, "{}", { qos: 1, properties });
    const seen = (await client.next()).packet.properties;
    for (const name of ["contentType", "responseTopic", "payloadFormatIndicator"]) equal(seen[name], properties[name], name);
    equal(Buffer.compare(seen.correlationData, properties.correlationData), 0, "correlation data");
    equal({ ...seen.userProperties }, properties.userProperties, "user properties");
    equal(seen.subscriptionIdentifier, 9, "subscription identifier");
    await client.endAsync(true);
  }, { onlyFor: BROKER === "rabbitmq" ? "brokers of MQTT 5" : undefined });
}

test("no_credentials_over_websocket_are_refused", async () => {
  const options = { protocolVersion: 4, reconnectPeriod: 0, clientId: unique("mqttjs") };
  await refusal(() => mqtt.connectAsync(WS_MQTT, options), "a login without credentials");
}, { onlyFor: "trivium" });

for (const path of ["mqtt", "ws"]) {
  test(`path_${path}_and_text_of_the_subprotocol`, async () => {
    const url = new URL(WS_MQTT);
    url.pathname = `/${path}`;
    const client = await mqtt.connectAsync(url.href, {
      protocolVersion: 4, reconnectPeriod: 0, username: USER, password: PASSWORD, clientId: unique("mqttjs"),
    });
    equal(client.stream.socket?.protocol ?? "mqtt", "mqtt", "Sec-WebSocket-Protocol");
    await client.endAsync();
  }, { onlyFor: "trivium" });
}

await main("mqtt.js");
