// Options that several commands have, and what they ask for.
import type { Options } from "yargs";
import type { ConversionOptions } from "../convert/plan.ts";
import { ENCODING_CHOICES } from "../encodings/encoding.ts";
import type { Adapter } from "../family/adapter.ts";
import { FORMATS } from "../formats/checkpoint.ts";
import type { ModelOptions } from "../model/model.ts";
import type { Arguments } from "./arguments.ts";

const text = (describe: string, extra: Options = {}): Options => ({
  type: "string",
  requiresArg: true,
  describe,
  ...extra,
});
const flag = (describe: string): Options => ({ type: "boolean", describe });
/** One of a few values, which `--help` lists. */
const choice = (describe: string, choices: readonly string[]): Options => text(describe, { choices });

const SHARED = "Shared options:";

/** Options of every command. */
export const sharedOptions = {
  json: { ...flag("One JSON document on stdout, nothing else there"), group: SHARED },
  report: text("Also write a report: FILE.json .xml (JUnit) .md .html, FORMAT:FILE, - for stdout; repeatable", {
    group: SHARED,
  }),
  quiet: { ...flag("Print nothing but errors and the headline of what failed"), group: SHARED },
  progress: { ...flag("Show progress on stderr even where it is no terminal"), group: SHARED },
  "no-color": { ...flag("No colours"), group: SHARED },
} as const satisfies Readonly<Record<string, Options>>;

/** Families beyond the built-in ones. */
export const adapterOptions = {
  adapter: text("Load a family from a module; repeatable"),
} as const satisfies Readonly<Record<string, Options>>;

/** How what is there for each tensor is listed. */
export const listOptions = {
  all: flag("List each tensor, also those whose keys differ in numbers alone"),
} as const satisfies Readonly<Record<string, Options>>;

/** Options that settle what detection cannot. */
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
  "after-cast": flag("Ask whether b is exactly the rounding of a, after a cast that was asked for"),
} as const satisfies Readonly<Record<string, Options>>;

/** What a conversion takes; `plan` takes the same. */
export const convertOptions = {
  to: text(
    "Layout of the target (hf, torchtitan, …), or raw: change the container only [hf of a trainer's checkpoint and of HF keys in DCP, .pt or .bin; torchtitan of HF safetensors]",
  ),
  format: choice("Container of the target", FORMATS),
  dtype: text("keep, f32, bf16 or f16 for all weights, or GLOB=TYPE for some; repeatable", { alias: "out-dtype" }),
  encoding: choice("Storage encoding of the target [auto: what its config says]", ENCODING_CHOICES),
  "max-shard-size": text("Largest safetensors shard [5GB]"),
  ranks: text("Number of ranks that a DCP or meta target is cut for, a file each [1]"),
  "max-ram": text("Memory that the run may take; impossible limits are refused up front"),
  workers: text("Threads that read, move, hash and write: a number, or auto for as many as pay, up to 4 [auto]"),
  "no-seal": flag("Do not hash the tensors of the target: faster, and the record does not say which model it is"),
  "merge-adapter": text(
    "A LoRA adapter of PEFT to merge into the source, a folder or hf://…; repeatable, in this order",
  ),
  "allow-drop": text("Let tensors without a place be dropped: GLOB; repeatable"),
  optimizer: flag(
    "Take the optimizer's state along, and schedules, data loaders, counters: from one trainer's layout to another",
  ),
  "make-vocab-size-divisible-by": text(
    "Of a megatron target: pad the rows of embedding and output layer with zeros to a multiple of this; Megatron-LM's own number times its tensor parallel size",
  ),
  "no-buffers": flag("Leave out native buffers that would be re-created"),
  ...sideOptions,
} as const satisfies Readonly<Record<string, Options>>;

/** What `--family`, `--layout` and `--config` say of a side, and `--config-a`, `--config-b` of one of two. */
export function sideOptionsOf(args: Arguments, adapters: readonly Adapter[], side?: "a" | "b"): ModelOptions {
  return {
    adapters,
    family: args.text("family"),
    layout: args.text("layout"),
    config: args.text("config"),
    ownConfig: side === undefined ? undefined : args.text(`config-${side}`),
  };
}

/** What the options of `convert` and `plan` ask for. */
export function conversionOptionsOf(args: Arguments, adapters: readonly Adapter[]): ConversionOptions {
  return {
    ...sideOptionsOf(args, adapters),
    to: args.text("to"),
    format: args.choice("format", FORMATS),
    dtype: args.list("dtype"),
    encoding: args.choice("encoding", ENCODING_CHOICES),
    maxShardSize: args.size("max-shard-size"),
    ranks: args.count("ranks"),
    maxRamBytes: args.size("max-ram"),
    workers: args.text("workers") === "auto" ? "auto" : (args.count("workers") ?? "auto"),
    seal: !args.flag("no-seal"),
    allowDrop: args.list("allow-drop"),
    vocabularyMultiple: args.count("make-vocab-size-divisible-by"),
    buffers: !args.flag("no-buffers"),
    optimizer: args.flag("optimizer"),
  };
}

export { choice, flag, text };
