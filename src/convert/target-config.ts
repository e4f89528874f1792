// The config that a target gets, and what it makes the model compute: read anew where its text is not the source's.
import { InputError } from "../base/errors.ts";
import { isJsonObject, parseJson } from "../base/json.ts";
import { mathematicsHash } from "../family/mathematics.ts";
import type { ConfigFile } from "../model/configs/config-files.ts";
import type { Model } from "../model/model.ts";

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
