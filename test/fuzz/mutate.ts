// Cases from good inputs: a case is told by its parser, the run's seed and its number, and comes out the same everywhere.

/** Numbers in [0, n), from a generator of 32 bits of state (mulberry32). */
export type Random = (n: number) => number;

export function randomOf(...seeds: readonly number[]): Random {
  let state = seeds.reduce((mixed, seed) => Math.imul(mixed ^ seed, 0x9e3779b1) + 0x7f4a7c15, 0x2545f491) | 0;
  return (n) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * n);
  };
}

const pick = <T>(random: Random, from: readonly T[]): T => from[random(from.length)]!;

export type Mutation = (bytes: Buffer, random: Random, other: Buffer) => Buffer;

const splice = (bytes: Buffer, at: number, removed: number, added: Uint8Array): Buffer =>
  Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at + removed)]);

const EDGES = [0x00, 0x01, 0x7f, 0x80, 0xff, 0x0a, 0x20, 0x22, 0x5b, 0x7b] as const;

function lengthIn(random: Random, most: number): number {
  return 1 + random(Math.max(1, Math.min(most, 2 ** random(10))));
}

/** Changes that know nothing of the format. */
export const ON_BYTES: readonly Mutation[] = [
  (bytes, random) => {
    const changed = Buffer.from(bytes);
    changed[random(changed.length)]! ^= 1 << random(8);
    return changed;
  },
  (bytes, random) => {
    const changed = Buffer.from(bytes);
    changed[random(changed.length)] = pick(random, EDGES);
    return changed;
  },
  (bytes, random) => {
    const at = random(bytes.length);
    return splice(bytes, at, lengthIn(random, bytes.length - at), Buffer.alloc(0));
  },
  (bytes, random) => {
    const at = random(bytes.length);
    const part = bytes.subarray(at, at + lengthIn(random, bytes.length - at));
    const times = random(8) === 0 ? 1 + random(Math.floor(20_000 / part.length) + 1) : 1;
    return splice(bytes, random(bytes.length), 0, Buffer.concat(Array.from({ length: times }, () => part)));
  },
  (bytes, random, other) => {
    const at = random(other.length);
    const from = other.subarray(at, at + lengthIn(random, other.length - at));
    return splice(bytes, random(bytes.length), random(2) * from.length, from);
  },
  (bytes, random) => Buffer.from(bytes.subarray(0, random(bytes.length))),
  (bytes, random) => {
    if (bytes.length < 8) return bytes;
    const changed = Buffer.from(bytes);
    const at = random(changed.length - 7);
    const value = pick(random, [0n, 1n, 0x7fffffffn, 0x80000000n, 0xffffffffn, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]);
    if (random(2) === 0) changed.writeBigUInt64LE(value, at);
    else changed.writeUInt32LE(Number(value & 0xffffffffn), at);
    return changed;
  },
];

const VALUES = [
  "0", "-1", "1", "2", "1000000000", "9007199254740991", "9007199254740993", "18446744073709551616", "1e308", "1e999",
  "-0", "0.5", "null", "true", "\"\"", "\"\\u0000\"", "\"__proto__\"", "\"../x\"", "[]", "{}", "[[]]", "[0,9007199254740991]",
  `${"[".repeat(200)}${"]".repeat(200)}`, `{"a":${"[".repeat(126)}${"]".repeat(126)}}`, `"${"x".repeat(5000)}"`,
  `[${"0,".repeat(3000)}0]`, "NaN", "Infinity",
] as const; // biome-ignore format: a list

const SCALAR = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/g;
const GROUP = /\[[^[\]{}]*\]|\{[^[\]{}]*\}/g;
const FIELD = /"(?:[^"\\]|\\.)*":(?:"(?:[^"\\]|\\.)*"|[^,[\]{}"]+|\[[^[\]{}]*\]|\{[^[\]{}]*\}),?/g;

function onMatch(pattern: RegExp, change: (found: string, random: Random) => string): Mutation {
  return (bytes, random) => {
    const text = bytes.toString("utf8");
    const found = [...text.matchAll(pattern)];
    const chosen = found[random(Math.max(1, found.length))];
    if (chosen === undefined) return bytes;
    const { index, 0: old } = chosen;
    return Buffer.from(text.slice(0, index) + change(old, random) + text.slice(index + old.length));
  };
}

/** Changes of a JSON text that leave it JSON, mostly. */
export const ON_JSON: readonly Mutation[] = [
  onMatch(SCALAR, (_, random) => pick(random, VALUES)),
  onMatch(/-?\d+/g, (old, random) =>
    pick(random, ["0", "-1", "7", "4096", "1000000000", "9007199254740991", `${old}0`]),
  ),
  onMatch(GROUP, (_, random) => pick(random, VALUES)),
  onMatch(FIELD, (old, random) => pick(random, ["", `${old}${old.endsWith(",") ? "" : ","}${old}`])),
  onMatch(/"[^"\\]*":/g, (_, random) =>
    pick(random, ['"__proto__":', '"":', '"a.b":', '"\\ud800":', '"constructor":']),
  ),
  (bytes, random, other) => {
    const texts = [...other.toString("utf8").matchAll(SCALAR)];
    const from = texts[random(Math.max(1, texts.length))]?.[0] ?? "0";
    return onMatch(SCALAR, () => from)(bytes, random, other);
  },
];

/** Opcodes of pickles that build, repeat and take apart (CPython, Lib/pickletools.py). */
const OPCODES = Buffer.from("()]}Neatsu.0q\x85\x86\x87\x94KMJ\x8aRbcX\x8c\x93\x81Q\x90\x8f\x91l", "latin1");

export const ON_PICKLES: readonly Mutation[] = [
  (bytes, random) => splice(bytes, random(bytes.length), random(2), Buffer.from([OPCODES[random(OPCODES.length)]!])),
  (bytes, random) => {
    const run = Buffer.alloc(1 + random(random(16) === 0 ? 200_000 : 300), OPCODES[random(OPCODES.length)]);
    return splice(bytes, random(bytes.length), 0, run);
  },
];

/** Case `index` of a run: one to four changes of one of the good inputs. */
export function caseOf(
  good: readonly Buffer[],
  mutations: readonly Mutation[],
  [seed, index]: readonly [seed: number, index: number],
): Buffer {
  const random = randomOf(seed, index);
  let bytes = pick(random, good);
  for (let left = 1 + random(4); left > 0 && bytes.length > 0; left--) {
    bytes = pick(random, mutations)(bytes, random, pick(random, good));
  }
  return bytes;
}
