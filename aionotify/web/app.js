// The page `/ui`: shows notifications as they are published, and publishes new ones.

import { Connection, authorization } from "./connection.js";
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
let retryAt = null; // when the connection tries again, as a time of performance.now()
const connection = new Connection(
  {
    state(name, text, at = null) {
      element("state").dataset.state = name;
      element("state-text").textContent = text;
      retryAt = at;
      countDown();
    },
    notification(notification) {
      if (!notification.recent) plot.count();
      feed.add(notification);
      desktop.show(notification);
    },
    gap: (gap) => feed.add(gap),
  },
  token,
);

/** Show the seconds until the next attempt. Screen readers skip them, and hear the state once. */
function countDown() {
  const seconds = Math.max(1, Math.ceil((retryAt - performance.now()) / 1000));
  element("countdown").textContent = retryAt === null ? "" : `in ${seconds} s`;
}

/** Subscribe to the topic in the fragment of the URL. It is there so that bookmarks keep it. */
function subscribe() {
  const topic = location.hash.slice(1) || "main";
  element("topic").value = topic;
  feed.clear();
  plot.clear();
  showResult("");
  // The fragment is free text from an address bar or a link, and the form did not check it.
  const valid = element("topic").checkValidity();
  // The button names the topic: the field may have another one that is typed but not submitted.
  element("publish").textContent = valid ? `Publish to ${topic}` : "Publish";
  element("publish").disabled = !valid;
  document.title = !valid || topic === "main" ? "aionotify" : `${topic} · aionotify`;
  if (valid) connection.subscribe(topic);
  else connection.end("Invalid topic name: 1 to 64 letters, digits, _, . and - are allowed.");
}

/** Show the result of publishing; it stays until the user changes the form. */
function showResult(text, wrong = false) {
  element("published").className = wrong ? "wrong" : "";
  element("published").textContent = text;
}

/** Publish over HTTP, not over the WebSocket: that one may be rejected or waiting to reconnect. */
async function publish() {
  const message = element("message").value;
  const { topic } = connection;
  if (!message.trim() || topic === null) return;
  showResult("Publishing…");
  try {
    const response = await fetch(`notifications?${new URLSearchParams({ topic })}`, {
      method: "POST",
      headers: { "Content-Type": "text/plain", ...authorization(token()) },
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
      showResult(`Published to ${topic}.`);
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
    // After a lost network, a socket looks open for minutes, until TCP gives up. The browser does
    // not let a page send pings, so two failed checks count as a dead connection.
    if (failedChecks === 2 && connection.open) connection.reconnect();
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
element("token").addEventListener("change", () => connection.open || connection.reconnect());
element("clear").addEventListener("click", () => feed.clear());
element("desktop").addEventListener("click", () => desktop.toggle());
addEventListener("hashchange", subscribe);
addEventListener("online", () => connection.reconnect());
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  checkHealth();
  // Browsers delay timers of background tabs by up to a minute: do not let the user wait for it.
  if (element("state").dataset.state === "waiting") connection.reconnect();
});
setInterval(checkHealth, HEALTH_INTERVAL);
setInterval(() => {
  if (document.hidden) return;
  plot.draw();
  feed.announce();
  countDown();
}, 1000);
subscribe();
checkHealth();
