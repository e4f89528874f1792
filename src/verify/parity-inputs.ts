// Token ids to compare on: given, tokenised, or made up.
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { InputError } from "../errors.ts";
import { openSafetensors } from "../formats/safetensors/open.ts";
import { readIntegers } from "./parity-golden.ts";

/** Shorter inputs do not show what a wrong rotary embedding does. */
export const MIN_GENERATED_TOKENS = 512;

export type InputRequest =
  | { readonly kind: "ids"; readonly file: string }
  | { readonly kind: "inputs"; readonly file: string }
  /** `text` may be `@FILE`; `tokenizer` is a tokenizer.json or a directory that holds one. */
  | { readonly kind: "prompt"; readonly text: string; readonly tokenizer: string }
  | { readonly kind: "random"; readonly tokens?: number; readonly seed?: number };

/** What the report says of the input; `ids` stay inside. */
export interface ParityInputs {
  readonly kind: "ids" | "prompt" | "random" | "golden";
  readonly tokens: number;
  /** File, prompt or golden that the ids come from. */
  readonly source?: string;
  readonly seed?: number;
  /** Why there are more or fewer tokens than asked for, or more than the model was made for. */
  readonly note?: string;
}

export interface ResolvedInputs {
  readonly ids: readonly number[];
  readonly about: ParityInputs;
}

/** The model that the ids are for. */
export interface InputLimits {
  readonly vocabSize: number;
  readonly maxPositions: number;
}

export async function resolveInputs(request: InputRequest, limits: InputLimits): Promise<ResolvedInputs> {
  switch (request.kind) {
    case "ids": {
      const ids = idsOfJson(request.file);
      return { ids, about: { kind: "ids", tokens: ids.length, source: request.file } };
    }
    case "inputs": {
      const ids = idsOfInputs(request.file);
      return { ids, about: { kind: "ids", tokens: ids.length, source: request.file } };
    }
    case "prompt": {
      const ids = await tokenise(request.text, request.tokenizer);
      return { ids, about: { kind: "prompt", tokens: ids.length, source: request.text } };
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

/** `input_ids` [T], and `position_ids` where they say what a text model does anyway. */
function idsOfInputs(file: string): number[] {
  const inputs = openSafetensors(file);
  const refuse = (tensor: string, expected: string): never => {
    throw new InputError("INPUT_NOT_SUPPORTED", `${file}: this model takes no such "${tensor}"`, {
      file,
      tensor,
      expected,
      found: tensor,
      help: `leave "${tensor}" out of the file`,
    });
  };
  try {
    const ids = readIntegers(inputs, "input_ids");
    for (const key of inputs.tensors.keys()) {
      if (key === "position_ids") {
        const positions = readIntegers(inputs, key, [[ids.length], [ids.length, 3]]);
        const axes = positions.length / ids.length;
        if (positions.some((position, i) => position !== Math.floor(i / axes))) refuse(key, "positions 0, 1, 2, …");
      } else if (key !== "input_ids") refuse(key, "input_ids alone: the model has text as its only modality");
    }
    return ids;
  } finally {
    inputs.close();
  }
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

/**
 * Seeded ids that exercise what breaks: both edges of the vocabulary, one token many times in a row, a passage that
 * comes again later, and uniform ids for the rest.
 */
export function randomIds(tokens: number, vocabSize: number, seed: number): number[] {
  const random = generator(seed);
  const ids = Array.from({ length: tokens }, () => Math.floor(random() * vocabSize));
  ids[0] = 0;
  ids[1] = vocabSize - 1;
  const run = tokens >> 4;
  ids.fill(ids[run]!, 2 * run, 3 * run);
  const passage = tokens >> 3;
  ids.splice(tokens - passage, passage, ...ids.slice(0, passage));
  return ids.slice(0, tokens);
}

function randomInputs(
  { tokens: asked = MIN_GENERATED_TOKENS, seed = 0 }: { readonly tokens?: number; readonly seed?: number },
  { vocabSize, maxPositions }: InputLimits,
): ResolvedInputs {
  const tokens = Math.min(Math.max(asked, MIN_GENERATED_TOKENS), maxPositions);
  const reason =
    tokens === maxPositions && tokens < Math.max(asked, MIN_GENERATED_TOKENS)
      ? `the model's context is ${maxPositions} tokens`
      : `generated input has at least ${MIN_GENERATED_TOKENS} tokens`;
  const about = { kind: "random", tokens, seed, ...(tokens === asked ? {} : { note: reason }) } as const;
  return { ids: randomIds(tokens, vocabSize, seed), about };
}

/** Uniform in [0, 1): mulberry32. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

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
