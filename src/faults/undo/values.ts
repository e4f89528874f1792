// Other numbers, undone where they can be had back: 1 added to norms or not, a sign, a scale, an exponential.
import type { Sample } from "../fault.ts";
import { place, tensorsWhere, valued } from "./edits.ts";
import { configFor, expertPartOf, headsFor, numberAmong } from "./parts.ts";
import type { Place, Undoing } from "./undoing.ts";

const norms = (sample: Sample) =>
  tensorsWhere(
    sample,
    ({ key, shape }) => shape.length === 1 && /norm[^.]*\.(?:.*\.)?weight$|norm\d?\.weight$|ln_\w+\.weight$/.test(key),
  );

const offsets = (sample: Sample): Place[] =>
  [1, -1].flatMap((by) =>
    norms(sample).map(({ key }) => place(by > 0 ? "1 too little" : "1 too much", { [key]: valued((x) => x + by) })),
  );

const signs = (sample: Sample): Place[] =>
  tensorsWhere(sample, ({ key }) => expertPartOf(key) === null).map(({ key }) =>
    place("the other sign", { [key]: valued((x) => -x) }),
  );

/** The largest value of an F8_E4M3: what a block's largest value is scaled to. */
const LARGEST_CODE = 448;

/** Factors that conversions apply once too often, or not at all. */
function factorsFor(sample: Sample, key: string): Readonly<Record<string, number>> {
  const config = configFor(sample, key);
  const heads = headsFor(sample, key);
  const scalar = numberAmong(config, "query_pre_attn_scalar");
  const size = numberAmong(config, "hidden_size");
  const isScores = /\.[qk]_(?:proj|norm|layernorm|b_proj)\./.test(key);
  const isEmbedding = /embed_tokens|lm_head/.test(key);
  const by = {
    2: 2,
    [LARGEST_CODE]: LARGEST_CODE,
    ...(isScores && heads !== null ? { "√head_dim": heads.dim ** 0.5 } : {}),
    ...(isScores && scalar !== undefined ? { "√query_pre_attn_scalar": scalar ** 0.5 } : {}),
    ...(isEmbedding && size !== undefined ? { "√hidden_size": size ** 0.5 } : {}),
  };
  return Object.fromEntries(
    Object.entries(by).flatMap(([name, factor]) => [
      [`${name} times too large`, 1 / factor],
      [`${name} times too small`, factor],
    ]),
  );
}

const scales = (sample: Sample): Place[] =>
  tensorsWhere(
    sample,
    ({ key, shape }) => (shape.length > 1 || /norm|bias|sinks/.test(key)) && expertPartOf(key) === null,
  ).flatMap(({ key }) =>
    Object.entries(factorsFor(sample, key)).map(([name, factor]) => place(name, { [key]: valued((x) => x * factor) })),
  );

const FUNCTIONS: Readonly<Record<string, (x: number) => number>> = {
  "the exponential of what it should be": (x) => Math.log(x),
  "minus the exponential of what it should be": (x) => Math.log(-x),
  "the logarithm of what it should be": (x) => Math.exp(x),
  "the logarithm of minus what it should be": (x) => -Math.exp(x),
};

const exponentials = (sample: Sample): Place[] =>
  tensorsWhere(sample, ({ key }) => /(?:A_log|dt_bias)$/.test(key)).flatMap(({ key }) =>
    Object.entries(FUNCTIONS).map(([name, f]) => place(name, { [key]: valued(f) })),
  );

export const values: readonly Undoing[] = [
  {
    code: "OFFSET",
    rounds: true,
    words: "is 1 more or less than it should be",
    mend: "norms of some families store their weight less 1: add or take it once",
    places: offsets,
  },
  {
    code: "LOG_EXP",
    rounds: true,
    words: "is the exponential or the logarithm of what it should be",
    mend: "store the logarithm where the name says so (A_log), once",
    places: exponentials,
  },
  {
    code: "SIGN_FLIPPED",
    words: "has the other sign",
    mend: "store the tensor as it is trained: some store a gate, a decay or a sine negated",
    places: signs,
  },
  { code: "SCALED", rounds: true, words: "has a factor", mend: "apply the tensor's scale once", places: scales },
];
