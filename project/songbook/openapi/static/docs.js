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
			InfoContainer: wrapped("header", {}),
			JsonSchema_boolean: labelled,
			JsonSchema_string: labelled,
			RequestBodyEditor: wrapped("label", {}, () => unseen("span", "Request body")),
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

/** Offer the example of a file that is text, to be edited, in place of a file to be chosen. */
const TextFiles = () => ({
	afterLoad() {
		const isFile = this.fn.isFileUploadIntended;
		this.fn.isFileUploadIntended = (schema, mediaType) =>
			!/^(text\/|application\/x-ndjson)/.test(mediaType ?? "") && isFile(schema, mediaType);
	},
});

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
	plugins: [Accessible, Discreet, TextFiles],
	showCommonExtensions: true,
	showExtensions: true,
	syntaxHighlight: { theme: "obsidian" },
	validatorUrl: null,
	onComplete: () => document.querySelector("#servers")?.setAttribute("aria-label", "Server"),
});
