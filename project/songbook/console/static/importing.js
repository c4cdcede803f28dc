// An import of a file: a dry run first, its report by line, and then the import.
import { call, write } from './api.js';
import { bodyFields, namesOf, takes, titled } from './document.js';
import { button, el, fill, labelled, link, say, select, table } from './dom.js';

/** @type {ImportView} */
export const importView = async ({ path, name, fields, create, imports }, { go, alert }) => {
	const taken = namesOf(bodyFields(create)), ignored = namesOf(fields).filter((each) => !taken.includes(each));
	const out = el('div', { 'aria-live': 'polite' });

	const send = async (more) => {
		const chosen = file.files[0], query = new URLSearchParams(more);
		const columns = (await chosen.slice(0, 65_536).text()).split(/[\r\n]/)[0].split(/[,;"\uFEFF]/);
		for (const each of ignored) if (columns.includes(each)) query.append('ignore', each); // as an export has them
		if (exists.value) query.set('on_conflict', exists.value);
		const target = `${imports.path}?${query}`, type = 'text/csv';
		return (await (more.dry_run ? call('POST', target, { body: chosen, type }) : write(imports, target, chosen, null, type))).data;
	};
	const attempt = async (doing, more, done) => {
		if (!file.files.length) return;
		fill(out, el('p', doing));
		try {
			done(await send(more));
		} catch (problem) {
			const { read = 0, refused = 0, refusals = [] } = problem.report ?? {};
			const rows = refusals.map(({ line, pointer, detail }) => [line, pointer ? titled(pointer.slice(1)) : '–', detail]);
			fill(out, rows.length ? el('p.alert', `${refused} of ${read} rows have mistakes. Nothing is stored.`) : alert(problem),
				rows.length > 0 && table('Mistakes', ['Line', 'Field', 'Mistake'], rows),
				read > refused && takes(imports, 'on_error', 'skip') && button('.main', `Import the other ${read - refused} rows`, () => store({ on_error: 'skip' })));
		}
	};
	const store = (more) => attempt('Importing…', more, ({ stored, skipped, refused }) => {
		go(path);
		say(`${stored} rows are imported${skipped + refused ? `, ${skipped + refused} are left out` : ''}.`);
	});
	const check = () => attempt('Checking…', { dry_run: 'true' }, ({ read, stored, skipped }) => fill(out,
		el('p', `${read} rows are read, ${stored} can be imported${skipped ? `, ${skipped} are skipped` : ''}. Nothing is stored yet.`),
		stored > 0 && button('.main', `Import ${stored} rows`, () => store({}))));

	const file = el('input', { type: 'file', id: 'file', accept: '.csv,text/csv', onchange: check });
	const exists = select('exists', [['', 'Are mistakes'], ['skip', 'Are skipped'], ['update', 'Are replaced']], '', check);
	return {
		title: `Import into ${name.toLowerCase()}`,
		nodes: [
			el('p', `CSV with the names of fields in its first line (${taken.join(', ')}). The file is checked first, and stored when you say so.`),
			el('div.fields', labelled('File', file), takes(imports, 'on_conflict', 'update') && labelled('Rows that exist already', exists)),
			out, el('p', link('.button', 'Back to the list', path)),
		],
	};
};
