// The page: shows what is published, as it is published. It uses the public interface only, so
// `Connection` is also the example of a client that reconnects and resumes.

const SHOWN = 500; // rows that are kept
const CUT = 500; // characters of a message that are shown at first
const FIRST_DELAY = 500; // milliseconds until it is tried again, doubled each time
const LAST_DELAY = 15_000;
const HEALTH_INTERVAL = 5_000;
const SECONDS = 60; // of the plot
const element = (id) => document.getElementById(id);
const count = new Intl.NumberFormat();

/** A WebSocket of JSON that comes back by itself, and misses nothing without saying so. */
class Connection {
  #socket = null;
  #timer = null;
  #failures = 0;
  #since = null; // the id that was seen last
  #joined = false; // whether this topic was ever listened to

  /** `on` has `state(name, text)`, `notification(object)` and `gap(object)`. */
  constructor(on, token) {
    this.on = on;
    this.token = token;
    this.topic = "main";
  }

  get open() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Listen to `topic`, from its recents on. */
  listen(topic) {
    this.topic = topic;
    this.#since = null;
    this.#joined = false;
    this.retry();
  }

  /** Connect now, whatever was connected or waited for before. */
  retry() {
    this.#failures = 0;
    this.#connect();
  }

  #connect() {
    this.#drop();
    this.on.state("connecting", "Connecting…");
    const url = new URL("ws", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.search = new URLSearchParams({ format: "json", topic: this.topic });
    // Where nothing was seen yet, whatever came in the meantime counts as missed: 0 is no id.
    if (this.#joined) url.searchParams.set("since", this.#since ?? "0");
    const token = this.token();
    try {
      this.#socket = new WebSocket(url, token ? ["aionotify", `token.${token}`] : []);
    } catch {
      this.on.state("refused", "The token has signs that a WebSocket cannot carry.");
      return;
    }
    const socket = this.#socket;
    let opened = false;
    socket.onopen = () => {
      opened = this.#joined = true;
      this.#failures = 0;
      this.on.state("connected", "Connected");
    };
    socket.onmessage = (event) => this.#receive(JSON.parse(event.data));
    socket.onclose = (event) => this.#closed(event.code, opened);
  }

  #receive(frame) {
    if (frame.type === "gap") this.on.gap(frame);
    if (frame.type !== "notification") return;
    this.#since = frame.id;
    this.on.notification(frame);
  }

  /** Wait longer from time to time, and never all clients in step. */
  async #closed(code, opened) {
    this.#drop();
    this.#failures += 1;
    const longest = Math.min(LAST_DELAY, FIRST_DELAY * 2 ** Math.min(this.#failures - 1, 10));
    const delay = longest * (0.5 + Math.random() / 2);
    const why = code === 1012 ? "The server restarts" : "Connection lost";
    this.on.state("waiting", `${why}: trying again in ${Math.ceil(delay / 1000)} s`);
    this.#timer = setTimeout(() => this.#connect(), delay);
    // A browser does not tell why a handshake failed. Plain HTTP does.
    const timer = this.#timer;
    const refusal = opened ? null : await refused(this.topic, this.token());
    if (!refusal || timer !== this.#timer) return;
    this.#drop();
    this.on.state("refused", refusal);
  }

  #drop() {
    clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#socket === null) return;
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#socket = null;
  }
}

/** Why the server does not let this page listen; null if it does, or does not answer. */
async function refused(topic, token) {
  try {
    const response = await fetch(`notifications?${new URLSearchParams({ topic })}`, {
      headers: authorization(token),
    });
    if (response.status === 401) return "A token is needed to listen: enter it under Send";
    return [400, 403].includes(response.status) ? (await response.json()).detail : null;
  } catch {
    return null;
  }
}

function authorization(token) {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** The newest rows, drawn at most once for each frame, however many arrive. */
class Feed {
  #waiting = [];
  #dropped = 0; // of those that came while nothing was drawn
  #drawing = false;
  #total = 0;
  #announced = 0;
  #time = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
  #full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

  add(notification) {
    this.#waiting.push(notification);
    if (this.#waiting.length > 2 * SHOWN) {
      this.#dropped += SHOWN;
      this.#waiting.splice(0, SHOWN);
    }
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => this.#draw());
  }

  clear() {
    this.#waiting = [];
    this.#dropped = this.#total = this.#announced = 0;
    element("list").replaceChildren();
    element("news").textContent = "";
    this.#tell();
  }

  #draw() {
    this.#drawing = false;
    const list = element("list");
    const rows = document.createDocumentFragment();
    for (const each of this.#waiting.slice(-SHOWN).reverse()) {
      rows.append(each.type === "gap" ? gapRow(each) : this.#row(each));
    }
    this.#total += this.#waiting.length + this.#dropped;
    this.#waiting = [];
    this.#dropped = 0;
    list.prepend(rows);
    while (list.childElementCount > SHOWN) list.lastElementChild.remove();
    this.#tell();
  }

  #tell() {
    const shown = element("list").childElementCount;
    element("empty").hidden = shown > 0;
    element("shown").textContent =
      this.#total > shown ? `the newest ${count.format(shown)} rows of ${count.format(this.#total)}` : "";
  }

  /** Tell a screen reader what is new, in one sentence however much that is. */
  announce() {
    const fresh = this.#total - this.#announced;
    if (fresh <= 0) return;
    this.#announced = this.#total;
    const newest = element("list").firstElementChild?.querySelector(".message")?.textContent ?? "";
    const text = newest.slice(0, 200);
    element("news").textContent = fresh === 1 ? text : `${count.format(fresh)} new. Newest: ${text}`;
  }

  #row(notification) {
    const row = make("li", "");
    const when = new Date(notification.time);
    const time = make("time", "", this.#time.format(when));
    time.dateTime = notification.time;
    time.title = this.#full.format(when);
    row.append(time);
    if (notification.recent) {
      row.className = "recent";
      row.append(make("span", "badge", "recent"));
    }
    const text = notification.message;
    const message = make("p", "message", text.length > CUT ? `${text.slice(0, CUT)}…` : text);
    row.append(message);
    if (text.length > CUT) {
      const button = make("button", "", `Show all ${count.format(text.length)} characters`);
      button.onclick = () => {
        message.textContent = text;
        button.remove();
      };
      row.append(button);
    }
    return row;
  }
}

function gapRow({ missed }) {
  const text =
    missed === null
      ? "Some notifications may have been missed here"
      : `${count.format(missed)} ${missed === 1 ? "notification was" : "notifications were"} missed here`;
  const row = make("li", "gap");
  row.append(make("p", "message", text));
  return row;
}

/** An element with a text, which is never taken for markup. */
function make(name, className, text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

/** How many notifications came in each of the last seconds. */
class Plot {
  #counts = new Array(SECONDS).fill(0);
  #second = this.#now();

  #now() {
    return Math.floor(performance.now() / 1000);
  }

  count() {
    this.#move();
    this.#counts[SECONDS - 1] += 1;
  }

  clear() {
    this.#counts.fill(0);
    this.draw();
  }

  draw() {
    this.#move();
    const full = this.#counts.slice(0, -1); // the current second is not over
    const peak = Math.max(1, ...full);
    const points = full.map((value, x) => `${(x * 59) / (full.length - 1)},${19.5 - (19 * value) / peak}`);
    element("curve").setAttribute("points", points.join(" "));
    element("rate").textContent = count.format(full.at(-1));
    element("peak").textContent = `peak ${count.format(Math.max(...full))}/s`;
  }

  #move() {
    const steps = Math.min(SECONDS, this.#now() - this.#second);
    this.#second = this.#now();
    this.#counts.splice(0, steps);
    while (this.#counts.length < SECONDS) this.#counts.push(0);
  }
}

/** The browser's own notifications: one at a time, and only while nobody looks at the page. */
class Desktop {
  #on = false;
  #shown = 0; // when the last one was

  async toggle() {
    if (!("Notification" in window)) return this.#tell("This browser has none, or needs HTTPS for them.");
    if (!this.#on && (await Notification.requestPermission()) !== "granted") {
      return this.#tell("The browser does not allow them for this page.");
    }
    this.#on = !this.#on;
    element("desktop").setAttribute("aria-pressed", String(this.#on));
    return this.#tell(this.#on ? "On: shown while this page is in the background." : "Off.");
  }

  show({ topic, message, recent }) {
    if (!this.#on || recent || !document.hidden || Date.now() - this.#shown < 2000) return;
    this.#shown = Date.now();
    try {
      const options = { body: message.slice(0, 300), tag: `aionotify-${topic}` };
      new Notification(`aionotify: ${topic}`, options).onclick = () => window.focus();
    } catch {
      this.#on = false; // some phones let only service workers show them
      element("desktop").setAttribute("aria-pressed", "false");
      this.#tell("This browser does not show them for a page.");
    }
  }

  #tell(text) {
    element("desktop-help").textContent = text;
  }
}

const feed = new Feed();
const plot = new Plot();
const desktop = new Desktop();
const token = () => element("token").value.trim();
const connection = new Connection(
  {
    state(name, text) {
      element("state").dataset.state = name;
      element("state-text").textContent = text;
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

/** The topic stands behind the `#`, so that a bookmark remembers it. */
function listen() {
  const wanted = location.hash.slice(1) || "main";
  element("topic").value = wanted;
  if (!element("topic").checkValidity()) return connection.on.state("refused", "This is no name of a topic.");
  document.title = wanted === "main" ? "aionotify" : `${wanted} · aionotify`;
  feed.clear();
  plot.clear();
  return connection.listen(wanted);
}

async function send() {
  const message = element("message").value;
  if (!message.trim()) return;
  element("sent").textContent = "Sending…";
  try {
    const response = await fetch(`notifications?${new URLSearchParams({ topic: connection.topic })}`, {
      method: "POST",
      headers: { "Content-Type": "text/plain", ...authorization(token()) },
      body: message,
    });
    const answer = await response.json();
    element("sent").className = response.ok ? "" : "wrong";
    const refusal = response.status === 401 ? "Sending needs another token: enter it above." : answer.detail;
    element("sent").textContent = response.ok ? "Sent." : refusal;
    if (response.ok && element("message").value === message) element("message").value = "";
  } catch {
    element("sent").className = "wrong";
    element("sent").textContent = "The server does not answer. Nothing was sent, as far as is known.";
  }
}

let silent = 0; // health checks without an answer, one after another

async function health() {
  if (document.hidden) return;
  try {
    const response = await fetch("health", { signal: AbortSignal.timeout(HEALTH_INTERVAL) });
    const answer = await response.json();
    element("cache").textContent = answer.cache_status === "connected" ? "memcached" : "memory only";
    element("clients").textContent = count.format(answer.connected_websockets);
    silent = 0;
  } catch {
    element("cache").textContent = element("clients").textContent = "no answer";
    silent += 1;
    if (silent === 2 && connection.open) connection.retry(); // a dead link looks open for long
  }
}

element("topic-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const wanted = element("topic").value;
  if (location.hash.slice(1) === wanted) listen();
  else location.hash = wanted;
});
element("send-form").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
element("message").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
});
element("token").addEventListener("change", () => connection.open || connection.retry());
element("clear").addEventListener("click", () => feed.clear());
element("desktop").addEventListener("click", () => desktop.toggle());
addEventListener("hashchange", listen);
addEventListener("online", () => connection.retry());
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  health();
  if (element("state").dataset.state === "waiting") connection.retry();
});
setInterval(health, HEALTH_INTERVAL);
setInterval(() => {
  if (document.hidden) return;
  plot.draw();
  feed.announce();
}, 1000);
listen();
health();
