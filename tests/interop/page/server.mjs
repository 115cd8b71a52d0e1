// Serves the page's files as the gateway does, with the same Content-Security-Policy: for the broker
// of the test, which serves only the WebSocket.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

const ASSETS = new URL("../../../gateway/assets/", import.meta.url);

export const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self' ws: wss:",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join("; ");

const TYPES = { html: "text/html; charset=utf-8", js: "text/javascript; charset=utf-8", css: "text/css; charset=utf-8", svg: "image/svg+xml" };

/** A server of the files, on a free port. */
export async function serve() {
  const server = createServer(async ({ url }, response) => {
    const name = url === "/" ? "index.html" : url.slice(1).split("?")[0];
    const type = TYPES[name.split(".").at(-1)];
    try {
      if (!type || !/^[a-z_]+\.[a-z]+$/.test(name)) throw new Error("not a file of the page");
      const file = await readFile(new URL(name, ASSETS));
      response.writeHead(200, { "content-type": type, "content-security-policy": POLICY, "x-content-type-options": "nosniff" }).end(file);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}
