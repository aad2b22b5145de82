// Small helpers for the modules of the page.

const numbers = new Intl.NumberFormat();

// Without \p{C}, which includes the characters that make text run backwards.
const ADDRESS = /\bhttps?:\/\/[^\s<>"\p{C}]+/giu;

export const element = (id) => document.getElementById(id);

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
    const link = make("a", "", address);
    link.href = address;
    // Not an address after all, but an invalid one.
    if (!["http:", "https:"].includes(link.protocol)) continue;
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    parent.append(text.slice(last, index), link);
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
