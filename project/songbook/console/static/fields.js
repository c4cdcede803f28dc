// How values are shown, and the controls that change them.
import { call } from './api.js';
import { ask, button, el, fill, labelled } from './dom.js';
import { labelField, labelOf } from './document.js';

/**
 * @typedef {import('./document.js').Field} Field
 * @typedef {import('./document.js').Reference} Reference
 * @typedef {{field: Field, node: HTMLElement, value: () => any, isChanged: () => boolean, isEmpty: () => boolean, set: (value: any) => void, mark: (text: string) => void, focus: () => void}} Control
 */

/** Return a value as text. @param {any} value @param {Field} [field] @returns {string} */
export function textOf(value, field) {
  if (value === null || value === undefined) return '–';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (field?.format === 'date-time') return new Date(value).toLocaleString();
  if (Array.isArray(value) && value.every((each) => typeof each === 'string')) return value.join(', ');
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** Return what shows the value of a field in a row. @param {Field} field @param {Record<string, any>} row @param {Reference} [reference] */
export function shown(field, row, reference) {
  const value = row[field.name], text = textOf(value, field);
  if (value === null || value === undefined) return el('span', { class: 'null' }, text, el('span', { class: 'unseen' }, 'empty'));
  if (reference) {
    const name = row[reference.relation] ? labelOf(reference.resource, row[reference.relation]) : text;
    return el('a', { href: `#${reference.resource.path}/${value}` }, name);
  }
  if (field.format === 'date-time') return el('time', { datetime: value }, text);
  if (/^https?:\/\//.test(text) && /^(uri|url)$/.test(field.format)) return el('a', { href: text, rel: 'noreferrer' }, text);
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

/** Return in words what a field takes. @param {Field} field */
function hintOf({ description, schema, type }) {
  const { minimum: least, maximum: most, maxLength: longest, minLength: shortest = 0 } = schema;
  const bounds = [
    least > -2147483648 && most < 2147483647 ? `${least} to ${most}` : least > -2147483648 ? `At least ${least}` : '',
    type === 'string' && longest && longest !== 255 ? `${shortest > 1 ? `${shortest} to ` : 'At most '}${longest} characters` : '',
    type === 'array' ? 'One on each line' : type === 'object' ? 'JSON' : '',
  ];
  return [description, ...bounds].filter(Boolean).map((each) => each.replace(/\.$/, '')).join('. ');
}

const INPUTS = /** @type {Record<string, string>} */ ({
  date: 'date', 'date-time': 'datetime-local', time: 'time', email: 'email', password: 'password', uri: 'url',
});

/** Return a text for a control. @param {Field} field @param {any} value @returns {string} */
function raw(field, value) {
  if (value === null || value === undefined) return '';
  if (field.format === 'date-time') {
    const time = new Date(value);
    return new Date(time.getTime() - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
  }
  if (isLines(field)) return value.join('\n');
  return typeof value === 'object' ? JSON.stringify(value, null, 2) : String(value);
}

/** @param {Field} field */
const isLines = ({ type, schema }) => type === 'array' && schema.items?.type === 'string';

/** Return the value of a text. Throws a `Problem` for what is no JSON. @param {Field} field @param {string} text */
function parsed(field, text) {
  if (isLines(field)) return text.split('\n').map((line) => line.trim()).filter(Boolean);
  if (text === '') return field.nullable ? null : '';
  if (field.type === 'array' || field.type === 'object') {
    try {
      return JSON.parse(text);
    } catch {
      throw { status: 422, title: 'Not sent', detail: `${field.label} is not JSON.`, errors: [{ pointer: `/${field.name}`, detail: 'Is not JSON' }] };
    }
  }
  if (field.format === 'date-time') return new Date(text).toISOString();
  if (field.type === 'boolean') return text === 'true';
  const isNumber = ['integer', 'number'].includes(field.type) && String(Number(text)) === text;
  return isNumber ? Number(text) : text; // other texts go as they are: no digit is lost, and the service says what is wrong
}

/** @param {Field} field @param {string} id @param {string} text @returns {HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement} */
export function inputOf(field, id, text) {
  const { type, format, nullable, choices, schema } = field;
  if (choices || (type === 'boolean' && nullable)) {
    const texts = (choices ?? [true, false]).map(String), names = type === 'boolean' ? ['yes', 'no'] : texts;
    const blank = nullable || !texts.includes(text) ? [el('option', { value: '' }, nullable ? '–' : 'Choose…')] : [];
    const select = el('select', { id }, ...blank, ...texts.map((each, at) => el('option', { value: each }, names[at])));
    select.value = text;
    return select;
  }
  if (type === 'boolean') return el('input', { id, type: 'checkbox', checked: text === 'true' });
  if (['array', 'object'].includes(type) || schema.maxLength > 255 && !format || text.includes('\n')) {
    const area = el('textarea', { id, rows: type === 'string' ? 8 : 4 });
    area.value = text;
    return area;
  }
  const input = el('input', { id, type: INPUTS[format] ?? 'text', step: format === 'date-time' || format === 'time' ? 1 : null });
  input.autocomplete = format === 'password' ? 'new-password' : 'off';
  if (type === 'integer') input.inputMode = 'numeric';
  if (type === 'number') input.inputMode = 'decimal';
  input.value = text;
  if (input.value !== text && !(input.value && text.startsWith(input.value))) input.type = 'text'; // 12:00:00.123456 is no value of a time control
  input.value = text;
  return input;
}

/**
 * Return a labelled control for a field.
 * @param {Field} field @param {any} value @param {Reference} [reference] @param {Record<string, any>} [row]
 * @returns {Control}
 */
export function controlOf(field, value, reference, row = {}) {
  const id = `field-${field.name}`, hint = hintOf(field);
  let original = value, input = inputOf(field, id, raw(field, value));
  const text = () => (input instanceof HTMLInputElement && input.type === 'checkbox' ? String(input.checked) : input.value);
  let first = text();
  input.required = field.required && input.type !== 'checkbox';
  const error = el('p', { class: 'error', id: `${id}-error` });
  input.setAttribute('aria-describedby', `${id}-hint ${id}-error`);
  const notes = el('p', { class: 'hint', id: `${id}-hint` }, hint);
  const label = el('label', { for: id }, field.label, field.required ? ' (required)' : '');
  const picked = reference && row[reference.relation] ? labelOf(reference.resource, row[reference.relation]) : '';
  if (reference) fill(notes, picked || hint);
  const control = reference ? picker(input, reference, field, notes) : input;
  return {
    field,
    node: el('div', { class: input.type === 'checkbox' ? 'check' : '' }, label, control, notes, error),
    value: () => (text() === first ? original : parsed(field, text())),
    isChanged: () => text() !== first,
    isEmpty: () => text() === '',
    set: (next) => {
      original = next;
      if (input instanceof HTMLInputElement && input.type === 'checkbox') input.checked = next === true;
      else input.value = raw(field, next);
      first = text();
    },
    mark: (message) => { error.textContent = message; input.setAttribute('aria-invalid', String(!!message)); },
    focus: () => input.focus(),
  };
}

/** Return an input of an id with a button that finds a record. @param {HTMLElement} input @param {Reference} reference @param {Field} field @param {HTMLElement} notes */
function picker(input, reference, field, notes) {
  const choose = async () => {
    const row = await ask(`Choose: ${field.label}`, (close) => pickerContent(reference, close));
    if (!row) return;
    /** @type {HTMLInputElement} */ (input).value = String(row.id);
    fill(notes, labelOf(reference.resource, row));
  };
  return el('div', { class: 'pair' }, input, button('Choose…', choose, { 'aria-label': `Choose ${field.label}…` }));
}

/** @param {Reference} reference @param {(row?: Record<string, any>) => void} close */
function pickerContent({ resource }, close) {
  const words = el('input', { type: 'search', id: 'picker-words', autocomplete: 'off' });
  const found = el('ul', { class: 'picks', 'aria-label': 'Found' }), told = el('p', { class: 'hint', role: 'status' });
  const contains = `${labelField(resource)}_contains`;
  const filter = resource.filters.some((each) => each.name === contains) ? contains : 'q';
  let turn = 0;
  const look = async () => {
    const mine = (turn += 1), query = new URLSearchParams({ limit: '20' });
    if (words.value) query.set(filter, words.value);
    try {
      const { data } = await call('GET', `${resource.path}?${query}`);
      if (mine !== turn) return;
      const rows = resource.isWrapped ? data.items : data;
      fill(found, ...rows.map((/** @type {any} */ row) => el('li', {}, button(`${labelOf(resource, row)} (${row.id})`, () => close(row)))));
      told.textContent = rows.length ? '' : 'Nothing matches.';
    } catch (failure) {
      told.textContent = /** @type {any} */ (failure).detail;
    }
  };
  /** @type {ReturnType<typeof setTimeout>} */
  let later;
  words.addEventListener('input', () => { clearTimeout(later); later = setTimeout(look, 200); });
  void look();
  return [labelled('Words', words), told, found, el('div', { class: 'bar' }, button('Cancel', () => close()))];
}
