// JSON as serde_json accepts it: RFC 8259, no lone surrogates, 127 levels. Duplicate keys are reported; JSON.parse
// hides them. Numbers other than safe integers keep their text, so that 1.0 is not taken for an integer and 2^60 loses
// no digits.

/** A number that is no integer literal within ±(2^53 - 1). */
export class JsonNumber {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

export type JsonValue = null | boolean | number | string | JsonNumber | readonly JsonValue[] | JsonMap;
export type JsonMap = ReadonlyMap<string, JsonValue>;

/** The text is no JSON; `offset` counts UTF-16 units. */
export class JsonSyntaxError extends Error {
  readonly offset: number;
  constructor(problem: string, offset: number) {
    super(`${problem} at character ${offset}`);
    this.offset = offset;
  }
}

/** `path` leads to the object that has `key` twice. */
export class JsonDuplicateKeyError extends Error {
  readonly path: readonly string[];
  readonly key: string;
  constructor(path: readonly string[], key: string) {
    super(`duplicate key ${JSON.stringify([...path, key].join(" → "))}`);
    this.path = path;
    this.key = key;
  }
}

/** An object inside the document has more than the `limit` of keys. */
export class JsonKeysError extends Error {
  readonly path: readonly string[];
  readonly limit: number;
  constructor(path: readonly string[], limit: number) {
    super(`more than ${limit} keys in ${JSON.stringify(path.join(" → "))}`);
    this.path = path;
    this.limit = limit;
  }
}

/** Depth at which serde_json stops. */
const MAX_DEPTH = 127;

const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const INTEGER = /^-?\d+$/;
const LONE_SURROGATE = /\p{Surrogate}/u;

/** A number that takes more characters than this is of no use to anybody, and takes long to read. */
const MAX_NUMBER_LENGTH = 1000;
/** Digits of an integer that is safe in any case. */
const SAFE_DIGITS = 15;

export interface StrictJsonOptions {
  /** Most keys of an object that is inside another. */
  readonly innerKeys?: number;
  /**
   * Takes the values of the outermost object one after the other. None of them is kept, so that a document need not be in
   * memory as a whole: what is returned has its keys only.
   */
  readonly entry?: (key: string, value: JsonValue) => void;
  /**
   * Asked first for each value of the outermost object: the offset after it where the callee has taken it from the text by
   * itself, as JSON; else null. Then `entry` gets the parsed value.
   */
  readonly taken?: (key: string, begin: number) => number | null;
}

/** Throws JsonSyntaxError, JsonDuplicateKeyError or JsonKeysError. */
export function parseStrictJson(text: string, options: StrictJsonOptions = {}): JsonValue {
  return new Scanner(text, options).document();
}

class Scanner {
  readonly #text: string;
  #at = 0;
  readonly #path: string[] = [];
  #depth = 0;

  readonly #innerKeys: number;
  readonly #entry: StrictJsonOptions["entry"];
  readonly #taken: StrictJsonOptions["taken"];

  constructor(text: string, { innerKeys = Number.POSITIVE_INFINITY, entry, taken }: StrictJsonOptions) {
    this.#text = text;
    this.#innerKeys = innerKeys;
    this.#entry = entry;
    this.#taken = taken;
  }

  document(): JsonValue {
    this.#skipSpace();
    const value = this.#value();
    this.#skipSpace();
    if (this.#at < this.#text.length) this.#fail("trailing characters");
    return value;
  }

  #fail(problem: string): never {
    throw new JsonSyntaxError(this.#at < this.#text.length ? problem : "unexpected end", this.#at);
  }

  #skipSpace(): void {
    for (;;) {
      const c = this.#text.charCodeAt(this.#at);
      if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return;
      this.#at += 1;
    }
  }

  #value(): JsonValue {
    const c = this.#text.charCodeAt(this.#at);
    if (c === QUOTE) return this.#string();
    if (c === OPEN_BRACE || c === OPEN_BRACKET) return this.#nested(c === OPEN_BRACE);
    if (c === MINUS || (c >= ZERO && c <= NINE)) return this.#number();
    return this.#word();
  }

  #nested(isObject: boolean): JsonValue {
    this.#depth += 1;
    if (this.#depth > MAX_DEPTH) this.#fail(`more than ${MAX_DEPTH} levels`);
    this.#at += 1;
    this.#skipSpace();
    const value = isObject ? this.#object() : this.#array();
    this.#depth -= 1;
    return value;
  }

  #object(): JsonMap {
    const map = new Map<string, JsonValue>();
    if (this.#text.charCodeAt(this.#at) === CLOSE_BRACE) {
      this.#at += 1;
      return map;
    }
    for (;;) {
      if (this.#text.charCodeAt(this.#at) !== QUOTE) this.#fail("expected a key in double quotes");
      const key = this.#string();
      if (map.has(key)) throw new JsonDuplicateKeyError([...this.#path], key);
      if (map.size >= this.#innerKeys && this.#depth > 1) throw new JsonKeysError([...this.#path], this.#innerKeys);
      this.#skipSpace();
      if (this.#text.charCodeAt(this.#at) !== COLON) this.#fail("expected ':'");
      this.#at += 1;
      this.#skipSpace();
      map.set(key, this.#member(key));
      if (this.#ends(CLOSE_BRACE)) return map;
    }
  }

  /** The value of a key; null of one that was given away. */
  #member(key: string): JsonValue {
    const after = this.#depth > 1 ? null : (this.#taken?.(key, this.#at) ?? null);
    if (after !== null) {
      this.#at = after;
      return null;
    }
    this.#path.push(key);
    const value = this.#value();
    this.#path.pop();
    if (this.#depth > 1 || this.#entry === undefined) return value;
    this.#entry(key, value);
    return null;
  }

  #array(): JsonValue[] {
    const list: JsonValue[] = [];
    if (this.#text.charCodeAt(this.#at) === CLOSE_BRACKET) {
      this.#at += 1;
      return list;
    }
    for (;;) {
      list.push(this.#value());
      if (this.#ends(CLOSE_BRACKET)) return list;
    }
  }

  /** After an element: true at the closing character, false after a comma. */
  #ends(close: number): boolean {
    this.#skipSpace();
    const c = this.#text.charCodeAt(this.#at);
    if (c !== COMMA && c !== close) this.#fail(`expected ',' or '${String.fromCharCode(close)}'`);
    this.#at += 1;
    if (c === close) return true;
    this.#skipSpace();
    return false;
  }

  #string(): string {
    const begin = this.#at + 1;
    let at = begin;
    let escaped = false;
    for (let c = this.#text.charCodeAt(at); c !== QUOTE; c = this.#text.charCodeAt(at)) {
      if (c === BACKSLASH) {
        escaped = true;
        at += 1;
      } else if (!(c >= 0x20)) {
        this.#at = at;
        this.#fail("control character in a string");
      }
      at += 1;
    }
    this.#at = at + 1;
    return escaped ? this.#unescape(begin - 1) : this.#text.slice(begin, at);
  }

  #unescape(begin: number): string {
    let value: unknown;
    try {
      value = JSON.parse(this.#text.slice(begin, this.#at));
    } catch {
      throw new JsonSyntaxError("invalid escape in a string", begin);
    }
    if (typeof value !== "string" || LONE_SURROGATE.test(value)) {
      throw new JsonSyntaxError("lone surrogate in a string", begin);
    }
    return value;
  }

  /** Almost all numbers of a header are short and whole. Null for any other. */
  #shortInteger(): number | null {
    let value = 0;
    for (let at = this.#at; at - this.#at <= SAFE_DIGITS; at++) {
      const c = this.#text.charCodeAt(at);
      if (c >= ZERO && c <= NINE) value = 10 * value + c - ZERO;
      else {
        const isOther = at === this.#at || c === 0x2e || (c | 0x20) === 0x65; // "." or "e"
        if (isOther || (at - this.#at > 1 && this.#text.charCodeAt(this.#at) === ZERO)) return null;
        this.#at = at;
        return value;
      }
    }
    return null;
  }

  #number(): number | JsonNumber {
    const short = this.#shortInteger();
    if (short !== null) return short;
    NUMBER.lastIndex = this.#at;
    const text = NUMBER.exec(this.#text)?.[0];
    if (text === undefined) this.#fail("invalid number");
    if (text.length > MAX_NUMBER_LENGTH) this.#fail("a number of more characters than any needs");
    const value = Number(text);
    if (!Number.isFinite(value)) this.#fail("number out of range");
    this.#at += text.length;
    const next = this.#text.charCodeAt(this.#at);
    if (next >= ZERO && next <= NINE) this.#fail("leading zero");
    const exact = Number.isSafeInteger(value) && !Object.is(value, -0) && INTEGER.test(text);
    return exact ? value : new JsonNumber(text);
  }

  #word(): null | boolean {
    for (const [word, value] of WORDS) {
      if (this.#text.startsWith(word, this.#at)) {
        this.#at += word.length;
        return value;
      }
    }
    return this.#fail("expected a value");
  }
}

const WORDS = [
  ["null", null],
  ["true", true],
  ["false", false],
] as const;
