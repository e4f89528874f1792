// What the configs of decoder families have in common.
import { InputError } from "../../src/base/errors.ts";
import type { ConfigReader } from "./config-reader.ts";

interface Heads {
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
}

/** Throws InputError INVALID_CONFIG unless query heads share key heads evenly and channels can be rotated in pairs. */
export function checkHeads<C extends Heads>(config: C, where: string): C {
  const { nHeads, nKvHeads, headDim } = config;
  const fail = (message: string) => {
    throw new InputError("INVALID_CONFIG", `${where}: ${message}`, { file: where, help: "correct the config's heads" });
  };
  if (nHeads % nKvHeads !== 0) fail(`${nHeads} query heads cannot share ${nKvHeads} key/value heads evenly`);
  if (headDim % 2 !== 0) fail(`a head of ${headDim} channels cannot be rotated in pairs`);
  return config;
}

/** `dtype` (v5) or `torch_dtype` (v4). */
export const parseHfDtype = (config: ConfigReader): string | null =>
  config.optional("dtype", config.string) ?? config.optional("torch_dtype", config.string);
