// One row of the list: a notification or a gap.

import { appendLinked, copyButton, formatted, link, make } from "./dom.js";

const MAX_CHARACTERS = 500; // of a message, until the user asks for all of it
const MAX_DATA_CHARACTERS = 10_000;

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const DATE = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

/** Return a time that reads well: relative within the hour, else the time, or the date. */
function readable(time, now) {
  // A time ahead of our clock is as good as now.
  const age = now - time;
  if (age < MINUTE) return "just now";
  if (age < HOUR) return `${Math.floor(age / MINUTE)} min ago`;
  return age < 12 * HOUR ? TIME.format(time) : `${DATE.format(time)}, ${TIME.format(time)}`;
}

export class Row {
  element;
  #entry;
  #time;
  #details = null;

  constructor(entry, withTopic) {
    this.#entry = entry;
    const { frame } = entry;
    this.element = make("li", frame.type === "gap" ? "gap" : "");
    this.element.classList.toggle("unread", entry.unread);
    this.element.classList.toggle("recent", frame.recent === true);
    const body = make("div", "body");
    this.element.append(body, this.#meta());
    if (frame.type === "gap") body.append(make("p", "message", gapText(frame)));
    else appendNotification(body, frame, withTopic);
    this.tick(Date.now());
  }

  /** The text for screen readers and the filter. */
  get text() {
    const { type, topic, title = "", message, tag = "", url = "" } = this.#entry.frame;
    if (type === "gap") return gapText(this.#entry.frame);
    return [title, message, tag, url, topic].filter((each) => each !== "").join(" · ");
  }

  read() {
    this.element.classList.remove("unread");
  }

  filter(text) {
    this.element.hidden = text !== "" && !this.text.toLowerCase().includes(text);
  }

  tick(now) {
    const text = readable(this.#entry.time, now);
    // Setting the same text again would still cost a layout.
    if (this.#time.textContent !== text) this.#time.textContent = text;
  }

  #meta() {
    const meta = make("div", "meta");
    this.#time = make("time", "");
    this.#time.dateTime = this.#entry.time.toISOString();
    this.#time.title = FULL.format(this.#entry.time);
    meta.append(this.#time);
    if (this.#entry.frame.type === "gap") return meta;
    const button = make("button", "icon", "⋯");
    button.type = "button";
    button.title = "Details";
    button.setAttribute("aria-label", "Details");
    button.setAttribute("aria-expanded", "false");
    button.onclick = () => this.#toggle(button);
    meta.append(button);
    return meta;
  }

  /** Show or hide the id and the buttons to copy, which few rows ever need. */
  #toggle(button) {
    if (this.#details === null) this.element.append((this.#details = details(this.#entry)));
    else this.#details.hidden = !this.#details.hidden;
    button.setAttribute("aria-expanded", String(!this.#details.hidden));
  }
}

function details({ frame, time }) {
  const made = make("div", "details");
  const facts = make("p", "quiet", `${FULL.format(time)} · id `);
  facts.append(make("code", "", frame.id));
  if (frame.recent) facts.append(" · published before this page connected");
  made.append(facts, copyButton("Copy message", () => frame.message));
  made.append(copyButton("Copy JSON", () => JSON.stringify(frame, null, 2)));
  return made;
}

/** Append everything that the publisher wrote, none of which is ever interpreted as markup. */
function appendNotification(body, { topic, title, message, url, tag, data }, withTopic) {
  if (withTopic) body.append(make("span", "chip", topic));
  if (tag !== undefined) {
    const chip = make("span", "chip tag", tag);
    chip.title = "Tag: only the newest notification of each tag is shown";
    body.append(chip);
  }
  if (title) {
    const heading = make("p", "title", title);
    heading.dir = "auto";
    body.append(heading);
  }
  appendMessage(body, message);
  if (url) body.append(urlLine(url));
  if (data !== undefined) body.append(dataBlock(data));
}

/** Append the message, and a button for the rest of it if it is long. */
function appendMessage(body, text) {
  const message = make("p", "message");
  // Arabic and Hebrew run from right to left; the first letter decides.
  message.dir = "auto";
  body.append(message);
  if (text.length <= MAX_CHARACTERS) return appendLinked(message, text);
  appendLinked(message, text, MAX_CHARACTERS);
  message.append("…");
  const button = make("button", "small", `Show all ${formatted(text.length)} characters`);
  button.type = "button";
  const line = make("p", "more");
  line.append(button);
  button.onclick = () => {
    message.replaceChildren();
    appendLinked(message, text);
    line.remove();
  };
  return body.append(line);
}

/** Return the address that belongs to a notification: a link if it is safe to follow, or text. */
function urlLine(url) {
  const line = make("p", "url");
  line.dir = "ltr";
  line.append(link(url) ?? url);
  return line;
}

/** Return the data, as JSON that is only made when the user opens it. */
function dataBlock(data) {
  const block = make("details", "data");
  block.append(make("summary", "", "Data"));
  block.addEventListener("toggle", () => {
    if (block.childElementCount > 1) return;
    const text = JSON.stringify(data, null, 2);
    const isLong = text.length > MAX_DATA_CHARACTERS;
    const shown = isLong ? `${text.slice(0, MAX_DATA_CHARACTERS)}…` : text;
    const code = make("pre", "", shown);
    code.dir = "ltr";
    block.append(code);
    if (isLong) {
      const rest = `The first ${formatted(MAX_DATA_CHARACTERS)} of ${formatted(text.length)} characters.`;
      block.append(make("p", "quiet", `${rest} Details has a button to copy all of it.`));
    }
  });
  return block;
}

function gapText({ missed }) {
  if (missed === null) return "Some notifications may have been missed here";
  return `${formatted(missed)} ${missed === 1 ? "notification" : "notifications"} missed here`;
}
