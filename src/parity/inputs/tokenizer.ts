// The checkpoint's own tokenizer.
import { InputError } from "../../base/errors.ts";
import type { JsonObject } from "../../base/json.ts";
import { locate, type PathOrLocation } from "../../formats/io/disk-folder.ts";
import { type Folder, has } from "../../formats/io/folder.ts";
import { messageOf, readJsonObject } from "./text-files.ts";

export interface OpenTokenizer {
  readonly tokenizer: Tokenizer;
  /** Path of tokenizer.json. */
  readonly file: string;
  /** Where its companions lie: tokenizer_config.json, chat_template.jinja. */
  readonly folder: Folder;
  /** tokenizer_config.json; empty where there is none. */
  readonly config: JsonObject;
}

type Tokenizer = InstanceType<Awaited<typeof import("@huggingface/tokenizers")>["Tokenizer"]>;

const TOKENIZER_FILE = "tokenizer.json";
export const TOKENIZER_CONFIG = "tokenizer_config.json";
/** A vocabulary of 200,000 tokens with its merges has some 30 MB. */
const TOKENIZER_LIMIT = 1 << 28;

/** `at` is a tokenizer.json or a folder that holds one. Throws InputError TOKENIZER_INVALID and what reading throws. */
export async function openTokenizer(at: PathOrLocation): Promise<OpenTokenizer> {
  const { path, folder, file: name } = locate(at);
  const file = name === null ? folder.pathOf(TOKENIZER_FILE) : path;
  const fault = { code: "TOKENIZER_INVALID", help: TOKENIZER_HELP };
  const json = { ...fault, name: name ?? TOKENIZER_FILE, shown: file, limit: TOKENIZER_LIMIT };
  const definition = readJsonObject(folder, json);
  const config = has(folder, TOKENIZER_CONFIG) ? readJsonObject(folder, { ...fault, name: TOKENIZER_CONFIG }) : {};
  const { Tokenizer } = await import("@huggingface/tokenizers");
  try {
    return { tokenizer: new Tokenizer(definition, config), file, folder, config };
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
