// An import: a dry run first, its report by line, and then the import.
import { write } from './api.js';
import { bodyFields, namesOf, takes, titled } from './document.js';
import { button, el, fill, labelled, say, select, table } from './dom.js';
import { backTo } from './list.js';

/** @type {ImportView} */
export const importView = async ({ path, name, fields, create, imports }, { go, alert }) => {
	const taken = namesOf(bodyFields(create)), ignored = namesOf(fields).filter((each) => !taken.includes(each));
	const out = el('div', { 'aria-live': 'polite' });

	const send = async (more) => {
		const chosen = file.files[0], query = new URLSearchParams(more);
		const columns = (await chosen.slice(0, 65_536).text()).split(/[\r\n]/)[0].split(/[,;"\uFEFF]/);
		for (const each of ignored) if (columns.includes(each)) query.append('ignore', each); // as an export has them
		if (exists.value) query.set('on_conflict', exists.value);
		return (await write(imports, `${imports.path}?${query}`, chosen, null, 'text/csv')).data;
	};
	const attempt = async (doing, more, done) => {
		if (!file.files.length) return;
		fill(out, el('p', doing));
		try {
			done(await send(more));
		} catch (problem) {
			const { read = 0, refused = 0, refusals = [] } = problem.report ?? {};
			const rows = refusals.map(({ line, pointer, detail }) => [line, pointer ? titled(pointer.slice(1)) : '–', detail]);
			fill(out,
				rows.length ? [el('p.alert', `${refused} of ${read} rows have mistakes. Nothing is stored.`), table('Mistakes', ['Line', 'Field', 'Mistake'], rows)] : alert(problem),
				read > refused && takes(imports, 'on_error', 'skip') && button('.main', `Import the other ${read - refused} rows`, () => store({ on_error: 'skip' })));
		}
	};
	const store = (more) => attempt('Importing…', more, ({ stored, skipped, refused }) => {
		go(path);
		say(`${stored} rows are imported${skipped + refused ? `, ${skipped + refused} are left out` : ''}.`);
	});
	const check = () => attempt('Checking…', { dry_run: 'true' }, ({ read, stored }) => fill(out,
		el('p', `${stored} of ${read} rows can be imported. Nothing is stored yet.`),
		stored > 0 && button('.main', `Import ${stored} rows`, () => store({}))));

	const clear = () => { file.value = ''; fill(out); }; // else choosing the same file again is no change
	const file = el('input', { type: 'file', id: 'file', accept: '.csv,text/csv', onclick: clear, onchange: check });
	const exists = select('exists', [['', 'Are mistakes'], ['skip', 'Are skipped'], ['update', 'Are replaced']], '', check);
	return {
		title: `Import into ${name.toLowerCase()}`,
		nodes: [
			el('p', `CSV with the names of fields in its first line (${taken.join(', ')}). It is checked before it is stored.`),
			el('div.fields', labelled('File', file), takes(imports, 'on_conflict', 'update') && labelled('Rows that exist already', exists)),
			out, el('p', backTo(path)),
		],
	};
};
