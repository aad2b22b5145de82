// Desktop notifications of the browser, while the page is in the background.

import { element } from "./dom.js";

const INTERVAL = 2_000; // milliseconds between two of them, at least

export class Desktop {
  #on = false;
  #lastShown = 0;

  constructor() {
    element("desktop").addEventListener("click", () => this.#toggle());
  }

  /** Show a notification; at most one in two seconds, because a burst would fill the screen. */
  show({ topic, title, message }) {
    if (!this.#on || !document.hidden) return;
    if (Date.now() - this.#lastShown < INTERVAL) return;
    this.#lastShown = Date.now();
    try {
      // With the same tag, each replaces the one before.
      const options = { body: message.slice(0, 300), tag: `aionotify-${topic}` };
      new Notification(title ?? `aionotify: ${topic}`, options).onclick = () => window.focus();
    } catch {
      // Chrome on Android has the constructor, and throws TypeError: it wants a service worker.
      this.#set(false, "This browser does not show them for a page.");
    }
  }

  async #toggle() {
    // The API exists in secure contexts only: over plain HTTP, on localhost alone.
    if (!("Notification" in window)) {
      return this.#set(false, "This browser does not support them, or requires HTTPS for them.");
    }
    if (this.#on) return this.#set(false, "Off.");
    if ((await Notification.requestPermission()) !== "granted") {
      return this.#set(false, "The browser does not allow them for this page.");
    }
    return this.#set(true, "On: shown while this page is in the background.");
  }

  #set(on, text) {
    this.#on = on;
    element("desktop").setAttribute("aria-pressed", String(on));
    element("desktop-help").textContent = text;
  }
}
