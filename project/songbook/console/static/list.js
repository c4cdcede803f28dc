// A list: words, filters, order, pages, count, exports.
import { call, rowsOf, session } from './api.js';
import { fieldOf, isOffered, labelField, labelOf, parameterOf, takes, titled } from './document.js';
import { button, el, fill, labelled, link, say, select, table } from './dom.js';
import { inputOf, shown, typed, valueOf } from './fields.js';


/** Return `Year at least` for the description `Year at least this value.` */
const filterLabel = ({ name, description = titled(name) }) => description.replace(/ this \w+|[.;].*/g, '');

const without = (query, ...names) => new URLSearchParams([...query].filter(([name]) => !names.includes(name)));

export const parentOf = (path) => path.slice(0, path.lastIndexOf('/'));

const seen = {};

/** Return the address of a list as it was seen last. */
export const lastOf = (path) => seen[path] ?? path;

export const backTo = (path) => link('.button', 'Back to the list', lastOf(path));

export const maySeeDeleted = ({ list }) => session.me?.is_superuser && parameterOf(list, 'deleted');

/** @type {ListView} */
export const listView = async (resource, path, query, { go, alert }) => {
	const { fields, filters, list, name, records, sorts } = resource;
	const answer = rowsOf(resource, path, [...query, ['limit', '25'], ...Object.entries(resource.expand)]);
	const { rows, total, next, problem } = await answer.catch((refused) => {
		if (refused.status !== 422) throw refused; // else a filter can be corrected
		return { ...refused, rows: [], total: null, next: null, problem: refused };
	});
	seen[path] = `${path}?${query}`;
	const sort = query.get('sort') ?? '', filtered = without(query, 'after', 'limit', 'expand', 'count');

	const put = (parameter) => (value) => {
		if (value) filtered.set(parameter, value);
		else filtered.delete(parameter);
		go(path, filtered);
	};

	const exports = resource.exports.map(([suffix, text, more]) => el('li', button('', text, () => download(`${path}.${suffix}?${filtered}${more}`, `${path.split('/').pop()}.${suffix}`), { popovertarget: 'exports' })));

	const words = el('input', { type: 'search', id: 'words', value: query.get('q') }), holder = el('div');
	let field, input;
	const filter = select('filter', [['', '–'], ...filters.map((each) => [each.name, filterLabel(each)])], '', (chosen) => {
		const schema = parameterOf(list, chosen)?.schema;
		field = schema && { ...fieldOf(chosen, schema.items ?? schema), isNullable: true, schema: {} };
		input = field && inputOf(field, 'value', '');
		fill(holder, input && labelled('Value (or nothing)', input));
	});
	const onsubmit = (event) => {
		event.preventDefault();
		if (input) filtered.append(field.name, valueOf(field, typed(input)) ?? '');
		put('q')(words.value);
	};
	const orders = sorts.flatMap((each) => [[each, `${titled(each)} ↑`], [`-${each}`, `${titled(each)} ↓`]]);
	const search = el('form.bar', { role: 'search', onsubmit },
		parameterOf(list, 'q') && labelled('Words', words),
		labelled('Filter', filter), holder, el('button', { id: 'apply' }, 'Apply'),
		labelled('Order', select('sort', [['', 'As it is'], ...orders], sort, put('sort'))),
		maySeeDeleted(resource) && labelled('Deleted', select('deleted', [['', 'Hidden'], ['only', 'Shown alone']], query.get('deleted') ?? '', put('deleted'))));

	const chips = [...without(filtered, 'sort', 'q', 'deleted')].map(([each, value]) => {
		const text = `${filterLabel(parameterOf(list, each) ?? { name: each })} ${value || 'empty'}`;
		return el('li', button('', `${text} ✕`, () => { filtered.delete(each, value); go(path, filtered); }, { 'aria-label': `Remove the filter: ${text}` }));
	});

	const heads = fields.map((each) => {
		const order = { [each.name]: 'ascending', [`-${each.name}`]: 'descending' }[sort];
		const text = sorts.includes(each.name) ? button('', each.label, () => put('sort')(order === 'ascending' ? `-${each.name}` : each.name), { id: `sort-${each.name}` }) : each.label;
		return el(/integer|number/.test(each.type) && !/(^|_)id$/.test(each.name) ? 'th.number' : 'th', { scope: 'col', 'aria-sort': order }, text);
	});
	const folder = resource.home ?? (records && path), label = labelField(resource);
	const cells = (row) => fields.map((each) => {
		const content = shown(each, row, resource);
		return folder && each.name === label ? link('', content || labelOf(resource, row), `${folder}/${row.id}`) : content;
	});

	const said = rows.length ? `${rows.length} rows are shown.` : 'No records.';
	return {
		title: name,
		said,
		nodes: [
			resource.isNested && el('p', link('', '← Back', parentOf(path))),
			el('div.bar',
				isOffered(resource.create) && link('.button.main', 'New', `${path}/new?${filtered}`),
				isOffered(resource.imports) && !resource.isNested && link('.button', 'Import', `${path}/import`),
				exports.length > 0 && [button('', 'Export', null, { popovertarget: 'exports' }), el('ul.menu', { id: 'exports', popover: true }, exports)]),
			search,
			chips.length > 0 && el('ul.chips', { 'aria-label': 'Filters' }, chips),
			problem ? alert(problem) : rows.length ? table(name, heads, rows.map(cells)) : el('p', said),
			el('nav.bar', { 'aria-label': 'Pages' },
				query.has('after') && button('', '← Previous', () => history.back()),
				next && link('.button', 'Next →', `${path}?${filtered}&after=${next}`),
				total !== null ? el('span.hint', { id: 'count', tabindex: -1, role: 'status' }, `${total} in all`)
					: takes(list, 'count', 'exact') && button('', 'Count', () => go(path, new URLSearchParams([...query, ['count', 'exact']])), { id: 'count' })),
		],
	};
};

/** Save a response as a file: a link would not send the token. */
async function download(path, name) {
	try {
		const { response } = await call('GET', path, { isFile: true }), href = URL.createObjectURL(await response.blob());
		el('a', { href, download: name }).click();
		setTimeout(() => URL.revokeObjectURL(href), 60_000);
	} catch (problem) {
		say(problem.detail ?? String(problem));
	}
}
