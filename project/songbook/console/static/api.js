// Requests, and who is signed in: the token is in the session storage.

/** The path of the service, which a proxy may serve below a prefix. */
const ROOT = new URL('../../..', import.meta.url).pathname.replace(/\/$/, '');

const TOKEN = `token of ${ROOT}`;

/** @type {Session} */
export const session = { token: sessionStorage.getItem(TOKEN), me: null };

export function keep(token) {
	Object.assign(session, { token, me: null });
	sessionStorage.setItem(TOKEN, token);
}

/** Send a request; `type` is that of a body that is not JSON. Throws a `Problem`. @type {Call} */
export const call = async (method, path, { body, type, headers, isFile } = {}) => {
	const sent = new Headers(headers);
	if (session.token) sent.set('Authorization', `Bearer ${session.token}`);
	if (body !== undefined) sent.set('Content-Type', type ?? 'application/json');
	const response = await fetch(ROOT + path, { method, headers: sent, body: type ? body : JSON.stringify(body) }).catch(() => {
		throw { status: 0, title: 'The service cannot be reached.', detail: 'Try again.' };
	});
	const { headers: got, status } = response;
	if (status === 401) keep('');
	if (!response.ok) throw { status, title: `Status ${status}`, detail: '', ...await response.json().catch(() => null) };
	const text = isFile ? '' : await response.text();
	return { response, data: text && parse(text), etag: got.get('ETag'), next: got.get('X-Next-Cursor'), total: got.get('X-Total-Count') };
};

/** Return a number; one that JavaScript would change, as it is written. */
const exact = (value, source) => (typeof value === 'number' && source && source !== String(value)
	? Object.assign(Object(value), { toString: () => source, toJSON: () => /** @type {any} */ (JSON).rawJSON(source) }) : value);

export const parse = (text) => JSON.parse(text, /** @type {any} */ ((_name, value, context) => exact(value, context?.source)));

/** Return the records of a list. @type {ReadRows} */
export const rowsOf = async ({ isWrapped }, path, query) => {
	const answer = await call('GET', `${path}?${new URLSearchParams(query)}`), { data, total } = answer;
	return { ...answer, rows: isWrapped ? data.items : data, total: total ?? (isWrapped ? data.count : null) };
};

/** The keys of writes that failed: sent again, they are done once. */
const keys = new Map();

/** Write, if nobody else has since `etag`. @type {Write} */
export const write = async ({ method }, path, body, etag, type) => {
	const id = JSON.stringify([method, path, type ? [body.name, body.size, body.lastModified] : body, etag]);
	if (!keys.has(id)) keys.set(id, crypto.getRandomValues(new Uint8Array(16)).join('-')); // randomUUID needs HTTPS
	const headers = { 'Idempotency-Key': keys.get(id), ...(etag && { 'If-Match': etag }) };
	const answer = await call(method.toUpperCase(), path, { body, headers, type });
	keys.delete(id);
	return answer;
};
