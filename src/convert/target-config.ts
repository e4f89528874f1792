// The config that a target gets, and what it makes the model compute: read anew where its text is not the source's.
import { InputError } from "../base/errors.ts";
import { isJsonObject, parseJson } from "../base/json.ts";
import type { LayoutFile } from "../family/layout.ts";
import { mathematicsHash } from "../family/mathematics.ts";
import type { Format } from "../formats/checkpoint.ts";
import type { OutputFile } from "../formats/output.ts";
import { planTorchValues } from "../formats/pt/plan.ts";
import { type ConfigFile, isLayoutConfig } from "../model/configs/config-files.ts";
import type { Model } from "../model/model.ts";
import { commonFloat, textFile } from "./companions.ts";
import { hfConfigText } from "./hf-config.ts";
import type { Originals } from "./outputs.ts";
import type { Route } from "./route.ts";

export interface ConfigText {
  /** Within the target. */
  readonly name: string;
  readonly text: string;
}

export interface TargetConfig extends ConfigText {
  /** Hash of its mathematics; null of no model, and where the family does not read it. */
  readonly mathematics: () => string | null;
}

export const targetConfig = (
  { name, text }: ConfigText,
  source: Pick<ConfigFile, "text"> | null,
  model: Pick<Model, "family" | "adapter"> | null,
): TargetConfig => ({
  name,
  text,
  mathematics() {
    if (model === null) return null;
    return source?.text === text ? mathematicsHash(model.family) : readAnew({ name, text }, model);
  },
});

function readAnew({ name, text }: ConfigText, { adapter }: Pick<Model, "adapter">): string | null {
  const json = parseJson(text);
  if (!isJsonObject(json)) return null;
  try {
    return mathematicsHash(adapter.open(json, name));
  } catch (error) {
    if (error instanceof InputError) return null;
    throw error;
  }
}

interface TargetConfigs extends ConfigText {
  readonly beside: readonly OutputFile[];
  readonly notes: readonly string[];
}

/** config.json, and what the target layout's own loader reads beside it. */
export function targetConfigs(
  config: ConfigFile,
  { model, to, mapping, encoding }: Route,
  originals: Originals | null,
  format: Format,
): TargetConfigs {
  const { name, text: asIs } = config;
  const all = to.side === "native" ? to.files() : [];
  const own = all.filter(({ beside = format }) => beside === format);
  const isLayouts = isLayoutConfig(name);
  if (isLayouts && (model === null || own.some((file) => file.name === name)))
    return { name, text: asIs, beside: [], notes: [] };
  const beside = own.map(({ name, json, pickled = false, namespaces }: LayoutFile) =>
    pickled ? planTorchValues(json, name, namespaces) : textFile(name, `${JSON.stringify(json, null, 2)}\n`),
  );
  if (model === null || (to.side !== "hf" && !isLayouts)) return { name: "config.json", text: asIs, beside, notes: [] };
  // Critical tensors stay in F32 in models that are declared to be BF16.
  const plain = [...mapping.tensors.values()].filter(({ critical }) => critical === undefined);
  const isAsBefore = originals?.cast === false && config.json.model_type !== undefined;
  const dtype = isAsBefore ? null : commonFloat(plain.map(({ info }) => info.dtype));
  const { text, change } = hfConfigText(config, model.family, dtype, encoding?.quantisation ?? null);
  return { name: "config.json", text, beside, notes: change === null ? [] : [change] };
}
