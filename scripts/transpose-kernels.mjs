// Writes src/views/gather/transpose-kernels.ts: WebAssembly that transposes matrices of 8-, 16- and 32-bit elements, in a memory
// that threads may share.
//   node scripts/transpose-kernels.mjs
// A block of 16 × 16 (8 × 8, 4 × 4) elements is loaded as rows, its halves are interleaved in four (three, two) rounds of
// shuffles, and it is stored as columns. Blocks go down a tile of 256 bytes of target rows, so that whole lines are written one
// after the other, and rows of the source, each in a page of its own, are left for good: of 32 sizes and orders of tiles this one
// was among the quickest for every matrix tried. Exports t1, t2 and t4, named by the bytes of an element:
// (source, target, rows, columns, sourceStride, targetStride), addresses and strides in bytes, rows and columns whole
// blocks: target[column][row] = source[row][column].
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import wabt from "wabt";
import { add, constant, get, interleave, set } from "./wat.mjs";

const names = (prefix, count) => Array.from({ length: count }, (_, i) => `${prefix}${i}`);

/** Rows in r0…, columns into the same; `width` bytes an element. */
function block(width) {
  const size = 16 / width;
  let [from, to] = [names("r", size), names("s", size)];
  let text = "";
  for (let bytes = width; bytes < 16; bytes *= 2) {
    // Vectors that hold the same columns lie side by side; after each round they hold twice the rows and half the columns.
    const groups = bytes / width;
    const rows = size / groups;
    for (let group = 0; group < groups; group++) {
      for (let pair = 0; pair < rows / 2; pair++) {
        const [a, b] = [from[group * rows + 2 * pair], from[group * rows + 2 * pair + 1]];
        for (const high of [0, 1])
          text += set(to[(2 * group + high) * (rows / 2) + pair], interleave(a, b, bytes, high === 1));
      }
    }
    [from, to] = [to, from];
  }
  return { text, columns: from };
}

function loop(id, index, from, end, step, body) {
  const head = `(br_if $end${id} (i32.ge_u ${get(index)} ${end}))`;
  return `${set(index, from)} (block $end${id} (loop $again${id} ${head} ${body} ${set(index, add(get(index), constant(step)))} (br $again${id})))`;
}

const lesser = (a, b) => `(select ${a} ${b} (i32.lt_u ${a} ${b}))`;

/** Bytes of a row of a tile in the target, and in the source. */
const [TALL, WIDE] = [256, 64];

function kernel(width) {
  const size = 16 / width;
  const shift = Math.log2(width);
  const [tall, wide] = [TALL / width, WIDE / width];
  const at = (base, row, stride, column) =>
    add(get(base), add(`(i32.mul ${get(row)} ${get(stride)})`, `(i32.shl ${get(column)} ${constant(shift)})`));
  const { text, columns } = block(width);
  const load = names("r", size).map(
    (r) => set(r, `(v128.load align=1 ${get("x")})`) + set("x", add(get("x"), get("ss"))),
  );
  const store = columns.map((c) => `(v128.store align=1 ${get("y")} ${get(c)})${set("y", add(get("y"), get("ts")))}`);
  const body = `${set("x", at("source", "i", "ss", "j"))}${set("y", at("target", "j", "ts", "i"))}${load.join("")}${text}${store.join("")}`;
  const ends = [
    set("bottom", lesser(add(get("top"), constant(tall)), get("rows"))),
    set("right", lesser(add(get("left"), constant(wide)), get("columns"))),
  ].join("");
  const inTile = loop("j", "j", get("left"), get("right"), size, loop("i", "i", get("top"), get("bottom"), size, body));
  const beside = loop("left", "left", constant(0), get("columns"), wide, ends + inTile);
  return `(func (export "t${width}")
  (param $source i32) (param $target i32) (param $rows i32) (param $columns i32) (param $ss i32) (param $ts i32)
  ${["i", "j", "x", "y", "top", "bottom", "left", "right"].map((name) => `(local $${name} i32)`).join(" ")}
  ${[...names("r", size), ...names("s", size)].map((name) => `(local $${name} v128)`).join(" ")}
  ${loop("top", "top", constant(0), get("rows"), tall, beside)})`;
}

const FEATURES = { simd: true, threads: true };
/** Of any size: the largest there can be. */
const MOST_PAGES = 65_536;

/** The module, as bytes. */
export async function transposeKernels() {
  const text = `(module (import "host" "memory" (memory 1 ${MOST_PAGES} shared)) ${[1, 2, 4].map(kernel).join(" ")})`;
  const { parseWat } = await wabt();
  const module = parseWat("transpose.wat", text, FEATURES);
  module.validate(FEATURES);
  return Buffer.from(module.toBinary({}).buffer);
}

export const file = fileURLToPath(new URL("../src/views/gather/transpose-kernels.ts", import.meta.url));

export const source = (bytes) => `// Written by scripts/transpose-kernels.mjs, which documents them.
// biome-ignore format: one line
export const TRANSPOSE_KERNELS = "${bytes.toString("base64")}";
`;

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(file, source(await transposeKernels()));
