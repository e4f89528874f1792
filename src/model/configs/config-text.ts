// config.json as text: what transformers takes for the same, by values and by types.
import { isDeepStrictEqual } from "node:util";
import { applyEdits, modify } from "jsonc-parser";
import { isJsonObject, type JsonObject, parseJson } from "../../base/json.ts";
import { withQuantisation } from "../../encodings/quantisation.ts";
import type { ConfigFile } from "./config-files.ts";

/**
 * Fields that transformers declares as `float`, and refuses where the file has an integer.
 *   huggingface/transformers@v5.23.0:src/transformers/models, the configurations of the families here
 */
const FLOATS = new Set([
  ...["attention_factor", "attn_scale", "initializer_range", "norm_eps", "pixel_shuffle_ratio", "rms_norm_eps"],
  ...["routed_scaling_factor", "router_aux_loss_coef", "router_jitter_noise", "swiglu_alpha", "swiglu_limit"],
]);

const INTEGER_FIELD = /^( *"(\w+)": -?\d+)(,?)$/gm;

/** A config that no file has. */
export const configText = (json: JsonObject): string =>
  `${JSON.stringify(json, null, 2)}\n`.replace(INTEGER_FIELD, (line, field: string, name: string, comma: string) =>
    FLOATS.has(name) ? `${field}.0${comma}` : line,
  );

/** The same file with this `quantization_config`, or without one; every other byte stays. */
export function fileWithQuantisation(config: ConfigFile, quantisation: JsonObject | null): ConfigFile {
  const json = withQuantisation(config.json, quantisation);
  const places = [["quantization_config"], ["text_config", "quantization_config"]];
  const edited = places.reduce((text, path) => {
    const [before, after] = [valueAt(config.json, path), valueAt(json, path)];
    return isDeepStrictEqual(before, after)
      ? text
      : applyEdits(text, modify(text, path, after, after === undefined ? {} : FORMAT));
  }, config.text);
  const text = isDeepStrictEqual(parseJson(edited), json) ? edited : configText(json);
  return { ...config, json, text };
}

/** Of what is added; what is taken out leaves its neighbours as they are. */
const FORMAT = { formattingOptions: { insertSpaces: true, tabSize: 2 } };

const valueAt = (value: unknown, path: readonly string[]): unknown =>
  path.reduce((at, name) => (isJsonObject(at) ? at[name] : undefined), value);
