// Runs the cases of one suite, each under a deadline, and says PASS, FAIL or SKIPPED for each.
// Where the broker listens comes from the environment (see ../README.md).

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";

const environment = (name, otherwise) => process.env[`INTEROP_${name}`] ?? otherwise;

export const BROKER = environment("BROKER", "trivium");
export const HOST = environment("HOST", "localhost");
export const AMQP_PORT = Number(environment("AMQP_PORT", "5672"));
export const MQTT_PORT = Number(environment("MQTT_PORT", "1883"));
export const HTTP_PORT = Number(environment("HTTP_PORT", "15672"));
export const USER = environment("USER", "guest");
export const PASSWORD = environment("PASSWORD", "guest");
// One path serves the three protocols; brokers that have a port for each are told apart here.
export const WS_STOMP = environment("WS_STOMP", `ws://${HOST}:${HTTP_PORT}/ws`);
export const WS_MQTT = environment("WS_MQTT", `ws://${HOST}:${HTTP_PORT}/ws`);
export const WS_AMQP = environment("WS_AMQP", `ws://${HOST}:${HTTP_PORT}/ws`);

// Long enough for a slow shared machine.
const CASE_MILLISECONDS = 60_000;
const cases = [];

/** Registers a case; `options.onlyFor` names the one broker that promises this behaviour. */
export function test(name, action, options = {}) {
  cases.push({ name, action, ...options });
}

/** A name no other run uses. */
export const unique = (prefix) => `${prefix}-${randomBytes(5).toString("hex")}`;

export const equal = (seen, expected, what) =>
  assert.deepEqual(seen, expected, `${what}: expected ${short(expected)}, saw ${short(seen)}`);

export const check = (condition, what) => assert.ok(condition, what);

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Resolves with the first truthy value of `condition`. */
export async function until(condition, what, milliseconds = 10_000) {
  const end = Date.now() + milliseconds;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`after ${milliseconds} ms still not: ${what}`);
    await sleep(5);
  }
}

/** What `action` throws; a case fails if it does not. */
export async function refusal(action, what) {
  try {
    await action();
  } catch (error) {
    return error;
  }
  throw new Error(`${what}: must be refused`);
}

export async function main(suite, cleanUp = async () => {}) {
  let failed = false;
  for (const { name, action, onlyFor } of cases) {
    const label = `${suite} ${name}`;
    if (onlyFor && onlyFor !== BROKER) {
      console.log(`SKIPPED ${label}: promised by ${onlyFor}, and this is ${BROKER}`);
      continue;
    }
    const started = Date.now();
    let timer;
    const deadline = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error("not finished in time")), CASE_MILLISECONDS);
    });
    try {
      await Promise.race([action(), deadline]);
      console.log(`PASS ${label} (${((Date.now() - started) / 1000).toFixed(2)} s)`);
    } catch (error) {
      failed = true;
      const message = String(error?.message ?? error).split("\n")[0].slice(0, 600);
      const where = /\((.*)\)|at (file.*)/.exec(String(error?.stack).match(/\n.*\/(?!harness)\w+\.mjs.*/)?.[0] ?? "");
      console.log(`FAIL ${label}: ${error?.name}: ${message}`);
      if (where) console.log(`    ${(where[1] ?? where[2]).replace(/.*\//, "")}`);
    } finally {
      clearTimeout(timer);
    }
  }
  await cleanUp();
  console.log(`END ${suite}`);
  // Client libraries keep sockets and timers after a failed case; they must not hold up the exit.
  process.exit(failed ? 1 : 0);
}

function short(value) {
  const text = Buffer.isBuffer(value) ? `${value.length} bytes ${value.subarray(0, 16).toString("hex")}` : JSON.stringify(value);
  return text?.length > 300 ? `${text.slice(0, 280)}...` : text;
}

// A client library that emits an error nobody listens for fails the suite in plain words.
process.on("uncaughtException", (error) => {
  console.log(`FAIL uncaught: ${error.stack}`);
  process.exit(1);
});
