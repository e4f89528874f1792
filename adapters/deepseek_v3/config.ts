// Config of DeepSeek-V3: HF's DeepseekV3Config.
//   huggingface/transformers@v5.23.0:src/transformers/models/deepseek_v3/configuration_deepseek_v3.py
import type { JsonObject } from "../../src/base/json.ts";
import { ConfigReader } from "../common/config-reader.ts";
import { type DeepseekV3Config, readDeepseekV3 } from "../common/deepseek-decoder.ts";

export type { DeepseekV3Config };

/** Kimi K2 is a DeepSeek-V3 under a name of its own: https://huggingface.co/moonshotai/Kimi-K2-Instruct/blob/main/config.json */
export const MODEL_TYPES = ["deepseek_v3", "kimi_k2"] as const;

/** Defaults are those of DeepseekV3Config. Throws InputError INVALID_CONFIG or CONFIG_UNSUPPORTED naming the field. */
export function parseDeepseekV3Config(json: JsonObject, where: string): DeepseekV3Config {
  const config = new ConfigReader(json, where);
  if (json.model_type === undefined) config.fail("model_type", `"deepseek_v3" (give the model's HF config)`);
  if (!MODEL_TYPES.some((type) => type === json.model_type))
    config.only("model_type", "deepseek_v3", "is another family");
  return readDeepseekV3(config);
}
