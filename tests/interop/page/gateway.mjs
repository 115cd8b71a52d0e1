// A gateway of our own, on free ports, that can be killed and started again.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { connect, createServer } from "node:net";
import { fileURLToPath } from "node:url";

import { sleep, until } from "../javascript/harness.mjs";

const ROOT = new URL("../../../", import.meta.url);

const binary = () => {
  const candidates = ["target/release/trivium", "target/debug/trivium"].map((path) => fileURLToPath(new URL(path, ROOT)));
  const found = process.env.INTEROP_GATEWAY ?? candidates.find((path) => existsSync(path));
  if (!found) throw new Error("no gateway: build it, or name it in INTEROP_GATEWAY");
  return found;
};

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

function isOpen(port) {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}

export class Gateway {
  static async start() {
    const gateway = new Gateway();
    gateway.ports = { amqp: await freePort(), mqtt: await freePort(), http: await freePort() };
    await gateway.restart();
    return gateway;
  }

  async restart() {
    const listen = Object.entries(this.ports).flatMap(([name, port]) => ["--listen", `${name}=127.0.0.1:${port}`]);
    this.process = spawn(binary(), ["--ephemeral", "--listen", "stomp=off", ...listen], { stdio: ["ignore", "ignore", "pipe"] });
    this.log = "";
    this.process.stderr.on("data", (text) => (this.log = (this.log + text).slice(-4000)));
    this.process.on("exit", () => (this.hasEnded = true));
    this.hasEnded = false;
    for (const port of Object.values(this.ports)) {
      await until(async () => {
        if (this.hasEnded) throw new Error(`the gateway ended: ${this.log}`);
        return (await isOpen(port)) || sleep(20);
      }, `port ${port} is open`);
    }
  }

  async end(signal) {
    if (this.hasEnded) return;
    this.process.kill(signal);
    await until(() => this.hasEnded, "the gateway has ended", 15_000);
  }
}
