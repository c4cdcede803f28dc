// The types that the modules share, for editors and `tsc`; no browser loads this file.

type Row = Record<string, any>;

/** Who is signed in. */
type Session = { token: string | null; me: Row | null };

/** An operation of the OpenAPI document. `isOpen`: without a token, too. */
type Operation = { method: string; path: string; rule?: string; isOpen: boolean; parameters: any[]; content: any; result: any };

/** A field of a body or of a record. */
type Field = {
  name: string; label: string; description: string; type: string; format: string; initial: any;
  isNullable: boolean; isRequired: boolean; choices: any[]; schema: any;
};

/** A field that refers to a record of another resource, which `expand=relation` shows. */
type Reference = { name: string; relation: string; resource: Resource };

/** A list, what can be done with it, and with the records in it. */
type Resource = {
  path: string; name: string; model: string; fields: Field[]; relations: string[]; references: Reference[];
  isWrapped: boolean; isNested: boolean; filters: any[]; sorts: string[]; records?: string; home?: string; list: Operation;
  create?: any; imports?: any; exports: string[][]; expand: { expand?: string };
  read?: Operation; update?: any; remove?: Operation; restore?: Operation;
};

type Service = { title: string; description: string; resources: Resource[]; login?: string; me?: string };

/** The body of an error response (RFC 9457). */
type Problem = {
  status: number; title: string; detail: string; request_id?: string;
  errors?: { pointer: string; detail: string }[]; report?: ImportReport;
};

type ImportReport = {
  read: number; stored: number; skipped: number; refused: number;
  refusals: { line: number; pointer: string; detail: string }[];
};

type Answer = { data: any; etag: string | null; next: string | null; total: string | number | null; response: Response };

/** What is asked for with one field. */
type Control = {
  name: string; node: HTMLElement; value: () => any; isChanged: () => boolean;
  mark: (message: string) => void; focus: () => void;
};

/** What a view shows, and its controls, whose changes leaving it would lose. */
type View = { title: string; nodes: any[]; said?: string; controls?: Control[] };

/** What a view may do with the page around it; `done` leaves a form that is saved. */
type Around = { service: Service; go: (path: string, query?: URLSearchParams) => void; done: (path: string) => void; alert: (problem: any) => any };

type Call = (
  method: string, path: string, options?: { body?: any; type?: string; headers?: Record<string, string>; isFile?: boolean },
) => Promise<Answer>;
type ReadRows = (resource: Resource, path: string, query: any) => Promise<Answer & { rows: Row[] }>;
type Write = (operation: any, path: string, body?: any, etag?: string | null, type?: string) => Promise<Answer>;
type MakeControl = (field: Field, value: any, resource: Resource, row?: Row) => Control;
type ReadRecord = (resource: Resource, path: string) => Promise<{ row: Row; etag?: string | null; isDeleted?: boolean }>;
type ListView = (resource: Resource, path: string, query: URLSearchParams, around: Around) => Promise<View>;
type RecordView = (resource: Resource, path: string, around: Around) => Promise<View>;
type ImportView = (resource: Resource, around: Around) => Promise<View>;
