// A list: words, filters, order, pages, count, exports.
import { call, rowsOf, session } from './api.js';
import { fieldOf, isOffered, labelField, labelOf, named, parameterOf, takes, titled } from './document.js';
import { button, el, fill, labelled, link, say, select, table } from './dom.js';
import { inputOf, shown, typed, valueOf } from './fields.js';

const SUFFIXES = { not: 'is not', gt: 'is more than', gte: 'is at least', lt: 'is less than', lte: 'is at most', contains: 'contains', starts: 'starts with', has: 'has' };
const PLACE = ['after', 'before', 'limit', 'expand'];

/** Return `Year is at least` for `year_gte`. */
function filterLabel(name) {
	const [, field, suffix] = /^(.+)_(not|gte?|lte?|contains|starts|has)$/.exec(name) ?? [0, name, ''];
	return `${field.split('.').map(titled).join(' → ')} ${SUFFIXES[suffix] ?? 'is'}`;
}

const without = (query, ...names) => new URLSearchParams([...new URLSearchParams(query)].filter(([name]) => !names.includes(name)));
const isNumber = ({ type, name }) => /integer|number/.test(type) && name !== 'id';

export const maySeeDeleted = ({ list }) => session.me?.is_superuser && parameterOf(list, 'deleted');

/** @type {ListView} */
export const listView = async (resource, path, query, { go }) => {
	const { fields, filters, list, name, records, references, sorts } = resource;
	const { rows, total, links } = await rowsOf(resource, path, [...query, ['limit', '25'], ...Object.entries(resource.expand)]);
	const sort = query.get('sort') ?? '', filtered = without(query, ...PLACE);

	const change = (work) => {
		work(filtered);
		go(path, filtered);
	};
	const put = (parameter) => (value) => change((next) => (value ? next.set(parameter, value) : next.delete(parameter)));

	const exports = resource.exports.map(([suffix, text, more]) => el('li', button('', text, () => download(`${path}.${suffix}?${filtered}${more}`, `${path.split('/').pop()}.${suffix}`))));

	const words = el('input', { type: 'search', id: 'words', value: query.get('q') }), holder = el('div');
	let field, input;
	const filter = select('filter', [['', '–'], ...filters.map((each) => [each.name, filterLabel(each.name)])], '', (chosen) => {
		const schema = parameterOf(list, chosen)?.schema;
		field = schema && { ...fieldOf(chosen, schema.items ?? schema), isNullable: true, schema: {} };
		input = field && inputOf(field, 'value', '');
		fill(holder, input && labelled('Value', input));
	});
	const onsubmit = (event) => {
		event.preventDefault();
		change((next) => {
			next.set('q', words.value);
			if (!words.value) next.delete('q');
			if (input) next.append(field.name, valueOf(field, typed(input)) ?? '');
		});
	};
	const orders = ['', ...sorts.flatMap((each) => [each, `-${each}`])];
	const orderText = (each) => (each ? `${titled(each.replace('-', ''))} ${each[0] === '-' ? '↓' : '↑'}` : 'As it is');
	if (!orders.includes(sort)) orders.push(sort);
	const search = el('form.bar', { role: 'search', onsubmit },
		parameterOf(list, 'q') && labelled('Words', words, '.grow'),
		labelled('Filter', filter), holder, el('button', { id: 'apply' }, 'Apply'),
		labelled('Order', select('sort', orders.map((each) => [each, orderText(each)]), sort, put('sort'))),
		maySeeDeleted(resource) && labelled('Deleted', select('deleted', [['', 'Hidden'], ['with', 'Shown, too'], ['only', 'Shown alone']], query.get('deleted') ?? '', put('deleted'))));

	const chips = [...without(filtered, 'sort', 'q', 'deleted')].map(([each, value]) => {
		const text = `${filterLabel(each)} ${value || 'empty'}`;
		return el('li', button('', `${text} ✕`, () => change((next) => next.delete(each, value)), { 'aria-label': `Remove the filter: ${text}` }));
	});

	const heads = fields.map((each) => {
		const isUp = sort === each.name, isDown = sort === `-${each.name}`;
		const text = sorts.includes(each.name) ? button('', each.label + (isUp ? ' ↑' : isDown ? ' ↓' : ''), () => put('sort')(isUp ? `-${each.name}` : each.name), { id: `sort-${each.name}` }) : each.label;
		return el(isNumber(each) ? 'th.number' : 'th', { scope: 'col', 'aria-sort': isUp ? 'ascending' : isDown && 'descending' }, text);
	});
	const folder = resource.home ?? (records && path), label = labelField(resource);
	const cells = (row) => fields.map((each) => {
		const content = shown(each, row, resource);
		return el(isNumber(each) ? 'td.number' : 'td', { 'data-label': each.label }, folder && each.name === label ? link('', content || labelOf(resource, row), `${folder}/${row.id}`) : content);
	});

	const told = el('span.hint', { role: 'status' }, total !== null && `${total} in all`);
	const count = async () => {
		const answer = call('GET', `${path}?${without(filtered, 'sort')}&limit=1&count=exact`);
		fill(told, await answer.then((each) => `${each.total} in all`, (problem) => problem.detail));
	};
	const to = (text, place) => place && link('.button', text, `${path}?${without(place, 'limit', 'expand')}`);
	const said = rows.length ? `${rows.length} rows are shown.` : 'Nothing matches.';
	return {
		title: name,
		said,
		nodes: [
			resource.isNested && el('p', link('', '← Back', path.slice(0, path.lastIndexOf('/')))),
			el('div.bar',
				isOffered(resource.create) && link('.button.main', 'New', `${path}/new?${new URLSearchParams([...query].filter(([each]) => named(references, each)))}`),
				isOffered(resource.imports) && !resource.isNested && link('.button', 'Import', `${path}/import`),
				exports.length > 0 && el('details.menu', el('summary.button', 'Export'), el('ul', exports))),
			search,
			chips.length > 0 && el('ul.chips', { 'aria-label': 'Filters' }, chips),
			rows.length ? table(name, heads, rows.map(cells)) : el('p', said),
			el('nav.bar', { 'aria-label': 'Pages' },
				to('← Previous', links.prev) ?? (query.has('after') && button('', '← Previous', () => history.back())),
				to('Next →', links.next),
				total === null && takes(list, 'count', 'exact') && button('', 'Count', count, { id: 'count' }), told),
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
