// One checkpoint on its own: complete, finite, initialised, consistent, as far as that shows without running it.

import { elementCount, torchName } from "../base/dtype.ts";
import { FLOAT_BYTES, type Float, isFloat } from "../base/floats.ts";
import { runSteps, type StepOptions } from "../base/steps.ts";
import { commonFloat } from "../convert/companions.ts";
import type { Format, TensorInfo } from "../formats/checkpoint.ts";
import { checkArgument } from "../model/argument-kinds.ts";
import { customCodeIn } from "../model/custom-code.ts";
import type { Model } from "../model/model.ts";
import { missingCode } from "../model/side-files.ts";
import { asHf } from "../views/as-hf.ts";
import { valueFaults } from "../views/checks.ts";
import { coordinates } from "../views/compare.ts";
import { type Difference, sourceDifferences, valueDifference } from "../views/difference.ts";
import type { TensorSource } from "../views/tensor-source.ts";

/** The JSON document of `validate` (CONTRACT). */
export interface Validation {
  readonly verdict: "pass" | "fail";
  readonly path: string;
  readonly format: Format;
  readonly family: string;
  readonly layout: string;
  readonly tensors: number;
  readonly bytes: number;
  /** What was looked at, and how many tensors failed it. */
  readonly checks: readonly { readonly name: string; readonly failed: number }[];
  readonly differences: readonly Difference[];
  readonly notes: readonly string[];
  readonly seconds: number;
}

const CHECKS: Readonly<Record<string, readonly Difference["kind"][]>> = {
  "complete: every tensor of the family, no other": ["missing", "extra"],
  "shapes as the config gives them": ["shape"],
  "ties hold": ["tie"],
  "buffers that the other side lacks have their defaults": ["dropped"],
  "no NaN, no infinity": ["nan", "infinite"],
  "initialised: no constant matrix, no norm of zeros": ["zero", "constant"],
  "code of the model's own that configs name is there": ["file"],
};

/** Throws InputError where the container is damaged (CRC) or cannot be read. */
export async function validate(model: Model, options: StepOptions = {}): Promise<Validation> {
  checkArgument("validate", "Model", model);
  const begin = performance.now();
  const tensors = [...model.source.tensors.values()];
  const bytes = tensors.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const differences = await runSteps(findFaults(model), "reading", bytes, options);
  model.checkpoint.verify(model.stored.keys);
  return {
    verdict: differences.length === 0 ? "pass" : "fail",
    path: model.checkpoint.path,
    format: model.checkpoint.format,
    family: model.adapter.family,
    layout: model.layout.name,
    tensors: tensors.length,
    bytes,
    checks: Object.entries(CHECKS).map(([name, kinds]) => ({
      name,
      failed: differences.filter(({ kind }) => kinds.includes(kind)).length,
    })),
    differences,
    notes: notesOf(model),
    seconds: (performance.now() - begin) / 1e3,
  };
}

function* findFaults(model: Model): Generator<number, Difference[], void> {
  const { mapping } = asHf(model, { tolerate: true });
  const faults = sourceDifferences(mapping);
  const found = [...faults, ...(yield* valueFaults(mapping)).map(valueDifference)];
  const unknown = new Set(faults.filter(({ kind }) => kind === "extra").map(({ key }) => key));
  for (const info of model.source.tensors.values()) {
    const { dtype, key } = info;
    if (isFloat(dtype) && !unknown.has(key)) found.push(...(yield* scan(model.source, info, dtype)));
  }
  const { folder } = model.checkpoint;
  const { missing } = customCodeIn(folder, folder.list());
  return [...found, ...missing.map((each) => ({ key: each.file, kind: "file", detail: missingCode(each) }) as const)];
}

/** transformers loads weights as the dtype that the config declares, rounding them without a word. */
function notesOf({ family, layout, source }: Model): string[] {
  const dtype = commonFloat([...source.tensors.values()].map((info) => info.dtype));
  const name = dtype === null ? undefined : torchName(dtype);
  if (layout.side !== "hf" || name === undefined || family.dtype === null || family.dtype === name) return [];
  return [`the config declares ${family.dtype}, the weights are ${name}: transformers loads them as ${family.dtype}`];
}

interface Scan {
  nans: number;
  infinities: number;
  /** Index of the first element that is not finite. */
  firstBad: number | null;
  /** Bits of the first element, while all elements so far have them; null after one that differs. */
  common: number | null | undefined;
}

const BLOCK_BYTES = 1 << 20;

/** Reads a tensor once and looks at bits: a value is not finite where its exponent is all ones. */
function* scan(source: TensorSource, info: TensorInfo, dtype: Float): Generator<number, Difference[], void> {
  const { key, byteLength } = info;
  const buffer = new Uint8Array(Math.min(BLOCK_BYTES, byteLength));
  const state: Scan = { nans: 0, infinities: 0, firstBad: null, common: undefined };
  for (let begin = 0; begin < byteLength; begin += BLOCK_BYTES) {
    const bytes = buffer.subarray(0, Math.min(BLOCK_BYTES, byteLength - begin));
    source.read(key, begin, bytes);
    scanBlock(bytes, dtype, begin / FLOAT_BYTES[dtype], state);
    yield bytes.length;
  }
  return judge(info, state);
}

/** Where the exponent and the fraction stand in the bits of an element. */
const MASKS = { F32: [0x7f800000, 0x7fffff], F16: [0x7c00, 0x3ff], BF16: [0x7f80, 0x7f] } as const;

function scanBlock({ buffer, byteLength }: Uint8Array, dtype: Float, first: number, state: Scan): void {
  if (dtype === "F64") {
    scanDoubles(new Float64Array(buffer, 0, byteLength / 8), first, state);
    return;
  }
  const [exponent, fraction] = MASKS[dtype];
  const words =
    dtype === "F32" ? new Uint32Array(buffer, 0, byteLength / 4) : new Uint16Array(buffer, 0, byteLength / 2);
  scanWords(words, exponent, fraction, first, state);
}

function scanWords(
  words: Uint32Array | Uint16Array,
  exponent: number,
  fraction: number,
  first: number,
  state: Scan,
): void {
  if (state.common === undefined) state.common = words[0];
  if (state.common !== null) {
    const { common } = state;
    if (words.some((word) => word !== common)) state.common = null;
  }
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if ((word & exponent) !== exponent) continue;
    state.firstBad ??= first + i;
    if ((word & fraction) === 0) state.infinities++;
    else state.nans++;
  }
}

function scanDoubles(values: Float64Array, first: number, state: Scan): void {
  if (state.common === undefined) state.common = values[0];
  for (const [i, value] of values.entries()) {
    if (value !== state.common) state.common = null;
    if (Number.isFinite(value)) continue;
    state.firstBad ??= first + i;
    if (Number.isNaN(value)) state.nans++;
    else state.infinities++;
  }
}

/** Weights of a norm scale what they are given: zeros silence the layer. */
const NORM = /norm[^.]*\.weight$/;

function judge({ key, shape }: TensorInfo, { nans, infinities, firstBad, common }: Scan): Difference[] {
  const total = elementCount(shape);
  if (firstBad !== null) {
    const at = `first at [${coordinates(firstBad, shape).join(", ")}]`;
    const found = (kind: "nan" | "infinite", name: string, count: number): Difference[] =>
      count === 0 ? [] : [{ key, kind, detail: `${count} of ${total} elements are ${name}; ${at}` }];
    return [...found("nan", "NaN", nans), ...found("infinite", "infinite", infinities)];
  }
  if (total < 2 || common === null || common === undefined) return [];
  const isMatrix = shape.length > 1;
  if (common === 0 && (isMatrix || NORM.test(key))) {
    return [{ key, kind: "zero", detail: `all ${total} elements are 0: was it ever initialised or loaded?` }];
  }
  return isMatrix
    ? [{ key, kind: "constant", detail: `all ${total} elements are equal: was it ever initialised?` }]
    : [];
}
