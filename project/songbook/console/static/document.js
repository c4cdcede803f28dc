// What the console knows of the service: everything is read from its OpenAPI document.
import { session } from './api.js';

const OPTIONS = ['limit', 'sort', 'after', 'before', 'q', 'count', 'expand', 'fields', 'deleted'];
const TYPES = ['array', 'object', 'boolean', 'integer', 'number', 'string'];

/** @type {any} */
let source;

const resolve = (part) => (part?.$ref ? resolve(part.$ref.slice(2).split('/').reduce((at, name) => at[name], source)) : part ?? {});
const partsOf = (schema) => schema.anyOf ?? schema.oneOf ?? schema.allOf ?? [schema];
const modelOf = (schema) => partsOf(schema ?? {}).find((each) => each.$ref)?.$ref.split('/').pop();

/** Return `Created at` for `created_at`, and `Artist` for `artist_id`. @param {string} name */
export const titled = (name) => name[0].toUpperCase() + name.slice(1).replace(/_id$/, '').replaceAll(/[_-]/g, ' ');

/** @returns {Field} */
export function fieldOf(name, given, isRequired = false) {
  const schema = resolve(given), parts = partsOf(schema).map(resolve);
  const type = TYPES.find((each) => parts.some((part) => part.type === each)) ?? 'string';
  const main = parts.find((part) => part.type === type) ?? {};
  return {
    name, type, isRequired, label: titled(name), schema: main,
    description: given.description ?? schema.description ?? '',
    format: main.format ?? '',
    initial: schema.default,
    isNullable: parts.some((part) => part.type === 'null'),
    choices: parts.flatMap((part) => part.enum ?? ('const' in part ? [part.const] : [])),
  };
}

const fieldsOf = (schema) => {
  const { properties = {}, required = [] } = resolve(schema);
  return Object.entries(properties).map(([name, each]) => fieldOf(name, each, required.includes(name)));
};

/** Return the fields of the body. @param {any} operation */
export const bodyFields = ({ content }) => fieldsOf(content[Object.keys(content).find((each) => each.includes('json')) ?? '']?.schema);

/** Return a query parameter. @param {Operation | undefined} operation @param {string} name */
export const parameterOf = (operation, name) => operation?.parameters.find((each) => each.name === name && each.in === 'query');

/** Return whether a query parameter takes a value. @param {Operation | undefined} operation @param {string} name @param {string} value */
export const takes = (operation, name, value) => fits(parameterOf(operation, name)?.schema, value);

const fits = (given, value) => {
  const schema = resolve(given), all = schema.enum ?? ('const' in schema && [schema.const]);
  if (schema.items) return fits(schema.items, value);
  return all ? all.includes(value) : !!schema.pattern && new RegExp(schema.pattern, 'u').test(value);
};

/** Return whether the user may try an operation, as far as the document tells. @param {Operation | undefined} operation */
export const isOffered = (operation) => !!operation
  && (operation.isOpen || (!!session.token && (operation.rule !== 'superuser' || session.me?.is_superuser !== false)));

/** @returns {Operation | undefined} */
function operationOf(path, method) {
  const found = source.paths[path]?.[method], needed = found?.security ?? [];
  const success = Object.keys(found?.responses ?? {}).filter((status) => status < '3').pop() ?? '';
  return found && {
    method, path,
    rule: found['x-rule'],
    isOpen: !needed.length || needed.some((each) => !Object.keys(each).length),
    parameters: (found.parameters ?? []).map(resolve),
    content: resolve(found.requestBody).content ?? {},
    result: resolve(found.responses[success]).content?.['application/json']?.schema,
  };
}

/** @returns {Partial<Resource>} */
const ofRecords = (records) => ({
  records,
  read: operationOf(records, 'get'),
  update: operationOf(records, 'patch'),
  remove: operationOf(records, 'delete'),
  restore: operationOf(`${records}/restore`, 'post'),
});

/** Return the resource whose list is at a path, if one is. @returns {Resource[]} */
function resourcesAt(path) {
  const list = operationOf(path, 'get'), page = resolve(list?.result), model = modelOf(page.items ?? page.properties?.items?.items);
  if (!list || !model || !parameterOf(list, 'after')) return [];
  const all = fieldsOf(source.components.schemas[model]), named = (name) => all.map((each) => each.name).filter((each) => takes(list, name, each));
  const relations = named('expand'), records = Object.keys(source.paths).find((each) => each.startsWith(`${path}/{`) && each.indexOf('/', path.length + 1) < 0);
  return [{
    path, list, model, relations,
    name: titled(path.split('/').pop()),
    isWrapped: !page.items,
    isNested: path.includes('{'),
    fields: all.filter((each) => !relations.includes(each.name)),
    filters: list.parameters.filter((each) => each.in === 'query' && !OPTIONS.includes(each.name)),
    sorts: named('sort'),
    references: [],
    create: operationOf(path, 'post'),
    imports: operationOf(`${path}.csv`, 'post'),
    exports: ['csv', 'ndjson'].flatMap((suffix) => operationOf(`${path}.${suffix}`, 'get') ?? []),
    ...(records && ofRecords(records)),
  }];
}

/** Read the document. @returns {Service} */
export function readDocument(document) {
  source = document;
  const { paths, info, components } = document, resources = Object.keys(paths).flatMap(resourcesAt);
  const home = (model) => resources.find((each) => each.model === model && each.records && !each.isNested);
  for (const each of resources) {
    const parent = resources.find((one) => each.path.startsWith(`${one.path}/`) && !each.isNested);
    if (parent) each.name = `${parent.name}: ${each.name.toLowerCase()}`;
    if (!each.records) Object.assign(each, ofRecords(home(each.model)?.records)); // a list of some records of another
    each.references = each.fields.flatMap(({ name }) => {
      const relation = name.replace(/_id$/, '');
      const resource = each.relations.includes(relation) && home(modelOf(components.schemas[each.model].properties[relation]));
      return resource ? [{ field: name, relation, resource }] : [];
    });
  }
  const login = components?.securitySchemes?.password?.flows.password.tokenUrl.replace(/^\/?/, '/');
  return { title: info.title, description: info.description, resources, login, me: Object.keys(paths).find((path) => path.endsWith('/me')) };
}

/** Return the field that names a record. @param {Resource} resource */
export function labelField({ fields }) {
  const texts = fields.filter((each) => each.type === 'string' && !each.format && !each.choices.length);
  return (texts.find((each) => /^(user)?name$|^title$/.test(each.name)) ?? texts[0])?.name ?? 'id';
}

/** Return the name of a record. @param {Resource} resource @param {Row} row */
export const labelOf = (resource, row) => String(row[labelField(resource)] || row.id).slice(0, 80);

/** @param {Resource} resource @param {string} name */
export const referenceOf = (resource, name) => resource.references.find((each) => each.field === name);
