// Elements, messages and dialogs. What comes from records becomes text and attributes, never HTML.

const isShown = (part) => (part ?? false) !== false;

export const fill = (element, ...children) => element.replaceChildren(...children.flat(2).filter(isShown));

/**
 * Return a new element: `el('p.hint', {id: 'a'}, 'text')`; attributes named `on…` are listeners.
 * @param {string} kind @param {...any} parts @returns {any}
 */
export function el(kind, ...parts) {
	const [tag, ...classes] = kind.split('.'), isObject = (part) => part?.constructor === Object;
	const element = document.createElement(tag);
	element.classList.add(...classes);
	for (const [name, value] of Object.entries(Object.assign({}, ...parts.filter(isObject)))) {
		if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
		else if (isShown(value)) element.setAttribute(name, value === true ? '' : value);
	}
	fill(element, parts.filter((part) => !isObject(part)));
	return element;
}

/** @param {string} id @returns {any} */
export const byId = (id) => document.getElementById(id);

export const button = (kind, text, onclick, more = {}) => el(`button${kind}`, { type: 'button', onclick, ...more }, text);

export const link = (kind, text, path) => el(`a${kind}`, { href: `#${path}` }, text);

export const labelled = (text, control) => el('div', el('label', { for: control.id }, text), control);

/** Return a select of `[value, text]`. */
export function select(id, options, value, onchange = (_value) => {}) {
	const control = el('select', { id, onchange: () => onchange(control.value) }, options.map(([each, text]) => el('option', { value: each }, text)));
	control.value = value;
	return control;
}

/** `heads` are texts or `th`. */
export function table(name, heads, rows) {
	const all = heads.map((each) => (each.tagName ? each : el('th', { scope: 'col' }, each)));
	return el('div.scroll', { tabindex: 0, role: 'region', 'aria-label': name }, el('table', el('thead', el('tr', all)),
		el('tbody', rows.map((row) => el('tr', row.map((each, at) => el('td', { class: all[at].className, 'data-label': all[at].textContent }, each)))))));
}

/** Show a message, which is announced; one without an action fades (console.css). */
export function say(text, action) {
	const quiet = () => fill(byId('say'));
	fill(byId('say'), el('div', text, action && el('span', { onclick: quiet }, action), button('', 'Dismiss', quiet)));
}

/** Show a modal dialog; resolve when it is closed, to what `close` was given. */
export const ask = (title, content) => new Promise((resolve) => {
	let result;
	const dialog = el('dialog', { 'aria-label': title, onclose: () => {
		dialog.remove();
		resolve(result);
	} }, el('h2', title), content((given) => { result = given; dialog.close(); }));
	document.body.append(dialog);
	dialog.showModal();
});
