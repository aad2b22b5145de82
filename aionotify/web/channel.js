// One subscription of the page, with everything it has received.

import { listen } from "../client.js";
import { Entries } from "./entries.js";

/**
 * A view: one topic or several (`a,b`) on one connection.
 *
 * The page keeps one for each remembered view, so that it can count what is unread, and so that
 * another one is shown at once. A view has its own connection: one that a token does not cover must
 * not end the others.
 */
export class Channel {
  entries = new Entries();
  state = { name: "connecting" };
  unread = 0;
  #subscription;
  #joined = false;

  /**
   * `token` is asked for tokens. `changed(channel)` is called for each state, and
   * `received(channel, frame, isNews)` for each notification and gap: it returns whether the user
   * is looking at it.
   */
  constructor(view, { token, changed, received }) {
    this.view = view;
    this.topics = view.split(",");
    const add = (frame) => {
      // What was published before the page was opened is no news; what it missed since then is.
      const isNews = frame.type === "notification" && (!frame.recent || this.#joined);
      const unread = !received(this, frame, isNews) && isNews;
      if (unread) this.unread += 1;
      this.entries.add(frame, unread);
    };
    this.#subscription = listen({
      topics: this.topics,
      token: token.provider(() => this.state.name === "connected"),
      onNotification: add,
      onGap: add,
      onState: (state) => {
        this.#joined ||= state.name === "connected";
        this.state = state;
        changed(this);
      },
    });
  }

  /** When the token of the connection expires, as the server said; null if it did not. */
  get expires() {
    return this.#subscription.expires;
  }

  read() {
    this.unread = 0;
  }

  reconnect() {
    this.#subscription.reconnect();
  }

  close() {
    this.#subscription.close();
  }
}
