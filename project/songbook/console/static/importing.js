// An import of a file: a dry run first, its report by line, and then the import.
import { call, guarded } from './api.js';
import { button, el, fill, labelled, linkButton, say } from './dom.js';
import { fieldsOf, parameterOf, takes, titled } from './document.js';

/**
 * @typedef {import('./document.js').Resource} Resource
 * @typedef {import('./api.js').Report} Report
 */

/** @param {Resource} resource @param {{go: (path: string) => void, alert: (problem: any) => HTMLElement}} around */
export async function importView(resource, { go, alert }) {
  const { path, operation } = /** @type {NonNullable<Resource['importing']>} */ (resource.importing);
  const file = el('input', { type: 'file', id: 'file', accept: '.csv,.ndjson,.jsonl,text/csv' });
  const known = takes(parameterOf(operation, 'on_conflict')?.schema, 'update');
  const conflict = el('select', { id: 'conflict' }, el('option', { value: '' }, 'Are mistakes'), el('option', { value: 'skip' }, 'Are skipped'), el('option', { value: 'update' }, 'Are replaced'));
  const out = el('div', { 'aria-live': 'polite' });
  const create = resource.create?.body['application/json'];
  const taken = create ? fieldsOf(create.schema).map((each) => each.name) : [];
  const ignored = resource.fields.map((each) => each.name).filter((name) => !taken.includes(name));

  /** @param {Record<string, string>} more @returns {Promise<Report>} */
  const send = async (more) => {
    const chosen = /** @type {FileList} */ (file.files)[0], isLines = /\.(ndjson|jsonl)$/.test(chosen.name);
    const head = isLines ? '' : (await chosen.slice(0, 65_536).text()).split(/[\r\n]/)[0];
    const columns = head.replace(/^\uFEFF/, '').split(',').map((each) => each.replaceAll('"', '').trim());
    const query = new URLSearchParams(more);
    for (const name of ignored) if (isLines || columns.includes(name)) query.append('ignore', name);
    if (conflict.value) query.set('on_conflict', conflict.value);
    const target = `${isLines ? path.replace(/\.csv$/, '.ndjson') : path}?${query}`;
    const headers = more.dry_run ? {} : guarded(operation, target, [chosen.name, chosen.size, chosen.lastModified]);
    return (await call('POST', target, { body: chosen, type: isLines ? 'application/x-ndjson' : 'text/csv', headers })).data;
  };

  const store = async (/** @type {Record<string, string>} */ more) => {
    fill(out, el('p', {}, 'Importing…'));
    try {
      const report = await send(more);
      go(resource.path);
      say(`${report.stored} rows are imported${report.skipped + report.refused ? `, ${report.skipped + report.refused} are not` : ''}.`);
    } catch (problem) {
      failed(problem);
    }
  };

  /** @param {any} problem */
  const failed = (problem) => {
    const report = /** @type {Report | undefined} */ (problem.report);
    const rest = report ? report.read - report.refused : 0;
    fill(out, alert(problem), report && report.refusals.length > 0 && refusals(report),
      report && problem.status !== 409 && rest > 0 && takes(parameterOf(operation, 'on_error')?.schema, 'skip')
        && button(`Import the other ${rest} rows`, () => void store({ on_error: 'skip' }), { class: 'main' }));
  };

  const check = async () => {
    if (!file.files?.length) return;
    fill(out, el('p', {}, 'Checking…'));
    try {
      const report = await send({ dry_run: 'true' });
      const skipped = report.skipped ? `, and ${report.skipped} are skipped` : '';
      fill(out, el('p', {}, `${report.read} rows are read, ${report.stored} can be imported${skipped}. Nothing is stored yet.`),
        report.stored > 0 && button(`Import ${report.stored} rows`, () => void store({}), { class: 'main', id: 'store' }));
    } catch (problem) {
      failed(problem);
    }
  };
  file.addEventListener('change', () => void check());
  conflict.addEventListener('change', () => void check());
  return {
    title: `Import: ${resource.name}`,
    nodes: [
      el('p', {}, `A CSV file with the names of fields in its first line (${taken.join(', ')}), or NDJSON. It is checked first, and stored when you say so.`),
      el('div', { class: 'fields' }, labelled('File', file), known && labelled('Rows that exist already', conflict)),
      out,
      el('p', {}, linkButton('Back to the list', `#${resource.path}`)),
    ],
  };
}

/** @param {Report} report */
function refusals({ refused, refusals: list }) {
  const rows = list.map(({ line, pointer, detail }) => el('tr', {},
    el('td', { 'data-label': 'Line' }, line),
    el('td', { 'data-label': 'Field' }, pointer ? titled(pointer.slice(1).replaceAll('~1', '/').replaceAll('~0', '~')) : '–'),
    el('td', { 'data-label': 'Mistake' }, detail)));
  return el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Mistakes' },
    el('table', {}, el('caption', {}, refused > list.length ? `The first ${list.length} of ${refused} mistakes` : 'Mistakes'),
      el('thead', {}, el('tr', {}, ...['Line', 'Field', 'Mistake'].map((each) => el('th', { scope: 'col' }, each)))), el('tbody', {}, ...rows)));
}
