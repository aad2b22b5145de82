// The form that publishes to the view on display.

import { element } from "./dom.js";

const MAX_NAMES = 30; // characters of the button for several topics
const FIELDS = ["title", "url", "tag"];

export class Composer {
  #view = null;
  #token;
  #attempt = { content: null, key: "" };

  /** `token` is the page's token, which is asked for if the server wants another one. */
  constructor(token) {
    this.#token = token;
    element("publish-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#publish();
    });
    element("publish-form").addEventListener("input", () => this.#show(""));
    element("message").addEventListener("keydown", (event) => {
      // During composition, Enter confirms a candidate of the input method (Japanese, Chinese).
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#publish();
    });
  }

  /** Publish to this view from now on; null: to none. */
  set view(view) {
    this.#view = view;
    // The button names the topic: the field for topics may have another one that is not submitted.
    const name = view?.replaceAll(",", ", ") ?? "";
    const count = view?.split(",").length;
    const target = count > 1 && name.length > MAX_NAMES ? `${count} topics` : name;
    element("publish").textContent = view === null ? "Send" : `Send to ${target}`;
    element("publish").title = name;
    element("publish").disabled = view === null;
    this.#show("");
  }

  /** Show the result of publishing; it stays until the user changes the form. */
  #show(text, wrong = false) {
    element("published").className = wrong ? "wrong" : "";
    element("published").textContent = text;
  }

  async #publish() {
    const view = this.#view; // the user can change it before the response
    const message = element("message").value;
    if (!message.trim() || view === null) return;
    const content = JSON.stringify([view, message, ...FIELDS.map((each) => element(each).value)]);
    const request = this.#request(message, content);
    this.#show("Sending…");
    try {
      let response = await this.#post(view, request);
      if (response.status === 401) response = await this.#retryWithToken(view, request, response);
      const answer = await response.json();
      if (response.ok) this.#published(view, message);
      else this.#show(explanation(response.status, answer.detail, this.#token), true);
    } catch {
      // The request may have arrived and only its response got lost, so do not say that it failed.
      const text = "No response from the server. Send it again: it is published once at most.";
      this.#show(text, true);
    }
  }

  /** Return the request for a message. With any of the fields, the body is JSON. */
  #request(message, content) {
    // The same key for the same content, so that a message whose response got lost can be sent
    // again. Not crypto.randomUUID, which exists over HTTPS only.
    if (this.#attempt.content !== content) {
      this.#attempt = { content, key: crypto.getRandomValues(new BigUint64Array(2)).join("-") };
    }
    const filled = FIELDS.filter((each) => element(each).value.trim() !== "");
    const fields = filled.map((each) => [each, element(each).value.trim()]);
    const headers = {
      "Content-Type": filled.length > 0 ? "application/json" : "text/plain",
      "Idempotency-Key": `"${this.#attempt.key}"`,
    };
    const document = { message, ...Object.fromEntries(fields) };
    return { headers, body: filled.length > 0 ? JSON.stringify(document) : message };
  }

  #post(view, { headers, body }) {
    return fetch(`notifications?${new URLSearchParams({ topic: view })}`, {
      method: "POST",
      headers: { ...headers, ...this.#token.headers },
      body,
    });
  }

  /** Ask for a token, and try again with it; if there is none, return the response as it is. */
  async #retryWithToken(view, request, response) {
    const refused = this.#token.value;
    const asked = refused === "" ? "Publishing needs a token." : "Publishing needs another token.";
    this.#show(asked, true);
    const token = await this.#token.ask(asked, true);
    if (token === refused) return response;
    this.#show("Sending…");
    return this.#post(view, request);
  }

  #published(view, message) {
    this.#show(`Sent to ${view.replaceAll(",", ", ")}.`);
    this.#attempt = { content: null, key: "" };
    // Keep a message that the user has changed in the meantime.
    if (element("message").value !== message) return;
    for (const each of ["message", ...FIELDS]) element(each).value = "";
  }
}

function explanation(status, detail, token) {
  if (status !== 401) return detail;
  return token.value === ""
    ? "Not sent: publishing needs a token."
    : "Not sent: the server did not accept the token for publishing.";
}
