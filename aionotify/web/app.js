// The page `/ui`: shows notifications as they are published, and publishes new ones.

import { Attention } from "./attention.js";
import { Channel } from "./channel.js";
import { Composer } from "./composer.js";
import { Desktop } from "./desktop.js";
import { copyButton, element, setText } from "./dom.js";
import { Feed } from "./feed.js";
import { Health, HEALTH_INTERVAL, Plot } from "./panel.js";
import { WRONG, Token } from "./token.js";
import { Memory, parseView, TopicList } from "./topics.js";

const INVALID = "Invalid topic name: 1 to 64 letters, digits, _, . and - are allowed.";

const feed = new Feed();
const plot = new Plot();
const desktop = new Desktop();
const attention = new Attention();
const memory = new Memory();
const channels = new Map(); // by view, in the order of the list
let shown = null; // the channel on display; null if the topic in the URL is invalid

const reconnect = (...names) => {
  for (const channel of channels.values()) {
    if (names.includes(channel.state.name)) channel.reconnect();
  }
};
const token = new Token({
  submitted: (isChange) => reconnect("rejected", ...(isChange ? ["connected"] : [])),
  changed: () => showState(),
});
const composer = new Composer(token);
const health = new Health(() => reconnect("connected"));
const list = new TopicList(() => ({ all: [...channels.values()], shown }), forget);

/** Take in a notification or a gap. Return whether the user is looking at it. */
function received(channel, frame, isNews) {
  const isSeen = channel === shown && !document.hidden;
  if (channel === shown) {
    if (isNews && !frame.recent) plot.count();
    feed.changed();
  }
  if (isNews && document.hidden) attention.add();
  if (isNews && !frame.recent) desktop.show(frame);
  if (!isSeen) list.changed();
  return isSeen;
}

function changed(channel) {
  const { name, status } = channel.state;
  list.changed();
  if (name === "rejected" && status === 401 && !token.isDeclined) token.ask(WRONG);
  if (name === "connected") health.checkSoon(); // the number of clients has changed
  if (channel === shown) showState();
}

const callbacks = { token, changed, received };

/** Show the state of the connection on display, and of its token. */
function showState() {
  const state = shown?.state ?? { name: "rejected", reason: INVALID };
  element("state").dataset.state = state.name;
  setText("state-text", stateText(state));
  element("retry").hidden = shown === null || !["waiting", "rejected"].includes(state.name);
  element("retry").textContent = state.status === 401 ? "Enter a token" : "Try now";
  setText("example", example(shown?.view ?? "main"));
  showToken();
  countDown();
}

function stateText({ name, reason, status }) {
  if (name === "connecting") return token.isAsked ? "Waiting for a token" : "Connecting…";
  if (name === "connected") return "Connected";
  if (name === "waiting") return `${reason.replace(/\.$/, "")}: retrying`;
  if (status !== 401) return reason;
  // The server's sentence tells programs how to send a token.
  return token.value === "" ? "A token is required" : "The server rejected the token";
}

/** Show the seconds until the next attempt. Screen readers skip them, and hear the state once. */
function countDown() {
  const { retryAt } = shown?.state ?? {};
  const seconds = Math.max(1, Math.ceil((retryAt - performance.now()) / 1000));
  element("countdown").textContent = retryAt === undefined ? "" : `in ${seconds} s`;
}

/** Show how long the token is valid, as far as the server says it. */
function showToken() {
  const expires = shown?.expires;
  element("token-row").hidden = token.value === "";
  const minutes = Math.max(0, Math.round((expires - Date.now()) / 60_000));
  element("expiry").textContent = expires ? `expires in ${minutes} min` : "in use";
  element("expiry").title = expires ? expires.toLocaleString() : "";
}

/** Show the view in the fragment of the URL. It is there so that bookmarks keep it. */
function show() {
  // The fragment is free text from an address bar or a link.
  const view = parseView(location.hash.slice(1) || "main");
  if (view !== null) remember(view);
  shown = channels.get(view) ?? null;
  const name = view?.replaceAll(",", ", ") ?? "Invalid topic";
  element("feed-title").textContent = name;
  attention.title = view === null || view === "main" ? "aionotify" : `${name} · aionotify`;
  composer.view = view;
  plot.clear();
  feed.show(shown);
  shown?.read();
  list.changed();
  showState();
}

/** Open a channel for each remembered view, and close those of all others. */
function remember(...views) {
  views.forEach((view) => memory.add(view));
  for (const view of memory.views) {
    if (!channels.has(view)) channels.set(view, new Channel(view, callbacks));
  }
  for (const [view, channel] of channels) {
    if (memory.views.includes(view)) continue;
    channel.close();
    channels.delete(view);
  }
}

function forget(view) {
  memory.remove(view);
  remember();
  list.changed();
  element("topic").focus(); // the button that had the focus is gone
}

/** Return a command that publishes to this very server. */
function example(view) {
  const url = new URL(`notifications?topic=${view}`, document.baseURI);
  const header = token.value === "" ? "" : ` -H "Authorization: Bearer $TOKEN"`;
  return `curl${header} -d "Hello" "${url}"`;
}

element("topic-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const view = parseView(encodeURIComponent(element("topic").value));
  if (view === null) return;
  element("topic").value = "";
  location.hash = view;
});
element("clear").addEventListener("click", () => feed.clear());
element("retry").addEventListener("click", () => shown?.reconnect());
element("copy").append(copyButton("Copy", () => element("example").textContent));
addEventListener("hashchange", show);
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.key === "Escape" && event.target === element("filter")) {
    element("filter").value = "";
    feed.filter("");
    return element("filter").blur();
  }
  if (event.target.closest?.("input, textarea, select")) return;
  const field = { "/": "filter", n: "message" }[event.key];
  if (!field) return;
  event.preventDefault(); // the key would be typed into the field
  element(field).focus();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return feed.read();
  attention.reset();
  shown?.read();
  list.changed();
  feed.tick();
  return health.check();
});
setInterval(() => health.check(), HEALTH_INTERVAL);
setInterval(() => {
  attention.draw();
  if (document.hidden) return;
  plot.draw();
  feed.tick();
  feed.announce();
  showState();
}, 1000);
remember();
show();
health.check();
