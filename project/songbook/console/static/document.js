// What the OpenAPI document says of the service.
import { session } from './api.js';

const OPTIONS = ['limit', 'sort', 'after', 'q', 'count', 'expand', 'fields', 'deleted'];

/** @type {any} */
let source;

const resolve = (part) => (part?.$ref ? resolve(part.$ref.slice(2).split('/').reduce((at, name) => at[name], source)) : part ?? {});
export const namesOf = (list) => list.map((each) => each.name);
export const named = (list, name) => list.find((each) => each.name === name);

const partsOf = (schema) => schema.anyOf ?? [schema];
const modelOf = (schema) => partsOf(schema ?? {}).find((each) => each.$ref)?.$ref.split('/').pop();

/** Return `Created at` for `created_at`, and `Artist` for `artist_id`. */
export const titled = (name) => name[0].toUpperCase() + name.slice(1).replace(/_id$/, '').replace(/[_-]/g, ' ');

/** @returns {Field} */
export function fieldOf(name, given, isRequired = false) {
	const schema = resolve(given), parts = partsOf(schema).map(resolve), main = parts.find((part) => part.type !== 'null') ?? {};
	return {
		name, isRequired, label: titled(name), type: main.type ?? 'string', schema: main,
		description: given?.description ?? schema.description,
		format: main.format,
		initial: schema.default ?? undefined,
		isNullable: parts.some((part) => part.type === 'null'),
		choices: parts.flatMap((part) => part.enum ?? ('const' in part ? [part.const] : [])),
	};
}

export const fieldsOf = (schema) => {
	const { properties = {}, required = [] } = resolve(schema);
	return Object.entries(properties).map(([name, each]) => fieldOf(name, each, required.includes(name)));
};

export const bodyFields = ({ content }) => fieldsOf(content['application/json']?.schema);

export const parameterOf = (operation, name) => named(operation?.parameters ?? [], name);

export const takes = (operation, name, value) => {
	const given = parameterOf(operation, name)?.schema, { choices, schema } = fieldOf(name, given?.items ?? given);
	return choices.includes(value) || (schema.pattern && new RegExp(schema.pattern, 'u').test(value));
};

/** Return whether the user may try an operation. */
export const isOffered = (operation) => operation
	&& (operation.isOpen || (session.token && (operation.rule !== 'superuser' || session.me?.is_superuser !== false)));

/** @returns {Operation | undefined} */
function operationOf(path, method) {
	const found = source.paths[path]?.[method], needed = found?.security ?? [];
	return found && {
		method, path,
		rule: found['x-rule'],
		isOpen: !needed.length || needed.some((each) => !Object.keys(each).length),
		parameters: (found.parameters ?? []).map(resolve),
		content: resolve(found.requestBody).content ?? {},
		result: resolve(found.responses[200]).content?.['application/json']?.schema,
	};
}

const ofRecords = (records) => ({
	records,
	read: operationOf(records, 'get'),
	update: operationOf(records, 'patch'),
	remove: operationOf(records, 'delete'),
	restore: operationOf(`${records}/restore`, 'post'),
});

/** @returns {Resource[]} none or one */
function resourcesAt(path) {
	const list = operationOf(path, 'get'), page = resolve(list?.result), model = modelOf(page.items ?? page.properties?.items?.items);
	if (!list || !model || !parameterOf(list, 'after')) return [];
	const all = fieldsOf(source.components.schemas[model]), taken = (name) => namesOf(all).filter((each) => takes(list, name, each));
	const relations = taken('expand'), records = Object.keys(source.paths).find((each) => each.startsWith(`${path}/{`) && each.indexOf('/', path.length + 1) < 0);
	return [{
		path, list, model, relations,
		name: titled(path.split('/').pop()),
		isWrapped: !page.items,
		isNested: path.includes('{'),
		fields: all.filter((each) => !relations.includes(each.name)),
		filters: list.parameters.filter((each) => each.in === 'query' && !OPTIONS.includes(each.name)),
		sorts: taken('sort'),
		references: [],
		expand: {},
		create: operationOf(path, 'post'),
		imports: operationOf(`${path}.csv`, 'post'),
		exports: operationOf(`${path}.csv`, 'get') ? [['csv', 'CSV', ''], ['csv', 'CSV for a spreadsheet', '&escape=formulas'], ['ndjson', 'NDJSON', '']] : [],
		...(records && ofRecords(records)),
	}];
}

/** @returns {Service} */
export function readDocument(document) {
	source = document;
	const { paths, info, components } = document, resources = Object.keys(paths).flatMap(resourcesAt);
	const home = (model) => resources.find((each) => each.model === model && each.records && !each.isNested);
	for (const each of resources) {
		const parent = resources.find((one) => each.path.startsWith(`${one.path}/`) && !each.isNested);
		if (parent) each.name = `${parent.name}: ${each.name.toLowerCase()}`;
		const own = home(each.model);
		if (!each.records) Object.assign(each, ofRecords(own?.records), { home: own?.path }); // a list of some records of another
		each.references = each.fields.flatMap(({ name }) => {
			const relation = name.replace(/_id$/, '');
			const resource = each.relations.includes(relation) && home(modelOf(components.schemas[each.model].properties[relation]));
			return resource ? [{ name, relation, resource }] : [];
		});
		if (each.references.length) each.expand = { expand: String(each.references.map((one) => one.relation)) };
	}
	const login = components?.securitySchemes?.password?.flows.password.tokenUrl.replace(/^\/?/, '/');
	return { title: info.title, description: info.description, resources, login, me: Object.keys(paths).find((path) => path.endsWith('/me')) };
}

export const labelField = ({ fields }) => {
	const texts = namesOf(fields.filter((each) => each.type === 'string' && !each.format && !each.choices.length));
	return texts.find((each) => /^(user)?name$|^title$/.test(each)) ?? texts[0] ?? 'id';
};

export const labelOf = (resource, row) => String(row[labelField(resource)] || row.id).slice(0, 80);
