// The list of notifications and gaps, newest first.

import { element, formatted } from "./dom.js";
import { Row } from "./row.js";

const MAX_HIGHLIGHTED = 3; // rows of one frame; in a burst, the list would only flicker

/** The entries of the view on display, drawn at most once per frame, however many arrive. */
export class Feed {
  #channel = null;
  #rows = new Map(); // by the number of the entry
  #drawn = 0; // the number of the newest entry that has a row
  #scheduled = false;
  #announced = 0;
  #filter = "";

  constructor() {
    element("filter").addEventListener("input", () => this.filter(element("filter").value));
  }

  /** Show the entries of a channel; of null, none. */
  show(channel) {
    this.read();
    this.#channel = channel;
    this.#reset();
    // What is there already is not announced: the user has asked for it.
    this.#announced = channel?.entries.total ?? 0;
    this.#draw();
  }

  clear() {
    this.#channel?.entries.clear();
    this.#announced = 0;
    this.#reset();
    this.#draw();
  }

  /** Draw what is new, in the next frame. */
  changed() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => this.#draw());
  }

  /** Take the marks from the rows that the user has seen. */
  read() {
    this.#channel?.entries.read();
    for (const row of this.#rows.values()) row.read();
  }

  /** Show the rows with this text only. */
  filter(text) {
    this.#filter = text.trim().toLowerCase();
    for (const row of this.#rows.values()) row.filter(this.#filter);
    this.#showCount();
  }

  /** Update the times, which are relative. */
  tick() {
    const now = Date.now();
    for (const row of this.#rows.values()) row.tick(now);
  }

  #reset() {
    this.#rows.clear();
    this.#drawn = 0;
    element("list").replaceChildren();
    element("news").textContent = "";
  }

  #draw() {
    this.#scheduled = false;
    const entries = this.#channel?.entries ?? [];
    for (const [number, row] of this.#rows) {
      if (entries.has(number)) continue;
      row.element.remove();
      this.#rows.delete(number);
    }
    const fresh = [...entries].filter((entry) => entry.number > this.#drawn);
    const isLive = this.#drawn > 0 && fresh.length <= MAX_HIGHLIGHTED;
    // One insertion for all rows makes one layout, also for a burst of hundreds.
    const rows = document.createDocumentFragment();
    for (const entry of fresh.reverse()) rows.append(this.#row(entry, isLive));
    this.#drawn = fresh[0]?.number ?? this.#drawn;
    element("list").prepend(rows);
    this.#showCount();
  }

  #row(entry, isLive) {
    const row = new Row(entry, this.#channel.topics.length > 1);
    if (isLive && !entry.frame.recent) row.element.classList.add("arrived");
    row.filter(this.#filter);
    this.#rows.set(entry.number, row);
    return row.element;
  }

  #showCount() {
    const drawn = this.#rows.size;
    const total = this.#channel?.entries.total ?? 0;
    const shown = [...this.#rows.values()].filter((row) => !row.element.hidden).length;
    element("empty").hidden = drawn > 0;
    element("nothing").hidden = drawn === 0 || shown > 0;
    let text = total > drawn ? `newest ${formatted(drawn)} of ${formatted(total)} rows` : "";
    if (shown < drawn) text = `${formatted(shown)} of ${formatted(drawn)} rows`;
    element("shown").textContent = text;
  }

  /**
   * Announce new rows to screen readers, in one sentence however many there are.
   *
   * Making the list itself a live region would read out every row, and never catch up in a burst.
   */
  announce() {
    const total = this.#channel?.entries.total ?? 0;
    const fresh = total - this.#announced;
    this.#announced = total;
    if (fresh <= 0) return;
    const newest = this.#rows.get(this.#channel.entries.newest?.number)?.text ?? "";
    const text = newest.slice(0, 200);
    element("news").textContent = fresh === 1 ? text : `${formatted(fresh)} new. Newest: ${text}`;
  }
}
