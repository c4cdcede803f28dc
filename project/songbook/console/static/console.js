// The views by address, the home page, and signing in.
import { call, keep, session } from './api.js';
import { ask, button, byId, el, fill, labelled, say } from './dom.js';
import { isOffered, parameterOf, readDocument, takes } from './document.js';
import { importView } from './importing.js';
import { listView } from './list.js';
import { newView, recordView } from './record.js';

/**
 * @typedef {import('./document.js').Resource} Resource
 * @typedef {{title: string, said?: string, isDirty?: () => boolean, nodes: import('./dom.js').Child[]}} View
 */

const LOGIN = '/api/auth/token';

/** @type {import('./document.js').Service | null} */
let service = null;
let turn = 0; // a view that comes after the next one is asked for is not shown
let place = '', path = '';
/** @type {() => boolean} */
let isDirty = () => false;

/** @param {string} to @param {URLSearchParams} [query] */
const go = (to, query) => {
  const hash = query?.size ? `#${to}?${query}` : `#${to}`;
  if (location.hash === hash) void render();
  else location.hash = hash;
};

/** @param {any} problem */
function alertOf(problem) {
  const { title, detail, status, request_id: request } = problem?.title ? problem : { title: 'Something failed', detail: String(problem), status: 0, request_id: '' };
  return el('div', { class: 'alert', role: 'alert' }, el('strong', {}, title), ' ', detail,
    request && el('span', { class: 'hint' }, ` (request ${request})`),
    status === 401 && el('p', {}, button('Sign in', () => void signIn(), { class: 'main' })));
}

/** Ask for name and password in a dialog; what is typed elsewhere stays. */
async function signIn() {
  const isDone = await ask('Sign in', (close) => [signInForm(() => close(true), button('Cancel', () => close(false)))]);
  if (isDone) await signedIn();
}

async function signedIn() {
  const isTyped = isDirty();
  await load();
  if (!isTyped) await render();
  else showWho();
  say('Signed in.');
}

/** @param {() => void} done @param {HTMLElement} [cancel] */
function signInForm(done, cancel) {
  const name = el('input', { id: 'username', autocomplete: 'username', required: true });
  const password = el('input', { id: 'password', type: 'password', autocomplete: 'current-password', required: true });
  const notes = el('div');
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    try {
      const body = new URLSearchParams({ username: name.value, password: password.value });
      keep((await call('POST', service?.login || LOGIN, { body, type: 'application/x-www-form-urlencoded' })).data.access_token);
      done();
    } catch (problem) {
      const { status, title, detail } = /** @type {any} */ (problem);
      fill(notes, el('p', { class: 'alert', role: 'alert' }, status === 401 ? 'Name or password is wrong.' : `${title} ${detail}`));
      password.focus();
    }
  };
  return el('form', { class: 'fields', onsubmit: submit }, notes, labelled('Name or e-mail', name), labelled('Password', password),
    el('div', { class: 'bar' }, el('button', { class: 'main' }, 'Sign in'), cancel));
}

function signOut() {
  keep(null);
  isDirty = () => false;
  say('Signed out.');
  void load().then(render);
}

/** Read who is signed in, and the document if it may be read. */
async function load() {
  try {
    const answer = await call('GET', '/openapi.json');
    service = readDocument(answer.data);
    if (session.token && service.me) session.me = (await call('GET', service.me)).data;
  } catch (problem) {
    const { status } = /** @type {any} */ (problem);
    if (status !== 401) throw problem;
    if (service && !session.token) return; // the token has expired, and the document is public
    service = null;
  }
}

function showWho() {
  const { me, token } = session;
  const name = me?.username ?? me?.email ?? '';
  fill(byId('who'), token ? el('span', { class: 'hint' }, name) : null,
    token ? button('Sign out', signOut) : service?.login ? button('Sign in', () => void signIn()) : null);
  const listed = service?.resources.filter((each) => !each.path.includes('{') && (isOffered(each.list) || !session.token)) ?? [];
  fill(byId('nav'), ...listed.map((each) => el('a', { href: `#${each.path}`, 'aria-current': each === found(path)?.resource ? 'page' : null }, each.name)));
}

/** Return the resource of a path, and the part of the path that is in its list. @param {string} at */
function found(at) {
  const resources = service?.resources ?? [];
  const matches = resources.flatMap((resource) => {
    const pattern = new RegExp(`^(${resource.path.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')})(?:/([^/]+))?$`);
    const match = pattern.exec(at);
    return match ? [{ resource, list: match[1], rest: match[2] ?? '' }] : [];
  });
  return matches.find((each) => !each.rest) ?? matches[0];
}

/** @returns {Promise<View>} */
async function home() {
  const { title, description, resources } = /** @type {import('./document.js').Service} */ (service);
  const listed = resources.filter((each) => !each.path.includes('{') && isOffered(each.list));
  const items = listed.map((each) => {
    const count = el('span', { class: 'hint' });
    void estimate(each).then((text) => { count.textContent = text; });
    return el('li', {}, el('a', { href: `#${each.path}` }, each.name), ' ', count);
  });
  return { title, nodes: [el('p', {}, description), el('ul', { class: 'cards' }, ...items)] };
}

/** Return about how many records a list has, if that is known at little cost. @param {Resource} resource */
async function estimate(resource) {
  const canEstimate = takes(parameterOf(resource.list, 'count')?.schema, 'estimated');
  if (!canEstimate && !resource.isWrapped) return '';
  try {
    const { data, total } = await call('GET', `${resource.path}?limit=1${canEstimate ? '&count=estimated' : ''}`);
    const number = total ?? data.count;
    return Number.isInteger(number) ? `${total === null ? '' : 'about '}${number.toLocaleString()}` : '';
  } catch {
    return '';
  }
}

/** @returns {Promise<View>} */
async function viewOf() {
  if (!service) return { title: 'Sign in', nodes: [el('p', {}, 'The service shows its resources to users only.'), signInForm(() => void signedIn())] };
  if (path === '/' || path === '') return home();
  const query = new URLSearchParams(location.hash.split('?').slice(1).join('?'));
  const { resource, list, rest } = found(path) ?? {};
  if (!resource || !list) return { title: 'Not found', nodes: [el('p', {}, 'There is no such page. ', el('a', { href: '#/' }, 'To the resources'))] };
  const parent = resource.path.includes('{') ? list.slice(0, list.lastIndexOf('/')) : undefined;
  const around = { service, go, refresh: () => void render(), alert: alertOf };
  if (!rest) return listView(resource, list, query, { parent, go });
  if (rest === 'new' && resource.create) return newView(resource, list, query, around);
  if (rest === 'import' && resource.importing) return importView(resource, around);
  return recordView(resource, path, around);
}

/** Show the view of the address. */
async function render() {
  turn += 1;
  const mine = turn, before = path;
  place = location.hash;
  path = decodeURI(place.slice(1).split('?')[0]);
  isDirty = () => false;
  showWho();
  const main = byId('main');
  main.setAttribute('aria-busy', 'true');
  /** @type {View} */
  let view;
  try {
    view = await viewOf();
  } catch (problem) {
    view = { title: found(path)?.resource.name ?? 'Not found', nodes: [alertOf(problem)] };
    showWho();
  }
  if (mine !== turn) return;
  const focused = document.activeElement?.id ?? '';
  const heading = el('h1', { tabindex: -1, id: 'heading' }, view.title);
  fill(main, heading, ...view.nodes);
  main.removeAttribute('aria-busy');
  isDirty = view.isDirty ?? isDirty;
  const name = byId('brand').textContent ?? '';
  document.title = view.title === name ? name : `${view.title} · ${name}`;
  const kept = before === path && focused !== 'main' ? byId(focused) : null;
  (kept ?? heading).focus({ preventScroll: !!kept });
  if (!kept) scrollTo(0, 0);
  else if (view.said) say(view.said);
}

addEventListener('hashchange', () => {
  if (location.hash === place) return;
  if (isDirty() && !confirm('Leave without saving your changes?')) location.hash = place;
  else void render();
});
addEventListener('beforeunload', (event) => { if (isDirty()) event.preventDefault(); });

try {
  await load();
  await render();
} catch (problem) {
  fill(byId('main'), el('h1', {}, byId('brand').textContent), alertOf(problem));
}
