// Requests to the service, and who is signed in. The token is in the session storage of the tab.

/**
 * @typedef {{status: number, title: string, detail: string, request_id?: string, errors?: {pointer: string, detail: string}[], report?: Report}} Problem
 * @typedef {{read: number, stored: number, skipped: number, refused: number, refusals: {line: number, pointer: string, detail: string}[]}} Report
 * @typedef {Record<string, any>} Row
 * @typedef {{data: any, etag: string | null, links: Record<string, string>, total: number | null, response: Response}} Answer
 * @typedef {{body?: any, type?: string, headers?: Record<string, string>, blob?: boolean}} Options
 */

/** The path of the service, which a proxy may serve below a prefix. */
export const ROOT = new URL('../../..', import.meta.url).pathname.replace(/\/$/, '');

/** @type {{token: string | null, me: Row | null}} */
export const session = { token: sessionStorage.getItem('token'), me: null };

/** Keep the token, or forget it. @param {string | null} token */
export function keep(token) {
  session.token = token;
  session.me = null;
  if (token) sessionStorage.setItem('token', token);
  else sessionStorage.removeItem('token');
}

/**
 * Send a request. Throws a `Problem` for every status but 2xx.
 * @param {string} method @param {string} path @param {Options} [options]
 * @returns {Promise<Answer>}
 */
export async function call(method, path, { body, type, headers = {}, blob = false } = {}) {
  /** @type {Record<string, string>} */
  const sent = { Accept: 'application/json', ...headers };
  if (session.token) sent.Authorization = `Bearer ${session.token}`;
  if (body !== undefined) sent['Content-Type'] = type ?? 'application/json';
  const content = body === undefined || type ? body : JSON.stringify(body);
  let response;
  try {
    response = await fetch(ROOT + path, { method, headers: sent, body: content });
  } catch {
    throw problem({ title: 'No response', detail: 'The service cannot be reached. Try again.' });
  }
  if (!response.ok) await refuse(response);
  const text = blob || response.status === 204 ? '' : await response.text();
  return {
    data: text ? parse(text) : null,
    etag: response.headers.get('ETag'),
    links: linksOf(response.headers.get('Link') ?? ''),
    total: response.headers.has('X-Total-Count') ? Number(response.headers.get('X-Total-Count')) : null,
    response,
  };
}

/** @param {Response} response @returns {Promise<never>} */
async function refuse(response) {
  if (response.status === 401) keep(null);
  let told = {};
  try {
    told = await response.json();
  } catch { /* a proxy's page */ }
  throw problem({ status: response.status, title: `Status ${response.status}`, detail: '', ...told });
}

/** @param {Partial<Problem>} given @returns {Problem} */
export const problem = (given) => ({ status: 0, title: '', detail: '', ...given });

/** Parse JSON; integers that a number cannot hold stay text. @param {string} text */
const parse = (text) => JSON.parse(text, /** @type {any} */ ((
  /** @type {string} */ _name, /** @type {unknown} */ value, /** @type {{source?: string}} */ context,
) => Number.isInteger(value) && !Number.isSafeInteger(value) && context?.source ? context.source : value));

/** Return the query of each relation of a Link header. @param {string} header */
function linksOf(header) {
  const found = [...header.matchAll(/<[^>?]*\??([^>]*)>; rel="(\w+)"/g)];
  return Object.fromEntries(found.map(([, query, rel]) => [rel, query]));
}

/** @type {Map<string, string>} */
const keys = new Map();

/**
 * Return the headers of a write: what is sent again, after a failure, has the key of the first time.
 * @param {import('./document.js').Operation} operation @param {string} path @param {any} body @param {string | null} [etag]
 */
export function guarded(operation, path, body, etag) {
  /** @type {Record<string, string>} */
  const headers = etag ? { 'If-Match': etag } : {};
  if (!operation.parameters.some((each) => each.name === 'Idempotency-Key')) return headers;
  const write = JSON.stringify([operation.method, path, body, etag]);
  const random = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
  if (!keys.has(write)) keys.set(write, random());
  return { ...headers, 'Idempotency-Key': /** @type {string} */ (keys.get(write)) };
}

/**
 * Write, and forget the key of the write when it is done.
 * @param {import('./document.js').Operation} operation @param {string} path @param {any} [body] @param {string | null} [etag]
 */
export async function write(operation, path, body, etag) {
  const answer = await call(operation.method.toUpperCase(), path, { body, headers: guarded(operation, path, body, etag) });
  keys.clear();
  return answer;
}
