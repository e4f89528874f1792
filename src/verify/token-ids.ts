// Ids that a folder names, against the rows of the embedding: one beyond them stops a run, or is never reached.
import { isJsonObject, type JsonObject, parseJson } from "../base/json.ts";
import { CONFIG_LIMIT, type Folder, has, readText } from "../formats/io/folder.ts";
import type { Model } from "../model/model.ts";
import type { Difference } from "../views/difference.ts";

const TOKENIZER = "tokenizer.json";
const GENERATION = "generation_config.json";
/** The largest that are published have 262,144 tokens and as many merges, in some 35 MB. */
const TOKENIZER_LIMIT = 1 << 27;

const SPECIAL = ["bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"];

/**
 * Placeholders of images and their like stay in the tokenizer of a family's text model, which has no rows for them: Gemma 3
 * 1B, as published.
 */
const PLACEHOLDER = /image|img|vision|video|audio|speech/i;

interface Told {
  readonly differences: readonly Difference[];
  readonly notes: readonly string[];
}

export function tokenIdFaults({ checkpoint: { folder }, stored: { config }, family: { vocabSize } }: Model): Told {
  const generation = jsonIn(folder, GENERATION, CONFIG_LIMIT);
  const text = config.json.text_config;
  const configs = [
    { file: config.name, json: config.json },
    ...(isJsonObject(text) ? [{ file: `${config.name}, text_config`, json: text }] : []),
    ...(isJsonObject(generation) ? [{ file: GENERATION, json: generation }] : []),
  ];
  const special = configs.flatMap(({ file, json }) => specialFaults(file, json, vocabSize));
  const tokens = beyond(tokensOf(jsonIn(folder, TOKENIZER, TOKENIZER_LIMIT)), vocabSize);
  const placeholders = tokens.filter(({ token, added }) => added && PLACEHOLDER.test(token));
  const others = tokens.filter((each) => !placeholders.includes(each));
  return {
    differences: [...special, ...tokenizerFaults(others, vocabSize)],
    notes: placeholders.map(
      ({ token, id }) => `${TOKENIZER}: "${token}" is token ${id}, for which there is no row: ${vocabSize} rows`,
    ),
  };
}

/** Below zero stands for none, as older files have it. */
function specialFaults(file: string, json: JsonObject, rows: number): Difference[] {
  return SPECIAL.flatMap((name) =>
    [json[name]]
      .flat()
      .filter((id) => typeof id === "number" && id >= rows)
      .map(
        (id) =>
          ({ key: name, kind: "id", detail: `${file}: ${id} is no row of the embedding, which has ${rows}` }) as const,
      ),
  );
}

interface Token {
  readonly token: string;
  readonly id: number;
  /** Beside the vocabulary that text is split into. */
  readonly added: boolean;
}

const beyond = (tokens: readonly Token[], rows: number): Token[] =>
  tokens.filter(({ id }) => id >= rows).toSorted((a, b) => b.id - a.id);

function tokenizerFaults([highest, ...more]: readonly Token[], rows: number): Difference[] {
  if (highest === undefined) return [];
  const { token, id } = highest;
  const others = more.length === 0 ? "" : `, and ${more.length} more`;
  const detail = `"${token}" is token ${id}${others}: the embedding has ${rows} rows. Was it resized after tokens were added?`;
  return [{ key: TOKENIZER, kind: "id", detail }];
}

/** As the tokenizers library writes them: a map of tokens, or a list in their order, and what was added to either. */
function tokensOf(json: unknown): Token[] {
  if (!isJsonObject(json)) return [];
  const vocab = isJsonObject(json.model) ? json.model.vocab : undefined;
  const ordinary: Token[] = Array.isArray(vocab)
    ? vocab.map((entry: unknown, id) => ({ token: String(Array.isArray(entry) ? entry[0] : entry), id, added: false }))
    : Object.entries(isJsonObject(vocab) ? vocab : {}).flatMap(([token, id]) =>
        typeof id === "number" ? [{ token, id, added: false }] : [],
      );
  const added = (Array.isArray(json.added_tokens) ? json.added_tokens : []).flatMap((entry: unknown): Token[] =>
    isJsonObject(entry) && typeof entry.id === "number"
      ? [{ token: String(entry.content), id: entry.id, added: true }]
      : [],
  );
  const names = new Set(added.map(({ id }) => id));
  return [...ordinary.filter(({ id }) => !names.has(id)), ...added];
}

/** Null where there is none. What is no JSON is not this check's: it is left to who reads the file. */
function jsonIn(folder: Folder, name: string, limit: number): unknown {
  if (!has(folder, name)) return null;
  try {
    return parseJson(readText(folder, name, limit));
  } catch {
    return null;
  }
}
