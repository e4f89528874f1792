// Recorded logits to compare against: a safetensors file of `input_ids` I64 [T] and `logits` F32 [T, V].
import { InputError } from "../../base/errors.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import { openSafetensors } from "../../formats/safetensors/open.ts";
import { describeTensor, invalidTensor, readIntegers } from "./tensors.ts";

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

function logitsVocab(file: Checkpoint, tokens: number): number {
  const info = file.tensors.get("logits");
  const [rows, vocab] = info?.shape ?? [];
  if (info?.dtype === "F32" && info.shape.length === 2 && rows === tokens && vocab !== undefined && vocab > 0) {
    return vocab;
  }
  const expected = `F32 [${tokens}, V], a row for each of input_ids`;
  throw invalidTensor("GOLDEN_INVALID", file.path, "logits", [expected, describeTensor(file, "logits")]);
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
