// Writes numerics/wasm/simd-kernels.ts: WebAssembly SIMD kernels in f32 for matrix products and what stands between them.
//   node scripts/simd-kernels.mjs
// A panel is eight rows of a matrix side by side: [k][8] f32, k a multiple of 8. Addresses and strides are in bytes.
//   multiply(x, xStride, panel, y, yStride, k, tiles): for each of tiles · 6 rows t and 8 columns o,
// y[t, o] += Σₖ x[t, k] · panel[k, o], the sum a chain of multiply and add in ascending k, as in every backend
//   pack2(source, stride, panel, k), pack4(…): a panel of eight rows of bf16, or of f32
//   clear(address, bytes)
//   largest(row, count) → of `count` values, a multiple of four, as below
//   soften(row, count, scale, shift) → Σ exp(scale · x − shift), which take the place of x
//   silu(x, count), sigmoid(…), geluTanh(…): f(x) takes the place of x
//   add(a, b, count), mul(…): the result takes the place of a
// and, in a module with a memory of its own,
//   widen(from, to, count): bf16 becomes f32, a multiple of eight at a time
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import wabt from "wabt";
import { add, constant, get, interleave, range, set } from "./wat.mjs";

/** Rows of x at a time: with two vectors of eight columns, twelve sums fit the sixteen registers of x86-64. */
const ROWS = 6;
const FEATURES = { simd: true, threads: true, bulk_memory: true };
/** Steps of k in the body of the loop. */
const UNROLL = 4;

const advance = (name, by) => set(name, add(get(name), by));
const locals = (type, names) => names.map((name) => `(local $${name} ${type})`).join(" ");
const loop = (id, counter, step, body) =>
  `(loop $${id} ${body} ${set(counter, `(i32.sub ${get(counter)} ${constant(step)})`)} (br_if $${id} ${get(counter)}))`;

function multiply() {
  const rows = range(ROWS);
  const sums = rows.flatMap((i) => [`s${i}_0`, `s${i}_1`]);
  const product = (j) => `(f32x4.mul ${get("a")} ${get(`b${j}`)})`;
  const step = (k) =>
    [0, 1].map((j) => set(`b${j}`, `(v128.load offset=${32 * k + 16 * j} ${get("b")})`)).join("") +
    rows
      .map(
        (i) =>
          set("a", `(v128.load32_splat offset=${4 * k} ${get(`x${i}`)})`) +
          [0, 1].map((j) => set(`s${i}_${j}`, `(f32x4.add ${get(`s${i}_${j}`)} ${product(j)})`)).join(""),
      )
      .join("");
  const inner =
    range(UNROLL).map(step).join("") +
    rows.map((i) => advance(`x${i}`, constant(4 * UNROLL))).join("") +
    advance("b", constant(32 * UNROLL));
  const store = rows
    .map(
      (i) =>
        [0, 1]
          .map(
            (j) =>
              `(v128.store offset=${16 * j} ${get("y")} (f32x4.add (v128.load offset=${16 * j} ${get("y")}) ${get(`s${i}_${j}`)}))`,
          )
          .join("") + advance("y", get("yStride")),
    )
    .join("");
  const tile =
    set("x0", get("x")) +
    rows
      .slice(1)
      .map((i) => set(`x${i}`, add(get(`x${i - 1}`), get("xStride"))))
      .join("") +
    set("x", add(get(`x${ROWS - 1}`), get("xStride"))) +
    set("b", get("panel")) +
    set("n", get("k")) +
    sums.map((name) => set(name, "(v128.const i32x4 0 0 0 0)")).join("") +
    loop("depth", "n", UNROLL, inner) +
    store;
  return `(func (export "multiply")
  (param $x i32) (param $xStride i32) (param $panel i32) (param $y i32) (param $yStride i32) (param $k i32) (param $tiles i32)
  ${locals("i32", [...rows.map((i) => `x${i}`), "b", "n"])} ${locals("v128", [...sums, "a", "b0", "b1"])}
  ${loop("tile", "tiles", 1, tile)})`;
}

/** Vectors r0 … of as many lanes become their columns: rounds of interleaving i with i + half. */
function transposed(prefix, spare, count, bytes) {
  let [from, to] = [range(count).map((i) => `${prefix}${i}`), range(count).map((i) => `${spare}${i}`)];
  let text = "";
  for (let round = 1; round < count; round *= 2) {
    for (let i = 0; i < count / 2; i++) {
      for (const high of [0, 1])
        text += set(to[2 * i + high], interleave(from[i], from[i + count / 2], bytes, high === 1));
    }
    [from, to] = [to, from];
  }
  return { text, columns: from };
}

const packHead = (name) =>
  `(func (export "${name}") (param $source i32) (param $stride i32) (param $panel i32) (param $k i32)`;
const rowPointers =
  set("p0", get("source")) +
  range(7)
    .map((i) => set(`p${i + 1}`, add(get(`p${i}`), get("stride"))))
    .join("");

/** bf16 is the upper half of an f32. */
const widened = (half, v) => `(i32x4.shl (i32x4.extend_${half}_i16x8_u ${get(v)}) ${constant(16)})`;

function pack2() {
  const { text, columns } = transposed("r", "t", 8, 2);
  const load = range(8)
    .map((i) => set(`r${i}`, `(v128.load ${get(`p${i}`)})`) + advance(`p${i}`, constant(16)))
    .join("");
  const store = columns
    .map(
      (v, k) =>
        `(v128.store offset=${32 * k} ${get("panel")} ${widened("low", v)})(v128.store offset=${32 * k + 16} ${get("panel")} ${widened("high", v)})`,
    )
    .join("");
  return `${packHead("pack2")}
  ${locals(
    "i32",
    range(8).map((i) => `p${i}`),
  )} ${locals(
    "v128",
    range(8).flatMap((i) => [`r${i}`, `t${i}`]),
  )}
  ${rowPointers}
  ${loop("depth", "k", 8, load + text + store + advance("panel", constant(256)))})`;
}

function pack4() {
  const quads = [0, 1].map((half) => {
    const { text, columns } = transposed(`r${half}_`, `t${half}_`, 4, 4);
    const load = range(4)
      .map(
        (i) =>
          set(`r${half}_${i}`, `(v128.load ${get(`p${4 * half + i}`)})`) + advance(`p${4 * half + i}`, constant(16)),
      )
      .join("");
    const store = columns.map((v, k) => `(v128.store offset=${32 * k + 16 * half} ${get("panel")} ${get(v)})`).join("");
    return load + text + store;
  });
  const vectors = [0, 1].flatMap((half) => range(4).flatMap((i) => [`r${half}_${i}`, `t${half}_${i}`]));
  return `${packHead("pack4")}
  ${locals(
    "i32",
    range(8).map((i) => `p${i}`),
  )} ${locals("v128", vectors)}
  ${rowPointers}
  ${loop("depth", "k", 4, quads.join("") + advance("panel", constant(128)))})`;
}

const splat = (x) => `(f32x4.splat (f32.const ${x}))`;
const f32x4 = (op, ...operands) => `(f32x4.${op} ${operands.join(" ")})`;
const load = (name) => `(v128.load ${get(name)})`;

/**
 * exp of local `x`, which changes: 2ⁿ · P(x − n · ln 2), P a polynomial; some 1e-7 of the result away. Arguments beyond
 * ±87 count as that; NaN stays. Coefficients: Cephes, single/expf.c.
 */
const exponential = {
  locals: ["n", "p"],
  body: [
    set("x", f32x4("max", f32x4("min", get("x"), splat(87)), splat(-87))),
    set("n", f32x4("nearest", f32x4("mul", get("x"), splat(Math.LOG2E)))),
    set("x", f32x4("sub", get("x"), f32x4("mul", get("n"), splat(0.693359375)))),
    set("x", f32x4("sub", get("x"), f32x4("mul", get("n"), splat(-2.1219444e-4)))),
    set("p", splat(1.98756915e-4)),
    ...[1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1].map((c) =>
      set("p", f32x4("add", f32x4("mul", get("p"), get("x")), splat(c))),
    ),
    set("p", f32x4("mul", f32x4("mul", get("p"), get("x")), get("x"))),
    set("p", f32x4("add", f32x4("add", get("p"), get("x")), splat(1))),
  ].join(""),
  result: `(f32x4.mul ${get("p")} (i32x4.shl (i32x4.add (i32x4.trunc_sat_f32x4_s ${get("n")}) (i32x4.splat ${constant(127)})) ${constant(23)}))`,
};

const lanesOf = (name, op) =>
  range(3).reduce(
    (whole, i) => `(f32.${op} ${whole} (f32x4.extract_lane ${i + 1} ${get(name)}))`,
    `(f32x4.extract_lane 0 ${get(name)})`,
  );

function largest() {
  const body = set("m", f32x4("max", get("m"), load("row"))) + advance("row", constant(16));
  return `(func (export "largest") (param $row i32) (param $count i32) (result f32) (local $m v128)
  ${set("m", splat("-inf"))} ${loop("four", "count", 4, body)} ${lanesOf("m", "max")})`;
}

function soften() {
  const body =
    set(
      "x",
      f32x4("sub", f32x4("mul", load("row"), `(f32x4.splat ${get("scale")})`), `(f32x4.splat ${get("shift")})`),
    ) +
    exponential.body +
    set("x", exponential.result) +
    set("sum", f32x4("add", get("sum"), get("x"))) +
    `(v128.store ${get("row")} ${get("x")})` +
    advance("row", constant(16));
  return `(func (export "soften") (param $row i32) (param $count i32) (param $scale f32) (param $shift f32) (result f32)
  ${locals("v128", ["x", "sum", ...exponential.locals])} ${loop("four", "count", 4, body)} ${lanesOf("sum", "add")})`;
}

/** y = x · σ(f(x)), or σ(x) alone; σ(z) = 1 / (1 + exp(−z)). geluTanh(x) = x · σ(2 √(2/π) (x + 0.044715 x³)). */
function gated(name, argument, factor) {
  const body =
    set("y", load("at")) +
    set("x", `(f32x4.neg ${argument})`) +
    exponential.body +
    `(v128.store ${get("at")} ${f32x4("div", factor, f32x4("add", splat(1), exponential.result))})` +
    advance("at", constant(16));
  return `(func (export "${name}") (param $at i32) (param $count i32)
  ${locals("v128", ["x", "y", ...exponential.locals])} ${loop("four", "count", 4, body)})`;
}

const cube = f32x4("mul", get("y"), f32x4("mul", get("y"), get("y")));
const twiceInner = f32x4(
  "mul",
  splat(2 * Math.sqrt(2 / Math.PI)),
  f32x4("add", get("y"), f32x4("mul", splat(0.044715), cube)),
);

const combined = (op) => `(func (export "${op}") (param $a i32) (param $b i32) (param $count i32)
  ${loop("four", "count", 4, `(v128.store ${get("a")} ${f32x4(op, load("a"), load("b"))})${advance("a", constant(16))}${advance("b", constant(16))}`)})`;

const clear = `(func (export "clear") (param $at i32) (param $bytes i32)
  (memory.fill ${get("at")} ${constant(0)} ${get("bytes")}))`;

function widen() {
  const body =
    set("v", `(v128.load ${get("from")})`) +
    `(v128.store ${get("to")} ${widened("low", "v")})(v128.store offset=16 ${get("to")} ${widened("high", "v")})` +
    advance("from", constant(16)) +
    advance("to", constant(32));
  return `(func (export "widen") (param $from i32) (param $to i32) (param $count i32) (local $v v128)
  ${loop("eight", "count", 8, body)})`;
}

async function assemble(text) {
  const { parseWat } = await wabt();
  const module = parseWat("kernels.wat", text, FEATURES);
  module.validate(FEATURES);
  return Buffer.from(module.toBinary({}).buffer);
}

/** The modules, as bytes. */
export const simdKernels = async () => ({
  shared: await assemble(
    `(module (import "host" "memory" (memory 1 65536 shared)) ${multiply()} ${pack2()} ${pack4()} ${clear} ${largest()} ${soften()}
    ${gated("silu", get("y"), get("y"))} ${gated("sigmoid", get("y"), splat(1))} ${gated("geluTanh", twiceInner, get("y"))}
    ${combined("add")} ${combined("mul")})`,
  ),
  own: await assemble(`(module (memory (export "memory") 1 65536) ${widen()})`),
});

export const file = fileURLToPath(new URL("../numerics/wasm/simd-kernels.ts", import.meta.url));

export const source = ({ shared, own }) => `// Written by scripts/simd-kernels.mjs, which documents them.
// biome-ignore format: one line
export const SIMD_KERNELS = "${shared.toString("base64")}";
// biome-ignore format: one line
export const WIDEN_KERNEL = "${own.toString("base64")}";
`;

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(file, source(await simdKernels()));
