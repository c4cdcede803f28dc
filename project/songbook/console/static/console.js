// The views by address, the home page, and signing in.
import { call, keep, rowsOf, session } from './api.js';
import { isOffered, readDocument, takes } from './document.js';
import { ask, button, byId, el, fill, labelled, link, say } from './dom.js';
import { importView } from './importing.js';
import { listView } from './list.js';
import { newView, recordView } from './record.js';

/** @type {Service | null} */
let service = null;
let turn = 0; // a view that comes after the next one is asked for is not shown
let hash = '', path = '';
let isDirty = () => false;

function go(to, query) {
	const next = query?.size ? `#${to}?${query}` : `#${to}`;
	if (location.hash === next) void render();
	else location.hash = next;
}

function alert(problem) {
	const { title = 'Something failed', detail = String(problem), status, request_id: request } = problem;
	if (status === 401) showWho();
	return el('div.alert', { role: 'alert' }, el('strong', title), ' ', detail, request && el('span.hint', ` (request ${request})`),
		status === 401 && el('p', button('.main', 'Sign in', signIn)));
}

/** Ask for name and password: what is typed elsewhere stays. */
async function signIn() {
	const name = el('input', { id: 'username', autocomplete: 'username', required: true }), notes = el('div');
	const password = el('input', { id: 'password', type: 'password', autocomplete: 'current-password', required: true });
	const onsubmit = (close) => async (event) => {
		event.preventDefault();
		try {
			const body = new URLSearchParams({ username: name.value, password: password.value });
			const { data } = await call('POST', service?.login ?? '/api/auth/token', { body, type: 'application/x-www-form-urlencoded' });
			keep(data.access_token);
			close(true);
		} catch (problem) {
			fill(notes, el('p.alert', { role: 'alert' }, problem.status === 401 ? 'Name or password is wrong.' : problem.detail));
			password.focus();
		}
	};
	const isDone = await ask('Sign in', (close) => [el('form.fields', { onsubmit: onsubmit(close) }, notes, labelled('Name or e-mail', name), labelled('Password', password),
		el('div.bar', el('button.main', 'Sign in'), button('', 'Cancel', () => close())))]);
	if (!isDone) return;
	await load();
	if (isDirty()) showWho();
	else await render();
	say('Signed in.');
}

async function signOut() {
	keep(null);
	isDirty = () => false;
	await load();
	await render();
	say('Signed out.');
}

async function load() {
	const read = (path) => call('GET', path).then(({ data }) => data, (problem) => {
		if (problem.status !== 401) throw problem;
	});
	const document = await read('/openapi.json') ?? await read('/openapi.json'); // a token may have expired
	service = document ? readDocument(document) : null;
	if (session.token && service?.me) session.me = await read(service.me);
}

function showWho() {
	const name = session.me?.username ?? session.me?.email;
	fill(byId('who'), name && el('span.hint', name), session.token ? button('', 'Sign out', signOut) : service?.login && button('', 'Sign in', signIn));
	const listed = service?.resources.filter((each) => !each.isNested && (isOffered(each.list) || !session.token)) ?? [];
	fill(byId('nav'), listed.map((each) => el('a', { href: `#${each.path}`, 'aria-current': each === found(path)?.resource && 'page' }, each.name)));
}

/** Return the resource of a path, the path of its list, and what follows. */
function found(at) {
	const matches = (service?.resources ?? []).flatMap((resource) => {
		const match = new RegExp(`^(${resource.path.replaceAll(/\{\w+\}/g, '[^/]+')})(?:/([^/]+))?$`).exec(at);
		return match ? [{ resource, list: match[1], rest: match[2] }] : [];
	});
	return matches.find((each) => !each.rest) ?? matches[0];
}

function home({ title, description, resources }) {
	const cards = resources.filter((each) => !each.isNested && isOffered(each.list)).map((each) => {
		const count = el('span.hint'), canEstimate = takes(each.list, 'count', 'estimated');
		if (canEstimate || each.isWrapped) {
			void rowsOf(each, each.path, { limit: '1', ...(canEstimate && { count: 'estimated' }) })
				.then(({ total }) => fill(count, canEstimate && 'about ', Number(total).toLocaleString()), () => {});
		}
		return el('li', link('', each.name, each.path), ' ', count);
	});
	return { title, nodes: [el('p', description), el('ul.cards', cards)] };
}

/** @returns {Promise<View>} */
async function viewOf() {
	if (!service) return { title: 'Sign in', nodes: [el('p', 'Only users may see what is here.'), button('.main', 'Sign in', signIn)] };
	if (path === '/' || !path) return home(service);
	const { resource, list, rest } = found(path) ?? {}, query = new URLSearchParams(hash.split('?').slice(1).join('?'));
	if (!resource || !list) return { title: 'Not found', nodes: [el('p', 'No such page. ', link('', 'To the resources', '/'))] };
	const around = { service, go, alert };
	if (!rest) return listView(resource, list, query, around);
	if (rest === 'new' && resource.create) return newView(resource, list, query, around);
	return rest === 'import' && resource.imports ? importView(resource, around) : recordView(resource, path, around);
}

async function render() {
	const mine = (turn += 1), before = path, main = byId('main'), name = byId('brand').textContent;
	hash = location.hash;
	path = hash.slice(1).split('?')[0];
	isDirty = () => false;
	showWho();
	main.ariaBusy = 'true';
	const view = await viewOf().catch((problem) => /** @type {View} */ ({ title: found(path)?.resource.name ?? 'Not found', nodes: [alert(problem)] }));
	if (mine !== turn) return;
	const focused = document.activeElement?.id, heading = el('h1', { tabindex: -1 }, view.title);
	fill(main, heading, view.nodes);
	main.ariaBusy = null;
	isDirty = view.isDirty ?? isDirty;
	document.title = view.title === name ? name : `${view.title} · ${name}`;
	const kept = before === path && focused && focused !== 'main' && byId(focused);
	(kept || heading).focus({ preventScroll: !!kept });
	fill(byId('heard'), kept && view.said);
	if (!kept) scrollTo(0, 0);
}

addEventListener('hashchange', () => {
	if (location.hash === hash) return;
	if (isDirty() && !confirm('Leave without saving your changes?')) location.hash = hash;
	else void render();
});
addEventListener('beforeunload', (event) => { if (isDirty()) event.preventDefault(); });

load().then(render).catch((problem) => fill(byId('main'), el('h1', byId('brand').textContent), alert(problem)));
