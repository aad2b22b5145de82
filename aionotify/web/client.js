// Notifications of an aionotify server for any web page: it reconnects, resumes, and reports gaps.
//
//     import { listen } from "./client.js"; // from another site: the server's address/client.js
//     listen({ topics: ["main"], onNotification: ({ message }) => console.log(message) });
//
// It uses the public interface only, so it is also an example for other clients.

import { EventStream, Socket } from "./client/transports.js";

// All times are in milliseconds, on the clock of performance.now(): a change of the system clock
// must neither cause a reconnect nor prevent one.
const MIN_RETRY_DELAY = 500; // doubled after each failure
const MAX_RETRY_DELAY = 15_000;
const CONNECT_TIMEOUT = 15_000;
const WATCH_INTERVAL = 5_000;
const ANSWER_TIMEOUT = 10_000;
// A token with less left is not worth renewing in advance: the watch could come too late.
const MIN_LIFE = 20_000;
const MAX_RENEWAL_LEAD = 60_000;

// The statuses of a wrong request: repeating it cannot help. 404 is not one of them, because some
// proxies answer with it while the server behind them restarts.
const REFUSALS = [400, 401, 403];
const TRANSPORTS = { websocket: Socket, events: EventStream };

/**
 * @typedef {object} Notification With all members that the server sends, also newer ones.
 * @property {"notification"} type
 * @property {string} id
 * @property {string} time RFC 3339.
 * @property {string} topic
 * @property {string} message
 * @property {boolean} [recent] It is from before the subscription, or from before a reconnect.
 *
 * @typedef {object} Gap Notifications that this client never gets.
 * @property {"gap"} type
 * @property {number | null} missed Their number; null if it is unknown.
 * @property {string} id The position from which nothing is missing again.
 *
 * @typedef {object} State
 * @property {"connecting" | "connected" | "waiting" | "rejected"} name `waiting`: for the next
 *   attempt. `rejected`: the server refused the request, and only `reconnect()` tries it again.
 * @property {string} [reason] Why the client is `waiting` or `rejected`.
 * @property {number} [status] The HTTP status that ended the attempt, if it is known.
 * @property {number} [retryAt] When the next attempt is due, as a time of `performance.now()`.
 *
 * @typedef {object} Options
 * @property {string} [url] The server's address, with the path prefix of a proxy if there is one.
 *   Default: where this module was loaded from.
 * @property {string[]} [topics] Default: `["main"]`.
 * @property {string | ((reason: { renew: boolean }) => string | Promise<string>)} [token] A token,
 *   or a function that returns one, called before each connection. `renew`: the one before has
 *   expired, is about to, or was refused, so it should not be returned again.
 * @property {string} [since] The position to resume after. Default: start with the recent ones.
 * @property {"websocket" | "events"} [transport] Default: `"websocket"`.
 * @property {(notification: Notification) => void} [onNotification]
 * @property {(gap: Gap) => void} [onGap]
 * @property {(state: State) => void} [onState]
 */

/**
 * Subscribe, and stay subscribed until `close()`.
 *
 * Every notification is passed on once and in order, also across reconnects. If the server cannot
 * promise that, a gap is passed on first. TypeError if an option is invalid.
 *
 * @param {Options} [options]
 */
export function listen(options = {}) {
  return new Subscription(options);
}

class Subscription {
  #options;
  #base;
  #position;
  #state = null; // the name of the last one reported
  #attempt = null; // identity of the current attempt: reports of an older one are dropped
  #transport = null;
  #token = "";
  #refused = null; // the token that was refused or has expired, and the reason
  #timer = null; // of the next attempt
  #longest = MIN_RETRY_DELAY; // the next delay, at most
  #connectedAt = Infinity;
  #heardAt = 0;
  #deadline = Infinity; // when the connection counts as dead, if an answer is due
  #renewAt = Infinity;
  #expires = null;
  #end = new AbortController();

  /** @param {Options} options */
  constructor({ url = ".", topics = ["main"], transport = "websocket", since, ...others }) {
    this.#base = new URL(url, import.meta.url);
    if (!/^https?:$/.test(this.#base.protocol)) throw invalid("url", url, "an http or https address");
    if (!Array.isArray(topics)) throw invalid("topics", topics, "an array of names");
    if (!Object.hasOwn(TRANSPORTS, transport)) {
      throw invalid("transport", transport, "websocket or events");
    }
    if (!this.#base.pathname.endsWith("/")) this.#base.pathname += "/";
    this.#options = { ...others, topics, Transport: TRANSPORTS[transport] };
    this.#position = since ?? null;
    const { signal } = this.#end;
    const watch = setInterval(() => this.#watch(), WATCH_INTERVAL);
    signal.addEventListener("abort", () => clearInterval(watch));
    // The network has changed, and an old connection is likely to be dead without any sign of it.
    addEventListener("online", () => this.#state === "rejected" || this.#connect(), { signal });
    // Browsers delay the timers of a hidden page by up to a minute. A worker has no document.
    const shown = () => document.hidden || this.#timer === null || this.#connect();
    globalThis.document?.addEventListener("visibilitychange", shown, { signal });
    this.#connect();
  }

  /** The id to resume after, for the option `since`; null until the server has sent one. */
  get position() {
    return this.#position;
  }

  /** When the token of the open connection expires, as the server said; null if it did not. */
  get expires() {
    return this.#expires;
  }

  /** Connect now: replace an open connection, do not wait, and try again after a rejection. */
  reconnect() {
    if (this.#end.signal.aborted) return;
    this.#longest = MIN_RETRY_DELAY;
    this.#refused = null;
    this.#connect();
  }

  /** End the subscription for good. No callback is called afterwards. */
  close() {
    this.#end.abort();
    this.#drop();
  }

  /** Start an attempt, with `fresh` or with the token that the application is asked for. */
  async #connect(fresh) {
    this.#drop();
    const attempt = (this.#attempt = {});
    const current = (handle) => (value) => this.#attempt === attempt && handle(value);
    this.#connectedAt = Infinity;
    if (this.#state !== "connecting") this.#report({ name: "connecting" });
    let token = fresh;
    try {
      token ??= await this.#askForToken(this.#refused !== null);
    } catch (error) {
      current((reason) => this.#wait({ reason }))(`No token: ${error}`);
      return;
    }
    if (this.#attempt === attempt) this.#open(token, current);
  }

  #open(token, current) {
    if (this.#refused?.token === token) return this.#reject(this.#refused);
    this.#token = token;
    this.#deadline = performance.now() + CONNECT_TIMEOUT;
    const { Transport } = this.#options;
    try {
      this.#transport = new Transport((name) => this.#address(name), token, {
        heard: current(() => this.#hear()),
        received: current((frame) => this.#receive(frame)),
        ended: current((end) => this.#ended(end)),
      });
    } catch (error) {
      // The browser's message about a token has the token in it.
      const isToken = ["SyntaxError", "TypeError"].includes(error.name);
      const reason = `The token contains characters not allowed in ${Transport.tokenPlace}.`;
      this.#reject({ reason: isToken ? reason : error.message });
    }
  }

  async #askForToken(renew) {
    const { token = "" } = this.#options;
    return typeof token === "function" ? token({ renew }) : token;
  }

  #address(name) {
    const url = new URL(name, this.#base);
    url.search = String(new URLSearchParams({ topic: this.#options.topics.join(",") }));
    if (this.#position !== null) url.searchParams.set("since", this.#position);
    return url;
  }

  #receive(frame) {
    const { onNotification, onGap } = this.#options;
    // Each that has a position moves this client there. A newer server may send more types.
    if (["notification", "gap", "subscribed"].includes(frame.type)) this.#position = frame.id;
    if (frame.type === "notification") this.#call(onNotification, frame);
    if (frame.type === "gap") this.#call(onGap, frame);
    if (frame.type === "subscribed") {
      this.#connectedAt = performance.now();
      this.#refused = null;
      this.#report({ name: "connected" });
    }
    if (frame.expires) {
      this.#expires = new Date(frame.expires);
      this.#planRenewal(this.#expires - Date.now());
    }
  }

  // The server's clock is unknown to a page. If ours is slow, the renewal is too late: the server
  // closes with 3000, and the next connection has a new token. If ours is fast, it is too early; if
  // the token seems to be over, although the server has just accepted it, that end is waited for.
  #planRenewal(life) {
    const lead = Math.min(MAX_RENEWAL_LEAD, life / 4);
    this.#renewAt = life < MIN_LIFE ? Infinity : performance.now() + life - lead;
  }

  /** Present a new token, on the open connection if the transport can. */
  async #renew() {
    this.#renewAt = Infinity;
    const transport = this.#transport;
    if (typeof this.#options.token !== "function") return;
    // If there is no new one, the connection goes on until the server ends it, and then it is
    // asked for again.
    const token = await this.#askForToken(true).catch(() => this.#token);
    if (this.#transport !== transport || token === this.#token) return;
    if (!transport.renew) return this.#connect(token);
    this.#token = token;
    transport.renew(token);
  }

  #hear() {
    this.#heardAt = performance.now();
    this.#deadline = Infinity;
  }

  /** Replace a connection that is dead and looks open: after a lost network, for minutes. */
  #watch() {
    const now = performance.now();
    if (this.#transport === null) return;
    if (now > this.#deadline) {
      this.#ended({});
    } else if (this.#deadline === Infinity && now - this.#heardAt >= this.#transport.maxSilence) {
      this.#transport.probe();
      this.#deadline = now + ANSWER_TIMEOUT;
    } else if (now >= this.#renewAt) {
      this.#renew();
    }
  }

  #ended({ reason = "Connection lost", status }) {
    const wasConnected = this.#connectedAt !== Infinity;
    // One new token: if that one is refused, too, the application has no valid one.
    const renewable = typeof this.#options.token === "function" && this.#refused === null;
    if (status === 401 && renewable) {
      this.#refused = { token: this.#token, reason, status };
      // Not without a delay after a connection: a server that ends each at once would get a storm.
      if (!wasConnected) return this.#connect();
    } else if (REFUSALS.includes(status)) {
      return this.#reject({ reason, status });
    }
    this.#wait({ reason, status });
  }

  /** Retry after a delay that grows, unless the last connection lasted longer than the delay. */
  #wait({ reason, status }) {
    this.#drop();
    const now = performance.now();
    if (now - this.#connectedAt > this.#longest) this.#longest = MIN_RETRY_DELAY;
    // Random, so that the clients of a server that restarts do not all reconnect at the same time.
    const delay = this.#longest * (0.5 + Math.random() / 2);
    this.#longest = Math.min(MAX_RETRY_DELAY, this.#longest * 2);
    this.#timer = setTimeout(() => this.#connect(), delay);
    this.#report({ name: "waiting", reason, status, retryAt: now + delay });
  }

  #reject({ reason, status }) {
    this.#drop();
    this.#refused = null;
    this.#report({ name: "rejected", reason, status });
  }

  #drop() {
    clearTimeout(this.#timer);
    this.#transport?.close();
    this.#timer = this.#transport = this.#attempt = null;
    this.#renewAt = Infinity;
    this.#expires = null;
  }

  #report(state) {
    this.#state = state.name;
    this.#call(this.#options.onState, state);
  }

  /** Call a function of the application, whose errors must not end the subscription. */
  #call(callback, value) {
    try {
      callback?.(value);
    } catch (error) {
      reportError(error);
    }
  }
}

function invalid(name, value, expected) {
  return new TypeError(`${name}: invalid value ${JSON.stringify(value)} (expected ${expected})`);
}
