import type { ConversionOptions } from "../convert/plan.ts";
import type { Adapter } from "../family/adapter.ts";
import type { Arguments } from "./arguments.ts";
import { sideOptionsOf } from "./side-options.ts";

const FORMATS = ["safetensors", "dcp", "pt"] as const;

/** What the options of `convert` and `plan` ask for. */
export function conversionOptionsOf(args: Arguments, adapters: readonly Adapter[]): ConversionOptions {
  return {
    to: args.text("to"),
    format: args.choice("format", FORMATS),
    dtype: args.list("dtype"),
    encoding: args.text("encoding"),
    maxShardSize: args.size("max-shard-size"),
    ranks: args.count("ranks"),
    maxRam: args.size("max-ram"),
    allowDrop: args.list("allow-drop"),
    buffers: !args.flag("no-buffers"),
    side: sideOptionsOf(args, adapters),
  };
}
