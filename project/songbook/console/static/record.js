// A record: its form, the conflict of two editors, delete and restore.
import { call, session, write } from './api.js';
import { ask, button, el, fill, linkButton, quiet, say } from './dom.js';
import { fieldsOf, isOffered, labelOf, titled } from './document.js';
import { controlOf, shown, textOf } from './fields.js';
import { maySeeDeleted } from './list.js';

/**
 * @typedef {import('./document.js').Resource} Resource
 * @typedef {import('./document.js').Service} Service
 * @typedef {import('./fields.js').Control} Control
 * @typedef {import('./api.js').Row} Row
 * @typedef {{service: Service, go: (path: string, query?: URLSearchParams) => void, refresh: () => void, alert: (problem: any) => HTMLElement}} Around
 */

const BODIES = ['application/json', 'application/merge-patch+json'];

/** @param {import('./document.js').Operation} operation */
function bodyFields(operation) {
  return fieldsOf(operation.body[BODIES.find((each) => each in operation.body) ?? '']?.schema);
}

/** Put the errors at their fields, and the focus on the first; return whether there was one. @param {Control[]} controls @param {any} problem */
function mark(controls, problem) {
  const messages = controls.map(({ field }) => (problem?.errors ?? [])
    .filter((/** @type {any} */ each) => each.pointer.split('/')[1] === field.name)
    .map((/** @type {any} */ each) => each.detail).join('. '));
  controls.forEach((each, at) => each.mark(messages[at]));
  controls[messages.findIndex(Boolean)]?.focus();
  return messages.some(Boolean);
}

/** Return the view of a new record. @param {Resource} resource @param {string} path @param {URLSearchParams} query @param {Around} around */
export async function newView(resource, path, query, { go, alert }) {
  const operation = /** @type {import('./document.js').Operation} */ (resource.create);
  const controls = bodyFields(operation).map((field) => controlOf(field, query.get(field.name) ?? field.initial, resource.references.find((each) => each.field === field.name)));
  const notes = el('div');
  const save = async () => {
    fill(notes);
    try {
      const sent = controls.filter((each) => !each.isEmpty() || each.isChanged());
      const body = Object.fromEntries(sent.map((each) => [each.field.name, each.value()]));
      const { data } = await write(operation, path, body);
      controls.forEach((each) => each.set(each.value()));
      go(data?.id && resource.read ? `${path}/${data.id}` : path);
      say('Saved.');
    } catch (problem) {
      fill(notes, alert(problem));
      mark(controls, problem);
    }
  };
  return {
    title: `New: ${resource.name}`,
    isDirty: () => controls.some((each) => each.isChanged()),
    nodes: [notes, form(controls, save, [linkButton('Back to the list', `#${path}`)])],
  };
}

/** @param {Control[]} controls @param {() => Promise<void>} save @param {(Node | false | null | undefined)[]} more */
function form(controls, save, more) {
  const button = el('button', { class: 'main' }, 'Save');
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (button.getAttribute('aria-disabled') === 'true') return;
    button.setAttribute('aria-disabled', 'true'); // `disabled` would lose the focus
    await save();
    button.removeAttribute('aria-disabled');
  };
  return el('form', { class: 'fields', novalidate: true, onsubmit: submit }, ...controls.map((each) => each.node), el('div', { class: 'bar' }, button, ...more));
}

/** Read a record, also a deleted one where that may be seen. @param {Resource} resource @param {string} path */
async function readRecord(resource, path) {
  const id = path.split('/').pop() ?? '', list = path.slice(0, -id.length - 1);
  const expand = resource.references.map((each) => each.relation).join(',');
  const canExpand = expand && resource.read?.parameters.some((each) => each.name === 'expand');
  const inList = async (/** @type {Record<string, string>} */ more) => {
    const { data } = await call('GET', `${list}?${new URLSearchParams({ ...more, id, ...(expand ? { expand } : {}) })}`);
    return /** @type {Row | undefined} */ ((resource.isWrapped ? data.items : data)[0]);
  };
  if (!resource.read) {
    const row = await inList({});
    if (!row) throw { status: 404, title: 'Not Found', detail: 'There is no such record.' };
    return { row, etag: null, isDeleted: false };
  }
  try {
    const answer = await call('GET', canExpand ? `${path}?expand=${expand}` : path);
    return { row: /** @type {Row} */ (answer.data), etag: answer.etag, isDeleted: false };
  } catch (problem) {
    const row = /** @type {any} */ (problem).status === 404 && maySeeDeleted(resource) && await inList({ deleted: 'only' });
    if (!row) throw problem;
    return { row, etag: null, isDeleted: true };
  }
}

/** Return the view of a record. @param {Resource} resource @param {string} path @param {Around} around */
export async function recordView(resource, path, around) {
  const { service, go, refresh, alert } = around;
  let { row, etag, isDeleted } = await readRecord(resource, path);
  const list = path.slice(0, path.lastIndexOf('/'));
  const canEdit = !isDeleted && !!etag && isOffered(resource.update);
  const operation = /** @type {import('./document.js').Operation} */ (resource.update);
  const fields = canEdit ? bodyFields(operation) : [];
  const controls = fields.map((field) => controlOf(field, row[field.name], resource.references.find((each) => each.field === field.name), row));
  const notes = el('div'), read = el('dl', {});
  const showRest = () => fill(read, ...resource.fields.filter(({ name }) => !fields.some((each) => each.name === name)).flatMap((field) => [
    el('dt', {}, field.label),
    el('dd', {}, shown(field, row, resource.references.find((each) => each.field === field.name))),
  ]));
  showRest();
  const changes = () => Object.fromEntries(controls.filter((each) => operation.method === 'put' || each.isChanged()).map((each) => [each.field.name, each.value()]));
  const accept = (/** @type {import('./api.js').Answer} */ answer) => {
    row = { ...row, ...answer.data };
    etag = answer.etag;
    controls.forEach((each) => each.set(each.field.format === 'password' ? null : row[each.field.name]));
    showRest();
    say('Saved.');
  };
  const send = async (/** @type {Row} */ body) => {
    fill(notes);
    mark(controls, null);
    try {
      accept(await write(operation, path, body, etag));
    } catch (problem) {
      const failure = /** @type {import('./api.js').Problem} */ (problem);
      if (failure.status === 412) await conflict(body);
      else {
        fill(notes, alert(failure));
        mark(controls, failure);
      }
    }
  };
  const save = async () => {
    let body;
    try {
      body = changes();
    } catch (problem) {
      fill(notes, alert(problem));
      mark(controls, problem);
      return;
    }
    if (Object.keys(body).length) await send(body);
    else say('Nothing has changed.');
  };
  const conflict = async (/** @type {Row} */ mine) => {
    const now = await readRecord(resource, path);
    const chosen = await askConflict(resource, row, now.row, mine);
    if (chosen === 'theirs') refresh();
    if (!chosen || chosen === 'theirs') return;
    row = now.row;
    etag = now.etag;
    controls.filter((each) => !(each.field.name in chosen)).forEach((each) => each.set(row[each.field.name]));
    if (Object.keys(chosen).length) await send(chosen);
    else say('Nothing is left to save.');
  };
  const restore = async () => {
    try {
      await write(/** @type {any} */ (resource.restore), `${path}/restore`);
      say('Restored.');
      if (location.hash === `#${path}`) refresh();
      else go(path);
    } catch (problem) {
      say(/** @type {any} */ (problem).detail);
    }
  };
  const remove = async () => {
    const text = resource.restore ? 'It can be restored.' : 'It cannot be restored.';
    const sure = await ask(`Delete ${labelOf(resource, row)}?`, (close) => [
      el('p', {}, text),
      el('div', { class: 'bar' }, button('Delete', () => close(true), { class: 'danger' }), button('Keep', () => close(false))),
    ]);
    if (!sure) return;
    try {
      await write(/** @type {any} */ (resource.remove), path, undefined, etag);
      controls.forEach((each) => each.set(each.value()));
      go(list);
      say('Deleted.', isOffered(resource.restore) ? button('Undo', () => { quiet(); void restore(); }) : undefined);
    } catch (problem) {
      const failure = /** @type {any} */ (problem);
      if (failure.status !== 412) return fill(notes, alert(failure));
      refresh();
      say('Somebody else has changed it meanwhile, and it is not deleted: look at it again.');
    }
  };
  const more = [
    linkButton('Back to the list', `#${list}`),
    !isDeleted && isOffered(resource.remove) && button('Delete', () => void remove(), { class: 'danger' }),
    isDeleted && isOffered(resource.restore) && button('Restore', () => void restore(), { class: 'main' }),
  ];
  return {
    title: `${labelOf(resource, row)}`,
    isDirty: () => controls.some((each) => each.isChanged()),
    nodes: [
      notes,
      isDeleted && el('p', { class: 'alert' }, 'This record is deleted.'),
      !isDeleted && resource.update && !isOffered(resource.update) && !session.token && el('p', { class: 'hint' }, 'Sign in to change it.'),
      read,
      canEdit ? form(controls, save, more) : el('div', { class: 'bar' }, ...more),
      related(service, resource, path, row),
    ],
  };
}

/** Return links to the lists below a record, and to those of records that refer to it. @param {Service} service @param {Resource} resource @param {string} path @param {Row} row */
function related(service, resource, path, row) {
  const below = service.resources.filter((each) => resource.record && each.path.startsWith(`${resource.record}/`));
  const links = below.map((each) => ({ name: each.name, href: `#${path}${each.path.slice(resource.record?.length)}` }));
  for (const each of service.resources.filter((one) => !one.path.includes('{'))) {
    for (const { field, resource: target } of each.references) {
      const isListed = each.filters.some((one) => one.name === field);
      if (target === resource && isListed) links.push({ name: `${each.name} (${titled(field).toLowerCase()})`, href: `#${each.path}?${field}=${row.id}` });
    }
  }
  return links.length > 0 && el('section', {}, el('h2', {}, 'Related'), el('ul', {}, ...links.map(({ name, href }) => el('li', {}, el('a', { href }, name)))));
}

/**
 * Show what two editors changed; resolve to the fields to send on top, `theirs` to give up one's
 * own changes, or undefined to go on editing.
 * @param {Resource} resource @param {Row} opened @param {Row} now @param {Row} mine
 * @returns {Promise<Row | 'theirs' | undefined>}
 */
function askConflict(resource, opened, now, mine) {
  const same = (/** @type {any} */ one, /** @type {any} */ two) => JSON.stringify(one) === JSON.stringify(two);
  const names = [...new Set([...resource.fields.map((each) => each.name), ...Object.keys(mine)])]
    .filter((name) => name in mine || !same(opened[name], now[name]));
  const field = (/** @type {string} */ name) => resource.fields.find((each) => each.name === name);
  /** @type {Map<string, HTMLInputElement>} */
  const taken = new Map();
  const line = (/** @type {string} */ name) => {
    const isContested = name in mine && !same(opened[name], now[name]) && !same(mine[name], now[name]);
    const radio = (/** @type {boolean} */ isMine) => {
      const input = el('input', { type: 'radio', name: `take-${name}`, checked: isMine, 'aria-label': `${titled(name)}: ${isMine ? 'as you want it' : 'as it is now'}` });
      if (!isMine) taken.set(name, input);
      return input;
    };
    const wanted = name in mine ? (field(name) ? textOf(mine[name], field(name)) : '•••') : textOf(now[name], field(name));
    return el('tr', {}, el('th', { scope: 'row' }, titled(name)),
      el('td', { 'data-label': 'As you opened it' }, textOf(opened[name], field(name))),
      el('td', { 'data-label': 'As it is now' }, el('span', {}, isContested && radio(false), ' ', textOf(now[name], field(name)))),
      el('td', { 'data-label': 'As you want it' }, el('span', {}, isContested && radio(true), ' ', wanted)));
  };
  const heads = ['Field', 'As you opened it', 'As it is now', 'As you want it'];
  return ask('Somebody else has changed this meanwhile', (close) => [
    el('table', {}, el('thead', {}, el('tr', {}, ...heads.map((each) => el('th', { scope: 'col' }, each)))), el('tbody', {}, ...names.map(line))),
    el('div', { class: 'bar' },
      button('Save mine on top', () => close(Object.fromEntries(Object.entries(mine).filter(([name]) => !taken.get(name)?.checked))), { class: 'main' }),
      button('Take theirs', () => close('theirs')),
      button('Go on editing', () => close(undefined))),
  ]);
}
