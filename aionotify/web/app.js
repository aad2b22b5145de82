// The page `/ui`: shows notifications as they are published, and publishes new ones.

import { listen } from "../client.js";
import { element, formatted } from "./dom.js";
import { Feed } from "./feed.js";

const HEALTH_INTERVAL = 5_000; // milliseconds
const PLOT_SECONDS = 60;
const DESKTOP_INTERVAL = 2_000; // milliseconds between desktop notifications, at least

/** The number of notifications in each of the last seconds. */
class Plot {
  #counts = new Array(PLOT_SECONDS).fill(0);
  #second = this.#now();

  #now() {
    // Not Date.now(): a change of the system clock would empty the plot.
    return Math.floor(performance.now() / 1000);
  }

  count() {
    this.#advance();
    this.#counts[PLOT_SECONDS - 1] += 1;
  }

  clear() {
    this.#counts.fill(0);
    this.draw();
  }

  draw() {
    this.#advance();
    const full = this.#counts.slice(0, -1); // the current second is not over
    const peak = Math.max(1, ...full);
    // In the units of the view box, 59 × 20. The margin of 0.5 keeps the line from being cut off.
    const x = (index) => (index * 59) / (full.length - 1);
    const y = (value) => 19.5 - (19 * value) / peak;
    const points = full.map((value, index) => `${x(index)},${y(value)}`);
    element("curve").setAttribute("points", points.join(" "));
    element("rate").textContent = formatted(full.at(-1));
    element("peak").textContent = `peak ${formatted(Math.max(...full))}/s`;
  }

  /** Shift the counts to the current second. Timers cannot do it: background tabs delay them. */
  #advance() {
    const steps = Math.min(PLOT_SECONDS, this.#now() - this.#second);
    this.#second = this.#now();
    this.#counts.splice(0, steps);
    while (this.#counts.length < PLOT_SECONDS) this.#counts.push(0);
  }
}

/** Desktop notifications of the browser, while the page is in the background. */
class Desktop {
  #on = false;
  #lastShown = 0;

  async toggle() {
    // The API exists in secure contexts only: over plain HTTP, on localhost alone.
    if (!("Notification" in window)) {
      return this.#explain("This browser does not support them, or requires HTTPS for them.");
    }
    if (!this.#on && (await Notification.requestPermission()) !== "granted") {
      return this.#explain("The browser does not allow them for this page.");
    }
    this.#on = !this.#on;
    element("desktop").setAttribute("aria-pressed", String(this.#on));
    return this.#explain(this.#on ? "On: shown while this page is in the background." : "Off.");
  }

  /** Show a notification; at most one in two seconds, because a burst would fill the screen. */
  show({ topic, message, recent }) {
    if (!this.#on || recent || !document.hidden) return;
    if (Date.now() - this.#lastShown < DESKTOP_INTERVAL) return;
    this.#lastShown = Date.now();
    try {
      // With the same tag, each replaces the one before.
      const options = { body: message.slice(0, 300), tag: `aionotify-${topic}` };
      new Notification(`aionotify: ${topic}`, options).onclick = () => window.focus();
    } catch {
      // Chrome on Android has the constructor, and throws TypeError: it wants a service worker.
      this.#on = false;
      element("desktop").setAttribute("aria-pressed", "false");
      this.#explain("This browser does not show them for a page.");
    }
  }

  #explain(text) {
    element("desktop-help").textContent = text;
  }
}

const feed = new Feed();
const plot = new Plot();
const desktop = new Desktop();
const token = () => element("token").value.trim();
let topic = null; // null if the one in the URL is invalid
let subscription = null;
let retryAt = null; // when the connection tries again, as a time of performance.now()

const callbacks = {
  onState(state) {
    element("state").dataset.state = state.name;
    element("state-text").textContent = stateText(state);
    retryAt = state.retryAt ?? null;
    countDown();
  },
  onNotification(notification) {
    if (!notification.recent) plot.count();
    feed.add(notification);
    desktop.show(notification);
  },
  onGap: (gap) => feed.add(gap),
};

function stateText({ name, reason, status }) {
  if (name === "connecting") return "Connecting…";
  if (name === "connected") return "Connected";
  if (name === "waiting") return `${reason.replace(/\.$/, "")}: retrying`;
  if (status !== 401) return reason;
  // The server's sentence tells programs how to send a token.
  return token() === ""
    ? "A token is required to subscribe: enter it under Token."
    : "The server rejected the token.";
}

/** Show the seconds until the next attempt. Screen readers skip them, and hear the state once. */
function countDown() {
  const seconds = Math.max(1, Math.ceil((retryAt - performance.now()) / 1000));
  element("countdown").textContent = retryAt === null ? "" : `in ${seconds} s`;
}

/** Subscribe to the topic in the fragment of the URL. It is there so that bookmarks keep it. */
function subscribe() {
  const wanted = location.hash.slice(1) || "main";
  element("topic").value = wanted;
  feed.clear();
  plot.clear();
  showResult("");
  // The fragment is free text from an address bar or a link, and the form did not check it.
  const valid = element("topic").checkValidity();
  topic = valid ? wanted : null;
  // The button names the topic: the field may have another one that is typed but not submitted.
  element("publish").textContent = valid ? `Publish to ${topic}` : "Publish";
  element("publish").disabled = !valid;
  document.title = !valid || topic === "main" ? "aionotify" : `${topic} · aionotify`;
  subscription?.close();
  if (valid) {
    subscription = listen({ topics: [topic], token, ...callbacks });
  } else {
    subscription = null;
    const reason = "Invalid topic name: 1 to 64 letters, digits, _, . and - are allowed.";
    callbacks.onState({ name: "rejected", reason });
  }
}

/** Show the result of publishing; it stays until the user changes the form. */
function showResult(text, wrong = false) {
  element("published").className = wrong ? "wrong" : "";
  element("published").textContent = text;
}

/** Publish over HTTP: the subscription may be rejected or waiting to reconnect. */
async function publish() {
  const message = element("message").value;
  const wanted = topic; // the user can change it before the response
  if (!message.trim() || wanted === null) return;
  showResult("Publishing…");
  try {
    const authorization = token() === "" ? {} : { Authorization: `Bearer ${token()}` };
    const response = await fetch(`notifications?${new URLSearchParams({ topic: wanted })}`, {
      method: "POST",
      headers: { "Content-Type": "text/plain", ...authorization },
      body: message,
    });
    const answer = await response.json();
    if (response.status === 401) {
      const hasToken = token() !== "";
      showResult(
        hasToken
          ? "The server rejected the token: publishing requires an admin token."
          : "An admin token is required to publish: enter it under Token.",
        true,
      );
    } else if (response.ok) {
      showResult(`Published to ${wanted}.`);
      // Keep a message that the user has changed in the meantime.
      if (element("message").value === message) element("message").value = "";
    } else {
      showResult(answer.detail, true);
    }
  } catch {
    // The request may have arrived and only its response got lost, so do not say that it failed.
    showResult("No response from the server. The message may not have been published.", true);
  }
}

const isConnected = () => element("state").dataset.state === "connected";

let failedChecks = 0; // health checks without a response, in a row

async function checkHealth() {
  if (document.hidden) return;
  try {
    const response = await fetch("health", { signal: AbortSignal.timeout(HEALTH_INTERVAL) });
    const answer = await response.json();
    const hasCache = answer.cache_status === "connected";
    element("cache").textContent = hasCache ? "memcached" : "memory only";
    element("clients").textContent = formatted(answer.connected_websockets);
    failedChecks = 0;
  } catch {
    element("cache").textContent = element("clients").textContent = "no response";
    failedChecks += 1;
    // After a lost network, a connection looks open for minutes, until TCP gives up. Two failed
    // checks are a faster sign of it than the silence that the client waits for.
    if (failedChecks === 2 && isConnected()) subscription.reconnect();
  }
}

element("topic-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const wanted = element("topic").value;
  // Setting the same fragment again triggers no hashchange event.
  if (location.hash.slice(1) === wanted) subscribe();
  else location.hash = wanted;
});
element("publish-form").addEventListener("submit", (event) => {
  event.preventDefault();
  publish();
});
element("message").addEventListener("keydown", (event) => {
  // During composition, Enter confirms a candidate of the input method (Japanese, Chinese).
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  publish();
});
for (const name of ["message", "token"]) {
  element(name).addEventListener("input", () => showResult(""));
}
element("token").addEventListener("change", () => isConnected() || subscription?.reconnect());
element("clear").addEventListener("click", () => feed.clear());
element("desktop").addEventListener("click", () => desktop.toggle());
addEventListener("hashchange", subscribe);
document.addEventListener("visibilitychange", () => document.hidden || checkHealth());
setInterval(checkHealth, HEALTH_INTERVAL);
setInterval(() => {
  if (document.hidden) return;
  plot.draw();
  feed.announce();
  countDown();
}, 1000);
subscribe();
checkHealth();
