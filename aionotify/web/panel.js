// The panel about the server: its health, and the rate of notifications.

import { element, formatted } from "./dom.js";

const PLOT_SECONDS = 60;
const NAMES = { memcached: "memcached", nats: "NATS" };
export const HEALTH_INTERVAL = 5_000; // milliseconds
const SETTLE_TIME = 250; // milliseconds

/** The number of notifications in each of the last seconds. */
export class Plot {
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

/** What `/health` says. */
export class Health {
  #failed = 0; // checks without a response, in a row
  #dead;
  #timer;

  /** `dead()` is called when the server has not responded twice. */
  constructor(dead) {
    this.#dead = dead;
  }

  /** Check soon, and once for several connections that open at the same time. */
  checkSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.check(), SETTLE_TIME);
  }

  async check() {
    if (document.hidden) return;
    try {
      const response = await fetch("health", { signal: AbortSignal.timeout(HEALTH_INTERVAL) });
      const answer = await response.json();
      this.#showBackend(response.headers.get("Aionotify-Backend"), answer.cache_status);
      element("clients").textContent = formatted(answer.connected_websockets);
      this.#failed = 0;
    } catch {
      element("cache").textContent = "no response";
      element("clients").textContent = "–";
      element("lag-row").hidden = true;
      this.#failed += 1;
      // After a lost network, a connection looks open for minutes, until TCP gives up. Two failed
      // checks are a faster sign of it than the silence that the client waits for.
      if (this.#failed === 2) this.#dead();
    }
  }

  /** Show where notifications are kept: `backend` is `memcached`, or `nats;lag=0`. */
  #showBackend(backend, status) {
    const [name, lag] = (backend ?? "").split(";lag=");
    const isConnected = status === "connected";
    const inMemory = name === "nats" ? "NATS, unavailable" : "memory only";
    element("cache").textContent = isConnected ? (NAMES[name] ?? "connected") : inMemory;
    element("lag-row").hidden = lag === undefined;
    element("lag").textContent = formatted(lag ?? 0);
  }
}
