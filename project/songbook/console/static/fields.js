// How values are shown, and the controls that change them.
import { parse, rowsOf } from './api.js';
import { labelField, labelOf, named, parameterOf } from './document.js';
import { ask, button, el, fill, labelled, link, select } from './dom.js';

const isLines = ({ type, schema }) => type === 'array' && schema.items?.type === 'string';

export function textOf(value, field) {
	if (value == null) return '–';
	if (typeof value === 'boolean') return value ? 'yes' : 'no';
	if (field.format === 'date-time') return new Date(value).toLocaleString();
	if (isLines(field)) return value.join(', ');
	return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

export function shown(field, row, { references }) {
	const value = row[field.name], text = textOf(value, field), reference = named(references, field.name), record = row[reference?.relation];
	if (value == null) return el('span.hint', text);
	if (reference) return link('', record ? labelOf(reference.resource, record) : text, `${reference.resource.path}/${value}`);
	return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}

const hintOf = ({ label, description, type, format, schema: { minimum, maximum, minLength, maxLength } }) => [
	description !== `The ${label.toLowerCase()}.` && description,
	minimum > -2147483648 && (maximum < 2147483647 ? `${minimum} to ${maximum}` : `At least ${minimum}`),
	!/date/.test(format) && maxLength > 0 && maxLength !== 255 && `${minLength > 1 ? `${minLength} to` : 'At most'} ${maxLength} characters`,
	{ array: 'One on each line', object: 'JSON' }[type],
].filter(Boolean).join(' ');

function written(field, value) {
	if (value == null) return '';
	if (isLines(field)) return [value].flat().join('\n');
	if (field.format !== 'date-time') return typeof value === 'object' ? JSON.stringify(value, null, 2) : String(value);
	const time = new Date(value);
	return new Date(time.getTime() - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

/** Return the value of a text; one that does not fit is sent as it is, and refused. */
export function valueOf(field, text) {
	if (isLines(field)) return text.split('\n').map((line) => line.trim()).filter(Boolean);
	if (!text) return field.isNullable ? null : '';
	try {
		if (field.format === 'date-time') return new Date(text).toISOString();
		return field.type === 'string' ? text : parse(text);
	} catch {
		return text;
	}
}

/** Return the control of a field; an input of an unknown type takes text. */
export function inputOf({ type, format, isNullable, choices, schema }, id, text) {
	if (choices.length || (type === 'boolean' && (isNullable || !text))) {
		const options = (choices.length ? choices : [true, false]).map((each) => [String(each), textOf(each, {})]);
		return select(id, isNullable || !text ? [['', '–'], ...options] : options, text);
	}
	if (type === 'boolean') return el('input', { id, type: 'checkbox', checked: text === 'true' });
	const isLong = /array|object/.test(type) || (!format && schema.maxLength > 255) || text.includes('\n');
	const autocomplete = format === 'password' ? 'new-password' : 'off', inputmode = { integer: 'numeric', number: 'decimal' }[type];
	const input = isLong ? el('textarea', { id, rows: 6 }) : el('input', { id, type: { 'date-time': 'datetime-local', uri: 'url' }[format] ?? format, step: 1, inputmode, autocomplete });
	input.value = text;
	if (text && !input.value) input.type = 'text'; // a control of times takes no microseconds
	input.value = text;
	return input;
}

/** Return the text of a control, which is not empty for a part of a date. */
export const typed = (input) => (input.validity.badInput ? 'incomplete' : input.value);

/** @type {MakeControl} */
export const controlOf = (field, value, { references }, row = {}) => {
	const id = `field-${field.name}`, input = inputOf(field, id, written(field, value)), isBox = input.type === 'checkbox';
	const reference = named(references, field.name), target = reference?.resource, record = row[reference?.relation];
	const hint = el('p.hint', { id: `${id}-hint` }, record ? labelOf(target, record) : hintOf(field)), error = el('p.error', { id: `${id}-error` });
	const text = () => (isBox ? String(input.checked) : typed(input));
	const first = text();
	input.required = field.isRequired && !isBox;
	input.setAttribute('aria-describedby', `${id}-hint ${id}-error`);
	const choose = async () => {
		const picked = await ask(`Choose: ${field.label}`, (close) => picker(target, close));
		if (!picked) return;
		input.value = picked.id;
		fill(hint, labelOf(target, picked));
	};
	return {
		name: field.name,
		node: el(isBox ? 'div.check' : 'div', el('label', { for: id }, field.label, input.required && ' (required)'),
			reference ? el('div.pair', input, button('', `Choose ${field.label}…`, choose)) : input, hint, error),
		value: () => (text() === first ? value : valueOf(field, text())),
		isChanged: () => text() !== first,
		mark: (message) => { fill(error, message); input.setAttribute('aria-invalid', !!message); },
		focus: () => input.focus(),
	};
};

function picker(resource, close) {
	const found = el('ul.picks'), told = el('p.hint', { role: 'status' });
	const contains = `${labelField(resource)}_contains`, filter = parameterOf(resource.list, contains) ? contains : 'q';
	const look = async () => {
		if (found.ariaBusy) return; // one at a time: the table may be large
		found.ariaBusy = 'true';
		const text = words.value, query = { limit: '20', ...(text && { [filter]: text }) };
		const { rows, detail } = await rowsOf(resource, resource.path, query).catch((problem) => ({ rows: [], ...problem }));
		fill(found, rows.map((row) => el('li', button('', `${labelOf(resource, row)} (${row.id})`, () => close(row)))));
		fill(told, detail ?? (rows.length ? '' : 'Nothing matches.'));
		found.ariaBusy = null;
		if (text !== words.value) void look();
	};
	const words = el('input', { type: 'search', id: 'picker-words', oninput: () => look() });
	void look();
	return [labelled('Words', words), told, found, el('div.bar', button('', 'Cancel', () => close()))];
}
