// What to compare on, tokens and images: given, tokenised, or made up.
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { InputError } from "../errors.ts";
import { readInputs } from "./input-file.ts";
import type { InputLimits, ResolvedInputs } from "./inputs.ts";
import { randomInputs } from "./random-inputs.ts";

export type InputRequest =
  | { readonly kind: "ids"; readonly file: string }
  | { readonly kind: "inputs"; readonly file: string }
  /** `text` may be `@FILE`; `tokenizer` is a tokenizer.json or a directory that holds one. */
  | { readonly kind: "prompt"; readonly text: string; readonly tokenizer: string }
  | { readonly kind: "random"; readonly tokens?: number; readonly seed?: number };

export async function resolveInputs(request: InputRequest, limits: InputLimits): Promise<ResolvedInputs> {
  switch (request.kind) {
    case "ids": {
      const ids_T = idsOfJson(request.file);
      return { input: { ids_T }, about: { kind: "ids", tokens: ids_T.length, source: request.file } };
    }
    case "inputs": {
      const input = readInputs(request.file, limits.vision);
      const images = input.images?.grids.length;
      const about = { kind: "ids", tokens: input.ids_T.length, source: request.file } as const;
      return { input, about: images === undefined ? about : { ...about, images } };
    }
    case "prompt": {
      const ids_T = await tokenise(request.text, request.tokenizer);
      return { input: { ids_T }, about: { kind: "prompt", tokens: ids_T.length, source: request.text } };
    }
    case "random":
      return randomInputs(request, limits);
    default:
      throw request satisfies never;
  }
}

function idsOfJson(file: string): number[] {
  const value = parseJson(readText(file), file);
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

async function tokenise(text: string, path: string): Promise<number[]> {
  const prompt = text.startsWith("@") ? readText(text.slice(1)) : text;
  const { tokenizer, file } = await openTokenizer(path);
  const ids = encode(prompt, tokenizer, file);
  if (ids.length > 0) return ids;
  throw new InputError("PROMPT_EMPTY", "the prompt has no tokens", {
    file,
    expected: "at least one token",
    found: JSON.stringify(prompt.slice(0, 40)),
    help: "give a longer --prompt, or leave it out to compare on random ids",
  });
}

/** `path` is a tokenizer.json or a directory that holds one. Throws InputError TOKENIZER_INVALID. */
export async function openTokenizer(path: string) {
  const isDirectory = statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  const file = isDirectory ? join(path, "tokenizer.json") : path;
  const definition = asObject(parseJson(readText(file), file), file);
  const configFile = join(isDirectory ? path : join(path, ".."), "tokenizer_config.json");
  const hasConfig = statSync(configFile, { throwIfNoEntry: false }) !== undefined;
  const config = hasConfig ? asObject(parseJson(readText(configFile), configFile), configFile) : {};
  const { Tokenizer } = await import("@huggingface/tokenizers");
  try {
    return { tokenizer: new Tokenizer(definition, config), file };
  } catch (cause) {
    throw invalidTokenizer(file, cause);
  }
}

type Tokenizer = Awaited<ReturnType<typeof openTokenizer>>["tokenizer"];

function encode(prompt: string, tokenizer: Tokenizer, file: string): number[] {
  try {
    const encoding = tokenizer.encode(prompt);
    const [ids, tokens]: readonly [readonly number[], readonly string[]] = [encoding.ids, encoding.tokens];
    const unknown = ids.findIndex((id) => !Number.isSafeInteger(id));
    if (unknown >= 0) throw new Error(`its vocabulary has no ${JSON.stringify(tokens[unknown])}`);
    return [...ids];
  } catch (cause) {
    throw invalidTokenizer(file, cause);
  }
}

const invalidTokenizer = (file: string, cause: unknown): InputError =>
  new InputError("TOKENIZER_INVALID", `${file}: cannot tokenise the prompt: ${messageOf(cause)}`, {
    file,
    cause,
    help: "give --tokenizer the tokenizer.json of this model, or the ids themselves with --ids",
  });

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw new InputError("NOT_FOUND", `${file}: cannot be read`, { file, cause, help: "check the path" });
  }
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new InputError("JSON_INVALID", `${file}: not JSON`, {
      file,
      cause,
      help: "check that this is the right file",
    });
  }
}

function asObject(value: unknown, file: string): object {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw new InputError("TOKENIZER_INVALID", `${file}: not a JSON object`, {
    file,
    expected: "a JSON object",
    found: Array.isArray(value) ? "an array" : String(value).slice(0, 20),
    help: "give --tokenizer the tokenizer.json of this model",
  });
}
