// @cloudamqp/amqp-client over WebSocket: AMQP 0-9-1 with the bytes of its frames in messages.

import { AMQPClient, AMQPSession, AMQPWebSocketClient, builtinParsers } from "@cloudamqp/amqp-client";
import { WebSocket } from "ws";

import { AMQP_PORT, BROKER, HOST, PASSWORD, USER, WS_AMQP, check, equal, main, refusal, test, unique, until } from "./harness.mjs";

// Written for browsers; Node 20 has no WebSocket of its own without a flag.
globalThis.WebSocket ??= WebSocket;

const CLIENTS = {
  tcp: (password = PASSWORD) => new AMQPClient(`amqp://${USER}:${password}@${HOST}:${AMQP_PORT}`),
  websocket: (password = PASSWORD) => new AMQPWebSocketClient(WS_AMQP, "/", USER, password),
};
// RabbitMQ has no AMQP over WebSocket.
const TRANSPORTS = BROKER === "rabbitmq" ? ["tcp"] : ["tcp", "websocket"];

function everywhere(name, action) {
  for (const transport of TRANSPORTS) {
    test(`${name}_${transport}`, async () => {
      const connection = await CLIENTS[transport]().connect();
      connection.onerror = () => {};
      try {
        await action(connection);
      } finally {
        await connection.close().catch(() => {});
      }
    });
  }
}

everywhere("publish_subscribe_ack", async (connection) => {
  const channel = await connection.channel();
  const queue = await channel.queueDeclare("", { exclusive: true });
  check(queue.name.startsWith("amq.gen-"), queue.name);
  await channel.basicQos(2);
  const received = [];
  const consumer = await channel.basicConsume(queue.name, { noAck: false }, (message) => received.push(message));
  for (let number = 0; number < 6; number += 1) {
    await channel.basicPublish("", queue.name, `message ${number}`, { contentType: "text/plain", headers: { number }, correlationId: `c${number}` });
  }
  for (let count = 0; count < 6; count += 1) {
    await until(() => received.length > count, `delivery ${count}`);
    const message = received[count];
    equal(message.bodyString(), `message ${count}`, "body");
    equal([message.properties.contentType, message.properties.correlationId], ["text/plain", `c${count}`], "properties");
    equal(message.properties.headers.number, count, "header");
    check(received.length <= count + 2, `at most 2 outstanding, saw ${received.length - count}`);
    await message.ack();
  }
  await consumer.cancel();
});

everywhere("confirms_and_large_bodies", async (connection) => {
  const channel = await connection.channel();
  await channel.confirmSelect();
  const queue = await channel.queueDeclare("", { exclusive: true });
  const body = new Uint8Array(1 << 20).map((_, index) => index & 255);
  const tags = await Promise.all([body, new Uint8Array(0), new Uint8Array([0, 255])].map((bytes) => channel.basicPublish("", queue.name, bytes)));
  equal(tags, [1, 2, 3], "confirmed delivery tags");
  const sizes = [];
  for (let count = 0; count < 3; count += 1) {
    const message = await channel.basicGet(queue.name, { noAck: true });
    sizes.push(message.bodySize);
    if (message.bodySize === body.length) check(Buffer.from(message.body).equals(Buffer.from(body)), "1 MiB of body");
  }
  equal(sizes, [1 << 20, 0, 2], "sizes");
});

everywhere("exchanges_and_returns", async (connection) => {
  const channel = await connection.channel();
  await channel.confirmSelect();
  const exchange = unique("amqp-client");
  await channel.exchangeDeclare(exchange, "topic", { autoDelete: true });
  const queue = await channel.queueDeclare("", { exclusive: true });
  await channel.queueBind(queue.name, exchange, "a.*");
  await channel.basicPublish(exchange, "a.b", "hit");
  await channel.basicPublish(exchange, "b.b", "miss");
  equal((await channel.basicGet(queue.name, { noAck: true })).bodyString(), "hit", "routed");
  equal(await channel.basicGet(queue.name, { noAck: true }), null, "nothing else");
  const returned = new Promise((resolve) => (channel.onReturn = resolve));
  await channel.basicPublish(exchange, "b.b", "back", {}, true);
  equal((await returned).replyText, "NO_ROUTE", "return");
});

everywhere("errors_close_the_channel_only", async (connection) => {
  const channel = await connection.channel();
  const missing = unique("nope");
  const error = await refusal(() => channel.queueDeclare(missing, { passive: true }), "a missing queue");
  check(error.message.includes(`NOT_FOUND - no queue '${missing}' in vhost '/'`), error.message);
  const other = await connection.channel();
  await other.queueDeclare("", { exclusive: true });
});

/** The library's own reconnecting session, which acknowledges and recovers by itself. */
for (const transport of TRANSPORTS) {
  test(`session_${transport}`, async () => {
    const url = transport === "tcp" ? `amqp://${USER}:${PASSWORD}@${HOST}:${AMQP_PORT}` : WS_AMQP;
    const options = { vhost: "/", username: USER, password: PASSWORD, parsers: builtinParsers, defaultContentType: "application/json" };
    const session = await AMQPSession.connect(url, options);
    const queue = await session.queue(unique("amqp-client"), { autoDelete: true, durable: false });
    const received = [];
    const subscription = await queue.subscribe({ prefetch: 10 }, (message) => void received.push(message.body));
    for (let number = 0; number < 5; number += 1) await queue.publish({ number });
    await until(() => received.length === 5, "5 messages");
    equal(received.map(({ number }) => number), [0, 1, 2, 3, 4], "decoded, in order");
    await subscription.cancel();
    await session.stop();
  });
}

for (const transport of TRANSPORTS) {
  test(`wrong_password_${transport}`, async () => {
    const error = await refusal(() => CLIENTS[transport](`${PASSWORD}x`).connect(), "a wrong password");
    check(/ACCESS_REFUSED|closed/i.test(error.message), error.message);
  });
}

await main("amqp-client.js");
