// The config that the arguments of a run make, where a checkpoint has no other, and how a config differs from them.
import { InputError } from "../../base/errors.ts";
import { isJsonObject, type JsonObject } from "../../base/json.ts";
import type { Adapter } from "../../family/adapter.ts";
import { compareConfigs } from "../../family/config-differences.ts";
import type { Family } from "../../family/family.ts";
import type { LayoutFacts, RunConfig } from "../../family/layout.ts";
import type { RunArguments } from "../../formats/checkpoint.ts";
import type { Folder } from "../../formats/io/folder.ts";
import type { ConfigFile } from "./config-files.ts";
import { configText } from "./config-text.ts";

/** What is known of the run that saved a checkpoint. */
export interface RunOf extends Pick<RunConfig, "vocabulary" | "isPadded"> {
  readonly path: string;
  /** Fields of HF's config that the arguments give. */
  readonly fields: JsonObject;
  /** A config made of them; null where they are too few. */
  readonly config: { readonly config: ConfigFile; readonly json: JsonObject } | null;
  /** What arguments there are, in words; null without any. */
  readonly said: string | null;
  readonly notes: readonly string[];
}

const NONE: RunOf = { path: "", fields: {}, config: null, said: null, isPadded: false, vocabulary: null, notes: [] };

interface Saved {
  readonly checkpoint: { readonly folder: Folder };
  readonly recognised: {
    readonly adapter: Pick<Adapter, "modelTypes">;
    readonly layout: LayoutFacts;
    readonly keys: { readonly model: ReadonlyMap<string, unknown> };
  };
  readonly run: () => RunArguments | null;
}

/** A file of arguments that cannot be read is no fault of the model: it is told. */
export function runOf({ checkpoint: { folder }, recognised: { adapter, layout, keys }, run }: Saved): RunOf {
  if (layout.configOf === undefined) return NONE;
  let found: RunArguments | null;
  try {
    found = run();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return { ...NONE, notes: [`the arguments of the run are not read: ${error.message}`] };
  }
  if (found === null) return NONE;
  const { path, file, args } = found;
  const { fields, whole, isPadded, vocabulary } = layout.configOf(args, path, keys.model.keys());
  const json = whole === null ? null : { model_type: adapter.modelTypes[0], ...whole };
  const names = Object.keys(fields).join(", ");
  return {
    path,
    fields,
    isPadded,
    vocabulary,
    said: `${path} says ${names === "" ? "nothing of the model" : `only ${names}`}`,
    config: json === null ? null : { config: configFile({ path, folder, name: file }, json), json },
    notes: [],
  };
}

const configFile = (at: Pick<ConfigFile, "path" | "folder" | "name">, json: JsonObject): ConfigFile => ({
  ...at,
  text: configText(json),
  json,
});

/** Fields that make a config's mathematics, without which a comparison leaves most of it open. */
const TELLING = [
  "num_hidden_layers",
  "hidden_size",
  "intermediate_size",
  "num_attention_heads",
  "num_key_value_heads",
  "head_dim",
  "rms_norm_eps",
  "rope_parameters",
  "tie_word_embeddings",
];

/** In words: where the config gives other mathematics than the arguments of the run, and what these do not say. */
export function againstRun(run: RunOf, config: ConfigFile, family: Family): readonly string[] {
  if (run.said === null) return [];
  if (config.path === run.path)
    return [
      `the config is made of the arguments of the run in ${run.path}${run.isPadded ? "; its vocabulary is the padded one" : ""}`,
    ];
  const silent = TELLING.filter((field) => !(field in run.fields));
  const unsaid = `${run.path} does not say ${silent.join(", ")}: these are not checked against the run`;
  return [...differences(run, config, family), ...(silent.length === 0 ? [] : [unsaid])];
}

function differences({ path, fields }: RunOf, config: ConfigFile, family: Family): readonly string[] {
  const told = (field: string, a: unknown, b: unknown) =>
    `${field} is ${JSON.stringify(a)} in ${config.path}, and ${JSON.stringify(b)} in the run that saved the checkpoint (${path})`;
  try {
    const other = family.reopened(withFields(config.json, fields));
    return compareConfigs(family, other).map(({ field, a, b }) => told(field, a, b));
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return [`${config.path} and the run that saved the checkpoint (${path}) do not go together: ${error.message}`];
  }
}

/**
 * A config as it is, but for what the run says. One of several parts has the fields of its text in a part of their own, and says
 * at the top whether its head is the embedding. Where RoPE stands at the top, as transformers 4 has it, it stays
 * there.
 */
function withFields(json: JsonObject, { rope_parameters: rope, ...fields }: JsonObject): JsonObject {
  if (isJsonObject(json.text_config)) {
    const { tie_word_embeddings: tied } = fields;
    const text_config = withFields(json.text_config, { ...fields, rope_parameters: rope });
    return { ...json, text_config, ...(tied === undefined ? {} : { tie_word_embeddings: tied }) };
  }
  const own = Object.fromEntries(Object.entries(fields).filter(([name]) => name in json || TELLING.includes(name)));
  if (!isJsonObject(rope)) return { ...json, ...own };
  if (isJsonObject(json.rope_parameters))
    return { ...json, ...own, rope_parameters: { ...json.rope_parameters, ...rope } };
  const { rope_theta, rope_type, partial_rotary_factor: part, ...scaling } = rope;
  const scaled = rope_type === "default" ? null : { rope_type, ...scaling };
  const partly = part === undefined ? {} : { partial_rotary_factor: part };
  return { ...json, ...own, ...partly, rope_theta, rope_scaling: scaled };
}
