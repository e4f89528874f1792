// The entry of a tensor in a header, where it is spelled as the official writer spells it: read without a tree of JSON.
// Checkpoints have up to 100,000 of them, of few shapes. Whatever is spelled otherwise, or wrong, is left to the parser.
import { bitsOf, DTYPES, type Dtype, elementCount } from "../../base/dtype.ts";
import type { HeaderTensor } from "./entry.ts";

const DTYPE = '{"dtype":"';
const SHAPE = '","shape":[';
const OFFSETS = '],"data_offsets":[';
const END = "]}";

const COMMA = 0x2c;
const ZERO = 0x30;
const NINE = 0x39;
const QUOTE = 0x22;
const CLOSE = 0x5d;
/** Digits of an integer that is safe in any case. */
const SAFE_DIGITS = 15;

const BY_NAME = new Map<string, Dtype>(DTYPES.map((dtype) => [dtype, dtype]));

interface Shape {
  readonly sizes: readonly number[];
  readonly elements: number;
}

/** Takes the entries of one header's text, in whatever order they are asked for. */
export class PlainEntries {
  /** After the last entry that was taken. */
  at = 0;
  readonly #text: string;
  readonly #shapes = new Map<string, Shape>();

  constructor(text: string) {
    this.#text = text;
  }

  /** The tensor whose entry begins at `begin`; null where the entry is not plainly that of one. */
  take(key: string, begin: number): HeaderTensor | null {
    const text = this.#text;
    if (!text.startsWith(DTYPE, begin)) return null;
    const ofDtype = begin + DTYPE.length;
    const dtype = BY_NAME.get(text.slice(ofDtype, this.#until(QUOTE, ofDtype)));
    if (dtype === undefined) return null;
    const ofShape = ofDtype + dtype.length;
    if (!text.startsWith(SHAPE, ofShape)) return null;
    const shape = this.#shape(ofShape + SHAPE.length);
    if (shape === null || !text.startsWith(OFFSETS, this.at)) return null;
    const from = this.#integer(this.at + OFFSETS.length);
    if (text.charCodeAt(this.at) !== COMMA) return null;
    const to = this.#integer(this.at + 1);
    if (!text.startsWith(END, this.at) || from < 0 || to - from !== (shape.elements * bitsOf(dtype)) / 8) return null;
    this.at += END.length;
    return { key, dtype, shape: shape.sizes, begin: from, end: to };
  }

  /** Offset of the next such character, within the length of any dtype or shape; else where looking for it ended. */
  #until(code: number, begin: number): number {
    let at = begin;
    while (at - begin < 256 && at < this.#text.length && this.#text.charCodeAt(at) !== code) at++;
    return at;
  }

  #shape(begin: number): Shape | null {
    const end = this.#until(CLOSE, begin);
    const written = this.#text.slice(begin, end);
    this.at = end;
    const known = this.#shapes.get(written);
    if (known !== undefined) return known;
    const sizes: number[] = [];
    for (let at = begin; at < end; at = this.at + 1) {
      const size = this.#integer(at);
      const isLast = this.at === end;
      // A size of 0 is one of those that the parser counts with care.
      if (size <= 0 || !(isLast || this.#text.charCodeAt(this.at) === COMMA) || this.at + 1 === end) return null;
      sizes.push(size);
    }
    this.at = end;
    const shape = { sizes, elements: elementCount(sizes) };
    if (!Number.isSafeInteger(shape.elements * 64)) return null;
    this.#shapes.set(written, shape);
    return shape;
  }

  /** Negative where there is none as JSON has it, or one too long. */
  #integer(begin: number): number {
    let value = 0;
    let at = begin;
    for (let c = this.#text.charCodeAt(at); c >= ZERO && c <= NINE; c = this.#text.charCodeAt(at)) {
      value = 10 * value + c - ZERO;
      at++;
    }
    this.at = at;
    const digits = at - begin;
    const isPlain = digits === 1 || (digits > 0 && this.#text.charCodeAt(begin) !== ZERO);
    return isPlain && digits <= SAFE_DIGITS ? value : -1;
  }
}
