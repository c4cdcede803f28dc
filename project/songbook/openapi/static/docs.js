const linked = (rel) => document.querySelector(`link[rel=${rel}]`).href;

/** Give names to what Swagger UI leaves without one, and landmarks to what is beside its `main`. */
const Accessible = ({ React: { createElement } }) => {
	const wrapped = (name, given, text) => (Original) => (props) =>
		createElement(name, given, text?.(props), createElement(Original, props));
	const unseen = (name, text) => createElement(name, { className: "unseen" }, text);
	const labelled = wrapped("label", {}, ({ description }) => unseen("span", description || "Value"));
	return {
		wrapComponents: {
			AuthorizeBtnContainer: wrapped("section", { "aria-label": "Authorization" }, () => unseen("h2", "Authorization")),
			CloseIcon: wrapped("span", {}, () => unseen("span", "Close")),
			FilterContainer: wrapped("div", { role: "search" }, () => unseen("h2", "Operations")),
			InfoContainer: wrapped("section", { "aria-label": "About" }),
			JSONSchema202012Accordion: (Original) => (props) => createElement(Original, props, props.children, unseen("span", "Schema")),
			JsonSchema_boolean: labelled,
			JsonSchema_string: labelled,
			RequestBodyEditor: wrapped("label", {}, () => unseen("span", "Request body")),
			errors: wrapped("div", { role: "alert" }),
			ServersContainer: wrapped("section", { "aria-label": "Server" }),
		},
	};
};

/** Keep the token in the browser, but not the password. */
const Discreet = () => ({
	statePlugins: {
		auth: {
			wrapActions: {
				authorizeOauth2: (original) => ({ auth, token }) => original({ auth: { ...auth, password: "" }, token }),
			},
		},
	},
});

/** Offer the example of a file of text as it is, to be edited, and no choice of a file; NDJSON is no JSON. */
const TextFiles = () => ({
	afterLoad() {
		const { getSampleSchema, isFileUploadIntended } = this.fn;
		const isText = (mediaType) => /^(text\/|application\/x-ndjson)/.test(mediaType ?? "");
		this.fn.isFileUploadIntended = (schema, mediaType) => !isText(mediaType) && isFileUploadIntended(schema, mediaType);
		this.fn.getSampleSchema = (schema, mediaType, options, example) =>
			isText(mediaType) && example ? example : getSampleSchema(schema, mediaType, options, example);
	},
});

/** Resolve the references of an operation; Swagger UI parses the whole document for each, in half a second. */
const References = () => {
	const resolved = (part, document, within) => {
		if (part === null || typeof part !== "object") return part;
		if (Array.isArray(part)) return part.map((each) => resolved(each, document, within));
		const { $ref, ...others } = part;
		if ($ref?.startsWith?.("#/") && !within.includes($ref)) {
			const names = $ref.slice(2).split("/").map((name) => name.replaceAll("~1", "/").replaceAll("~0", "~"));
			const found = names.reduce((each, name) => each?.[name], document);
			return resolved({ ...found, ...others }, document, [...within, $ref]);
		}
		return Object.fromEntries(Object.entries(part).map(([name, each]) => [name, resolved(each, document, within)]));
	};
	const find = (document, path) => path.reduce((each, name) => each?.[name], document);
	return {
		fn: { resolveSubtree: async (document, path) => ({ errors: [], spec: resolved(find(document, path), document, []) ?? null }) },
	};
};

const dark = matchMedia("(prefers-color-scheme: dark)");
const paint = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", paint);
paint();

// also at an alias, as the token URL in the document is relative to the page
history.replaceState(null, "", linked("canonical") + location.hash);

SwaggerUIBundle({
	url: linked("service-desc"),
	dom_id: "#swagger-ui",
	deepLinking: true,
	defaultModelsExpandDepth: -1,
	docExpansion: "none",
	filter: true,
	persistAuthorization: true,
	plugins: [Accessible, Discreet, References, TextFiles],
	showCommonExtensions: true,
	showExtensions: true,
	syntaxHighlight: { theme: "obsidian" },
	validatorUrl: null,
	onComplete: () => document.querySelector("#servers")?.setAttribute("aria-label", "Server"),
});
