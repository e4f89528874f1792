import { planDocument } from "../../../report/views/plan.ts";
import type { Command } from "../../command.ts";
import { loadAdapters, withSource } from "../../load.ts";
import { conversionOptionsOf, convertOptions, listOptions } from "../../options.ts";

export const plan: Command = {
  usage: "plan <source> [target]",
  describe: "What a conversion would do, from headers alone",
  positionals: { source: "a checkpoint's directory or file", target: "where `convert` would write to" },
  options: { ...convertOptions, ...listOptions },
  examples: [["plan Qwen3-8B --dtype bf16", "keys, shapes, casts, files, memory and disk of Qwen3-8B → torchtitan"]],
  async run(args) {
    const [adapters, { planConversion }] = await Promise.all([loadAdapters(args), import("../../../convert/plan.ts")]);
    const options = conversionOptionsOf(args, adapters);
    const target = args.text("target");
    return withSource(args, options, async (source) =>
      planDocument(planConversion(source, target, options), { all: args.flag("all") }),
    );
  },
};
