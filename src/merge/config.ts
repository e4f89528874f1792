// What adapter_config.json of PEFT says of an adapter, and which adapters are no plain LoRA and therefore not merged.
//   huggingface/peft@v0.21.2:src/peft/tuners/lora/config.py, `LoraConfig`
import { InputError } from "../base/errors.ts";
import { isJsonObject, type JsonFault, JsonReader, parseJson } from "../base/json.ts";

export interface LoraConfig {
  /** Where it was read. */
  readonly path: string;
  readonly rank: number;
  readonly alpha: number;
  /** Pattern over names of modules, or of parameters → another rank, another alpha; the first that matches holds. */
  readonly rankPattern: ReadonlyMap<string, number>;
  readonly alphaPattern: ReadonlyMap<string, number>;
  /** Whether deltas are divided by √rank in place of the rank. */
  readonly isRankStabilised: boolean;
  /** Whether weights that are stored `in × out`, as those of Conv1D, get a transposed delta. */
  readonly isTransposed: boolean;
  /** Ends of the names of parameters that are adapted by themselves, such as stacks of experts. */
  readonly parameters: readonly string[];
  /** Whether a module of this name was adapted as a whole: then none of its parameters was by itself. */
  readonly isWhole: (module: string) => boolean;
  /** Name or address of the model that it was trained on; null where it does not say. */
  readonly base: string | null;
  readonly peftVersion: string | null;
}

/** Why a field's value makes an adapter something else than W + s·B·A; null for a value that leaves it alone. */
type Refusal = (value: unknown) => string | null;

const ifSet =
  (what: string): Refusal =>
  (value) =>
    value === null || value === undefined || value === false || isEmpty(value) ? null : what;

const isEmpty = (value: unknown): boolean =>
  (Array.isArray(value) && value.length === 0) || (isJsonObject(value) && Object.keys(value).length === 0);

/** Initial values that take nothing out of the base: the others leave a residue in it, which this base is not. */
const PLAIN_INITS: readonly unknown[] = [null, undefined, true, false, "gaussian", "eva", "orthogonal"];

const REFUSED: Readonly<Record<string, Refusal>> = {
  use_dora: ifSet("DoRA, which scales rows of the sum by a magnitude of its own"),
  use_qalora: ifSet("QALoRA, which pools the input in groups"),
  use_bdlora: ifSet("BD-LoRA, whose factors are block-diagonal"),
  layer_replication: ifSet("layer replication: it makes a model of other layers than the base has"),
  alora_invocation_tokens: ifSet("aLoRA, which is active behind certain tokens alone"),
  arrow_config: ifSet("Arrow, which chooses among adapters by the token"),
  kasa_config: ifSet("KaSA, which truncates the base's weights"),
  monteclora_config: ifSet("MonteCLoRA, whose factors are drawn at random"),
  trainable_token_indices: ifSet("trainable tokens beside LoRA: single rows of the embedding"),
  megatron_config: ifSet("LoRA on parallel layers of Megatron"),
  init_lora_weights: (value) =>
    PLAIN_INITS.includes(value)
      ? null
      : `LoRA that began as ${JSON.stringify(value)}: it belongs to what that took out of the base's weights, not to the base`,
};

export const PEFT_HELP =
  "merge it with peft, and convert what comes of it: PeftModel.from_pretrained(base, FOLDER).merge_and_unload().save_pretrained(OUT)";

/** @throws InputError ADAPTER_MALFORMED, ADAPTER_UNSUPPORTED */
export function parseLoraConfig(text: string, path: string): LoraConfig {
  const root = new JsonReader(jsonOf(text, path), (fault) => unreadable(path, fault));
  const kind = root.field("peft_type").text();
  if (kind !== "LORA") throw unsupported(path, `an adapter of kind ${kind}`, `"peft_type": ${JSON.stringify(kind)}`);
  for (const [name, refusal] of Object.entries(REFUSED)) {
    const value = root.optional(name)?.value;
    const what = refusal(value);
    if (what !== null) throw unsupported(path, what, `${JSON.stringify(name)}: ${JSON.stringify(value)}`);
  }
  return {
    path,
    rank: positive(root.field("r")),
    alpha: root.field("lora_alpha").number(),
    rankPattern: pattern(root, "rank_pattern", positive),
    alphaPattern: pattern(root, "alpha_pattern", (reader) => reader.number()),
    isRankStabilised: flagIn(root, "use_rslora"),
    isTransposed: flagIn(root, "fan_in_fan_out"),
    parameters: root.optional("target_parameters")?.nullable((list) => list.list().map((each) => each.text())) ?? [],
    isWhole: modulesOf(root.optional("target_modules")?.value),
    base: root.optional("base_model_name_or_path")?.nullable((name) => name.text()) ?? null,
    peftVersion: root.optional("peft_version")?.nullable((version) => version.text()) ?? null,
  };
}

function jsonOf(text: string, path: string): unknown {
  try {
    return parseJson(text);
  } catch (cause) {
    throw malformed(path, "it is not JSON", "JSON", cause instanceof Error ? cause.message : "");
  }
}

const flagIn = (root: JsonReader, name: string): boolean =>
  root.optional(name)?.nullable((reader) => reader.boolean()) ?? false;

function positive(reader: JsonReader): number {
  const size = reader.size();
  return size > 0 ? size : reader.fail("rank from 1 on");
}

/**
 * Ends of names, or one regular expression over whole names.
 *   huggingface/peft@v0.21.2:src/peft/tuners/tuners_utils.py, `check_target_module_exists`
 */
function modulesOf(targets: unknown): LoraConfig["isWhole"] {
  if (Array.isArray(targets)) return (module) => targets.some((end) => `.${module}`.endsWith(`.${end}`));
  if (typeof targets !== "string") return () => false;
  const whole = expressionOf(targets);
  return (module) => whole?.test(module) ?? false;
}

/** Null for one that Python alone can read. */
function expressionOf(source: string): RegExp | null {
  try {
    return new RegExp(`^(?:${source})$`);
  } catch {
    return null;
  }
}

const pattern = (root: JsonReader, name: string, read: (reader: JsonReader) => number): ReadonlyMap<string, number> =>
  root.optional(name)?.nullable((all) => all.map(read)) ?? new Map();

const unreadable = (path: string, { place, expected, found }: JsonFault): InputError =>
  malformed(path, `"${place}" is no ${expected}`, `${place === "" ? "" : `${place}: `}${expected}`, found);

const malformed = (file: string, what: string, expected: string, found: string): InputError =>
  new InputError("ADAPTER_MALFORMED", `${file}: no config of an adapter: ${what}`, {
    file,
    expected,
    found,
    help: "give a folder that PEFT's save_pretrained wrote",
  });

const unsupported = (file: string, what: string, found: string): InputError =>
  new InputError("ADAPTER_UNSUPPORTED", `${file}: not merged here: ${what}`, {
    file,
    expected: "LoRA of peft, as W + scale·B·A",
    found,
    help: PEFT_HELP,
  });

/**
 * The value of the first pattern that a name ends with, as peft matches it; `otherwise` where there is none.
 *   huggingface/peft@v0.21.2:src/peft/utils/other.py, `get_pattern_key`
 * @throws InputError ADAPTER_MALFORMED for a pattern that is no regular expression
 */
export function patternedFor(
  patterns: ReadonlyMap<string, number>,
  name: string,
  otherwise: number,
  path: string,
): number {
  for (const [source, value] of patterns) {
    const expression = expressionOf(`(?:.*\\.)?(?:${source})`);
    if (expression === null)
      throw malformed(path, `"${source}" is no pattern`, "a regular expression over names of modules", source);
    if (expression.test(name)) return value;
  }
  return otherwise;
}
