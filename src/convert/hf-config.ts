// config.json of an HF target: the source's own text, but for what is no longer true of its weights.
import { isDeepStrictEqual } from "node:util";
import { applyEdits, type Node, parseTree } from "jsonc-parser";
import { type Dtype, torchName } from "../base/dtype.ts";
import type { JsonObject } from "../base/json.ts";
import { quantisationOf, withQuantisation } from "../encodings/quantisation.ts";
import type { Family } from "../family/family.ts";
import type { ConfigFile } from "../model/configs/config-files.ts";
import { configText, fileWithQuantisation } from "../model/configs/config-text.ts";

export interface HfConfigText {
  readonly text: string;
  /** What was changed, in words; null where the text is the source's own. */
  readonly change: string | null;
}

/**
 * HF's own text stays as it is, but for the element type where `dtype` says that the weights have another: transformers
 * would round them to the declared one on loading; and but for `quantization_config`, where it is not `quantisation`.
 */
export function hfConfigText(
  config: ConfigFile,
  family: Family,
  dtype: Dtype | null,
  quantisation: JsonObject | null,
): HfConfigText {
  if (!isDeepStrictEqual(quantisationOf(config.json), quantisation)) {
    const change =
      quantisation === null
        ? "config.json has no quantization_config: the weights are written plain"
        : `config.json declares ${String(quantisation.quant_method)}, as the weights are`;
    const told = fileWithQuantisation(config, quantisation);
    const { text, change: more } = hfConfigText(told, family, dtype, quantisation);
    return { text, change: more === null ? change : `${change}; ${more}` };
  }
  const name = dtype === null ? undefined : torchName(dtype);
  if (config.json.model_type === undefined) {
    const own = withQuantisation(family.hfConfig(), quantisation);
    const json: JsonObject = { ...own, ...(name === undefined ? {} : { dtype: name }) };
    return { text: configText(json), change: `config.json was made from ${config.path}` };
  }
  const change = name === undefined ? null : declareDtype(config.text, name);
  if (change === null) return { text: config.text, change: null };
  return {
    text: change.text,
    change: `config.json declares ${name}, as the weights are, instead of ${change.before}`,
  };
}

const DTYPE_FIELDS = ["dtype", "torch_dtype"];

/**
 * A config that declares `name` for weights that all have this type; null where it does already, or declares none.
 * Everything but the values of the fields stays, byte for byte. What declares a type for the model is `dtype` or
 * `torch_dtype` of the config and of its `text_config`. A tower that was given a type of its own keeps it, unless it is
 * too narrow for its weights now: a tower in F32 computes in F32 on weights in BF16, one in BF16 would round those in F32.
 */
export function declareDtype(text: string, name: string): { readonly text: string; readonly before: string } | null {
  const top = parseTree(text);
  const ofModel = [...dtypesIn(top), ...valuesOf(top, ["text_config"]).flatMap(dtypesIn)];
  const before = ofModel[0]?.value;
  if (before === undefined || before === name) return null;
  const narrow = valuesOf(top, ["vision_config"])
    .flatMap(dtypesIn)
    .filter(({ value }) => rounds(value, name));
  const edits = [...ofModel, ...narrow].map(({ node: { offset, length } }) => ({
    offset,
    length,
    content: JSON.stringify(name),
  }));
  return { text: applyEdits(text, edits), before };
}

/** Whether weights of type `stored` lose bits as `declared`; false of types that are no plain floats. */
function rounds(declared: string, stored: string): boolean {
  const [wide, narrow] = [FLOAT_BITS.get(stored), FLOAT_BITS.get(declared)];
  return wide !== undefined && narrow !== undefined && declared !== stored && narrow <= wide;
}

/** Of equal width are two 16-bit types that do not hold each other's values. */
const FLOAT_BITS: ReadonlyMap<string, number> = new Map([
  ["float64", 64],
  ["float32", 32],
  ["bfloat16", 16],
  ["float16", 16],
]);

/** Values of fields of an object, in the order of `names`; of a field that is there twice both. */
function valuesOf(object: Node | undefined, names: readonly string[]): Node[] {
  const fields = object?.type === "object" ? (object.children ?? []) : [];
  return names.flatMap((name) =>
    fields.flatMap(({ children: [key, value] = [] }) => (key?.value === name && value ? [value] : [])),
  );
}

/** Strings that declare a type. */
const dtypesIn = (object: Node | undefined) =>
  valuesOf(object, DTYPE_FIELDS).flatMap((node) => {
    const value: unknown = node.value;
    return typeof value === "string" ? [{ node, value }] : [];
  });
