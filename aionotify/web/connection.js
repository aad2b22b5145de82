// A WebSocket client that reconnects and resumes. It uses the public interface only, so it is also
// an example for other clients.

const MIN_RETRY_DELAY = 500; // milliseconds, doubled after each failure
const MAX_RETRY_DELAY = 15_000;

/** A JSON WebSocket that reconnects on its own and reports a gap if it may have missed anything. */
export class Connection {
  #socket = null;
  #timer = null;
  #failures = 0;
  #lastId = null; // of the last notification that was received
  #wasConnected = false; // to this topic, at least once

  /**
   * `on` has the callbacks `state(name, text)`, `notification(object)` and `gap(object)`.
   * `token` returns the current token, or an empty string.
   */
  constructor(on, token) {
    this.on = on;
    this.token = token;
    this.topic = "main";
  }

  get open() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Subscribe to `topic`, starting with its recent notifications. */
  subscribe(topic) {
    this.topic = topic;
    this.#lastId = null;
    this.#wasConnected = false;
    this.reconnect();
  }

  /** Connect now: replace an open connection, and do not wait for the next retry. */
  reconnect() {
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
    // 0 is older than every id. A client that lost its connection before the first notification
    // resumes from there, because without `since` it would not be told of a gap.
    if (this.#wasConnected) url.searchParams.set("since", this.#lastId ?? "0");
    const token = this.token();
    try {
      // A browser cannot set headers of a WebSocket, and `?token=` ends up in the logs of proxies.
      this.#socket = new WebSocket(url, token ? ["aionotify", `token.${token}`] : []);
    } catch {
      const text = "The token contains characters not allowed in a WebSocket subprotocol.";
      this.on.state("rejected", text);
      return;
    }
    let opened = false;
    this.#socket.onopen = () => {
      opened = this.#wasConnected = true;
      this.#failures = 0;
      this.on.state("connected", "Connected");
    };
    this.#socket.onmessage = (event) => this.#receive(JSON.parse(event.data));
    this.#socket.onclose = (event) => this.#closed(event.code, opened);
  }

  #receive(frame) {
    if (frame.type === "gap") this.on.gap(frame);
    // Types that this client does not know are ignored: a newer server may send more of them.
    if (frame.type !== "notification") return;
    this.#lastId = frame.id;
    this.on.notification(frame);
  }

  /** Retry after a delay that grows with each failure. */
  async #closed(code, opened) {
    this.#drop();
    this.#failures += 1;
    const doublings = Math.min(this.#failures - 1, 10);
    const longest = Math.min(MAX_RETRY_DELAY, MIN_RETRY_DELAY * 2 ** doublings);
    // Random, so that the clients of a server that restarts do not all reconnect at the same time.
    const delay = longest * (0.5 + Math.random() / 2);
    const cause = code === 1012 ? "The server is restarting" : "Connection lost";
    this.on.state("waiting", `${cause}: retrying in ${Math.ceil(delay / 1000)} s`);
    this.#timer = setTimeout(() => this.#connect(), delay);
    // A browser hides why a handshake failed (the close code is always 1006). Ask over HTTP. If
    // another connection was started before the answer, the answer is about an old one: drop it.
    const timer = this.#timer;
    const reason = opened ? null : await rejectionReason(this.topic, this.token());
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
    if (response.status === 401) return "A token is required to subscribe: enter it under Publish";
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
