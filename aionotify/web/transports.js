// The two ways of ./client.js to the server: a WebSocket, and server-sent events.
//
// Each takes a function that returns the address of an endpoint, a token or "", and callbacks:
// `heard()` at any sign of life, `received(object)`, and once `ended({ status, reason })`.

// An empty message is never published, but always answered: with an error, which is ignored.
const PROBE = JSON.stringify({ message: "" });

/** Notifications as frames of a WebSocket. The constructor throws if it cannot carry the token. */
export class Socket {
  static tokenPlace = "a WebSocket subprotocol";
  // A browser answers the pings of the server, but hides them from the page. So the page sends
  // something itself after a time without traffic.
  maxSilence = 20_000;
  #socket;
  #request = new AbortController();

  constructor(address, token, { heard, received, ended }) {
    const url = address("ws");
    url.protocol = url.protocol.replace("http", "ws");
    url.searchParams.set("format", "json");
    // A browser cannot set headers of a WebSocket, and `?token=` ends up in the logs of proxies.
    this.#socket = new WebSocket(url, token ? ["aionotify", `token.${token}`] : []);
    let opened = false;
    this.#socket.onopen = () => {
      opened = true;
      heard();
    };
    this.#socket.onmessage = ({ data }) => {
      heard();
      received(JSON.parse(data));
    };
    this.#socket.onclose = async ({ code }) => {
      ended(opened ? closeReason(code) : await this.#refusal(address("notifications"), token));
    };
  }

  /** Ask the server for a sign of life. */
  probe() {
    this.#socket.send(PROBE);
  }

  /** Replace the token of the open connection. */
  renew(token) {
    this.#socket.send(JSON.stringify({ token }));
  }

  close() {
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#request.abort();
  }

  /** A browser hides why a handshake failed: the close code is always 1006. Ask over HTTP. */
  async #refusal(url, token) {
    try {
      const { signal } = this.#request;
      const headers = authorization(token);
      const response = await fetch(url, { headers, signal, cache: "no-store" });
      if (!response.ok) return await problem(response);
      await response.body?.cancel();
    } catch {
      // There is no answer either.
    }
    return {};
  }
}

/**
 * Notifications as server-sent events. The constructor throws if a header cannot carry the token.
 *
 * Not an EventSource: that one ends for good after any status but 200, such as the 502 of a proxy
 * while the server restarts, sends no token, and hides the heartbeats.
 */
export class EventStream {
  static tokenPlace = "an HTTP header";
  // Two heartbeats (of 25 s, unless the server is set differently) less the time for the answer to
  // a probe, which would be a third one.
  maxSilence = 45_000;
  #request = new AbortController();

  constructor(address, token, callbacks) {
    const headers = new Headers({ Accept: "text/event-stream", ...authorization(token) });
    this.#read(address("events"), headers, callbacks);
  }

  probe() {} // the server sends heartbeats unasked

  close() {
    this.#request.abort();
  }

  async #read(url, headers, { heard, received, ended }) {
    let end = {};
    try {
      const { signal } = this.#request;
      // `since=` and not the header Last-Event-ID, for which a foreign page would need a preflight.
      const response = await fetch(url, { headers, signal, cache: "no-store" });
      const type = response.headers.get("Content-Type") ?? "none";
      if (!response.ok) end = await problem(response);
      else if (!type.startsWith("text/event-stream")) end = { reason: `Unexpected type: ${type}` };
      else await read(response.body, heard, (data) => received(JSON.parse(data)));
    } catch {
      // Lost, aborted by `close()`, or not an event of this server.
    }
    this.#request.abort(); // an answer that was not read to its end
    ended(end);
  }
}

/** Read a stream of bytes to its end, and pass on the data of each event. */
async function read(body, heard, event) {
  heard();
  const events = new EventParser();
  // The decoder keeps the bytes of an incomplete character, and drops a byte order mark.
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    heard();
    events.push(value).forEach(event);
  }
}

/** Splits text into server-sent events (WHATWG HTML §9.2.6). Their data is all that is needed. */
class EventParser {
  #line = ""; // not complete yet
  #data = []; // lines of the present event
  #afterReturn = false; // the last line ended with CR, so that a LF belongs to it

  /** Return the data of each event that `text` completes. */
  push(text) {
    const start = this.#afterReturn && text.startsWith("\n") ? 1 : 0;
    const lines = (this.#line + text.slice(start)).split(/\r\n|\r|\n/);
    this.#afterReturn = text.endsWith("\r");
    this.#line = lines.pop();
    const complete = [];
    for (const line of lines) {
      const data = /^data(?:: ?(.*))?$/s.exec(line);
      if (data) {
        this.#data.push(data[1] ?? "");
      } else if (line === "") {
        if (this.#data.length > 0) complete.push(this.#data.join("\n"));
        this.#data = [];
      }
    }
    return complete;
  }
}

/** Return the end of a connection with this close code. */
function closeReason(code) {
  if (code === 3000) return { status: 401, reason: "The token has expired." };
  return code === 1012 ? { reason: "The server is restarting" } : {};
}

/** Return the end of an attempt that was answered with an error: the server's sentence about it. */
async function problem(response) {
  const answer = await response.json().catch(() => null); // a proxy answers with something else
  return { status: response.status, reason: answer?.detail ?? `HTTP ${response.status}` };
}

function authorization(token) {
  return token ? { Authorization: `Bearer ${token}` } : {};
}
