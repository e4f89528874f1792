// Recorded logits to compare against: a safetensors file of `input_ids` I64 [T] and `logits` F32 [T, V].
import { InputError } from "../../base/errors.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import { openSafetensors } from "../../formats/safetensors/open.ts";

export interface Golden {
  readonly path: string;
  readonly ids: readonly number[];
  readonly vocab: number;
  /** Row-major logits of positions [begin, end). */
  rows(begin: number, end: number): Float32Array;
  close(): void;
}

/** @throws InputError GOLDEN_INVALID or INPUTS_INVALID where the file is not of that form */
export function openGolden(path: string): Golden {
  const file = openSafetensors(path);
  try {
    const ids = readIntegers(file, "input_ids");
    const vocab = logitsVocab(file, ids.length);
    return {
      path,
      ids,
      vocab,
      rows: (begin, end) => {
        const rows = new Float32Array((end - begin) * vocab);
        file.read("logits", begin * vocab * 4, new Uint8Array(rows.buffer));
        return rows;
      },
      close: () => file.close(),
    };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Non-negative I64 of one of `shapes`, [T] with T ≥ 1 unless given. @throws InputError INPUTS_INVALID */
export function readIntegers(file: Checkpoint, key: string, shapes?: readonly (readonly number[])[]): number[] {
  const info = file.tensors.get(key);
  const fits = shapes?.some((shape) => `${shape}` === `${info?.shape}`) ?? info?.shape.length === 1;
  if (info?.dtype !== "I64" || !fits || info.byteLength === 0) {
    const expected = shapes?.map((shape) => `[${shape.join(", ")}]`).join(" or ") ?? "[T], at least one token";
    throw invalid("INPUTS_INVALID", file, key, `I64 ${expected}`, describe(file, key));
  }
  const stored = new BigInt64Array(info.byteLength / 8);
  file.read(key, 0, new Uint8Array(stored.buffer));
  const numbers = Array.from(stored, Number);
  const bad = numbers.findIndex((value) => !Number.isSafeInteger(value) || value < 0);
  if (bad >= 0) throw invalid("INPUTS_INVALID", file, key, "non-negative integers", `${stored[bad]} at index ${bad}`);
  return numbers;
}

function logitsVocab(file: Checkpoint, tokens: number): number {
  const info = file.tensors.get("logits");
  const [rows, vocab] = info?.shape ?? [];
  if (info?.dtype === "F32" && info.shape.length === 2 && rows === tokens && vocab !== undefined && vocab > 0) {
    return vocab;
  }
  throw invalid(
    "GOLDEN_INVALID",
    file,
    "logits",
    `F32 [${tokens}, V], a row for each of input_ids`,
    describe(file, "logits"),
  );
}

function describe(file: Checkpoint, key: string): string {
  const info = file.tensors.get(key);
  return info === undefined ? `no tensor of that name` : `${info.dtype} [${info.shape.join(", ")}]`;
}

function invalid(code: string, file: Checkpoint, tensor: string, expected: string, found: string): InputError {
  return new InputError(code, `${file.path}: "${tensor}": found ${found}, expected ${expected}`, {
    file: file.path,
    tensor,
    expected,
    found,
    help:
      tensor === "input_ids" || tensor === "logits"
        ? "write input_ids as int64 [T] and, for a golden, logits as float32 [T, V]"
        : "write the file from what the model's Hugging Face processor gives",
  });
}

/** @throws InputError where a golden does not belong to these ids or this vocabulary */
export function checkGolden(golden: Golden, ids: readonly number[], vocab: number): void {
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
}
