// The views by address, the home page, and signing in.
import { call, keep, rowsOf, session } from './api.js';
import { isOffered, readDocument, titled } from './document.js';
import { ask, button, byId, el, fill, link, say } from './dom.js';
import { importView } from './importing.js';
import { listView } from './list.js';
import { newView, recordView } from './record.js';

/** @type {Service | null | undefined} */
let service;
let turn = 0; // a view that comes too late is not shown
let hash = '', path = '', search = '';
/** @type {Control[]} */
let controls = [];
const isDirty = () => controls.some((each) => each.isChanged());

function go(to, query) {
	const next = query?.size ? `#${to}?${query}` : `#${to}`;
	if (location.hash === next) mayLeave() && render();
	else location.hash = next;
}

function alert(problem) {
	const { title = 'Something failed', detail = String(problem), status, request_id: request, errors = [] } = problem;
	if (status === 401) showWho();
	return el('div.alert', { role: 'alert' }, !errors.length && el('strong', `${title} `), detail, request && el('span.hint', ` (request ${request})`),
		el('ul', errors.map((each) => el('li', each.pointer && `${titled(each.pointer.replace(/.*\/(?=\D)/, ''))}: `, each.detail))),
		status === 401 && button('.main', 'Sign in', signIn));
}

/** Ask for name and password: what is typed elsewhere stays. */
async function signIn() {
	const form = byId('sign-in').content.firstElementChild.cloneNode(true), { username, password, cancel } = form.elements;
	if (!await ask('Sign in', (close) => {
		cancel.onclick = () => close();
		form.onsubmit = async (event) => {
			event.preventDefault();
			try {
				const type = 'application/x-www-form-urlencoded', body = new URLSearchParams({ username: username.value, password: password.value });
				const { data } = await call('POST', service?.login ?? '/api/auth/token', { body, type });
				keep(data.access_token);
				close(true);
			} catch (problem) {
				fill(form.firstElementChild, alert(problem.status === 401 ? { title: 'Name or password is wrong.', detail: '' } : problem));
				password.focus();
				password.select();
			}
		};
		return form;
	})) return;
	await load();
	if (isDirty()) showWho();
	else await render();
	say('Signed in.');
}

const mayLeave = () => !isDirty() || confirm('Discard your changes?');

async function signOut() {
	if (!mayLeave()) return;
	keep('');
	service = undefined;
	await render();
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
	fill(byId('nav'), listed.map((each) => el('a', {
		href: `#${each.path}`, 'aria-current': each === found(path)?.resource && 'page', onclick: () => hash === `#${each.path}` && render(),
	}, each.name)));
}

/** Return the resource of a path, the path of its list, and what follows. */
function found(at) {
	const matches = (service?.resources ?? []).flatMap((resource) => {
		const match = new RegExp(`^(${resource.path.replace(/\{\w+\}/g, '[^/]+')})(?:/([^/]+))?$`).exec(at);
		return match ? [{ resource, list: match[1], rest: match[2] }] : [];
	});
	return matches.find((each) => !each.rest) ?? matches[0];
}

function home({ title, description, resources }) {
	const cards = resources.filter((each) => !each.isNested && isOffered(each.list)).map((each) => {
		const count = el('span.hint');
		void rowsOf(each, each.path, { limit: '1', count: 'estimated' }).then(({ total }) => fill(count, total && `about ${Number(total).toLocaleString()}`), () => {});
		return el('li', link('', each.name, each.path), ' ', count);
	});
	return { title, nodes: [el('p', description), el('ul.cards', cards)] };
}

/** @returns {Promise<View>} */
async function viewOf() {
	if (service === undefined) {
		await load();
		showWho();
	}
	if (!service) return { title: 'Sign in', nodes: [el('p', 'Only users may see what is here.'), button('.main', 'Sign in', signIn)] };
	if (path === '/' || !path) return home(service);
	const { resource, list, rest } = found(path) ?? {}, query = new URLSearchParams(search);
	if (!resource || !list) return { title: 'Not found', nodes: [el('p', 'No such page.')] };
	const done = (to) => { controls = []; go(to); }, around = { service, go, done, alert };
	if (!rest) return listView(resource, list, query, around);
	if (rest === 'new' && resource.create) return newView(resource, list, query, around);
	return rest === 'import' && resource.imports ? importView(resource, around) : recordView(resource, path, around);
}

async function render() {
	const mine = (turn += 1), before = path, main = byId('main'), name = byId('brand').textContent;
	hash = location.hash;
	[path, search] = hash.slice(1).split(/\?(.*)/);
	controls = [];
	showWho();
	main.ariaBusy = 'true';
	const view = await viewOf().catch((problem) => /** @type {View} */ ({
		title: found(path)?.resource.name ?? name, nodes: [alert(problem), button('', 'Try again', render)],
	}));
	if (mine !== turn) return;
	const focused = document.activeElement?.id, heading = el('h1', { tabindex: -1 }, view.title);
	fill(main, heading, view.nodes);
	main.ariaBusy = null;
	controls = view.controls ?? [];
	document.title = [...new Set([view.title, name])].join(' · ');
	const kept = before === path && focused && focused !== 'main' && byId(focused);
	(kept || heading).focus({ preventScroll: true });
	fill(byId('heard'), kept && view.said);
	if (!kept) scrollTo(0, 0);
}

addEventListener('hashchange', () => {
	if (location.hash === hash) return;
	if (mayLeave()) void render();
	else location.hash = hash;
});
byId('skip').onclick = (event) => { event.preventDefault(); byId('main').focus(); }; // no view has that address
addEventListener('beforeunload', (event) => { if (isDirty()) event.preventDefault(); });

void render();
