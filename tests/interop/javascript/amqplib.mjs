// amqplib, as Node services use it: promises, confirm channels, errors on channels.

import amqp from "amqplib";

import { AMQP_PORT, HOST, PASSWORD, USER, check, equal, main, refusal, test, unique, until } from "./harness.mjs";

const open = (more = {}) =>
  amqp.connect({ protocol: "amqp", hostname: HOST, port: AMQP_PORT, username: USER, password: PASSWORD, ...more });

async function connected(action) {
  const connection = await open();
  connection.on("error", () => {});
  try {
    await action(connection);
  } finally {
    await connection.close().catch(() => {});
  }
}

/** The error that closes `channel`. */
const closing = (channel) => new Promise((resolve) => channel.once("error", resolve));

test("work_queue_with_prefetch_and_ack", () =>
  connected(async (connection) => {
    const channel = await connection.createChannel();
    const { queue, messageCount, consumerCount } = await channel.assertQueue(unique("amqplib"), { durable: true });
    equal([messageCount, consumerCount], [0, 0], "a new queue");
    for (let number = 0; number < 10; number += 1) {
      channel.sendToQueue(queue, Buffer.from(`${number}`), { persistent: true, headers: { number } });
    }
    await channel.prefetch(2);
    const received = [];
    const { consumerTag } = await channel.consume(queue, (message) => {
      received.push(message);
    });
    check(consumerTag.startsWith("amq.ctag-"), `the broker chose the consumer tag, saw ${consumerTag}`);
    for (let count = 0; count < 10; count += 1) {
      await until(() => received.length > count, `delivery ${count}`);
      check(received.length <= count + 2, `at most 2 outstanding, saw ${received.length - count}`);
      equal(received[count].content.toString(), `${count}`, "order");
      equal(received[count].properties.headers.number, count, "header");
      channel.ack(received[count]);
    }
    await channel.cancel(consumerTag);
    equal((await channel.deleteQueue(queue)).messageCount, 0, "left");
  }));

test("confirm_channel", () =>
  connected(async (connection) => {
    const channel = await connection.createConfirmChannel();
    const { queue } = await channel.assertQueue("", { exclusive: true });
    check(queue.startsWith("amq.gen-"), queue);
    for (let number = 0; number < 1000; number += 1) channel.sendToQueue(queue, Buffer.from(`${number}`));
    await channel.waitForConfirms();
    equal((await channel.checkQueue(queue)).messageCount, 1000, "stored");
    const returned = new Promise((resolve) => channel.once("return", resolve));
    const missing = unique("nowhere");
    channel.publish("", missing, Buffer.from("lost"), { mandatory: true });
    const message = await returned;
    equal([message.fields.replyCode, message.fields.replyText, message.fields.routingKey], [312, "NO_ROUTE", missing], "return");
    await channel.waitForConfirms();
  }));

test("fanout_direct_and_topic", () =>
  connected(async (connection) => {
    const channel = await connection.createChannel();
    const expected = { fanout: ["a.b", "c"], direct: ["c"], topic: ["a.b"] };
    const pattern = { fanout: "", direct: "c", topic: "a.*" };
    for (const type of Object.keys(expected)) {
      const { exchange } = await channel.assertExchange(unique(`amqplib-${type}`), type, { autoDelete: true });
      const { queue } = await channel.assertQueue("", { exclusive: true });
      await channel.bindQueue(queue, exchange, pattern[type]);
      const keys = [];
      await channel.consume(queue, (message) => keys.push(message.fields.routingKey), { noAck: true });
      for (const key of ["a.b", "c"]) channel.publish(exchange, key, Buffer.alloc(0));
      await channel.checkExchange(exchange);
      await until(() => keys.length >= expected[type].length, `${type} deliveries`);
      equal(keys, expected[type], type);
    }
  }));

test("rpc", () =>
  connected(async (connection) => {
    const server = await connection.createChannel();
    const { queue } = await server.assertQueue(unique("amqplib-rpc"), { autoDelete: true });
    await server.consume(queue, (message) => {
      const { replyTo, correlationId } = message.properties;
      server.sendToQueue(replyTo, Buffer.from(`${Number(message.content) ** 2}`), { correlationId });
      server.ack(message);
    });
    const client = await connection.createChannel();
    const replies = await client.assertQueue("", { exclusive: true });
    const results = {};
    await client.consume(replies.queue, (message) => (results[message.properties.correlationId] = `${message.content}`), { noAck: true });
    for (const number of [2, 3, 4]) {
      client.sendToQueue(queue, Buffer.from(`${number}`), { replyTo: replies.queue, correlationId: `c${number}` });
    }
    await until(() => Object.keys(results).length === 3, "3 replies");
    equal(results, { c2: "4", c3: "9", c4: "16" }, "replies by correlation");
  }));

test("properties_and_a_large_body", () =>
  connected(async (connection) => {
    const channel = await connection.createChannel();
    const { queue } = await channel.assertQueue("", { exclusive: true });
    const headers = { text: "grüße", yes: true, number: 7, big: 2 ** 40, real: 1.5, list: [1, "two"], table: { inner: "x" } };
    const sent = {
      contentType: "application/json", contentEncoding: "gzip", headers, deliveryMode: 2, priority: 3, correlationId: "c",
      replyTo: "r", expiration: "60000", messageId: "m", timestamp: 1700000000, type: "kind", userId: USER, appId: "interop",
    };
    const body = Buffer.alloc(1 << 20, Buffer.from([0, 255, 1, 2]));
    channel.sendToQueue(queue, body, sent);
    const message = await until(() => channel.get(queue, { noAck: true }), "the message");
    check(message.content.equals(body), "1 MiB of body");
    for (const [name, value] of Object.entries(sent)) equal(message.properties[name], value, name);
    equal(await channel.get(queue), false, "get-empty");
  }));

test("nack_and_redelivery", () =>
  connected(async (connection) => {
    const channel = await connection.createChannel();
    const { queue } = await channel.assertQueue("", { exclusive: true });
    channel.sendToQueue(queue, Buffer.from("once more"));
    let message = await until(() => channel.get(queue), "the message");
    equal(message.fields.redelivered, false, "first");
    channel.nack(message);
    message = await until(() => channel.get(queue), "the message again");
    equal(message.fields.redelivered, true, "again");
    channel.reject(message, false);
    equal(await channel.get(queue), false, "dropped");
  }));

test("errors_close_the_channel_only", () =>
  connected(async (connection) => {
    const missing = unique("nope");
    const cases = [
      [(channel) => channel.checkQueue(missing), 404, `NOT_FOUND - no queue '${missing}' in vhost '/'`],
      [(channel) => channel.assertQueue("amq.mine"), 403, "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'"],
      [(channel) => channel.assertExchange("amq.topic", "direct"), 406, "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'amq.topic' in vhost '/': received 'direct' but current is 'topic'"],
    ];
    for (const [action, code, text] of cases) {
      const channel = await connection.createChannel();
      const closed = closing(channel);
      await refusal(() => action(channel), text);
      const error = await closed;
      equal(error.code, code, "reply code");
      check(error.message.includes(text), `expected ${text}, saw ${error.message}`);
    }
    const channel = await connection.createChannel();
    await channel.assertQueue("", { exclusive: true });
  }));

test("consumer_cancel_notification", () =>
  connected(async (connection) => {
    const channel = await connection.createChannel();
    const { queue } = await channel.assertQueue(unique("amqplib"));
    const cancelled = new Promise((resolve) => channel.consume(queue, (message) => message === null && resolve(true)));
    await channel.checkQueue(queue);
    await (await connection.createChannel()).deleteQueue(queue);
    equal(await cancelled, true, "null message");
  }));

test("refused_login_and_vhost", async () => {
  const login = await refusal(() => open({ password: `${PASSWORD}x` }), "a wrong password");
  check(login.message.includes("ACCESS_REFUSED - Login was refused"), login.message);
  const vhost = await refusal(() => open({ vhost: "nowhere" }), "an unknown vhost");
  // amqplib does not tell more of a connection.close before open-ok.
  check(vhost.message.includes("ConnectionClose"), vhost.message);
});

await main("amqplib");
