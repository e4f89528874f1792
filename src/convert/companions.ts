// config.json and the tokenizer, generation and processor files that a target carries beside its weights.
import { readFileSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Dtype } from "../base/dtype.ts";
import { quantisationOf, withQuantisation } from "../encodings/quantisation.ts";
import type { Family, JsonObject } from "../family/adapter.ts";
import type { OutputFile } from "../formats/output.ts";
import { type ConfigFile, companionsIn, directoryOf } from "../model/config-files.ts";

export const textFile = (name: string, text: string): OutputFile => {
  const bytes = Buffer.from(text);
  return { name, byteLength: bytes.length, parts: [{ kind: "bytes", bytes }] };
};

/** Read when it is written: a tokenizer can have tens of megabytes. */
function copiedFile(path: string): OutputFile {
  const byteLength = statSync(path).size;
  return { name: basename(path), byteLength, parts: [{ kind: "late", byteLength, make: () => readFileSync(path) }] };
}

/** Files beside the checkpoint, and those beside the config given that the checkpoint lacks. */
export const companionFiles = (checkpoint: string, config: ConfigFile | null): OutputFile[] =>
  companionPaths(checkpoint, config).map(copiedFile);

export function companionPaths(checkpoint: string, config: ConfigFile | null): string[] {
  const own = directoryOf(checkpoint);
  const directories = config === null ? [own] : [own, dirname(config.path)];
  const paths = new Map<string, string>();
  for (const directory of directories) {
    for (const name of companionsIn(directory)) if (!paths.has(name)) paths.set(name, join(directory, name));
  }
  return [...paths.values()];
}

/** Names of torch and of HF configs. */
export const TORCH_NAMES: Partial<Record<Dtype, string>> = {
  F64: "float64",
  F32: "float32",
  BF16: "bfloat16",
  F16: "float16",
};

/** The one element type of all floating-point tensors; null where they have several. */
export function commonFloat(dtypes: Iterable<Dtype>): Dtype | null {
  const floats = new Set([...dtypes].filter((dtype) => TORCH_NAMES[dtype] !== undefined));
  const [only] = floats;
  return floats.size === 1 && only !== undefined ? only : null;
}

export interface HfConfigText {
  readonly text: string;
  /** What was changed, in words; null where the text is the source's own. */
  readonly change: string | null;
}

/**
 * config.json of an HF target. HF's own text stays as it is, but for the element type where `dtype` says that the weights
 * have another: transformers would round them to the declared one on loading.
 */
export function hfConfigText(
  config: ConfigFile,
  family: Family,
  dtype: Dtype | null,
  quantisation: JsonObject | null,
): HfConfigText {
  if (JSON.stringify(quantisationOf(config.json)) !== JSON.stringify(quantisation)) {
    const json = withQuantisation(config.json, quantisation);
    const change =
      quantisation === null
        ? "config.json has no quantization_config: the weights are written plain"
        : `config.json declares ${String(quantisation.quant_method)}, as the weights are`;
    const stripped = { ...config, json, text: `${JSON.stringify(json, null, 2)}\n` };
    const { text, change: more } = hfConfigText(stripped, family, dtype, quantisation);
    return { text, change: more === null ? change : `${change}; ${more}` };
  }
  const name = dtype === null ? undefined : TORCH_NAMES[dtype];
  if (config.json.model_type === undefined) {
    const own = withQuantisation(family.hfConfig(), quantisation);
    const json: JsonObject = { ...own, ...(name === undefined ? {} : { dtype: name }) };
    return { text: `${JSON.stringify(json, null, 2)}\n`, change: `config.json was made from ${config.path}` };
  }
  const declared = declaredDtype(config.json);
  if (name === undefined || declared === undefined || declared === name) return { text: config.text, change: null };
  const text = config.text.replace(/("(?:torch_)?dtype"\s*:\s*)"[^"]*"/g, `$1"${name}"`);
  return { text, change: `config.json declares ${name}, as the weights are, instead of ${declared}` };
}

function declaredDtype(config: JsonObject): string | undefined {
  const { dtype = config.torch_dtype } = config;
  return typeof dtype === "string" ? dtype : undefined;
}
