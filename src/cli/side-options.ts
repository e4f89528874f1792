import type { Adapter } from "../family/adapter.ts";
import type { SideOptions } from "../model/sides.ts";
import type { Arguments } from "./arguments.ts";

/** What `--family`, `--layout` and `--config` say of a side, and `--config-a`, `--config-b` of one of two. */
export function sideOptionsOf(args: Arguments, adapters: readonly Adapter[], side?: "a" | "b"): SideOptions {
  return {
    adapters,
    family: args.text("family"),
    layout: args.text("layout"),
    config: args.text("config"),
    ownConfig: side === undefined ? undefined : args.text(`config-${side}`),
  };
}
