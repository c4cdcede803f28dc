// What the console knows of the service: everything is read from its OpenAPI document.
import { session } from './api.js';

/**
 * @typedef {{name: string, in: string, description?: string, schema: any}} Parameter
 * @typedef {{method: string, rule?: string, isOpen: boolean, parameters: Parameter[], body: any, result: any}} Operation
 * @typedef {{name: string, label: string, description: string, type: string, format: string, nullable: boolean, required: boolean, choices: any[] | null, schema: any, initial: any}} Field
 * @typedef {{field: string, relation: string, resource: Resource}} Reference
 * @typedef {{path: string, name: string, model: string, isWrapped: boolean, fields: Field[], list: Operation, filters: Parameter[], sorts: string[], relations: string[], references: Reference[], record: string | null, create?: Operation, read?: Operation, update?: Operation, remove?: Operation, restore?: Operation, importing?: {path: string, operation: Operation}, exports: {path: string, type: string, name: string, operation: Operation}[]}} Resource
 * @typedef {{title: string, description: string, resources: Resource[], login: string, me: string | null}} Service
 */

const OPTIONS = ['limit', 'sort', 'after', 'before', 'q', 'count', 'escape', 'expand', 'fields', 'deleted'];
const TYPES = ['array', 'object', 'boolean', 'integer', 'number', 'string'];

/** @type {any} */
let source;

/** Follow a reference of the document. @param {any} part @returns {any} */
function resolve(part) {
  if (!part?.$ref) return part ?? {};
  return resolve(part.$ref.slice(2).split('/').reduce((/** @type {any} */ at, /** @type {string} */ name) => at?.[name], source));
}

/** Return `created_at` as `Created at`. @param {string} name */
export function titled(name) {
  const words = name.replaceAll(/[_-]/g, ' ').replace(/ id$/, '');
  return words[0].toUpperCase() + words.slice(1);
}

/** Return the name of the model that a schema refers to, if it does. @param {any} schema @returns {string} */
function modelOf(schema) {
  const refs = [schema, ...(schema?.anyOf ?? []), ...(schema?.allOf ?? [])];
  return refs.find((each) => each?.$ref)?.$ref.split('/').pop() ?? '';
}

/** @param {string} name @param {any} given @param {boolean} required @returns {Field} */
export function fieldOf(name, given, required) {
  const schema = resolve(given);
  const parts = (schema.anyOf ?? schema.oneOf ?? schema.allOf ?? [schema]).map(resolve);
  const choices = parts.flatMap((/** @type {any} */ each) => each.enum ?? ('const' in each ? [each.const] : []));
  const type = TYPES.find((each) => parts.some((/** @type {any} */ part) => part.type === each)) ?? 'string';
  const main = parts.find((/** @type {any} */ part) => part.type === type) ?? {};
  return {
    name, type, required,
    label: titled(name),
    description: schema.description ?? given.description ?? '',
    format: main.format ?? (main.writeOnly ? 'password' : ''),
    nullable: parts.some((/** @type {any} */ part) => part.type === 'null'),
    choices: choices.length ? choices : null,
    schema: main,
    initial: schema.default ?? null,
  };
}

/** Return the fields of an object. @param {any} schema */
export function fieldsOf(schema) {
  const { properties = {}, required = [] } = resolve(schema);
  return Object.entries(properties).map(([name, each]) => fieldOf(name, each, required.includes(name)));
}

/** Return whether a parameter takes a value. @param {any} given @param {string} value @returns {boolean} */
export function takes(given, value) {
  const schema = resolve(given);
  if (schema.items) return takes(schema.items, value);
  if (schema.anyOf) return schema.anyOf.some((/** @type {any} */ each) => takes(each, value));
  if ('const' in schema) return schema.const === value;
  if (schema.enum) return schema.enum.includes(value);
  return !!schema.pattern && new RegExp(schema.pattern, 'u').test(value);
}

/** @param {Operation} operation @param {string} name */
export const parameterOf = (operation, name) => operation.parameters.find((each) => each.name === name && each.in === 'query');

/** Return whether who is signed in may try an operation. @param {Operation | undefined} operation */
export function isOffered(operation) {
  if (!operation) return false;
  if (operation.isOpen) return true;
  return !!session.token && (operation.rule !== 'superuser' || session.me?.is_superuser !== false);
}

/** @param {string} path @param {string} method @returns {Operation | undefined} */
function operationOf(path, method) {
  const item = source.paths[path], found = item?.[method];
  if (!found) return undefined;
  const needed = found.security ?? source.security ?? [];
  const success = Object.keys(found.responses).filter((status) => /^2/.test(status)).sort().pop() ?? '';
  return {
    method,
    rule: found['x-rule'],
    isOpen: !needed.length || needed.some((/** @type {object} */ each) => !Object.keys(each).length),
    parameters: [...(item.parameters ?? []), ...(found.parameters ?? [])].map(resolve),
    body: resolve(found.requestBody).content,
    result: resolve(found.responses[success]).content?.['application/json']?.schema,
  };
}

/** Return the resource whose list a path is; null if it is none. @param {string} path @returns {Resource | null} */
function resourceOf(path) {
  const list = operationOf(path, 'get');
  if (!list || !parameterOf(list, 'limit') || !parameterOf(list, 'after')) return null;
  const page = resolve(list.result), model = modelOf(page.items ?? page.properties?.items?.items);
  if (!model) return null;
  const expand = parameterOf(list, 'expand'), sort = parameterOf(list, 'sort');
  const all = fieldsOf(source.components.schemas[model]), names = all.map((each) => each.name);
  const relations = expand ? names.filter((name) => takes(expand.schema, name)) : [];
  const rest = Object.keys(source.paths).find((each) => each.startsWith(`${path}/{`) && !each.slice(path.length + 1).includes('/'));
  const records = rest ?? null;
  const csv = operationOf(`${path}.csv`, 'post'), create = operationOf(path, 'post');
  return {
    path, model, relations,
    name: titled(path.split('/').pop() ?? ''),
    isWrapped: !page.items,
    fields: all.filter((each) => !relations.includes(each.name)),
    list,
    filters: list.parameters.filter((each) => each.in === 'query' && !OPTIONS.includes(each.name)),
    sorts: sort ? names.filter((name) => takes(sort.schema, name)) : [],
    references: [],
    record: records,
    create: create?.body?.['application/json'] ? create : undefined,
    ...(records ? ofRecord(records) : {}),
    importing: csv ? { path: `${path}.csv`, operation: csv }
      : create?.body?.['text/csv'] ? { path, operation: create } : undefined,
    exports: exportsOf(path, list),
  };
}

/** @param {string} path */
const ofRecord = (path) => ({
  read: operationOf(path, 'get'),
  update: operationOf(path, 'patch') ?? operationOf(path, 'put'),
  remove: operationOf(path, 'delete'),
  restore: operationOf(`${path}/restore`, 'post'),
});

/** @param {string} path @param {Operation} list */
function exportsOf(path, list) {
  const kinds = [['CSV', 'csv', 'text/csv'], ['NDJSON', 'ndjson', 'application/x-ndjson']];
  const own = kinds.flatMap(([name, suffix, type]) => {
    const operation = operationOf(`${path}.${suffix}`, 'get');
    return operation ? [{ path: `${path}.${suffix}`, name, type, operation }] : [];
  });
  const also = resolve(source.paths[path].get.responses['200']).content ?? {};
  const negotiated = kinds.filter(([, , type]) => type in also).map(([name, , type]) => ({ path, name, type, operation: list }));
  return own.length ? own : negotiated;
}

/** Read the document. @param {any} document @returns {Service} */
export function readDocument(document) {
  source = document;
  const found = Object.keys(document.paths).map(resourceOf);
  const resources = /** @type {Resource[]} */ (found.filter((each) => each !== null));
  for (const each of resources) {
    const parent = resources.find((one) => each.path.startsWith(`${one.path}/`) && !each.path.slice(one.path.length).includes('{'));
    if (parent) each.name = `${parent.name}: ${each.name.toLowerCase()}`;
    const twin = resources.find((one) => one.model === each.model && one.record && !one.path.includes('{'));
    if (!each.record && twin) {
      const { record, read, update, remove, restore } = twin;
      Object.assign(each, { record, read, update, remove, restore });
    }
    each.references = referencesOf(each, resources);
  }
  const me = Object.keys(document.paths).find((path) => path.endsWith('/me') && document.paths[path].get);
  const flow = document.components?.securitySchemes?.password?.flows?.password;
  return {
    title: document.info.title,
    description: document.info.description ?? '',
    resources,
    login: flow ? `/${flow.tokenUrl.replace(/^\//, '')}` : '',
    me: me ?? null,
  };
}

/** @param {Resource} resource @param {Resource[]} resources @returns {Reference[]} */
function referencesOf(resource, resources) {
  const properties = source.components.schemas[resource.model].properties;
  return resource.fields.flatMap(({ name }) => {
    const relation = name.replace(/_id$/, '');
    const model = relation !== name && resource.relations.includes(relation) ? modelOf(properties[relation]) : '';
    const target = model && resources.find((each) => each.model === model && each.record && !each.path.includes('{'));
    return target ? [{ field: name, relation, resource: target }] : [];
  });
}

/** Return the field that names a record. @param {Resource} resource */
export function labelField(resource) {
  const texts = resource.fields.filter((each) => each.type === 'string' && !each.format && !each.choices);
  return (texts.find((each) => ['name', 'title', 'label', 'username'].includes(each.name)) ?? texts[0])?.name ?? 'id';
}

/** Return the name of a record. @param {Resource} resource @param {Record<string, any>} row */
export const labelOf = (resource, row) => String(row[labelField(resource)] ?? row.id).slice(0, 80);
