// A record: its form, the conflict of two editors, delete and restore.
import { call, rowsOf, session, write } from './api.js';
import { bodyFields, fieldsOf, isOffered, labelOf, named, namesOf, parameterOf, titled } from './document.js';
import { ask, button, byId, el, fill, link, say, select, table } from './dom.js';
import { controlOf, shown, textOf } from './fields.js';
import { backTo, lastOf, maySeeDeleted, parentOf } from './list.js';

const CHANGED = 'Somebody else has changed this meanwhile.';
const isSame = (one, two) => JSON.stringify(one) === JSON.stringify(two);
const valuesOf = (controls) => Object.fromEntries(controls.map((each) => [each.name, each.value()]));

/** Return a form that shows a problem at its fields, whose names are at a depth of the pointers. */
function formOf(controls, { alert }, save, more, depth = 1) {
	const notes = el('div');
	const tell = (problem) => {
		const errors = problem?.errors ?? [], messages = controls.map(({ name }) => errors.find((each) => each.pointer.split('/')[depth] === name)?.detail);
		fill(notes, problem && alert(problem));
		controls.forEach((each, at) => each.mark(messages[at]));
		controls[messages.findIndex(Boolean)]?.focus();
	};
	const onsubmit = async (event) => {
		event.preventDefault();
		const back = /** @type {any} */ (document.activeElement);
		tell(null);
		fill(byId('say'));
		back.blur();
		form.inert = true; // typing would be lost
		const problem = await save().catch((each) => each);
		form.inert = false;
		back.focus();
		tell(problem);
	};
	const form = el('form.fields', { novalidate: true, onsubmit }, notes, controls.map((each) => each.node), el('div.bar', el('button.main', { id: 'save' }, 'Save'), more));
	return form;
}

/** @type {ListView} */
export const newView = async (resource, path, query, around) => {
	const body = bodyFields(resource.create), items = body.length === 1 ? fieldsOf(body[0].schema.items) : []; // of a body that is a list
	const controls = (items.length ? items : body).map((field) => controlOf(field, query.get(field.name) || field.initial, resource));
	const save = async () => {
		const values = valuesOf(controls), { data } = await write(resource.create, path, items.length ? { [body[0].name]: [values] } : values);
		around.done(data?.id && resource.read ? `${path}/${data.id}` : path);
		say('Saved.');
	};
	return {
		title: `New in ${resource.name.toLowerCase()}`,
		controls,
		nodes: [formOf(controls, around, save, backTo(path), items.length ? 3 : 1)],
	};
};

/** Read a record, a deleted one from the list. @type {ReadRecord} */
const readRecord = async (resource, path) => {
	const inList = async (query) => {
		const { rows } = await rowsOf(resource, parentOf(path), { ...query, ...resource.expand, id: path.split('/').pop() });
		if (!rows.length) throw { title: 'There is no such record.', detail: '' };
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
	const { go, done, service } = around, { update, remove, restore } = resource;
	const first = await readRecord(resource, path), { row, etag, isDeleted } = first;
	const fields = !isDeleted && isOffered(update) ? bodyFields(update) : [];
	const controls = fields.map((field) => controlOf(field, row[field.name], resource, row));
	const facts = resource.fields.filter(({ name }) => !named(fields, name));

	const send = async (body, opened = first) => {
		try {
			if (!opened.etag && !isSame((await readRecord(resource, path)).row, opened.row)) throw { status: 412 };
			if (Object.keys(body).length) await write(update, path, body, opened.etag).then(() => say('Saved.'));
			done(path);
		} catch (problem) {
			if (problem.status !== 412) throw problem;
			const now = await readRecord(resource, path), wanted = await askConflict(resource, row, now.row, body);
			if (wanted) await send(wanted, now);
		}
	};
	const bringBack = () => write(restore, `${path}/restore`).then(() => { go(path); say('Restored.'); }, (problem) => say(problem.detail));
	const askDelete = async () => {
		if (!confirm(`Delete ${labelOf(resource, row)}? It can${restore ? '' : 'not'} be restored.`)) return;
		try {
			await write(remove, path, undefined, etag);
			done(lastOf(parentOf(path)));
			say('Deleted.', isOffered(restore) && button('', 'Undo', bringBack));
		} catch (problem) {
			if (problem.status === 412) go(path);
			say(`Not deleted. ${problem.status === 412 ? CHANGED : problem.detail}`);
		}
	};
	const more = [
		backTo(parentOf(path)),
		isDeleted ? isOffered(restore) && button('.main', 'Restore', bringBack) : isOffered(remove) && button('.danger', 'Delete', askDelete),
	];
	const links = service.resources.flatMap((each) => (parentOf(each.path) === resource.records
		? link('', each.name, path + each.path.slice(resource.records?.length))
		: each.references.filter((one) => !each.isNested && one.resource === resource)
			.map(({ name }) => link('', `${each.name}: ${titled(name).toLowerCase()}`, `${each.path}?${name}=${row.id}`))));
	return {
		title: `${resource.name}: ${labelOf(resource, row)}`,
		controls,
		nodes: [
			isDeleted && el('p.alert', 'This record is deleted.'),
			!session.token && update?.isOpen === false && el('p.hint', 'Sign in to change it.'),
			el('dl', facts.flatMap((each) => [el('dt', each.label), el('dd', shown(each, row, resource))])),
			controls.length ? formOf(controls, around, () => send(valuesOf(controls.filter((each) => each.isChanged()))), more) : el('div.bar', more),
			links.length > 0 && [el('h2', 'Related'), el('ul', links.map((each) => el('li', each)))],
		],
	};
};

/** Show what two editors did; resolve to what of mine is saved, undefined to go on editing. */
function askConflict({ fields }, opened, now, mine) {
	const names = [...new Set([...namesOf(fields), ...Object.keys(mine)])].filter((name) => name in mine || !isSame(opened[name], now[name]));
	const rows = names.map((name) => {
		const field = named(fields, name), texts = [opened, now, { ...now, ...mine }].map((row) => (field ? textOf(row[name], field) : '•••'));
		if (new Set(texts).size === 3) {
			texts[2] = select(`keep-${name}`, [['mine', texts[2]], ['theirs', texts[1]]], 'mine');
			texts[2].ariaLabel = `${titled(name)} as you want it`;
		}
		return [titled(name), ...texts];
	});
	const wanted = () => Object.fromEntries(Object.entries(mine).filter(([name]) => byId(`keep-${name}`)?.value !== 'theirs'));
	return ask(CHANGED, (close) => [
		table('Changes', ['Field', 'As you opened it', 'As it is now', 'As you want it'], rows),
		el('div.bar', button('.main', 'Save as you want it', () => close(wanted())), button('', 'Take theirs', () => close({})), button('', 'Go on editing', () => close())),
	]);
}
