// Bytes and numbers that are equal are found so at once: vitest compares each element by itself, in seconds for a file of weights.
// What is not equal is left to vitest, which says where.
import { expect } from "vitest";

const isNumbers = (value: unknown): value is Exclude<NodeJS.TypedArray, DataView> =>
  ArrayBuffer.isView(value) && !(value instanceof DataView);

const bytesOf = ({ buffer, byteOffset, byteLength }: NodeJS.TypedArray): Buffer =>
  Buffer.from(buffer, byteOffset, byteLength);

/** True for arrays of one kind that hold the same bits; undefined, no answer, for anything else. */
function sameBits(a: unknown, b: unknown): true | undefined {
  if (!isNumbers(a) || !isNumbers(b) || Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return undefined;
  return bytesOf(a).equals(bytesOf(b)) ? true : undefined;
}

/** The same of lists of numbers and texts. */
function sameList(a: unknown, b: unknown): true | undefined {
  if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return undefined;
  const isSame = a.every((one: unknown, i) => isText(one) && Object.is(one, b[i]));
  return isSame && Object.keys(a).length === a.length && Object.keys(b).length === b.length ? true : undefined;
}

const isText = (value: unknown): boolean => typeof value === "number" || typeof value === "string";

expect.addEqualityTesters([sameBits, sameList]);
