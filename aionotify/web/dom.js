// Small helpers for the modules of the page.

const numbers = new Intl.NumberFormat();

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
