// Which config a checkpoint is read with, and as whose.
import { InputError } from "../../base/errors.ts";
import { isJsonObject, type JsonObject } from "../../base/json.ts";
import { witness } from "../../base/witness.ts";
import type { Adapter } from "../../family/adapter.ts";
import { adapterBeside } from "../../foreign/peft.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import { partitionsBeside } from "../../formats/deepspeed/names.ts";
import type { PathOrLocation } from "../../formats/io/disk-folder.ts";
import { type ConfigFile, configsIn, readConfig } from "./config-files.ts";

export interface ConfigOptions {
  readonly adapters: readonly Adapter[];
  /** The family that the user names. */
  readonly family?: string | undefined;
  /** Config for a checkpoint that carries none; never overrides one that does. */
  readonly config?: PathOrLocation | undefined;
  /** Config for this checkpoint alone; overrides its own. */
  readonly ownConfig?: PathOrLocation | undefined;
}

interface Configured {
  /** Null where there is none. */
  readonly config: ConfigFile | null;
  /** A config.json beside the checkpoint that is no model's. */
  readonly foreign: ConfigFile | null;
  readonly notes: readonly string[];
}

/**
 * The config of a checkpoint, as the options settle it. Throws what reading throws, also of a config that is not used,
 * and InputError CONFIG_UNKNOWN for a given one that is no model's.
 */
function configOf({ folder, companions }: Checkpoint, options: ConfigOptions): Configured {
  const { config, ownConfig } = options;
  const ofModel = (file: ConfigFile): ConfigFile => {
    if (isOfModel(file.json, options)) return file;
    throw configUnknown(file);
  };
  const given = config === undefined ? null : ({ ...readConfig(config), given: "where none is" } as const);
  if (ownConfig !== undefined)
    return { config: { ...ofModel(readConfig(ownConfig)), given: "for it alone" }, foreign: null, notes: [] };
  const found = [folder, companions].flatMap((each) => (each === undefined ? [] : configsIn(each)));
  const own = found.find(({ json }) => isOfModel(json, options));
  const [foreign = null] = found;
  if (own === undefined) {
    const notes = given === null || foreign === null ? [] : [`${foreign.path} is left alone: ${FOREIGN}`];
    return { config: given && ofModel(given), foreign, notes };
  }
  const isOther = given !== null && given.path !== own.path && given.text !== own.text;
  return {
    config: own,
    foreign: null,
    notes: isOther ? [`--config not used: the checkpoint has its own, ${own.path}`] : [],
  };
}

const FOREIGN = "it names no model_type, so it is not Hugging Face's, and no sizes of a model";

export const configUnknown = ({ path }: ConfigFile): InputError =>
  new InputError("CONFIG_UNKNOWN", `${path}: no config of a model: ${FOREIGN}`, {
    file: path,
    expected: "model_type, or a trainer's model args",
    found: "neither",
    help: "give the model's with --config PATH: HF's config.json, a directory that holds one, or the trainer's model args",
  });

/** Sizes in the model args of trainers. */
const SIZES = [
  "dim",
  "d_model",
  "n_embd",
  "n_layers",
  "n_layer",
  "num_layers",
  "n_heads",
  "n_head",
  "num_heads",
] as const;

/**
 * Whether a config is HF's and names its model, or looks like HF's where the user names the family, or is a trainer's: any other
 * would be read as all defaults.
 */
function isOfModel(json: JsonObject, { adapters, family }: ConfigOptions): boolean {
  const names = architecturesOf(json);
  if (typeof json.model_type === "string" || names.some((name) => typeOf(name, adapters) !== undefined)) return true;
  if (family !== undefined && (names.length > 0 || looksLikeHf(json))) return true;
  const { model_spec: spec } = json;
  const args = isJsonObject(spec) && isJsonObject(spec.model) ? spec.model : json;
  return isObjects(args.layers) || isJsonObject(args.moe_args) || SIZES.filter((name) => isSize(args[name])).length > 1;
}

const isSize = (value: unknown): boolean => typeof value === "number" && Number.isSafeInteger(value) && value > 0;
const isObjects = (value: unknown): boolean => Array.isArray(value) && value.length > 0 && value.every(isJsonObject);
const architecturesOf = ({ architectures }: JsonObject): readonly string[] =>
  Array.isArray(architectures) ? architectures.filter((name) => typeof name === "string") : [];

/** HF's config without `model_type`. */
const looksLikeHf = (json: JsonObject): boolean =>
  (isSize(json.hidden_size) && isSize(json.num_hidden_layers)) || isJsonObject(json.text_config);

interface ReadAs {
  /** With the `model_type` of a family, where one can be told. */
  readonly json: JsonObject;
  readonly notes: readonly string[];
}

/**
 * A config as a family reads it. The user's word wins over `model_type`, which wins over `architectures`. A config of a
 * trainer has neither. The user's file stays as it is.
 * @param family of --family
 */
function readAs(adapters: readonly Adapter[], { json, path }: ConfigFile, family: string | undefined): ReadAs {
  const as = (model_type: string, why: string): ReadAs => {
    const before =
      json.model_type === undefined ? "without model_type" : `of model_type ${JSON.stringify(json.model_type)}`;
    return { json: { ...json, model_type }, notes: [`${path}, ${before}, is read as ${model_type}: ${why}`] };
  };
  const settled = adapters.find((adapter) => adapter.family === family);
  const names = architecturesOf(json);
  const [byName] = names.flatMap((name) => typeOf(name, settled === undefined ? adapters : [settled]) ?? []);
  const isKnown = (adapter: Adapter) => adapter.modelTypes.some((type) => type === json.model_type);
  if (settled !== undefined) {
    const isTrainers = json.model_type === undefined && names.length === 0 && !looksLikeHf(json);
    const isOwn = isTrainers || isKnown(settled) || (settled.generic === true && json.model_type !== undefined);
    return isOwn ? { json, notes: [] } : as(byName ?? likeliestType(settled, json), "--family says so");
  }
  if (byName === undefined || adapters.some(isKnown)) return { json, notes: [] };
  return as(byName, `its architectures are ${names.join(", ")}`);
}

export interface ConfiguredAs extends Configured {
  /** The config as a family reads it. */
  readonly json: JsonObject | null;
}

export const NO_CONFIG: ConfiguredAs = { config: null, foreign: null, notes: [], json: null };

/** Throws as `configOf`. */
export function configuredAs(checkpoint: Checkpoint, options: ConfigOptions): ConfiguredAs {
  const { notes: ofConfig, ...found } = configOf(checkpoint, options);
  const configured = {
    ...found,
    notes: [...ofConfig, ...(checkpoint.notes ?? []), ...adapterBeside(checkpoint), ...partitionsBeside(checkpoint)],
  };
  if (configured.config === null) return { ...configured, json: null };
  witness()?.config(checkpoint.path, configured.config);
  const { json, notes } = readAs(options.adapters, configured.config, options.family);
  return { ...configured, json, notes: [...configured.notes, ...notes] };
}

/** Of several `model_type`s of a family, the one of a text model that stands alone where the config has no part for it. */
function likeliestType({ modelTypes, family }: Adapter, json: JsonObject): string {
  const text = modelTypes.find((type) => type.endsWith("_text"));
  return (isJsonObject(json.text_config) ? undefined : text) ?? modelTypes[0] ?? family;
}

/** `Qwen3MoeForCausalLM` is `qwen3_moe`; `Gemma3ForCausalLM` is `gemma3_text`. */
function typeOf(architecture: string, adapters: readonly Adapter[]): string | undefined {
  const [, name, task] = /^(\w+)For(CausalLM|ConditionalGeneration)$/.exec(architecture) ?? [];
  if (name === undefined) return undefined;
  const types = adapters.flatMap(({ modelTypes }) => modelTypes);
  const plain = (text: string) => text.replaceAll("_", "").toLowerCase();
  const named = (text: string) => types.find((type) => plain(type) === plain(text));
  return (task === "CausalLM" ? named(`${name}_text`) : undefined) ?? named(name);
}

/** What a config says twice, and differently. */
export interface Contradiction {
  readonly code: string;
  readonly field: string;
  readonly message: string;
  readonly help: string;
}

/**
 * transformers takes the rope_theta inside rope_scaling or rope_parameters, others the one outside:
 *   huggingface/transformers@v5.23.0:src/transformers/modeling_rope_utils.py, `convert_rope_params_to_dict`
 */
export function contradictionsIn({ json, path }: Pick<ConfigFile, "json" | "path">): readonly Contradiction[] {
  const text = isJsonObject(json.text_config) ? [json.text_config] : [];
  return [thetasIn("", json), ...text.map((part) => thetasIn("text_config.", part))].flatMap((thetas) => {
    const [first, last] = [thetas[0], thetas.at(-1)];
    if (first === undefined || last === undefined || thetas.every(({ theta }) => theta === first.theta)) return [];
    const said = thetas.map(({ field, theta }) => `${field} is ${theta}`).join(", ");
    return [
      {
        code: "ROPE_THETA_TWICE",
        field: last.field,
        message: `${path}: ${said}: transformers 5 takes the first, other readers the last`,
        help: `leave one: ${first.field} is what is converted and checked here`,
      },
    ];
  });
}

interface Theta {
  readonly field: string;
  readonly theta: number;
}

/** Where one part of a config says it, in the order of precedence. */
function thetasIn(at: string, part: JsonObject): readonly Theta[] {
  const inside = ["rope_scaling", "rope_parameters"].map((name) => ({ name: `${at}${name}.`, of: part[name] }));
  const all = [...inside, { name: at, of: part }];
  return all.flatMap(({ name, of }) =>
    isJsonObject(of) && typeof of.rope_theta === "number" ? [{ field: `${name}rope_theta`, theta: of.rope_theta }] : [],
  );
}
