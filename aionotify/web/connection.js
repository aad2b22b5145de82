// A WebSocket client that reconnects and resumes. It uses the public interface only, so it is also
// an example for other clients.

// All times are in milliseconds.
const MIN_RETRY_DELAY = 500; // doubled after each failure
const MAX_RETRY_DELAY = 15_000;
const CONNECT_TIMEOUT = 15_000;

// A browser answers the pings of the server, but hides them from the page. So the page sends
// something itself after a time without traffic: a dead connection is noticed within 40 s.
const WATCH_INTERVAL = 5_000;
const MAX_SILENCE = 20_000;
const ANSWER_TIMEOUT = 10_000;
// An empty message is never published, but always answered: with an error, which is ignored here.
const PROBE = JSON.stringify({ message: "" });

/** A JSON WebSocket that reconnects on its own, resumes, and replaces a dead connection. */
export class Connection {
  #socket = null;
  #timer = null;
  #failures = 0;
  #position = null; // the id to resume after; null until the server has sent one
  #opened = false; // this socket was open
  #heardAt = 0;
  #deadline = Infinity; // when the socket counts as dead, if an answer is due

  /**
   * `on` has the callbacks `state(name, text, retryAt)`, `notification(object)` and `gap(object)`;
   * `retryAt` is a time of `performance.now()`, or undefined unless the state is `waiting`.
   * `token` returns the current token, or an empty string.
   */
  constructor(on, token) {
    this.on = on;
    this.token = token;
    this.topic = null;
    setInterval(() => this.#watch(), WATCH_INTERVAL);
  }

  get open() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Subscribe to `topic`, starting with its recent notifications. */
  subscribe(topic) {
    this.topic = topic;
    this.#position = null;
    this.reconnect();
  }

  /** End the subscription for `reason`, and stay disconnected until the next one. */
  end(reason) {
    this.#drop();
    this.topic = null;
    this.on.state("rejected", reason);
  }

  /** Connect now: replace an open connection, and do not wait for the next retry. */
  reconnect() {
    if (this.topic === null) return;
    this.#failures = 0;
    this.#connect();
  }

  #connect() {
    this.#drop();
    this.on.state("connecting", "Connecting…");
    // `ws` is relative to the page, which makes it work below the path prefix of a proxy.
    const url = new URL("ws", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.search = new URLSearchParams({ format: "json", topic: this.topic });
    if (this.#position !== null) url.searchParams.set("since", this.#position);
    const token = this.token();
    try {
      // A browser cannot set headers of a WebSocket, and `?token=` ends up in the logs of proxies.
      this.#socket = new WebSocket(url, token ? ["aionotify", `token.${token}`] : []);
    } catch {
      const text = "The token contains characters not allowed in a WebSocket subprotocol.";
      this.on.state("rejected", text);
      return;
    }
    this.#opened = false;
    this.#deadline = performance.now() + CONNECT_TIMEOUT;
    this.#socket.onopen = () => {
      this.#opened = true;
      this.#hear();
    };
    this.#socket.onmessage = (event) => {
      this.#hear();
      this.#receive(JSON.parse(event.data));
    };
    this.#socket.onclose = (event) => this.#closed(event.code);
  }

  /** Handle an object from the server. Each that has a position moves this client there. */
  #receive(frame) {
    if (frame.type === "notification") {
      this.on.notification(frame);
    } else if (frame.type === "gap") {
      this.on.gap(frame);
    } else if (frame.type === "subscribed") {
      // Caught up. This has a position even if nothing was ever published.
      this.#failures = 0;
      this.on.state("connected", "Connected");
    } else {
      return; // errors; and a newer server may send types that this client does not know
    }
    this.#position = frame.id;
  }

  #hear() {
    this.#heardAt = performance.now();
    this.#deadline = Infinity;
  }

  /** Replace a socket that looks open and is dead: after a lost network, it does for minutes. */
  #watch() {
    const now = performance.now();
    if (this.#socket === null) return;
    if (now > this.#deadline) {
      this.#closed(null);
    } else if (this.#deadline === Infinity && now - this.#heardAt >= MAX_SILENCE) {
      this.#socket.send(PROBE);
      this.#deadline = now + ANSWER_TIMEOUT;
    }
  }

  /** Retry after a delay that grows with each failure. */
  async #closed(code) {
    this.#drop();
    this.#failures += 1;
    const doublings = Math.min(this.#failures - 1, 10);
    const longest = Math.min(MAX_RETRY_DELAY, MIN_RETRY_DELAY * 2 ** doublings);
    // Random, so that the clients of a server that restarts do not all reconnect at the same time.
    const delay = longest * (0.5 + Math.random() / 2);
    const cause = code === 1012 ? "The server is restarting" : "Connection lost";
    this.on.state("waiting", `${cause}: retrying`, performance.now() + delay);
    this.#timer = setTimeout(() => this.#connect(), delay);
    // A browser hides why a handshake failed (the close code is always 1006). Ask over HTTP. If
    // another connection was started before the answer, the answer is about an old one: drop it.
    const timer = this.#timer;
    const reason = this.#opened ? null : await rejectionReason(this.topic, this.token());
    if (!reason || timer !== this.#timer) return;
    this.#drop();
    this.on.state("rejected", reason);
  }

  #drop() {
    clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#socket === null) return;
    // Without this, the old socket would report its end after the new one was opened.
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#socket = null;
  }
}

/** Return why the server rejects a subscription; null if it accepts it or does not respond. */
async function rejectionReason(topic, token) {
  try {
    const response = await fetch(`notifications?${new URLSearchParams({ topic })}`, {
      headers: authorization(token),
    });
    if (response.status === 401 && token) return "The server rejected the token.";
    if (response.status === 401) return "A token is required to subscribe: enter it under Token.";
    // Other errors, such as 503, are temporary: keep retrying.
    return [400, 403].includes(response.status) ? (await response.json()).detail : null;
  } catch {
    return null;
  }
}

/** Return the request header that carries `token`. */
export function authorization(token) {
  return token ? { Authorization: `Bearer ${token}` } : {};
}
