// The page: logging in, what is shown when, and what happened to the connection.
//
// Reading order: session.js (what "connected" means) over stomp.js (frames); listen.js and send.js
// (the forms) over fields.js and address.js; live.js (the list) over body.js; guide.js (the empty
// list).

import { announce, byId, element, focusField } from "./dom.js";
import { guide, isLoopback } from "./guide.js";
import { Listen } from "./listen.js";
import { LiveList } from "./live.js";
import { Send } from "./send.js";
import { Session } from "./session.js";

const SOCKET_URL = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`;

/** Failures on screen at once; of more, the oldest go. */
const FAILURES_MAX = 3;

const listen = new Listen();
const send = new Send();
const live = new LiveList(() => {
  showGuide();
  listen.showCounts();
});

/** `null` while nobody is logged in. */
let session = null;
let countdown = null;
/** What the guide was last made for, so that it is not rebuilt under the reader's hands. */
let guideFor = null;

function logIn(login, passcode) {
  byId("login-error").hidden = true;
  byId("login-button").disabled = true;
  byId("use-guest").disabled = true;
  session = new Session(SOCKET_URL, { login, passcode, host: byId("vhost").value || "/" }, {
    state: onState,
    message: (subscription, frame) => live.add(subscription, frame),
    subscriptions: onSubscriptions,
    failure: showFailure,
  });
  session.connect();
}

function onState(state, more) {
  byId("state").dataset.state = state;
  byId("state-verb").textContent = state === "open" ? "Connected as" : "";
  byId("state-text").textContent = { connecting: "Connecting", open: session.user, waiting: "Not connected" }[state] ?? "";
  if (state !== "waiting") clearInterval(countdown);
  switch (state) {
    case "open":
      return onOpen(more.isAgain);
    case "waiting":
      return onLost(more);
    case "connecting":
      byId("lost-wait").textContent = "Trying …";
      return;
    case "refused":
      return onRefused(more.failure);
    case "idle":
      return showLogin();
  }
}

function onOpen(isAgain) {
  byId("lost").hidden = true;
  document.title = "Trivium";
  if (isAgain) {
    announce("Connected again");
    live.addNote("Connected again. What was sent to topics in between is not shown.");
    return;
  }
  byId("password").value = "";
  show("desk");
  listen.use(session);
  send.use(session);
  showGuide();
  focusField("listen-topic", "listen-title");
  announce(`Logged in as ${session.user}`);
}

function onLost({ reason, until, isAgain }) {
  byId("lost").hidden = false;
  byId("lost-reason").textContent = reason;
  const tell = () => {
    const seconds = Math.max(0, Math.ceil((until - Date.now()) / 1000));
    byId("lost-wait").textContent = `Trying again in ${seconds} s.`;
  };
  clearInterval(countdown);
  countdown = setInterval(tell, 250);
  tell();
  document.title = "Not connected – Trivium";
  // Every attempt that fails would be one more interruption.
  if (isAgain) return;
  announce(`Connection lost. ${reason} The page goes on trying.`);
  live.addNote(`Connection lost. ${reason}`);
}

/** Nothing that one person wrote or saw is left for the next. */
function forget() {
  guideFor = null;
  live.reset();
  listen.use(null);
  send.reset();
}

function onRefused(failure) {
  session = null;
  forget();
  showLogin();
  const error = byId("login-error");
  error.replaceChildren(element("strong", {}, failure.title), element("span", {}, failure.detail));
  error.hidden = false;
  byId("password").select();
}

function onSubscriptions() {
  listen.show();
  const last = [...session.subscriptions.values()].at(-1);
  if (last) send.propose(last.address);
  showGuide();
}

function showGuide() {
  const place = byId("guide");
  const isNeeded = session !== null && live.isEmpty;
  place.hidden = !isNeeded;
  if (!isNeeded) return;
  const key = [...session.subscriptions.keys()].at(-1) ?? "none";
  if (guideFor === key && place.childElementCount > 0) return;
  guideFor = key;
  place.replaceChildren(
    ...guide(session, (address) => {
      if (listen.to(address)) byId("live-title").focus();
    }),
  );
}

function showFailure(context, failure) {
  const dismiss = element("button", { type: "button", class: "quiet small", "aria-label": `Dismiss: ${context}` }, "Dismiss");
  const notice = element(
    "div",
    { class: "failure" },
    element("p", {}, element("strong", {}, context), element("span", {}, failure.title), failure.detail && element("span", { class: "detail" }, failure.detail)),
    dismiss,
  );
  dismiss.addEventListener("click", () => {
    notice.remove();
    byId("listen-title").focus();
  });
  const failures = byId("failures");
  failures.append(notice);
  while (failures.childElementCount > FAILURES_MAX) failures.firstElementChild.remove();
}

function showLogin() {
  byId("login-button").disabled = false;
  byId("use-guest").disabled = false;
  byId("lost").hidden = true;
  byId("failures").replaceChildren();
  document.title = "Log in – Trivium";
  const wasHidden = byId("login").hidden;
  show("login");
  if (wasHidden) focusField("user", "login-title");
}

function show(view) {
  byId("login").hidden = view !== "login";
  for (const id of ["desk", "sections", "state", "log-out"]) byId(id).hidden = view !== "desk";
  document.body.dataset.view = view;
}

function logOut() {
  session?.logOut();
  session = null;
  forget();
  announce("Logged out");
}

function start() {
  byId("login-host").textContent = location.host;
  const isHere = isLoopback(location.hostname);
  byId("use-guest").hidden = !isHere;
  const warning = location.protocol === "http:" ? "This page came over plain HTTP: others on the network can read the password." : "";
  byId("login-note").textContent = isHere ? "guest may log in from this machine only." : warning;
  byId("login-form").addEventListener("submit", (event) => {
    event.preventDefault();
    logIn(byId("user").value, byId("password").value);
  });
  byId("use-guest").addEventListener("click", () => {
    byId("user").value = "guest";
    logIn("guest", "guest");
  });
  byId("log-out").addEventListener("click", logOut);
  byId("try-now").addEventListener("click", () => session?.connect());
  // The network is back: no reason to wait out the rest of the pause.
  addEventListener("online", () => session && !session.isOpen && byId("lost").hidden === false && session.connect());
  showLogin();
}

start();
