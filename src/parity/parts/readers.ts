// Values of the documents of parts that are more than JSON has: numbers that are none, and many numbers at once.
import type { JsonReader } from "../../base/json.ts";

const WORDS: ReadonlyMap<unknown, number> = new Map([
  ["NaN", Number.NaN],
  ["Infinity", Number.POSITIVE_INFINITY],
  ["-Infinity", Number.NEGATIVE_INFINITY],
]);

/** As JSON, with what is no number in JSON by its name. A set is its values, a map a list of pairs, and f64 are their bytes. */
export const textOf = (document: object): string => JSON.stringify(document, (_, value: unknown) => plain(value));

function plain(value: unknown): unknown {
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  if (value instanceof Float64Array) {
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64");
  }
  return value instanceof Set || value instanceof Map ? [...value] : value;
}

export const number = (reader: JsonReader): number => WORDS.get(reader.value) ?? reader.number();

export const numbers = (reader: JsonReader): number[] => reader.list().map(number);
export const sizes = (reader: JsonReader): number[] => reader.list().map((each) => each.size());
export const texts = (reader: JsonReader): string[] => reader.list().map((each) => each.text());

/** @param length how many there have to be; any unless given */
export function doubles(reader: JsonReader, length?: number): Float64Array {
  const bytes = Buffer.from(reader.text(), "base64");
  const isWhole = bytes.length % 8 === 0 && (length === undefined || bytes.length === 8 * length);
  if (!isWhole) reader.fail(length === undefined ? "list of f64 in base64" : `list of ${length} f64 in base64`);
  return new Float64Array(Uint8Array.from(bytes).buffer);
}

/** A member that is left out where it has nothing to say. */
export function maybe<T, K extends string>(
  reader: JsonReader,
  name: K,
  read: (member: JsonReader) => T,
): { readonly [N in K]?: T } {
  const member = reader.optional(name);
  const found: { [N in K]?: T } = {};
  if (member !== undefined) found[name] = read(member);
  return found;
}

/** Pairs, as a map is written. */
export const pairs = <T>(reader: JsonReader, read: (value: JsonReader) => T): Map<string, T> =>
  new Map(
    reader.list().map((pair) => {
      const [name, value] = pair.list();
      return name === undefined || value === undefined ? pair.fail("pair") : [name.text(), read(value)];
    }),
  );
