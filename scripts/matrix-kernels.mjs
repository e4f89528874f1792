// Writes numerics/wasm/matrix-kernels.ts: WebAssembly SIMD kernels for matrix products in f32.
//   node scripts/matrix-kernels.mjs
// A panel is eight rows of a matrix side by side: [k][8] f32, k a multiple of 8. Addresses and strides are in bytes.
//   multiply(x, xStride, panel, y, yStride, k, tiles): for each of tiles · 6 rows t and 8 columns o,
//     y[t, o] += Σₖ x[t, k] · panel[k, o], the sum a chain of multiply and add in ascending k, as every backend has it
//   pack2(source, stride, panel, k), pack4(…): a panel of eight rows of bf16, or of f32
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import wabt from "wabt";
import { add, constant, get, interleave, range, set } from "./wat.mjs";

/** Rows of x at a time: with two vectors of eight columns, twelve sums fit the sixteen registers of x86-64. */
const ROWS = 6;
const FEATURES = { simd: true, threads: true };
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
function pack2() {
  const { text, columns } = transposed("r", "t", 8, 2);
  const load = range(8)
    .map((i) => set(`r${i}`, `(v128.load ${get(`p${i}`)})`) + advance(`p${i}`, constant(16)))
    .join("");
  const widen = (half, v) => `(i32x4.shl (i32x4.extend_${half}_i16x8_u ${get(v)}) ${constant(16)})`;
  const store = columns
    .map(
      (v, k) =>
        `(v128.store offset=${32 * k} ${get("panel")} ${widen("low", v)})(v128.store offset=${32 * k + 16} ${get("panel")} ${widen("high", v)})`,
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

/** The module, as bytes. */
export async function matrixKernels() {
  const text = `(module (import "host" "memory" (memory 1 65536 shared)) ${multiply()} ${pack2()} ${pack4()})`;
  const { parseWat } = await wabt();
  const module = parseWat("matrix.wat", text, FEATURES);
  module.validate(FEATURES);
  return Buffer.from(module.toBinary({}).buffer);
}

export const file = fileURLToPath(new URL("../numerics/wasm/matrix-kernels.ts", import.meta.url));

export const source = (bytes) => `// Written by scripts/matrix-kernels.mjs, which says what it is.
// biome-ignore format: one line
export const MATRIX_KERNELS = "${bytes.toString("base64")}";
`;

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(file, source(await matrixKernels()));
