// The number of unread notifications in the title and the icon, while the page is in the background.

import { element } from "./dom.js";

const INTERVAL = 250; // milliseconds between two changes of the title

export class Attention {
  #count = 0;
  #title = "aionotify";
  #drawn = "";
  #drawnAt = 0;

  set title(title) {
    this.#title = title;
    this.draw();
  }

  add() {
    this.#count += 1;
    // Not each time: a burst would change the title a thousand times per second. The caller draws
    // the last one, with its timer.
    if (performance.now() - this.#drawnAt >= INTERVAL) this.draw();
  }

  reset() {
    this.#count = 0;
    this.draw();
  }

  draw() {
    const count = this.#count > 99 ? "99+" : String(this.#count);
    const title = this.#count === 0 ? this.#title : `(${count}) ${this.#title}`;
    if (title === this.#drawn) return;
    this.#drawn = document.title = title;
    this.#drawnAt = performance.now();
    element("icon").href = `data:image/svg+xml,${encodeURIComponent(icon(this.#count, count))}`;
  }
}

function icon(number, text) {
  const mark = "<circle cx='16' cy='16' r='14' fill='#3358d4'/><circle cx='16' cy='16' r='6' fill='#fff'/>";
  const badge =
    "<circle cx='21' cy='21' r='11' fill='#c62828'/><text x='21' y='26' font-size='14' " +
    `font-family='sans-serif' font-weight='700' fill='#fff' text-anchor='middle'>${text.slice(0, 2)}</text>`;
  const drawing = number === 0 ? mark : mark + badge;
  return `<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'>${drawing}</svg>`;
}
