// JSON that came from a file: nothing is assumed about the types in it.

export type JsonObject = { readonly [key: string]: unknown };

export const isJsonObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Depth at which serde_json stops. What walks a value may recurse. */
const MAX_DEPTH = 127;

/** `JSON.parse`, for values nested up to 127 deep. Throws SyntaxError. */
export function parseJson(text: string): unknown {
  if (isTooDeep(text)) throw new SyntaxError(`its lists and objects are nested more than ${MAX_DEPTH} deep`);
  const value: unknown = JSON.parse(text);
  return value;
}

function isTooDeep(text: string): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === '"') at = endOfString(text, at);
    else if (character === "[" || character === "{") depth += 1;
    else if (character === "]" || character === "}") depth -= 1;
    if (depth > MAX_DEPTH) return true;
  }
  return false;
}

/** Where the quote stands that ends a string; the end of a text that has none. */
function endOfString(text: string, begin: number): number {
  let at = begin + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at;
}

/** What a reader found instead of what it was asked for. */
export interface JsonFault {
  /** Names and indices that lead to the value, joined by dots; empty for the document. */
  readonly place: string;
  /** A noun: `string`, `object with "files"`. */
  readonly expected: string;
  /** The value, shortened. */
  readonly found: string;
}

/** One value of a document and its place. Each method gives it as one type, or throws the error that `refuse` makes. */
export class JsonReader {
  constructor(
    readonly value: unknown,
    private readonly refuse: (fault: JsonFault) => Error,
    private readonly place = "",
  ) {}

  fail(expected: string): never {
    throw this.refuse({ place: this.place, expected, found: shortened(this.value) });
  }

  /** What `read` makes of it, or null for null. */
  nullable<T>(read: (reader: this) => T): T | null {
    return this.value === null ? null : read(this);
  }

  /** A member of an object, if it has it. */
  optional(name: string): JsonReader | undefined {
    if (!isJsonObject(this.value)) return this.fail("object");
    return Object.hasOwn(this.value, name) ? this.child(this.value[name], name) : undefined;
  }

  field(name: string): JsonReader {
    return this.optional(name) ?? this.fail(`object with "${name}"`);
  }

  list(): JsonReader[] {
    if (!Array.isArray(this.value)) return this.fail("list");
    return this.value.map((item: unknown, i) => this.child(item, String(i)));
  }

  /** All members of an object. */
  map<T>(read: (reader: JsonReader) => T): Map<string, T> {
    if (!isJsonObject(this.value)) return this.fail("object");
    return new Map(Object.entries(this.value).map(([name, value]) => [name, read(this.child(value, name))]));
  }

  text(): string {
    return typeof this.value === "string" ? this.value : this.fail("string");
  }

  /** One of some words; `noun` stands for them in messages. */
  oneOf<T extends string>(words: readonly T[], noun: string): T {
    const text = this.text();
    return words.find((word) => word === text) ?? this.fail(noun);
  }

  boolean(): boolean {
    return typeof this.value === "boolean" ? this.value : this.fail("boolean");
  }

  /** An integer from 0 on. */
  size(): number {
    const { value } = this;
    return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : this.fail("size");
  }

  number(): number {
    return typeof this.value === "number" ? this.value : this.fail("number");
  }

  private child(value: unknown, name: string): JsonReader {
    return new JsonReader(value, this.refuse, this.place === "" ? name : `${this.place}.${name}`);
  }
}

const MAX_SHOWN = 80;

/** A value as messages show it. */
export function shortened(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}
