// Reads the inputs that are asked for, tokens and images: given, tokenised, or random.
import { InputError } from "../../base/errors.ts";
import { readInputs } from "./file.ts";
import { type PromptRequest, resolvePrompt } from "./prompt.ts";
import { randomInputs } from "./random.ts";
import type { InputLimits, ResolvedInputs } from "./resolved.ts";
import { readJson } from "./text-files.ts";

export type InputRequest =
  | { readonly kind: "ids"; readonly file: string }
  | { readonly kind: "list"; readonly ids: readonly number[] }
  | { readonly kind: "inputs"; readonly file: string }
  | PromptRequest
  | { readonly kind: "random"; readonly tokens?: number; readonly seed?: number };

export async function resolveInputs(request: InputRequest, limits: InputLimits): Promise<ResolvedInputs> {
  switch (request.kind) {
    case "ids": {
      const ids_T = idsOfJson(request.file);
      return { input: { ids_T }, about: { kind: "ids", tokens: ids_T.length, source: request.file } };
    }
    case "list":
      return { input: { ids_T: [...request.ids] }, about: { kind: "ids", tokens: request.ids.length } };
    case "inputs": {
      const input = readInputs(request.file, limits.vision);
      const images = input.images?.grids.length;
      const about = { kind: "ids", tokens: input.ids_T.length, source: request.file } as const;
      return { input, about: images === undefined ? about : { ...about, images } };
    }
    case "prompt":
      return resolvePrompt(request, limits);
    case "random":
      return randomInputs(request, limits);
    default:
      throw request satisfies never;
  }
}

function idsOfJson(file: string): number[] {
  const value = readJson(file);
  const fault = (found: string) =>
    new InputError("IDS_INVALID", `${file}: not a JSON array of token ids`, {
      file,
      expected: "a JSON array of at least one non-negative integer, e.g. [1, 42, 7]",
      found,
      help: "write the ids as one flat JSON array",
    });
  if (!Array.isArray(value)) throw fault(value === null ? "null" : typeof value);
  if (value.length === 0) throw fault("an empty array");
  return value.map((id: unknown, i) => {
    if (typeof id === "number" && Number.isSafeInteger(id) && id >= 0) return id;
    throw fault(`${JSON.stringify(id)} at index ${i}`);
  });
}
