// The list of notifications and gaps, newest first.

import { appendLinked, element, formatted, make } from "./dom.js";

const MAX_ROWS = 500;
const MAX_CHARACTERS = 500; // of a message, until the user asks for all of it

/** The newest rows of the list, drawn at most once per frame, however many arrive. */
export class Feed {
  #pending = []; // received, and not drawn yet
  #skipped = 0; // removed from #pending without being drawn
  #scheduled = false;
  #total = 0;
  #announced = 0;
  #time = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
  #full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

  /** Add a notification or a gap. */
  add(entry) {
    this.#pending.push(entry);
    // A browser draws no frames in the background. Without a limit, a page left open would keep
    // every message. Removing half at a time is cheaper than moving all entries for each new one.
    if (this.#pending.length > 2 * MAX_ROWS) {
      this.#skipped += MAX_ROWS;
      this.#pending.splice(0, MAX_ROWS);
    }
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => this.#draw());
  }

  clear() {
    this.#pending = [];
    this.#skipped = this.#total = this.#announced = 0;
    element("list").replaceChildren();
    element("news").textContent = "";
    this.#showCount();
  }

  #draw() {
    this.#scheduled = false;
    const list = element("list");
    // One insertion for all rows makes one layout, also for a burst of hundreds.
    const rows = document.createDocumentFragment();
    for (const each of this.#pending.slice(-MAX_ROWS).reverse()) {
      rows.append(each.type === "gap" ? gapRow(each) : this.#row(each));
    }
    this.#total += this.#pending.length + this.#skipped;
    this.#pending = [];
    this.#skipped = 0;
    list.prepend(rows);
    while (list.childElementCount > MAX_ROWS) list.lastElementChild.remove();
    this.#showCount();
  }

  #showCount() {
    const shown = element("list").childElementCount;
    element("empty").hidden = shown > 0;
    element("shown").textContent =
      this.#total > shown ? `newest ${formatted(shown)} of ${formatted(this.#total)} rows` : "";
  }

  /**
   * Announce new rows to screen readers, in one sentence however many there are.
   *
   * Making the list itself a live region would read out every row, and never catch up in a burst.
   */
  announce() {
    const fresh = this.#total - this.#announced;
    if (fresh <= 0) return;
    this.#announced = this.#total;
    const newest = element("list").firstElementChild?.querySelector(".message")?.textContent ?? "";
    const text = newest.slice(0, 200);
    element("news").textContent = fresh === 1 ? text : `${formatted(fresh)} new. Newest: ${text}`;
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
    appendMessage(row, notification.message);
    return row;
  }
}

/** Append the message, and a button for the rest of it if it is long. */
function appendMessage(row, text) {
  const message = make("p", "message");
  // Arabic and Hebrew run from right to left; the first letter decides.
  message.dir = "auto";
  row.append(message);
  if (text.length <= MAX_CHARACTERS) return appendLinked(message, text);
  appendLinked(message, text, MAX_CHARACTERS);
  message.append("…");
  const button = make("button", "", `Show all ${formatted(text.length)} characters`);
  button.onclick = () => {
    message.replaceChildren();
    appendLinked(message, text);
    button.remove();
  };
  return row.append(button);
}

function gapRow({ missed }) {
  const text =
    missed === null
      ? "Some notifications may have been missed here"
      : `${formatted(missed)} ${missed === 1 ? "notification" : "notifications"} missed here`;
  const row = make("li", "gap");
  row.append(make("p", "message", text));
  return row;
}
