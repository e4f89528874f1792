// Tensors of files that a parity run takes as they are: inputs and goldens.
import { InputError } from "../../base/errors.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import { readIntegerTensor } from "../../formats/safetensors/integers.ts";

/** Ids of one input, with or without a batch of one in front. @throws InputError INPUTS_INVALID */
export function readIds(file: Checkpoint): number[] {
  const shape = file.tensors.get("input_ids")?.shape ?? [];
  return readIntegers(file, "input_ids", shape.length === 2 && shape[0] === 1 ? [shape] : undefined);
}

/** Non-negative I64 or I32 of one of `shapes`, [T] with T ≥ 1 unless given. @throws InputError INPUTS_INVALID */
export function readIntegers(file: Checkpoint, key: string, shapes?: readonly (readonly number[])[]): number[] {
  const shape = file.tensors.get(key)?.shape;
  const fits = shapes?.some((each) => `${each}` === `${shape}`) ?? shape?.length === 1;
  const numbers = fits ? readIntegerTensor(file, key) : null;
  const values = Array.from(numbers ?? [], Number);
  if (values.length === 0) {
    const expected = shapes?.map((each) => `[${each.join(", ")}]`).join(" or ") ?? "[T], at least one token";
    throw invalidTensor("INPUTS_INVALID", file.path, key, [`I64 ${expected}`, describeTensor(file, key)]);
  }
  const bad = values.findIndex((value) => !Number.isSafeInteger(value) || value < 0);
  if (bad < 0) return values;
  const found = `${numbers?.[bad]} at index ${bad}`;
  throw invalidTensor("INPUTS_INVALID", file.path, key, ["non-negative integers", found]);
}

export function describeTensor(file: Checkpoint, key: string): string {
  const info = file.tensors.get(key);
  return info === undefined ? "no tensor of that name" : `${info.dtype} [${info.shape.join(", ")}]`;
}

const AS_TENSORS = "write input_ids as int64 [T] and, for a golden, logits as float32 [T, V]";
export const AS_PROCESSOR = "write the file from what the model's Hugging Face processor gives";

export function invalidTensor(
  code: "INPUTS_INVALID" | "GOLDEN_INVALID",
  file: string,
  tensor: string,
  [expected, found]: readonly [string, string],
  help = tensor === "input_ids" || tensor === "logits" ? AS_TENSORS : AS_PROCESSOR,
): InputError {
  const message = `${file}: "${tensor}": found ${found}, expected ${expected}`;
  return new InputError(code, message, { file, tensor, expected, found, help });
}
