// Recorded logits to compare against: a safetensors file of `input_ids` [T] and `logits` [T, V], each with or without a
// batch of one in front. Ids are I64 or I32, logits F32, BF16 or F16. Hidden states may be there, too (golden-taps.ts).
import type { ForwardPlan } from "../../../numerics/shapes/plan.ts";
import { InputError } from "../../base/errors.ts";
import { FLOAT_BYTES, isFloat } from "../../base/floats.ts";
import type { Checkpoint, TensorInfo } from "../../formats/checkpoint.ts";
import { openSafetensors } from "../../formats/safetensors/open.ts";
import { castingRead } from "../../views/cast.ts";
import { precisionOf, type Rounded, RoundingOfLogits } from "./golden-precision.ts";
import { GoldenTaps } from "./golden-taps.ts";
import { describeTensor, invalidTensor, readIds } from "./tensors.ts";

export interface Golden {
  readonly path: string;
  readonly ids: readonly number[];
  readonly vocab: number;
  /** Of a golden whose logits are those of a narrower type than F32: what that type makes of logits it is compared with. */
  readonly rounding: RoundingOfLogits | null;
  /** Hidden states beside the logits; none in most. */
  readonly taps: GoldenTaps;
  /** Row-major logits of positions [begin, end). */
  rows(begin: number, end: number): Float32Array;
  close(): void;
}

export interface GoldenRounding {
  readonly type: Rounded;
  /** Mean KL that rounding logits to that type makes, in nats per token. A forward pass in it rounds all before them, too. */
  readonly klMeanNats: number | null;
}

/** @throws InputError GOLDEN_INVALID or INPUTS_INVALID where the file is not of that form */
export function openGolden(path: string): Golden {
  const file = openSafetensors(path);
  try {
    const ids = readIds(file);
    const { dtype, shape } = logitsOf(file, ids.length);
    const vocab = shape.at(-1)!;
    const type = isFloat(dtype) ? dtype : "F32";
    const read = castingRead((...range) => file.read(...range), type, "F32");
    const rows = (begin: number, end: number): Float32Array => {
      const values = new Float32Array((end - begin) * vocab);
      read("logits", begin * vocab * FLOAT_BYTES.F32, new Uint8Array(values.buffer));
      return values;
    };
    const precision = dtype === "BF16" || dtype === "F16" ? dtype : precisionOf(rows, ids.length);
    const rounding = precision === null ? null : new RoundingOfLogits(precision, ids, vocab);
    const taps = new GoldenTaps(file, ids.length);
    return { path, ids, vocab, rounding, taps, rows, close: () => file.close() };
  } catch (error) {
    file.close();
    throw error;
  }
}

function logitsOf(file: Checkpoint, tokens: number): TensorInfo {
  const info = file.tensors.get("logits");
  const shape = info?.shape.length === 3 && info.shape[0] === 1 ? info.shape.slice(1) : (info?.shape ?? []);
  const [rows, vocab] = shape;
  const isRead = info?.dtype === "F32" || info?.dtype === "BF16" || info?.dtype === "F16";
  if (info && isRead && shape.length === 2 && rows === tokens && vocab !== undefined && vocab > 0) {
    return { ...info, shape };
  }
  const expected = `F32 [${tokens}, V], a row for each of input_ids`;
  throw invalidTensor("GOLDEN_INVALID", file.path, "logits", [expected, describeTensor(file, "logits")]);
}

/** @throws InputError where a golden does not belong to these ids, this vocabulary or these layers */
export function checkGolden(golden: Golden, ids: readonly number[], plan: ForwardPlan): void {
  const vocab = plan.logits[1]!;
  const length = Math.max(ids.length, golden.ids.length);
  const at = Array.from({ length }, (_, i) => i).find((i) => ids[i] !== golden.ids[i]);
  if (at !== undefined) {
    const show = (values: readonly number[]) => (at < values.length ? `id ${values[at]}` : "no token");
    throw new InputError("GOLDEN_IDS_MISMATCH", `${golden.path}: its input_ids are not those of the input`, {
      file: golden.path,
      tensor: "input_ids",
      expected: `${show(ids)} at position ${at}`,
      found: show(golden.ids),
      help: "leave the input out: a golden brings its own ids",
    });
  }
  if (golden.vocab !== vocab) {
    throw new InputError("GOLDEN_VOCAB_MISMATCH", `${golden.path}: its logits are of another vocabulary`, {
      file: golden.path,
      tensor: "logits",
      expected: `[T, ${vocab}]`,
      found: `[T, ${golden.vocab}]`,
      help: "record the golden with this model, or cut padded rows off the embedding and the head",
    });
  }
  golden.taps.check(plan);
}
