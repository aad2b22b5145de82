// Small helpers for the modules of the page.

const COPIED_TIME = 2_000; // milliseconds for which a button says so
const numbers = new Intl.NumberFormat();

// Without \p{C}, which includes the characters that make text run backwards.
const ADDRESS = /\bhttps?:\/\/[^\s<>"\p{C}]+/giu;

export const element = (id) => document.getElementById(id);

/** Set the text of an element, unless it is the same: screen readers would say it again. */
export function setText(id, text) {
  if (element(id).textContent !== text) element(id).textContent = text;
}

/** Return `number` in the notation of the user's language. */
export const formatted = (number) => numbers.format(number);

/** Return a new element with `text`, which is never interpreted as markup. */
export function make(name, className, text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

/**
 * Return a link to an address that was published, or null if it is neither http, https nor a path.
 *
 * The server accepts no others, but the page does not rely on it: `javascript:` runs a script.
 */
export function link(address) {
  if (!/^(?:https?:\/\/|\/(?![/\\]))/i.test(address)) return null;
  const made = make("a", "");
  made.href = address;
  if (!["http:", "https:"].includes(made.protocol)) return null; // invalid after all
  made.target = "_blank";
  made.rel = "noopener noreferrer";
  // Invisible characters, and those that make text run backwards, are shown as they are sent.
  made.textContent = /\p{C}/u.test(address) ? made.href : address;
  return made;
}

/** Return a button that copies the text that `text()` returns. */
export function copyButton(label, text) {
  const button = make("button", "small", label);
  button.type = "button";
  button.onclick = async () => {
    const copied = await copy(text());
    button.textContent = copied ? "Copied" : "The browser does not allow it";
    setTimeout(() => (button.textContent = label), COPIED_TIME);
  };
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Over plain HTTP, on hosts other than localhost, there is the old way only.
    const area = make("textarea", "unseen");
    area.value = text;
    document.body.append(area);
    const focused = document.activeElement;
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    focused?.focus();
    return copied;
  }
}

/**
 * Append `text` up to the index `end` to `parent`, with links that can be followed.
 *
 * The text may be from an attacker: only http and https become links, and all of the address is
 * shown.
 */
export function appendLinked(parent, text, end = text.length) {
  let last = 0;
  for (const { 0: found, index } of text.matchAll(ADDRESS)) {
    const address = withoutPunctuation(found);
    // An address that is cut off would lead somewhere else.
    if (index + address.length > end) break;
    const made = link(address);
    if (made === null) continue;
    parent.append(text.slice(last, index), made);
    last = index + address.length;
  }
  parent.append(text.slice(last, end));
}

/** Return an address without the end of the sentence that it stands in. */
function withoutPunctuation(address) {
  // A closing parenthesis may be a part of it, as in `/wiki/Hash_(disambiguation)`.
  const ending = address.includes("(") ? ".,:;!?'" : ".,:;!?')";
  let end = address.length;
  // Not a regular expression, which takes quadratic time for a long row of dots.
  while (ending.includes(address[end - 1])) end -= 1;
  return address.slice(0, end);
}
