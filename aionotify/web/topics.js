// The views that the page remembers, and the list of them.

import { element, formatted, make } from "./dom.js";

const KEY = "aionotify.topics";
const MAX_VIEWS = 12; // each has a connection
const NAME = "[A-Za-z0-9_.-]{1,64}";
const VIEW = new RegExp(`^${NAME}(,${NAME})*$`);

/** Return the view that a fragment or a typed text names, each topic once; null if it is invalid. */
export function parseView(text) {
  let view = "";
  try {
    view = decodeURIComponent(text).trim();
  } catch {
    return null; // a lone `%`
  }
  view = view.split(/\s*,\s*/).filter((name, index, all) => all.indexOf(name) === index).join(",");
  return VIEW.test(view) ? view : null;
}

/** The names of views, kept in the browser: names alone, no notification and no token. */
export class Memory {
  #views = this.#load();

  get views() {
    return this.#views;
  }

  /** Add a view. The oldest one is dropped if there are too many. */
  add(view) {
    if (this.#views.includes(view)) return;
    this.#store([...this.#views, view].slice(-MAX_VIEWS));
  }

  remove(view) {
    this.#store(this.#views.filter((each) => each !== view));
  }

  #load() {
    try {
      const found = JSON.parse(localStorage.getItem(KEY));
      // Another page of this origin can write anything.
      return found.filter((each) => parseView(each) === each).slice(-MAX_VIEWS);
    } catch {
      return []; // nothing stored, or nothing that is ours, or the browser stores nothing
    }
  }

  #store(views) {
    this.#views = views;
    try {
      localStorage.setItem(KEY, JSON.stringify(views));
    } catch {
      // Blocked or full: the page then remembers until it is closed.
    }
  }
}

/** The list of views, drawn at most once per frame. */
export class TopicList {
  #channels;
  #scheduled = false;
  #drawn = "";
  #current; // the view that is marked: on a phone, the list scrolls sideways

  /** `channels()` returns the channels in order, and the one on display or null. */
  constructor(channels, forget) {
    this.#channels = channels;
    element("topics").addEventListener("click", ({ target }) => {
      const button = target.closest("button");
      if (button) forget(button.dataset.view);
    });
  }

  changed() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#scheduled = false;
    const { all, shown } = this.#channels();
    const looks = all.map((each) => [each.view, each.unread, each.state, each === shown]);
    // Elements that are replaced lose the focus, and a click that has begun on them.
    if (JSON.stringify(looks) === this.#drawn) return;
    this.#drawn = JSON.stringify(looks);
    const focused = document.activeElement?.dataset?.view;
    element("topics").replaceChildren(...all.map((each) => item(each, each === shown)));
    const current = element("topics").querySelector("[aria-current]");
    if (current?.dataset.view !== this.#current) current?.scrollIntoView({ block: "nearest" });
    this.#current = current?.dataset.view;
    if (focused) element("topics").querySelector(`a[data-view="${focused}"]`)?.focus();
  }
}

function item(channel, isShown) {
  const row = make("li", "");
  const link = make("a", "");
  link.href = `#${channel.view}`;
  link.dataset.view = channel.view;
  link.append(make("span", "name", channel.view.replaceAll(",", ", ")));
  if (isShown) link.setAttribute("aria-current", "page");
  if (!isShown && ["rejected", "waiting"].includes(channel.state.name)) {
    const text = [401, 403].includes(channel.state.status) ? "no access" : "offline";
    link.append(make("span", "trouble", text));
  }
  if (channel.unread > 0) {
    const count = make("span", "count", formatted(channel.unread));
    count.append(make("span", "unseen", " unread"));
    link.append(count);
  }
  row.append(link);
  if (!isShown) {
    const button = make("button", "icon", "×");
    button.type = "button";
    button.dataset.view = channel.view;
    button.title = `Forget ${channel.view}`;
    button.setAttribute("aria-label", button.title);
    row.append(button);
  }
  return row;
}
