// The checkpoint's own tokenizer.
import { statSync } from "node:fs";
import { dirname, join } from "node:path";
import { InputError } from "../../base/errors.ts";
import type { JsonObject } from "../../family/adapter.ts";
import { messageOf, readJsonObject } from "./text.ts";

export interface OpenTokenizer {
  readonly tokenizer: Tokenizer;
  /** Path of tokenizer.json. */
  readonly file: string;
  /** Where its companions lie: tokenizer_config.json, chat_template.jinja. */
  readonly directory: string;
  /** tokenizer_config.json; empty where there is none. */
  readonly config: JsonObject;
}

type Tokenizer = InstanceType<Awaited<typeof import("@huggingface/tokenizers")>["Tokenizer"]>;

/** `path` is a tokenizer.json or a directory that holds one. Throws InputError TOKENIZER_INVALID. */
export async function openTokenizer(path: string): Promise<OpenTokenizer> {
  const isDirectory = statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  const file = isDirectory ? join(path, "tokenizer.json") : path;
  const definition = readJsonObject(file, "TOKENIZER_INVALID", TOKENIZER_HELP);
  const directory = isDirectory ? path : dirname(path);
  const configFile = join(directory, "tokenizer_config.json");
  const hasConfig = statSync(configFile, { throwIfNoEntry: false }) !== undefined;
  const config = hasConfig ? readJsonObject(configFile, "TOKENIZER_INVALID", TOKENIZER_HELP) : {};
  const { Tokenizer } = await import("@huggingface/tokenizers");
  try {
    return { tokenizer: new Tokenizer(definition, config), file, directory, config };
  } catch (cause) {
    throw invalidTokenizer(file, cause);
  }
}

/** @param special whether the tokenizer adds the special tokens that its post-processor has */
export function encode(prompt: string, { tokenizer, file }: OpenTokenizer, special = true): number[] {
  try {
    const encoding = tokenizer.encode(prompt, { add_special_tokens: special });
    const [ids, tokens]: readonly [readonly number[], readonly string[]] = [encoding.ids, encoding.tokens];
    const unknown = ids.findIndex((id) => !Number.isSafeInteger(id));
    if (unknown >= 0) throw new Error(`its vocabulary has no ${JSON.stringify(tokens[unknown])}`);
    return [...ids];
  } catch (cause) {
    throw invalidTokenizer(file, cause);
  }
}

const TOKENIZER_HELP = "give --tokenizer the tokenizer.json of this model";

const invalidTokenizer = (file: string, cause: unknown): InputError =>
  new InputError("TOKENIZER_INVALID", `${file}: cannot tokenise the prompt: ${messageOf(cause)}`, {
    file,
    cause,
    help: "give --tokenizer the tokenizer.json of this model, or the ids themselves with --ids",
  });
