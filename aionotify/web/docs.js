// The API reference: snippets for this very server, in one language, to copy; and *Try it*.
//
// Without this script, the page shows all snippets, for a server at localhost:8000.

import { listen } from "../client.js";

const SERVER = "localhost:8000"; // in the snippets
const MAX_LINES = 200; // of an answer that does not end

const base = new URL(".", location.href);
const token = document.getElementById("token");
const subscriptions = new Map(); // by form, while it is connected

/** Make an element with a text. */
function element(name, text, properties = {}) {
  return Object.assign(document.createElement(name), { textContent: text, ...properties });
}

/** Write the address of this server into the snippets, with the path prefix of a proxy. */
function address(source) {
  const here = base.host + base.pathname.replace(/\/$/, "");
  const secure = base.protocol === "https:";
  const scheme = (name) => (secure ? `${name}s` : name);
  return source.replaceAll(new RegExp(`(http|ws)://${SERVER}`, "g"), (_, name) => `${scheme(name)}://${here}`);
}

/** Show one language in all cards. The choice lasts as long as the page. */
function choose(language) {
  for (const sample of document.querySelectorAll(".sample")) {
    const samples = [...sample.parentElement.querySelectorAll(".sample")];
    const shown = samples.find((each) => each.dataset.language === language) ?? samples[0];
    sample.hidden = sample !== shown;
  }
  for (const button of document.querySelectorAll(".languages button")) {
    button.setAttribute("aria-pressed", String(button.textContent === language));
  }
}

/** Add the buttons of the languages, above the snippets of each card. */
function addLanguages(card) {
  const samples = [...card.querySelectorAll(".sample")];
  const bar = element("div", "", { className: "languages", role: "group", ariaLabel: "Language" });
  for (const { dataset } of samples) {
    const button = element("button", dataset.language, { type: "button" });
    button.addEventListener("click", () => choose(dataset.language));
    bar.append(button);
  }
  samples[0].before(bar);
  samples.forEach(addCopy);
}

function addCopy(sample) {
  const code = sample.querySelector("code");
  code.textContent = address(code.textContent);
  const button = element("button", "Copy", { type: "button", className: "copy" });
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      // Only pages from https or localhost may write to the clipboard: Ctrl-C copies a selection.
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
  });
  sample.append(button);
}

/** Return the fields that are filled in, by their place in the request. */
function fields(form, place) {
  const inputs = [...form.querySelectorAll(`[data-in="${place}"]`)];
  return inputs.filter(({ value }) => value !== "").map(({ name, value }) => [name, value]);
}

/** Append a line to the answer, and drop the oldest one of too many. */
function print(answer, line) {
  const lines = answer.textContent === "" ? [] : answer.textContent.split("\n");
  answer.textContent = [...lines, line].slice(-MAX_LINES).join("\n");
  answer.hidden = false;
  answer.scrollTop = answer.scrollHeight;
}

/** Send one request, and show the status and the body of the answer. */
async function send(form, answer) {
  const { method, path } = form.dataset;
  const url = new URL(path, base);
  url.search = String(new URLSearchParams(fields(form, "query")));
  try {
    const headers = new Headers(fields(form, "header"));
    if (token.value) headers.set("Authorization", `Bearer ${token.value}`);
    const { type, body } = form.elements;
    if (body) headers.set("Content-Type", type.value);
    const response = await fetch(url, { method, headers, body: body?.value, cache: "no-store" });
    print(answer, `${response.status} ${response.statusText}`.trim());
    print(answer, await response.text());
  } catch (error) {
    // No answer, or a value that a header cannot carry: that message would show the token.
    print(answer, error.name === "TypeError" ? "The request could not be sent." : String(error));
  }
}

/** Subscribe with the client that applications use, until the button is pressed again. */
function toggle(form, answer) {
  const button = form.querySelector("button");
  const subscription = subscriptions.get(form);
  if (subscription) {
    subscription.close();
    subscriptions.delete(form);
    print(answer, "closed");
  } else {
    const { topic, since } = Object.fromEntries(fields(form, "query"));
    const show = (object) => print(answer, JSON.stringify(object));
    const started = listen({
      topics: (topic ?? "main").split(","),
      since,
      token: token.value,
      transport: form.dataset.transport,
      onNotification: show,
      onGap: show,
      onState: ({ name, reason }) => print(answer, reason ? `${name}: ${reason}` : name),
    });
    subscriptions.set(form, started);
  }
  button.textContent = subscriptions.has(form) ? "Disconnect" : "Connect";
}

function addForm(form) {
  const answer = form.querySelector(".answer");
  const { type, body } = form.elements;
  type?.addEventListener("change", () => (body.value = type.selectedOptions[0].dataset.example));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (form.dataset.transport) return toggle(form, answer);
    answer.textContent = "";
    send(form, answer);
  });
  form.parentElement.hidden = false;
}

document.querySelectorAll(".card").forEach(addLanguages);
document.querySelectorAll(".try").forEach(addForm);
document.getElementById("access").hidden = false;
choose("Shell");
