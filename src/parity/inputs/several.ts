// Several inputs in one run: each runs on its own, and the metrics cover the tokens of all.
import { createHash } from "node:crypto";
import type { PromptMetrics } from "../../../numerics/metrics.ts";
import { InputError } from "../../base/errors.ts";
import { checkImages } from "./file.ts";
import type { Golden } from "./golden.ts";
import { type InputRequest, resolveInputs } from "./read.ts";
import type { InputLimits, ParityInputs, ResolvedInputs } from "./resolved.ts";
import { readJson, readText } from "./text-files.ts";

export type InputRequests = InputRequest | readonly InputRequest[];

export const requestsOf = (input: InputRequests | undefined): readonly InputRequest[] =>
  input === undefined ? [] : "kind" in input ? [input] : input;

/** The inputs in order. Without a request they are the golden's ids, or random ones. */
export async function allInputs(
  input: InputRequests | undefined,
  limits: InputLimits,
  golden: Golden | null,
): Promise<readonly ResolvedInputs[]> {
  const given = requestsOf(input);
  if (golden !== null && given.length === 0) {
    const about = { kind: "golden", tokens: golden.ids.length, source: golden.path } as const;
    return [checked({ input: { ids_T: golden.ids }, about }, limits)];
  }
  const all: ResolvedInputs[] = [];
  for (const request of given.length > 0 ? given : [{ kind: "random" } as const]) {
    all.push(checked(await resolveInputs(request, limits), limits));
  }
  return all;
}

function checked({ input, about }: ResolvedInputs, limits: InputLimits): ResolvedInputs {
  if (limits.vision) checkImages(input.ids_T, input.images, limits.vision, about.source ?? "the input");
  if (input.ids_T.length <= limits.maxPositions) return { input, about };
  return { input, about: { ...about, note: `longer than the model's context of ${limits.maxPositions} tokens` } };
}

/**
 * The prompts of a file: a JSON array of strings where its name ends in `.json`, else a text with one prompt per line.
 *
 * @throws InputError NOT_FOUND, JSON_INVALID or PROMPTS_INVALID
 */
export function readPrompts(file: string): readonly string[] {
  const isJson = file.endsWith(".json");
  const value = isJson ? readJson(file) : readText(file).split(/\r?\n/);
  const fault = (found: string) =>
    new InputError("PROMPTS_INVALID", `${file}: no list of prompts: ${found}`, {
      file,
      expected: isJson ? 'a JSON array of strings, e.g. ["Once upon a time", "def main():"]' : "one prompt a line",
      found,
      help: "write a JSON array of strings into a .json file, or one prompt a line into any other",
    });
  if (!Array.isArray(value)) throw fault(value === null ? "null" : typeof value);
  const prompts = value.map((prompt: unknown, i) => {
    if (typeof prompt === "string" && (!isJson || prompt !== "")) return prompt;
    throw fault(`${JSON.stringify(prompt)} at index ${i}`);
  });
  const filled = prompts.filter((prompt) => prompt.trim() !== "" || isJson);
  if (filled.length === 0) throw fault(isJson ? "an empty array" : "no line with text");
  return filled;
}

/** What the report says of one input, or of several together. */
export function describeInputs(all: readonly ResolvedInputs[], metrics: readonly PromptMetrics[]): ParityInputs {
  const [first] = all;
  const sha256 = hashOf(all);
  if (all.length === 1) return { ...first!.about, sha256 };
  const prompts = all.map(({ about: { kind, source, images, note } }, i) => ({
    kind,
    sha256: hashOf([all[i]!]),
    ...(source === undefined ? {} : { source }),
    ...(images === undefined ? {} : { images }),
    ...(note === undefined ? {} : { note }),
    ...metrics[i]!,
  }));
  const images = prompts.reduce((sum, prompt) => sum + (prompt.images ?? 0), 0);
  const tokens = prompts.reduce((sum, prompt) => sum + prompt.tokens, 0);
  return { kind: first!.about.kind, tokens, sha256, ...(images > 0 ? { images } : {}), prompts };
}

/** SHA-256 of the token ids one after the other, each as a little-endian I64, as `input_ids` has them. */
function hashOf(inputs: readonly ResolvedInputs[]): string {
  const hash = createHash("sha256");
  for (const { input } of inputs) {
    const bytes = Buffer.alloc(8 * input.ids_T.length);
    for (const [i, id] of input.ids_T.entries()) bytes.writeBigInt64LE(BigInt(id), 8 * i);
    hash.update(bytes);
  }
  return hash.digest("hex");
}
