// DeepSeek-V3 as it is (61 layers, 256 experts, one MTP layer; some 46 000 weights, nearly twice that with FP8 scales):
// compiling its table and laying out every move, as a ratio to parsing the safetensors header of the same keys in the
// same run. Target: at most 5×. Memory is what stays on the heap after a collection.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { deepseekV3 } from "../../dist/adapters/deepseek_v3/index.js";
import { parseHeaderText } from "../../dist/src/formats/safetensors/header.js";
import { compileTable } from "../../dist/src/table/plan.js";
import { median } from "./measure.mjs";

const rounds = 7;
const config = { model_type: "deepseek_v3", rope_scaling: null };
const [layout] = deepseekV3.open(config, "config.json").layouts;
const build = () => compileTable(layout.rules(), layout.axes());

/** Text of the header of all HF tensors; with `scales`, of the FP8 weights of linear maps and a scale each. */
function headerText(scales) {
  const header = {};
  let at = 0;
  const add = (key, dtype, width, shape) => {
    const end = at + width * shape.reduce((a, b) => a * b, 1);
    header[key] = { dtype, shape, data_offsets: [at, end] };
    at = end;
  };
  for (const { key, shape, need } of build().tensors("hf")) {
    if (need !== "required" && need !== "optional") continue;
    const quantised = scales && shape.length === 2 && key.endsWith("_proj.weight");
    add(key, quantised ? "F8_E4M3" : "BF16", quantised ? 1 : 2, shape);
    if (quantised)
      add(
        key.replace(/weight$/, "weight_scale_inv"),
        "F32",
        4,
        shape.map((n) => Math.ceil(n / 128)),
      );
  }
  return JSON.stringify(header);
}

/** As a reader of the encoding gives them: weights without their scales. */
const sourceOf = ({ tensors }) =>
  new Map(
    tensors
      .filter(({ key }) => !key.endsWith("_scale_inv"))
      .map(({ key, dtype, shape }) => [key, { dtype: dtype === "F8_E4M3" ? "BF16" : dtype, shape }]),
  );

/** Every move with its pieces. */
function plan(direction, source) {
  const { moves } = build().plan(direction, source);
  let pieces = 0;
  for (const move of moves) pieces += move.pieces.length;
  return { moves, pieces };
}

function timed(run) {
  const begin = performance.now();
  const result = run();
  return { ms: performance.now() - begin, result };
}

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc");
function heapOf(run) {
  collect();
  const before = process.memoryUsage().heapUsed;
  const kept = run();
  collect();
  const bytes = process.memoryUsage().heapUsed - before;
  return { bytes, kept };
}

export async function run() {
  for (const scales of [false, true]) {
    const text = headerText(scales);
    const header = parseHeaderText(text, "bench");
    const hf = sourceOf(header);
    const native = new Map(plan("fromHf", hf).moves.map(({ key, shape }) => [key, { dtype: "BF16", shape }]));
    const ratios = { fromHf: [], toHf: [] };
    const parses = [];
    for (let round = 0; round < rounds; round++) {
      const parse = timed(() => parseHeaderText(text, "bench")).ms;
      parses.push(parse);
      ratios.fromHf.push(timed(() => plan("fromHf", hf)).ms / parse);
      ratios.toHf.push(timed(() => plan("toHf", native)).ms / parse);
    }
    const heap = heapOf(() => plan("fromHf", hf));
    const { pieces, moves } = heap.kept;
    const name = scales ? "with FP8 scales" : "bf16";
    console.log(`${name}: ${header.tensors.length} keys, header parsed in ${median(parses).toFixed(0)} ms`);
    for (const [direction, list] of Object.entries(ratios))
      console.log(
        `  compile and plan ${direction}: median ${median(list).toFixed(2)}× parse (min ${Math.min(...list).toFixed(2)})`,
      );
    console.log(
      `  heap of the plan: ${(heap.bytes / 1e6).toFixed(1)} MB for ${moves.length} moves of ${pieces} pieces`,
    );
  }
}
