// Writes src/base/casts/kernels.ts: WebAssembly that casts floating-point values in vectors and measures what that does to them.
//   node scripts/cast-kernels.mjs
// Exports one function a pair of types, as F32_BF16(source, target, count): addresses in bytes, a multiple of 8 elements. Those
// that may change values also measure it, from begin(worst) on: worst(), overflows(), vanished() and remains(). What these mean is
// in src/base/casts/casts.ts, how each type is rounded in src/base/floats.ts.
//
// Eight elements a turn. An error is |made - x|, which is exact, as both lie within a factor of 2 or one is zero. It is compared
// with a little less than the worst so far times |x|: what is above goes to `note`, which divides in f64. So do values that
// became infinite or zero, by themselves, and those so small that the product would not be accurate.
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import wabt from "wabt";
import { add, constant, get, interleave, range, set } from "./wat.mjs";

const BYTES = { F64: 8, F32: 4, F16: 2, BF16: 2 };
const TYPES = Object.keys(BYTES);
const EXACT = ["F32_F64", "F16_F32", "F16_F64", "BF16_F32", "BF16_F64"];
const ELEMENTS = 8;

const ints = (value) => `(v128.const i32x4 ${Array(4).fill(value).join(" ")})`;
const longs = (value) => `(v128.const i64x2 ${value} ${value})`;
const singles = (value) => `(v128.const f32x4 ${Array(4).fill(value).join(" ")})`;
const doubles = (value) => `(v128.const f64x2 ${value} ${value})`;
const op =
  (name) =>
  (...operands) =>
    `(${name} ${operands.join(" ")})`;
const [and, or, select] = ["and", "or", "bitselect"].map((name) => op(`v128.${name}`));
const shifted = (shape, way, value, bits) => `(${shape}.${way} ${value} ${constant(bits)})`;
const left = (value, bits) => shifted("i32x4", "shl", value, bits);
const right = (value, bits) => shifted("i32x4", "shr_u", value, bits);
const [plus, minus, above] = ["add", "sub", "gt_s"].map((name) => op(`i32x4.${name}`));
/** The lower words of 64 bits each, of two vectors. */
const lowWords = (a, b) =>
  `(i8x16.shuffle ${[0, 8, 16, 24].flatMap((at) => range(4).map((k) => at + k)).join(" ")} ${a} ${b})`;
const upperHalf = (value) =>
  `(i8x16.shuffle ${range(16)
    .map((i) => (i + 8) % 16)
    .join(" ")} ${value} ${value})`;

const load = (i) => `(v128.load offset=${16 * i} align=1 ${get("source")})`;
const store = (i, value) => `(v128.store offset=${16 * i} align=1 ${get("target")} ${value})`;
const SINGLES = ["x0", "x1"];
const DOUBLES = ["d0", "d1", "d2", "d3"];

/** Magnitudes of F16 in words, to F32. */
function singleOfHalf(x) {
  const [half, size] = [get("h"), get("m")];
  const normal = plus(left(size, 13), ints("0x38000000"));
  const special = and(above(size, ints("0x7bff")), ints("0x38000000"));
  const quiet = and(above(size, ints("0x7c00")), ints("0x400000"));
  const subnormal = `(f32x4.mul (f32x4.convert_i32x4_s ${size}) ${singles("0x1p-24")})`;
  const value = select(or(plus(normal, special), quiet), subnormal, above(size, ints("0x3ff")));
  return set("m", and(half, ints("0x7fff"))) + set(x, or(value, left(and(half, ints("0x8000")), 16)));
}

/** Source elements as F32 in x0 and x1; F64 in d0 to d3, too. */
const LOADS = {
  BF16: () => set("v", load(0)) + SINGLES.map((x, i) => set(x, interleave("zero", "v", 2, i === 1))).join(""),
  F16: () =>
    set("v", load(0)) +
    SINGLES.map(
      (x, i) => set("h", `(i32x4.extend_${i === 0 ? "low" : "high"}_i16x8_u ${get("v")})`) + singleOfHalf(x),
    ).join(""),
  F32: () => SINGLES.map((x, i) => set(x, load(i))).join(""),
  F64: () =>
    DOUBLES.map((d, i) => set(d, load(i))).join("") +
    SINGLES.map((x, i) => {
      const [a, b] = [get(DOUBLES[2 * i]), get(DOUBLES[2 * i + 1])];
      const [left, right] = [a, b].map((d) => `(f32x4.demote_f64x2_zero ${d})`);
      const demoted = `(i8x16.shuffle ${[0, 16].flatMap((at) => range(8).map((k) => at + k)).join(" ")} ${left} ${right})`;
      const isNan = [a, b].map((d) => `(f64x2.ne ${d} ${d})`);
      return set(x, select(lowWords(...[a, b].map(nanToSingle)), demoted, lowWords(...isNan)));
    }).join(""),
};

/** In the lower words: sign, quiet, leading bits of the payload. */
const nanToSingle = (d) =>
  or(
    and(shifted("i64x2", "shr_u", d, 32), longs("0x80000000")),
    or(and(shifted("i64x2", "shr_u", d, 29), longs("0x3fffff")), longs("0x7fc00000")),
  );

function nanToDouble(x) {
  const sign = shifted("i64x2", "shl", and(x, longs("0x80000000")), 32);
  const payload = shifted("i64x2", "shl", and(x, longs("0x3fffff")), 29);
  return or(or(sign, payload), longs("0x7ff8000000000000"));
}

const BIG = ints("0x7f800000");
const SIZE = ints("0x7fffffff");
const isNan = (x) => above(and(get(x), SIZE), BIG);

const odd = (value, bit) => and(right(value, bit), ints(1));

/** F32 in x to the nearest BF16, or F16 in words in h, and that as F32 in m. Quick of usual values, exact of all. */
const ROUNDED = {
  BF16: {
    quick: (x, i) => set(`m${i}`, and(plus(get(x), plus(odd(get(x), 16), ints("0x7fff"))), ints("0xffff0000"))),
    exact: (x, i) => ROUNDED.BF16.quick(x, i) + set(`m${i}`, select(ints("0x7fc00000"), get(`m${i}`), isNan(x))),
    // The error of others is not within any limit.
    isUsual: (isQuiet) => isQuiet,
  },
  F16: {
    quick(x, i) {
      const size = get(`s${i}`);
      const isSmall = above(ints("0x38800000"), size);
      const small = minus(get("v"), ints("0x3f000000"));
      const normal = right(minus(get("h"), ints("0x38000000")), 13);
      const sign = (value) => and(value, ints("0x80000000"));
      return (
        set(`s${i}`, and(get(x), SIZE)) +
        set("h", and(plus(size, plus(odd(size, 13), ints("0xfff"))), ints("0xffffe000"))) +
        set("v", `(f32x4.add ${size} ${singles("0.5")})`) +
        set("m", isSmall) +
        set(`m${i}`, or(select(`(f32x4.sub ${get("v")} ${singles("0.5")})`, get("h"), get("m")), sign(get(x)))) +
        set(`h${i}`, or(select(small, normal, get("m")), right(sign(get(x)), 16)))
      );
    },
    exact(x, i) {
      const size = get(`s${i}`);
      const sign = and(get(x), ints("0x80000000"));
      const nan = or(and(right(size, 13), ints("0x3ff")), ints("0x7e00"));
      const isLarge = above(size, ints("0x477fefff"));
      return (
        ROUNDED.F16.quick(x, i) +
        set("v", isLarge) +
        set(`m${i}`, select(or(select(size, BIG, isNan(x)), sign), get(`m${i}`), get("v"))) +
        set(`h${i}`, select(or(select(nan, ints("0x7c00"), isNan(x)), right(sign, 16)), get(`h${i}`), get("v")))
      );
    },
    // Below what becomes infinite.
    isUsual: (isQuiet) =>
      SINGLES.map((_, i) => above(ints("0x477ff000"), get(`s${i}`))).reduce((all, each) => and(all, each), isQuiet),
  },
};

/** Of F32 in x0 and x1, or of what was rounded. */
const STORES = {
  F32: () => SINGLES.map((x, i) => store(i, get(x))).join(""),
  F64: () =>
    range(4)
      .map((i) => {
        const x = i % 2 === 0 ? get(SINGLES[i >> 1]) : upperHalf(get(SINGLES[i >> 1]));
        const wide = `(i64x2.extend_low_i32x4_u ${get("v")})`;
        const isNumber = `(f64x2.eq ${get("h")} ${get("h")})`;
        return (
          set("v", x) +
          set("h", `(f64x2.promote_low_f32x4 ${get("v")})`) +
          store(i, select(get("h"), nanToDouble(wide), isNumber))
        );
      })
      .join(""),
  BF16: () => store(0, `(i16x8.narrow_i32x4_u ${right(get("m0"), 16)} ${right(get("m1"), 16)})`),
  F16: () => store(0, `(i16x8.narrow_i32x4_u ${get("h0")} ${get("h1")})`),
};

/** Gives vectors of values to `note`, and hears what the limit is now. */
const note = (shape, pairs) =>
  pairs.map(([x, made]) => `(call $note_${shape} ${x} ${made})`).join("") + set("limit", `(call $limit_${shape})`);

/** Whether an error is within the limit: 1 of the last bit below what the product is where that is not accurate. */
function isWithin(shape, x, made) {
  const error = `(${shape}.abs (${shape}.sub ${made} ${x}))`;
  const most = `(${shape}.mul (${shape}.abs ${x}) ${get("limit")})`;
  const least = LEAST[shape];
  return `(${shape}.le ${error} (${shape}.pmax ${least(0)} (${shape}.sub ${most} ${least(1)})))`;
}
const LEAST = { f32x4: (n) => singles(n && "0x1p-140"), f64x2: (n) => doubles(n && "0x1p-1060") };

const high = (value) => `(f64x2.promote_low_f32x4 ${upperHalf(value)})`;
const low = (value) => `(f64x2.promote_low_f32x4 ${value})`;
const counted = (mask) => `(i32.popcnt (i64x2.bitmask ${mask}))`;
const increase = (name, by) => `(global.set $${name} (i32.add (global.get $${name}) ${by}))`;

const NOTES = `
  (func $note_f64x2 (param $x v128) (param $made v128) (local $s v128) (local $error v128) (local $over v128)
    ${set("s", `(f64x2.abs ${get("x")})`)}
    ${set("error", `(f64x2.abs (f64x2.sub ${get("made")} ${get("x")}))`)}
    ${set("over", `(f64x2.eq ${get("error")} ${doubles("inf")})`)}
    ${increase("overflows", counted(get("over")))}
    ${increase("vanished", counted(and(`(f64x2.eq ${get("made")} ${doubles(0)})`, `(f64x2.ne ${get("x")} ${doubles(0)})`)))}
    ${set("error", `(f64x2.div (v128.andnot ${get("error")} ${get("over")}) ${get("s")})`)}
    ${[0, 1]
      .map((lane) => {
        const ratio = `(f64x2.extract_lane ${lane} ${get("error")})`;
        return `(if (f64.gt ${ratio} (global.get $worst)) (then (global.set $worst ${ratio})))`;
      })
      .join("")})
  (func $note_f32x4 (param $x v128) (param $made v128)
    ${[low, high].map((half) => `(call $note_f64x2 ${half(get("x"))} ${half(get("made"))})`).join("")})
  (func $limit_f64x2 (result v128) (f64x2.splat (f64.mul (global.get $worst) (f64.const ${1 - 2 ** -20}))))
  (func $limit_f32x4 (result v128)
    (f32x4.splat (f32.demote_f64 (f64.mul (global.get $worst) (f64.const ${1 - 2 ** -20})))))`;

/** What has become of the values, as F32. */
const madeOf = (to) => (to === "F32" ? SINGLES : ["m0", "m1"]).map(get);

/** Values, and what has become of them. */
const pairsOf = (from, to) =>
  from === "F64"
    ? DOUBLES.map((d, i) => [get(d), (i % 2 === 0 ? low : high)(madeOf(to)[i >> 1])])
    : SINGLES.map((x, i) => [get(x), madeOf(to)[i]]);

function rounding(from, to) {
  const shape = from === "F64" ? "f64x2" : "f32x4";
  const pairs = pairsOf(from, to);
  const isQuiet = pairs.map(([x, made]) => isWithin(shape, x, made)).reduce((all, each) => and(all, each));
  const isFast = from !== "F64" && to !== "F32";
  const make = SINGLES.map((x, i) => ROUNDED[to]?.[isFast ? "quick" : "exact"](x, i) ?? "").join("");
  const remake = isFast ? SINGLES.map(ROUNDED[to].exact).join("") : "";
  const isUsual = isFast ? ROUNDED[to].isUsual : (all) => all;
  return `${make}
    (if (i32.eqz (i32x4.all_true ${isUsual(isQuiet)})) (then ${remake}${note(shape, pairs)}))
    ${set(
      "kept",
      madeOf(to).reduce((all, each) => or(all, each), get("kept")),
    )}
    ${STORES[to]()}`;
}

/** Names of constants of all kernels. */
const CONSTANTS = new Map();

/**
 * A text whose constants are locals, which have to be set from globals first. V8 makes a constant of 16 bytes anew in each turn of
 * a loop, which took a fifth of the time; a global that could change it reads once.
 */
function keptConstants(text) {
  const constants = new Set();
  const kept = text.replace(/\(v128\.const [^()]*\)/g, (value) => {
    const name = CONSTANTS.get(value) ?? `constant${CONSTANTS.size}`;
    CONSTANTS.set(value, name);
    constants.add(name);
    return get(name);
  });
  return { text: kept, constants: [...constants] };
}

function kernel(from, to) {
  const rounds = !EXACT.includes(`${from}_${to}`);
  const shape = from === "F64" ? "f64x2" : "f32x4";
  const skip = (name, type) => set(name, add(get(name), constant(ELEMENTS * BYTES[type])));
  const { text, constants } = keptConstants(`
    ${rounds ? set("limit", `(call $limit_${shape})`) : ""}
    (block $end (loop $again
      (br_if $end (i32.eqz ${get("count")}))
      ${LOADS[from]()}
      ${rounds ? rounding(from, to) : STORES[to]()}
      ${skip("source", from)}${skip("target", to)}${set("count", `(i32.sub ${get("count")} ${constant(ELEMENTS)})`)}
      (br $again)))
    ${rounds ? `(if (v128.any_true ${and(get("kept"), SIZE)}) (then (global.set $remains (i32.const 1))))` : ""}`);
  const vectors = [
    "v",
    "h",
    "m",
    "s",
    "h0",
    "h1",
    "m0",
    "m1",
    "s0",
    "s1",
    "zero",
    "kept",
    "limit",
    ...SINGLES,
    ...DOUBLES,
  ];
  return `(func (export "${from}_${to}") (param $source i32) (param $target i32) (param $count i32)
    ${vectors.map((name) => `(local $${name} v128)`).join(" ")}
    ${constants.map((name) => `(local $${name} v128)`).join(" ")}
    ${constants.map((name) => set(name, `(global.get $${name})`)).join(" ")}
    ${text})`;
}

const GLOBALS = [["worst", "f64"], ...["overflows", "vanished", "remains"].map((name) => [name, "i32"])];

const begin = `(func (export "begin") (param $worst f64)
  ${GLOBALS.map(([name, type]) => `(global.set $${name} ${name === "worst" ? get(name) : `(${type}.const 0)`})`).join("")})`;
const found = GLOBALS.map(([name, type]) => `(func (export "${name}") (result ${type}) (global.get $${name}))`).join(
  "",
);

/** The module, as bytes. */
export async function castKernels() {
  const globals = GLOBALS.map(([name, type]) => `(global $${name} (mut ${type}) (${type}.const 0))`);
  const pairs = TYPES.flatMap((from) => TYPES.filter((to) => to !== from).map((to) => kernel(from, to)));
  for (const [value, name] of CONSTANTS) globals.push(`(global $${name} (mut v128) ${value})`);
  const text = `(module (import "host" "memory" (memory 1 65536 shared)) ${globals.join(" ")} ${NOTES} ${begin} ${found} ${pairs.join("\n")})`;
  const { parseWat } = await wabt();
  const module = parseWat("casts.wat", text, { simd: true, threads: true });
  module.validate({ simd: true, threads: true });
  return Buffer.from(module.toBinary({}).buffer);
}

export const file = fileURLToPath(new URL("../src/base/casts/kernels.ts", import.meta.url));

export const source = (bytes) => `// Written by scripts/cast-kernels.mjs, which documents them.
// biome-ignore format: one line
export const CAST_KERNELS = "${bytes.toString("base64")}";
`;

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(file, source(await castKernels()));
