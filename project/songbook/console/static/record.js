// A record: its form, the conflict of two editors, delete and restore.
import { call, rowsOf, session, write } from './api.js';
import { bodyFields, isOffered, labelOf, referenceOf, titled } from './document.js';
import { ask, button, el, fill, link, say, table } from './dom.js';
import { controlOf, shown, textOf } from './fields.js';
import { maySeeDeleted } from './list.js';

const isSame = (one, two) => JSON.stringify(one) === JSON.stringify(two);
const parentOf = (path) => path.slice(0, path.lastIndexOf('/'));
const valuesOf = (controls) => Object.fromEntries(controls.map((each) => [each.name, each.value()]));
const isChanged = (each) => each.isChanged();

/** Return a form that shows a problem at its fields. @param {Control[]} controls @param {Around} around @param {() => Promise<any>} save @param {any[]} more */
function formOf(controls, { alert }, save, more) {
  const notes = el('div'), submit = el('button.main', 'Save');
  const tell = (problem) => {
    const messages = controls.map(({ name }) => (problem?.errors ?? []).filter((each) => each.pointer.split('/')[1] === name).map((each) => each.detail).join('. '));
    fill(notes, problem && alert(problem));
    controls.forEach((each, at) => each.mark(messages[at]));
    controls[messages.findIndex(Boolean)]?.focus();
  };
  const onsubmit = async (event) => {
    event.preventDefault();
    if (submit.ariaDisabled) return;
    submit.ariaDisabled = 'true'; // `disabled` would lose the focus
    tell(null);
    await save().catch(tell);
    submit.ariaDisabled = null;
  };
  return el('form.fields', { novalidate: true, onsubmit }, notes, controls.map((each) => each.node), el('div.bar', submit, more));
}

/** Return the view of a new record. @param {Resource} resource @param {string} path @param {URLSearchParams} query @param {Around} around @returns {View} */
export function newView(resource, path, query, around) {
  const controls = bodyFields(resource.create).map((field) => controlOf(field, query.get(field.name) ?? field.initial, referenceOf(resource, field.name)));
  const save = async () => {
    const { data } = await write(resource.create, path, valuesOf(controls.filter((each) => !each.isEmpty() || each.isChanged())));
    controls.forEach((each) => each.set(each.value()));
    around.go(data?.id && resource.read ? `${path}/${data.id}` : path);
    say('Saved.');
  };
  return {
    title: `New in ${resource.name.toLowerCase()}`,
    isDirty: () => controls.some(isChanged),
    nodes: [formOf(controls, around, save, [link('.button', 'Back to the list', path)])],
  };
}

/** Read a record, a deleted one from the list. @param {Resource} resource @param {string} path @returns {Promise<{row: Row, etag?: string | null, isDeleted?: boolean}>} */
async function readRecord(resource, path) {
  const relations = String(resource.references.map((each) => each.relation)), expand = relations && { expand: relations };
  const inList = async (query) => {
    const { rows } = await rowsOf(resource, parentOf(path), { ...query, ...expand, id: path.slice(parentOf(path).length + 1) });
    if (!rows.length) throw { status: 404, title: 'Not Found', detail: 'There is no such record.' };
    return { row: rows[0], isDeleted: !!query.deleted };
  };
  if (!resource.read) return inList({});
  try {
    const canExpand = resource.read.parameters.some((each) => each.name === 'expand');
    const { data, etag } = await call('GET', canExpand ? `${path}?${new URLSearchParams({ ...expand })}` : path);
    return { row: data, etag };
  } catch (problem) {
    if (problem.status !== 404 || !maySeeDeleted(resource)) throw problem;
    return inList({ deleted: 'only' });
  }
}

/** Return the view of a record. @param {Resource} resource @param {string} path @param {Around} around @returns {Promise<View>} */
export async function recordView(resource, path, around) {
  const { go, refresh, service } = around, { update, remove, restore } = resource;
  let { row, etag, isDeleted } = await readRecord(resource, path);
  const fields = etag && isOffered(update) ? bodyFields(update) : [], facts = el('dl');
  const controls = fields.map((field) => controlOf(field, row[field.name], referenceOf(resource, field.name), row));
  const show = (next) => {
    row = next;
    fill(facts, resource.fields.filter(({ name }) => !fields.some((each) => each.name === name))
      .map((field) => [el('dt', field.label), el('dd', shown(field, row, referenceOf(resource, field.name)))]));
  };
  show(row);

  /** @param {Row} body */
  const send = async (body) => {
    try {
      const answer = await write(update, path, body, etag);
      etag = answer.etag;
      show({ ...row, ...answer.data });
      controls.forEach((each) => each.set(row[each.name]));
      say('Saved.');
    } catch (problem) {
      if (problem.status !== 412) throw problem;
      const now = await readRecord(resource, path), chosen = await askConflict(resource, row, now.row, body);
      if (chosen === 'theirs') refresh();
      if (!chosen || chosen === 'theirs') return;
      etag = now.etag;
      show(now.row);
      controls.filter((each) => !(each.name in chosen)).forEach((each) => each.set(row[each.name]));
      await send(chosen);
    }
  };
  const save = async () => {
    const body = valuesOf(controls.filter(isChanged));
    if (Object.keys(body).length) await send(body);
    else say('Nothing has changed.');
  };
  const bringBack = () => write(restore, `${path}/restore`).then(() => { go(path); say('Restored.'); }, (problem) => say(problem.detail));
  const askDelete = async () => {
    const isSure = await ask(`Delete ${labelOf(resource, row)}?`, (close) => [
      el('p', restore ? 'It can be restored.' : 'It cannot be restored.'),
      el('div.bar', button('.danger', 'Delete', () => close(true)), button('', 'Keep', () => close())),
    ]);
    if (!isSure) return;
    try {
      await write(remove, path, undefined, etag);
      controls.forEach((each) => each.set(each.value()));
      go(parentOf(path));
      say('Deleted.', isOffered(restore) && button('', 'Undo', bringBack));
    } catch (problem) {
      if (problem.status === 412) refresh();
      say(problem.status === 412 ? 'Not deleted: somebody else has changed it meanwhile. Look at it again.' : problem.detail);
    }
  };
  const more = [
    link('.button', 'Back to the list', parentOf(path)),
    isDeleted ? isOffered(restore) && button('.main', 'Restore', bringBack) : isOffered(remove) && button('.danger', 'Delete', askDelete),
  ];
  const below = service.resources.filter((each) => each.path.startsWith(`${resource.records}/`)).map((each) => link('', each.name, path + each.path.slice(resource.records?.length)));
  const others = service.resources.filter((each) => !each.isNested).flatMap((each) => each.references
    .filter(({ field, resource: target }) => target.path === resource.path && each.filters.some(({ name }) => name === field))
    .map(({ field }) => link('', `${each.name}: ${titled(field).toLowerCase()}`, `${each.path}?${field}=${row.id}`)));
  const links = [...below, ...others].map((each) => el('li', each));
  return {
    title: labelOf(resource, row),
    isDirty: () => controls.some(isChanged),
    nodes: [
      isDeleted && el('p.alert', 'This record is deleted.'),
      !session.token && update?.isOpen === false && el('p.hint', 'Sign in to change it.'),
      facts, controls.length ? formOf(controls, around, save, more) : el('div.bar', more),
      links.length > 0 && [el('h2', 'Related'), el('ul', links)],
    ],
  };
}

/**
 * Show what two editors did. Resolves to the fields to send, to `theirs` to drop one's own changes,
 * or to undefined to go on editing.
 * @param {Resource} resource @param {Row} opened @param {Row} now @param {Row} mine @returns {Promise<any>}
 */
function askConflict(resource, opened, now, mine) {
  const names = [...new Set([...resource.fields.map((each) => each.name), ...Object.keys(mine)])].filter((name) => name in mine || !isSame(opened[name], now[name]));
  const theirs = {};
  const rows = names.map((name) => {
    const field = resource.fields.find((each) => each.name === name), text = (row) => (field ? textOf(row[name], field) : '•••');
    const isContested = name in mine && !isSame(opened[name], now[name]) && !isSame(mine[name], now[name]);
    const radio = (what, checked) => isContested && el('input', { type: 'radio', name, checked, 'aria-label': `${titled(name)} ${what}` });
    theirs[name] = radio('as it is now', false);
    return [titled(name), text(opened), el('span', theirs[name], ' ', text(now)), el('span', radio('as you want it', true), ' ', text({ ...now, ...mine }))];
  });
  return ask('Somebody else has changed this meanwhile', (close) => [
    table('Changes', ['Field', 'As you opened it', 'As it is now', 'As you want it'], rows),
    el('div.bar',
      button('.main', 'Save mine on top', () => close(Object.fromEntries(Object.entries(mine).filter(([name]) => !theirs[name].checked)))),
      button('', 'Take theirs', () => close('theirs')), button('', 'Go on editing', () => close())),
  ]);
}
