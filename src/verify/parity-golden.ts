// Recorded logits to compare against: a safetensors file of `input_ids` I64 [T] and `logits` F32 [T, V].
import { InputError } from "../errors.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { openSafetensors } from "../formats/safetensors/open.ts";

export interface Golden {
  readonly path: string;
  readonly ids: readonly number[];
  readonly vocab: number;
  /** Row-major logits of positions [begin, end). */
  rows(begin: number, end: number): Float32Array;
  close(): void;
}

/** @throws InputError GOLDEN_INVALID where the file is not of that form */
export function openGolden(path: string): Golden {
  const file = openSafetensors(path);
  try {
    const ids = readIds(file);
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

/** `input_ids` I64 [T], T ≥ 1. */
export function readIds(file: Checkpoint): number[] {
  const info = file.tensors.get("input_ids");
  if (info?.dtype !== "I64" || info.shape.length !== 1 || info.byteLength === 0) {
    throw invalid(file, "input_ids", "I64 [T], at least one token", describe(file, "input_ids"));
  }
  const ids = new BigInt64Array(info.shape[0]!);
  file.read("input_ids", 0, new Uint8Array(ids.buffer));
  const numbers = Array.from(ids, Number);
  const bad = numbers.findIndex((id) => !Number.isSafeInteger(id) || id < 0);
  if (bad >= 0) throw invalid(file, "input_ids", "non-negative ids", `${ids[bad]} at position ${bad}`);
  return numbers;
}

function logitsVocab(file: Checkpoint, tokens: number): number {
  const info = file.tensors.get("logits");
  const [rows, vocab] = info?.shape ?? [];
  if (info?.dtype === "F32" && info.shape.length === 2 && rows === tokens && vocab !== undefined && vocab > 0) {
    return vocab;
  }
  throw invalid(file, "logits", `F32 [${tokens}, V], a row for each of input_ids`, describe(file, "logits"));
}

function describe(file: Checkpoint, key: string): string {
  const info = file.tensors.get(key);
  return info === undefined ? `no tensor of that name` : `${info.dtype} [${info.shape.join(", ")}]`;
}

function invalid(file: Checkpoint, tensor: string, expected: string, found: string): InputError {
  return new InputError("GOLDEN_INVALID", `${file.path}: "${tensor}" is ${found}, expected ${expected}`, {
    file: file.path,
    tensor,
    expected,
    found,
    help: "write input_ids as int64 [T] and, for a golden, logits as float32 [T, V]",
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
