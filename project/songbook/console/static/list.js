// A list: words, filters, order, pages, count, exports.
import { call, session } from './api.js';
import { button, el, fill, labelled, linkButton, say } from './dom.js';
import { fieldOf, isOffered, labelField, parameterOf, takes, titled } from './document.js';
import { inputOf, shown } from './fields.js';

/** @typedef {import('./document.js').Resource} Resource */

const SIZE = 25;
const SUFFIXES = /** @type {Record<string, string>} */ ({
  not: 'is not', gt: 'is more than', gte: 'is at least', lt: 'is less than', lte: 'is at most', contains: 'contains', starts: 'starts with', has: 'has',
});
const NO_FILTERS = ['sort', 'after', 'before', 'limit', 'q', 'deleted'];

/** Return `Year is at least` for `year_gte`. @param {string} name */
function filterLabel(name) {
  const [, field, suffix] = /^(.+)_(not|gte?|lte?|contains|starts|has)$/.exec(name) ?? [null, name, ''];
  return `${field.split('.').map(titled).join(' → ')} ${SUFFIXES[suffix ?? ''] ?? 'is'}`;
}

/**
 * Return a view of a list.
 * @param {Resource} resource @param {string} path @param {URLSearchParams} query
 * @param {{parent?: string, go: (path: string, query: URLSearchParams) => void}} around
 */
export async function listView(resource, path, query, { parent, go }) {
  /** @param {(query: URLSearchParams) => void} change */
  const change = (change) => {
    const next = new URLSearchParams(query);
    for (const name of ['after', 'before']) next.delete(name);
    change(next);
    go(path, next);
  };
  const sent = new URLSearchParams(query);
  sent.set('limit', String(SIZE));
  const shownRelations = resource.references.map((each) => each.relation);
  if (shownRelations.length) sent.set('expand', shownRelations.join(','));
  const page = await call('GET', `${path}?${sent}`);
  const rows = resource.isWrapped ? page.data.items : page.data;
  const total = page.total ?? (resource.isWrapped ? page.data.count : null);
  return {
    title: resource.name,
    said: rows.length ? `${rows.length} rows shown.` : 'Nothing matches.',
    nodes: [
      parent && el('p', {}, el('a', { href: `#${parent}` }, '← Back')),
      tools(resource, path, query),
      searchForm(resource, query, change),
      chips(query, change),
      rows.length ? table(resource, path, rows, query, change) : el('p', {}, 'Nothing matches.'),
      pages(resource, path, query, page.links, total, rows.length),
    ],
  };
}

/** @param {Resource} resource @param {string} path @param {URLSearchParams} query */
function tools(resource, path, query) {
  const given = new URLSearchParams([...query].filter(([name]) => resource.create?.body['application/json'] && resource.references.some((each) => each.field === name)));
  const make = isOffered(resource.create) && linkButton('New', `#${path}/new?${given}`, 'main');
  const load = resource.importing && isOffered(resource.importing.operation) && !path.includes('/', 1) && linkButton('Import', `#${path}/import`);
  return el('div', { class: 'bar' }, make, load, exportMenu(resource, path, query));
}

/** @param {Resource} resource @param {string} path @param {URLSearchParams} query */
function exportMenu(resource, path, query) {
  const items = resource.exports.flatMap((each) => {
    const target = each.path.replace(resource.path, path);
    const kinds = takes(parameterOf(each.operation, 'escape')?.schema, 'formulas') && each.name === 'CSV'
      ? [['CSV', ''], ['CSV for a spreadsheet', 'formulas']] : [[each.name, '']];
    return kinds.map(([name, escape]) => {
      const chosen = new URLSearchParams([...query].filter(([key]) => !['after', 'before', 'limit'].includes(key)));
      if (escape) chosen.set('escape', escape);
      return el('li', {}, button(name, () => void download(`${target}?${chosen}`, each.type, `${path.split('/').pop()}.${each.type === 'text/csv' ? 'csv' : 'ndjson'}`)));
    });
  });
  return items.length > 0 && el('details', { class: 'menu' }, el('summary', { class: 'button' }, 'Export'), el('ul', {}, ...items));
}

/** Save a response as a file; a link would not send the token. @param {string} path @param {string} type @param {string} name */
async function download(path, type, name) {
  try {
    const { response } = await call('GET', path, { headers: { Accept: type }, blob: true });
    const link = el('a', { href: URL.createObjectURL(await response.blob()), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    say(`${name} is exported.`);
  } catch (failure) {
    say(/** @type {any} */ (failure).detail || 'The export failed.');
  }
}

/** @param {Resource} resource @param {URLSearchParams} query @param {(change: (query: URLSearchParams) => void) => void} change */
function searchForm(resource, query, change) {
  const words = el('input', { type: 'search', id: 'words', value: query.get('q') ?? '', autocomplete: 'off' });
  const filter = el('select', { id: 'filter' }, el('option', { value: '' }, 'No further one'), ...groups(resource));
  const holder = el('div');
  let value = /** @type {HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement | null} */ (null);
  filter.addEventListener('change', () => {
    const parameter = resource.filters.find((each) => each.name === filter.value);
    const given = parameter?.schema?.items ?? parameter?.schema;
    const field = given && fieldOf(filter.value, given, false);
    value = field ? inputOf(field.type === 'boolean' ? { ...field, nullable: true } : { ...field, schema: {} }, 'value', '') : null;
    fill(holder, value && labelled('Value', value));
  });
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    change((next) => {
      next.delete('q');
      if (words.value) next.set('q', words.value);
      if (value) next.append(filter.value, value.type === 'datetime-local' && value.value ? new Date(value.value).toISOString() : value.value);
    });
  };
  return el('form', { class: 'bar', role: 'search', onsubmit: submit },
    parameterOf(resource.list, 'q') && labelled('Words', words, 'grow'),
    resource.filters.length > 0 && labelled('Filter', filter), holder,
    el('button', { id: 'apply' }, 'Apply'),
    resource.sorts.length > 0 && sortControl(resource, query, change),
    deletedControl(resource, query, change));
}

/** Return the filters, those by related records in groups of their own. @param {Resource} resource */
function groups(resource) {
  const own = resource.filters.filter((each) => !each.name.includes('.'));
  const parents = [...new Set(resource.filters.filter((each) => each.name.includes('.')).map((each) => each.name.split('.')[0]))];
  /** @param {import('./document.js').Parameter} each */
  const option = (each) => el('option', { value: each.name }, filterLabel(each.name));
  return [...own.map(option), ...parents.map((parent) => el('optgroup', { label: titled(parent) },
    ...resource.filters.filter((each) => each.name.startsWith(`${parent}.`)).map(option)))];
}

/** @param {Resource} resource @param {URLSearchParams} query @param {(change: (query: URLSearchParams) => void) => void} change */
function sortControl(resource, query, change) {
  const sort = query.get('sort') ?? '', orders = resource.sorts.flatMap((name) => [name, `-${name}`]);
  const all = sort && !orders.includes(sort) ? [sort, ...orders] : orders;
  const select = el('select', { id: 'sort' }, el('option', { value: '' }, 'As usual'),
    ...all.map((each) => el('option', { value: each, selected: each === sort }, each.split(',').map((one) => `${titled(one.replace('-', ''))}${one[0] === '-' ? ' ↓' : ' ↑'}`).join(', '))));
  select.addEventListener('change', () => change((next) => (select.value ? next.set('sort', select.value) : next.delete('sort'))));
  return labelled('Order', select);
}

/** @param {Resource} resource @param {URLSearchParams} query @param {(change: (query: URLSearchParams) => void) => void} change */
function deletedControl(resource, query, change) {
  if (!maySeeDeleted(resource)) return null;
  const chosen = query.get('deleted') ?? '', kinds = [['', 'Hidden'], ['with', 'Shown too'], ['only', 'No others']];
  const select = el('select', { id: 'deleted' }, ...kinds.map(([value, text]) => el('option', { value, selected: value === chosen }, text)));
  select.addEventListener('change', () => change((next) => (select.value ? next.set('deleted', select.value) : next.delete('deleted'))));
  return labelled('Deleted', select);
}

/** Return whether who is signed in may see deleted records. @param {Resource} resource */
export const maySeeDeleted = (resource) => session.me?.is_superuser === true && !!parameterOf(resource.list, 'deleted');

/** @param {URLSearchParams} query @param {(change: (query: URLSearchParams) => void) => void} change */
function chips(query, change) {
  const all = [...query].filter(([name]) => !NO_FILTERS.includes(name));
  const chip = (/** @type {[string, string]} */ [name, value]) => {
    const text = `${filterLabel(name)} ${value || 'empty'}`;
    return el('li', {}, button(`${text} ✕`, () => change((next) => next.delete(name, value)), { 'aria-label': `Remove the filter: ${text}` }));
  };
  return all.length > 0 && el('ul', { class: 'chips', 'aria-label': 'Filters' }, ...all.map(chip));
}

/** @param {Resource} resource @param {string} path @param {Record<string, any>[]} rows @param {URLSearchParams} query @param {(change: (query: URLSearchParams) => void) => void} change */
function table(resource, path, rows, query, change) {
  const sort = query.get('sort') ?? '', by = sort.replace('-', ''), isDown = sort[0] === '-';
  const heading = (/** @type {import('./document.js').Field} */ { name, label }) => {
    if (!resource.sorts.includes(name)) return el('th', { scope: 'col' }, label);
    const arrow = by === name && el('span', { 'aria-hidden': 'true' }, isDown ? ' ↓' : ' ↑');
    const order = el('button', { type: 'button', id: `sort-${name}`, onclick: () => change((next) => next.set('sort', by === name && !isDown ? `-${name}` : name)) }, label, arrow);
    return el('th', { scope: 'col', 'aria-sort': by === name ? (isDown ? 'descending' : 'ascending') : null }, order);
  };
  const link = labelField(resource), own = recordPath(resource, path);
  const cell = (/** @type {Record<string, any>} */ row, /** @type {import('./document.js').Field} */ field) => {
    const reference = resource.references.find((each) => each.field === field.name);
    const content = shown(field, row, reference);
    const isLink = own && field.name === link, empty = row[link] === null || row[link] === '';
    const kind = ['integer', 'number'].includes(field.type) && field.name !== 'id' && !reference;
    return el('td', { 'data-label': field.label, class: kind ? 'number' : null },
      isLink ? el('a', { href: `#${own}/${row.id}` }, empty ? `Open ${row.id}` : content) : content);
  };
  return el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': resource.name },
    el('table', {}, el('thead', {}, el('tr', {}, ...resource.fields.map(heading))),
      el('tbody', {}, ...rows.map((row) => el('tr', {}, ...resource.fields.map((field) => cell(row, field)))))));
}

/** Return the path below which the records of a list are. @param {Resource} resource @param {string} path */
function recordPath(resource, path) {
  if (!resource.record) return null;
  return resource.record.startsWith(`${resource.path}/{`) ? path : resource.record.replace(/\/\{\w+\}$/, '');
}

/** @param {Resource} resource @param {string} path @param {URLSearchParams} query @param {Record<string, string>} links @param {number | null} total @param {number} length */
function pages(resource, path, query, links, total, length) {
  const told = el('span', { class: 'hint', role: 'status' }, total === null ? '' : `${total} in all`);
  const count = async () => {
    const sent = new URLSearchParams([...query].filter(([name]) => !['after', 'before', 'sort'].includes(name)));
    sent.set('limit', '1');
    sent.set('count', 'exact');
    try {
      told.textContent = `${(await call('GET', `${path}?${sent}`)).total} in all`;
    } catch (failure) {
      told.textContent = /** @type {any} */ (failure).detail;
    }
  };
  const to = (/** @type {string} */ link) => {
    const next = new URLSearchParams(link);
    for (const name of ['limit', 'expand']) next.delete(name);
    return `#${path}?${next}`;
  };
  const first = new URLSearchParams([...query].filter(([name]) => name !== 'after'));
  const isCountable = total === null && takes(parameterOf(resource.list, 'count')?.schema, 'exact') && length > 0;
  return el('nav', { class: 'bar', 'aria-label': 'Pages' },
    query.has('after') && !links.prev && linkButton('« First', `#${path}?${first}`),
    query.has('after') && !links.prev && button('← Previous', () => history.back()),
    links.prev && linkButton('← Previous', to(links.prev)),
    links.next && linkButton('Next →', to(links.next)),
    isCountable && button('Count', () => void count(), { id: 'count' }), told);
}
