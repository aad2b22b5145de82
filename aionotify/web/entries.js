// The notifications and gaps of one view. No DOM: the page receives more than it draws.

const MAX_ROWS = 500;
const MAX_CHARACTERS = 1_000_000; // of messages and data; a message can have 64 KiB or more

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
  #size = 0; // in characters

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
    this.#size += size(frame);
    while (this.#isFull()) this.#evict();
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
    this.#last = this.#replaced = this.#size = 0;
  }

  #isFull() {
    const count = this.#entries.size;
    return count > MAX_ROWS || (count > 1 && this.#size > MAX_CHARACTERS);
  }

  #replace(tag) {
    const older = this.#entries.get(this.#tagged.get(tag));
    if (older) {
      this.#replaced += 1;
      this.#delete(older);
    }
    this.#tagged.set(tag, this.#last);
  }

  #evict() {
    const [oldest] = this.#entries.values();
    const { number, frame } = oldest;
    this.#delete(oldest);
    const tag = `${frame.topic} ${frame.tag}`;
    if (this.#tagged.get(tag) === number) this.#tagged.delete(tag);
  }

  #delete({ number, frame }) {
    this.#entries.delete(number);
    this.#size -= size(frame);
  }
}

function size({ message = "", data }) {
  return message.length + (data === undefined ? 0 : JSON.stringify(data).length);
}
