// A record: its form, the conflict of two editors, delete and restore.
import { call, rowsOf, session, write } from './api.js';
import { bodyFields, isOffered, labelOf, named, namesOf, parameterOf, titled } from './document.js';
import { ask, button, el, fill, link, say, table } from './dom.js';
import { controlOf, shown, textOf } from './fields.js';
import { maySeeDeleted } from './list.js';

const isSame = (one, two) => JSON.stringify(one) === JSON.stringify(two);
const parentOf = (path) => path.slice(0, path.lastIndexOf('/'));
const valuesOf = (controls) => Object.fromEntries(controls.map((each) => [each.name, each.value()]));
const isChanged = (each) => each.isChanged();

/** Return a form that shows a problem at its fields. */
function formOf(controls, { alert }, save, more) {
	const notes = el('div');
	const tell = (problem) => {
		const errors = problem?.errors ?? [], messages = controls.map(({ name }) => errors.find((each) => each.pointer.split('/')[1] === name)?.detail);
		fill(notes, problem && alert(problem));
		controls.forEach((each, at) => each.mark(messages[at]));
		controls[messages.findIndex(Boolean)]?.focus();
	};
	const onsubmit = async (event) => {
		event.preventDefault();
		if (form.ariaBusy) return;
		form.ariaBusy = 'true';
		tell(null);
		await save().catch(tell);
		form.ariaBusy = null;
	};
	const form = el('form.fields', { novalidate: true, onsubmit }, notes, controls.map((each) => each.node), el('div.bar', el('button.main', 'Save'), more));
	return form;
}

/** @type {ListView} */
export const newView = async (resource, path, query, around) => {
	const controls = bodyFields(resource.create).map((field) => controlOf(field, query.get(field.name) ?? field.initial, resource));
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
};

/** Read a record, a deleted one from the list. @type {ReadRecord} */
const readRecord = async (resource, path) => {
	const inList = async (query) => {
		const { rows } = await rowsOf(resource, parentOf(path), { ...query, ...resource.expand, id: path.slice(parentOf(path).length + 1) });
		if (!rows.length) throw { status: 404, title: 'Not Found', detail: 'There is no such record.' };
		return { row: rows[0], isDeleted: !!query.deleted };
	};
	if (!resource.read) return inList({});
	try {
		const { data, etag } = await call('GET', parameterOf(resource.read, 'expand') ? `${path}?${new URLSearchParams(resource.expand)}` : path);
		return { row: data, etag };
	} catch (problem) {
		if (problem.status !== 404 || !maySeeDeleted(resource)) throw problem;
		return inList({ deleted: 'only' });
	}
};

/** @type {RecordView} */
export const recordView = async (resource, path, around) => {
	const { go, service } = around, { update, remove, restore } = resource;
	let { row, etag, isDeleted } = await readRecord(resource, path);
	const fields = etag && isOffered(update) ? bodyFields(update) : [], facts = el('dl');
	const controls = fields.map((field) => controlOf(field, row[field.name], resource, row));
	const show = (next) => {
		row = next;
		fill(facts, resource.fields.filter(({ name }) => !named(fields, name)).map((field) => [el('dt', field.label), el('dd', shown(field, row, resource))]));
	};
	show(row);

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
			if (chosen === 'theirs') go(path);
			if (chosen !== 'mine') return;
			etag = now.etag;
			show(now.row);
			controls.filter((each) => !(each.name in body)).forEach((each) => each.set(row[each.name]));
			await send(body);
		}
	};
	const bringBack = () => write(restore, `${path}/restore`).then(() => { go(path); say('Restored.'); }, (problem) => say(problem.detail));
	const askDelete = async () => {
		if (!confirm(`Delete ${labelOf(resource, row)}? ${restore ? 'It can be restored.' : 'It cannot be restored.'}`)) return;
		try {
			await write(remove, path, undefined, etag);
			controls.forEach((each) => each.set(each.value()));
			go(parentOf(path));
			say('Deleted.', isOffered(restore) && button('', 'Undo', bringBack));
		} catch (problem) {
			if (problem.status === 412) go(path);
			say(problem.status === 412 ? 'Not deleted: somebody else has changed it meanwhile. Look at it again.' : problem.detail);
		}
	};
	const more = [
		link('.button', 'Back to the list', parentOf(path)),
		isDeleted ? isOffered(restore) && button('.main', 'Restore', bringBack) : isOffered(remove) && button('.danger', 'Delete', askDelete),
	];
	const links = service.resources.flatMap((each) => (each.path.startsWith(`${resource.records}/`)
		? link('', each.name, path + each.path.slice(resource.records?.length))
		: each.references.filter((one) => !each.isNested && one.resource === resource)
			.map(({ name }) => link('', `${each.name}: ${titled(name).toLowerCase()}`, `${each.path}?${name}=${row.id}`))));
	return {
		title: `${resource.name}: ${labelOf(resource, row)}`,
		isDirty: () => controls.some(isChanged),
		nodes: [
			isDeleted && el('p.alert', 'This record is deleted.'),
			!session.token && update?.isOpen === false && el('p.hint', 'Sign in to change it.'),
			facts, controls.length ? formOf(controls, around, () => send(valuesOf(controls.filter(isChanged))), more) : el('div.bar', more),
			links.length > 0 && [el('h2', 'Related'), el('ul', links.map((each) => el('li', each)))],
		],
	};
};

/** Show what two editors did; resolve to what is kept, `mine` or `theirs`, or to undefined to go on editing. */
function askConflict({ fields }, opened, now, mine) {
	const names = [...new Set([...namesOf(fields), ...Object.keys(mine)])].filter((name) => name in mine || !isSame(opened[name], now[name]));
	const rows = names.map((name) => [titled(name), ...[opened, now, { ...now, ...mine }].map((row) => (named(fields, name) ? textOf(row[name], named(fields, name)) : '•••'))]);
	return ask('Somebody else has changed this meanwhile', (close) => [
		table('Changes', ['Field', 'As you opened it', 'As it is now', 'As you want it'], rows),
		el('div.bar', button('.main', 'Save mine on top', () => close('mine')), button('', 'Take theirs', () => close('theirs')), button('', 'Go on editing', () => close())),
	]);
}
