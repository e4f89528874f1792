// What a conversion reads, and whether it is still what it was when the conversion was planned.
import { createHash } from "node:crypto";
import { ConvertCheckpointError } from "../base/errors.ts";
import { VERSION } from "../base/version.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { readBytes } from "../formats/io/byte-source.ts";
import { fileChanged } from "../formats/io/file-faults.ts";
import { type FileIn, has, versionOf } from "../formats/io/folder.ts";
import { planDigest } from "../output/execute.ts";
import type { ConversionPlan, PlannedInput } from "./plan.ts";

/**
 * What the bytes depend on beside the planned files: all that is read but companions, which are copies on their own, what
 * the headers say, and where each tensor comes from.
 */
export function identityOf({ source, inputs, mappings }: ConversionPlan): string {
  return JSON.stringify([
    VERSION,
    inputs.filter(({ role }) => role !== "companion").map((file) => [file.name, file.version, digestOf(file)]),
    headerDigest(source),
    mappings.map(({ from, to, tensors }) => [
      from,
      to,
      [...tensors.values()].map(({ move, sources }) => [move.rule, sources]),
    ]),
  ]);
}

/** Of all that the output depends on. */
export const planDigestOf = (plan: ConversionPlan): string => planDigest(plan.files, identityOf(plan));

/** Of a file that was read whole; of weights their headers tell. */
export function digestOf({ folder, name, role }: PlannedInput): string | null {
  if (role !== "description") return null;
  const file = folder.open(name);
  try {
    return createHash("sha256")
      .update(readBytes(file, 0, file.byteLength))
      .digest("hex");
  } finally {
    file.close();
  }
}

/** Keys in the order of the data, types, shapes and metadata: sizes and times can be those of another file. */
export function headerDigest({ tensors, safetensors, paths, chunks }: Checkpoint): string {
  const hash = createHash("sha256");
  for (const { key, dtype, shape } of tensors.values()) hash.update(JSON.stringify([key, dtype, shape]));
  return hash.update(JSON.stringify([safetensors?.files, [...(paths ?? [])], chunks])).digest("hex");
}

/**
 * Throws InputError FILE_CHANGED for a file that is another one than planned. Weights are left to `Checkpoint.verify`, which
 * knows what it holds open: one that was replaced under its name was still read as it was.
 */
export function checkInputs(inputs: readonly PlannedInput[]): void {
  for (const input of inputs) {
    if (input.role === "weights" || !has(input.folder, input.name) || versionOf(input) === input.version) continue;
    const path = input.folder.pathOf(input.name);
    throw fileChanged(path, "the file has changed since the conversion was planned", input.version, versionOf(input));
  }
}

const pathOf = ({ folder, name }: FileIn): string => folder.pathOf(name);

/**
 * Whether the weights that are written when this is thrown can be continued: yes where a companion fails, no where
 * another file did, as both states are among them; undefined where the error tells nothing of the kind.
 */
export function survives(inputs: readonly PlannedInput[], error: unknown): boolean | undefined {
  if (!(error instanceof ConvertCheckpointError)) return undefined;
  const { file } = error.details;
  if (inputs.some((input) => input.role === "companion" && pathOf(input) === file)) return true;
  return error.code === "FILE_CHANGED" ? false : undefined;
}
