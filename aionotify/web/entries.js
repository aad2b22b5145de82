// The notifications and gaps of one view. No DOM: the page receives more than it draws.

export const MAX_ROWS = 500;

/**
 * The newest entries, in the order of arrival.
 *
 * An entry is `{ number, frame, time, unread }`: `number` increases, and `time` is the one of the
 * notification, or the one at which the gap was noticed.
 */
export class Entries {
  #entries = new Map(); // by number
  #tagged = new Map(); // the number of the newest of each topic and tag
  #last = 0;
  #replaced = 0;

  /** The number of all entries so far, without those that were replaced by a newer one. */
  get total() {
    return this.#last - this.#replaced;
  }

  get newest() {
    return this.#entries.get(this.#last);
  }

  add(frame, unread) {
    this.#last += 1;
    const time = frame.type === "gap" ? new Date() : new Date(frame.time);
    if (frame.tag !== undefined) this.#replace(`${frame.topic} ${frame.tag}`);
    this.#entries.set(this.#last, { number: this.#last, frame, time, unread });
    if (this.#entries.size > MAX_ROWS) this.#remove(this.#entries.keys().next().value);
  }

  has(number) {
    return this.#entries.has(number);
  }

  [Symbol.iterator]() {
    return this.#entries.values();
  }

  /** Mark everything as read. */
  read() {
    for (const entry of this) entry.unread = false;
  }

  clear() {
    this.#entries.clear();
    this.#tagged.clear();
    this.#last = this.#replaced = 0;
  }

  #replace(tag) {
    if (this.#tagged.has(tag)) {
      this.#replaced += 1;
      this.#entries.delete(this.#tagged.get(tag));
    }
    this.#tagged.set(tag, this.#last);
  }

  #remove(number) {
    const { frame } = this.#entries.get(number);
    this.#entries.delete(number);
    const tag = `${frame.topic} ${frame.tag}`;
    if (this.#tagged.get(tag) === number) this.#tagged.delete(tag);
  }
}
