// A TCP proxy between a client and the broker that can cut every connection through it.

import { connect, createServer } from "node:net";

export class CuttingProxy {
  #server;
  #open = new Set();

  /** Listens on a port of its own in front of `host:port`. */
  static async start(host, port) {
    const proxy = new CuttingProxy();
    proxy.#server = createServer((client) => proxy.#join(client, connect(port, host)));
    await new Promise((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get port() {
    return this.#server.address().port;
  }

  #join(client, broker) {
    for (const [from, to] of [[client, broker], [broker, client]]) {
      this.#open.add(from);
      from.on("error", () => to.destroy());
      from.on("close", () => {
        this.#open.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  }

  /** Resets both sides of every connection; new ones are taken as before. */
  cut() {
    for (const socket of this.#open) socket.resetAndDestroy();
  }

  close() {
    this.#server.close();
    this.cut();
  }
}
