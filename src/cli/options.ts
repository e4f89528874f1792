import type { Options } from "yargs";

const text = (describe: string, extra: Options = {}): Options => ({
  type: "string",
  requiresArg: true,
  describe,
  ...extra,
});
const flag = (describe: string): Options => ({ type: "boolean", describe });

const SHARED = "Shared options:";

/** Options of every command. */
export const sharedOptions = {
  json: { ...flag("One JSON document on stdout, nothing else there"), group: SHARED },
  report: text("Also write a report: .json .xml (JUnit) .md .html; repeatable", { group: SHARED }),
  quiet: { ...flag("Print nothing but errors"), group: SHARED },
  progress: { ...flag("Show progress on stderr even where it is no terminal"), group: SHARED },
  "no-color": { ...flag("No colours"), group: SHARED },
} as const satisfies Readonly<Record<string, Options>>;

/** Families beyond the built-in ones. */
export const adapterOptions = {
  adapter: text("Load a family from a module; repeatable"),
} as const satisfies Readonly<Record<string, Options>>;

/** What settles a side that detection cannot. */
export const sideOptions = {
  ...adapterOptions,
  family: text("Model family, where detection can't tell"),
  layout: text("Layout of the keys, where detection can't tell"),
  config: text("config.json, or a directory holding one, for a side that carries none"),
} as const satisfies Readonly<Record<string, Options>>;

export const pairOptions = {
  ...sideOptions,
  "config-a": text("config.json of the first side; overrides its own"),
  "config-b": text("config.json of the second side; overrides its own"),
} as const satisfies Readonly<Record<string, Options>>;

/** What a conversion takes; `plan` takes the same. */
export const convertOptions = {
  to: text("Layout of the target (hf, torchtitan, …), or raw: change the container only"),
  format: text("Container of the target: safetensors, dcp or pt"),
  dtype: text("keep, f32, bf16 or f16 for all weights, or GLOB=TYPE for some; repeatable", { alias: "out-dtype" }),
  encoding: text("Storage encoding of the target: auto or none"),
  "max-shard-size": text("Largest safetensors shard [5GB]"),
  ranks: text("Number of ranks that a DCP or meta target is cut for, a file each [1]"),
  "max-ram": text("Memory that the run may take; impossible limits are refused up front"),
  "allow-drop": text("Drop tensors that match GLOB; repeatable"),
  "no-buffers": flag("Leave out native buffers that would be re-created"),
  ...sideOptions,
} as const satisfies Readonly<Record<string, Options>>;

export { flag, text };
