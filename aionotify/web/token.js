// The token: asked for when the server wants one, kept in memory alone.

import { element } from "./dom.js";

const NEEDED = "This server needs a token for this topic.";
const SOON = "The token expires soon. Enter a new one to stay connected.";
const OVER = "The token has expired or is no longer valid. Enter a new one.";
export const WRONG = "The server did not accept the token. Enter another one.";

export class Token {
  #value = "";
  #asked = null; // the question that is open: its promise, and the function that answers it
  #declined = false;
  #isChange = false; // the user asked for the question
  #changed;

  /**
   * `submitted(isChange)` is called when the user has entered a token, in place of a valid one if
   * `isChange`; `changed()` for each question and answer.
   */
  constructor({ submitted, changed }) {
    this.#changed = changed;
    element("token-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#value = element("token").value.trim();
      if (this.#value === "") return;
      const isChange = this.#isChange;
      this.#answer(false);
      submitted(isChange);
    });
    element("token-cancel").addEventListener("click", () => this.#answer(true));
    element("token-change").addEventListener("click", () => {
      this.#isChange = true;
      this.ask("Enter the token to use from now on.", true);
    });
  }

  get value() {
    return this.#value;
  }

  get isAsked() {
    return this.#asked !== null;
  }

  /** Whether the user has closed the last question without an answer. */
  get isDeclined() {
    return this.#declined;
  }

  get headers() {
    return this.#value === "" ? {} : { Authorization: `Bearer ${this.#value}` };
  }

  /**
   * Ask for a token, and return it; after "Not now" the one from before.
   *
   * The focus moves to the field only if the user is doing nothing else, or if this follows from
   * what the user has done (`focus`).
   */
  ask(reason, focus = document.activeElement === document.body) {
    this.#declined = false;
    element("token-reason").textContent = reason;
    element("token-form").hidden = false;
    if (focus) element("token").focus();
    if (this.#asked === null) {
      this.#asked = {};
      this.#asked.promise = new Promise((resolve) => (this.#asked.resolve = resolve));
    }
    this.#changed();
    return this.#asked.promise;
  }

  /** Return the function that /client.js asks for the token of one connection. */
  provider(isConnected) {
    let last = null;
    return ({ renew }) => {
      // Another connection may have led to a new token in the meantime.
      if (renew && last === this.#value) {
        const reason = isConnected() ? SOON : last === "" ? NEEDED : OVER;
        return this.ask(reason).then((value) => (last = value));
      }
      return (last = this.#value);
    };
  }

  #answer(declined) {
    const asked = this.#asked;
    this.#asked = null;
    this.#isChange = false;
    this.#declined = declined;
    element("token").value = "";
    element("token-form").hidden = true;
    asked?.resolve(this.#value);
    this.#changed();
  }
}
