// Subscribes and sends over STOMP in a WebSocket. `StompJs` comes from stomp.js.

const LINES_MAX = 100; // a page that is open for weeks must not grow for weeks
const element = (id) => document.getElementById(id);

const client = new StompJs.Client({
  // http://localhost:8000/?broker=ws://elsewhere:15672/ws names another broker.
  brokerURL: new URLSearchParams(location.search).get("broker") ?? "ws://localhost:15672/ws",
  // Everybody can read what a page knows. A real one asks for a password, or for a token that
  // belongs to the person who uses it.
  connectHeaders: { login: "guest", passcode: "guest" },
  // stompjs connects again by itself, here at first after one second and at most each 30.
  reconnectDelay: 1000,
  maxReconnectDelay: 30_000,
  reconnectTimeMode: StompJs.ReconnectionTimeMode.EXPONENTIAL,
  // Each side says something every ten seconds, so that a dead network shows.
  heartbeatIncoming: 10_000,
  heartbeatOutgoing: 10_000,

  // Called on each new connection: subscriptions end with the old one and are made again here.
  onConnect: () => {
    say("connected");
    subscribe();
  },
  onWebSocketClose: () => say("no connection, trying again"),
  // The broker refused something: a wrong password, a destination that is none. It says what,
  // and closes the connection.
  onStompError: (frame) => log(`the broker says: ${frame.headers.message} ${frame.body}`),
});

let subscription;
function subscribe() {
  const { destination } = element("subscribe").elements;
  subscription = client.subscribe(destination.value, (message) => {
    log(`${message.headers.destination}: ${message.body}`);
  });
}

element("subscribe").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!client.connected) return; // onConnect does it
  subscription?.unsubscribe();
  subscribe();
});

element("send").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!client.connected) return say("not sent: no connection");
  const { destination, body } = event.target.elements;
  // The receipt is the broker's word that it has the message.
  const receipt = crypto.randomUUID();
  client.watchForReceipt(receipt, () => say(`the broker has it: ${body.value}`));
  client.publish({
    destination: destination.value,
    body: body.value,
    headers: { "content-type": "text/plain", receipt },
  });
});

function say(text) {
  element("status").textContent = text;
}

function log(text) {
  const line = document.createElement("li");
  line.textContent = text; // never innerHTML: what arrives was written by others
  const lines = element("log");
  lines.prepend(line);
  while (lines.children.length > LINES_MAX) lines.lastChild.remove();
}

client.activate();
