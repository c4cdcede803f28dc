// Elements, messages and dialogs. Text from records only becomes text nodes and attributes.

/** @typedef {Node | string | number | false | null | undefined} Child */

/**
 * Return a new element; `on…` are listeners, and false, null or undefined is left out.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} [attributes]
 * @param {Child[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  fill(element, ...children);
  return element;
}

/** Replace what an element contains. @param {Element} element @param {Child[]} children */
export function fill(element, ...children) {
  const shown = children.filter((each) => each !== false && each !== null && each !== undefined);
  element.replaceChildren(.../** @type {(Node | string)[]} */ (shown.map((each) => typeof each === 'number' ? String(each) : each)));
}

/** Return the element with this id. @param {string} id @returns {HTMLElement} */
export const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** @type {ReturnType<typeof setTimeout> | undefined} */
let fading;

/**
 * Show a message that screen readers announce; one with an action stays until the next one.
 * @param {string} text @param {HTMLElement} [action]
 */
export function say(text, action) {
  clearTimeout(fading);
  const close = el('button', { type: 'button', 'aria-label': 'Dismiss the message', onclick: quiet }, '×');
  fill(byId('say'), el('div', {}, el('span', {}, text), action, close));
  if (!action) fading = setTimeout(quiet, 8000);
}

/** Remove the message. */
export const quiet = () => byId('say').replaceChildren();

/**
 * Show a modal dialog; `close` ends it. Resolves when it is closed, by Escape too, to what `close`
 * was given.
 * @template Result
 * @param {string} title
 * @param {(close: (result: Result) => void) => Child[]} content
 * @returns {Promise<Result | undefined>}
 */
export function ask(title, content) {
  return new Promise((resolve) => {
    /** @type {Result | undefined} */
    let answer;
    const back = document.activeElement;
    const dialog = el('dialog', { 'aria-labelledby': 'dialog-title' });
    const close = (/** @type {Result} */ result) => { answer = result; dialog.close(); };
    dialog.addEventListener('close', () => {
      dialog.remove();
      if (back instanceof HTMLElement) back.focus();
      resolve(answer);
    });
    fill(dialog, el('h2', { id: 'dialog-title' }, title), ...content(close));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Return a button that does not submit a form. @param {string} text @param {() => void} onclick @param {Record<string, any>} [more] */
export const button = (text, onclick, more = {}) => el('button', { type: 'button', onclick, ...more }, text);

/** Return a link that looks like a button. @param {string} text @param {string} href @param {string} [more] */
export const linkButton = (text, href, more = '') => el('a', { class: `button ${more}`, href }, text);

/** Return a label and its control. @param {string} text @param {HTMLElement} control @param {string} [more] */
export const labelled = (text, control, more = '') => el('div', { class: more }, el('label', { for: control.id }, text), control);
