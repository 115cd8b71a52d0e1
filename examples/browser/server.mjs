// Serves the page and the stompjs bundle: all that a page needs from its web server. The messages
// go from the browser straight to the broker.

import { createReadStream } from "node:fs";
import { createServer } from "node:http";

const files = {
  "/": ["index.html", "text/html; charset=utf-8"],
  "/page.js": ["page.js", "text/javascript; charset=utf-8"],
  "/stomp.js": ["node_modules/@stomp/stompjs/bundles/stomp.umd.min.js", "text/javascript; charset=utf-8"],
};
const server = createServer((request, response) => {
  const [file, type] = files[request.url.split("?")[0]] ?? [];
  if (!file) return response.writeHead(404).end();
  response.setHeader("content-type", type);
  createReadStream(new URL(file, import.meta.url)).pipe(response);
});
server.listen(process.env.PORT ?? 8000, "localhost", () => {
  console.log(`the page is at http://localhost:${server.address().port}/`);
});
