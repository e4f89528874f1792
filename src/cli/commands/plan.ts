import type { ConversionPlan } from "../../convert/plan.ts";
import { formatBytes } from "../../report/units.ts";
import type { Command, Outcome } from "../command.ts";
import { conversionOptionsOf } from "../convert-options.ts";
import { loadAdapters } from "../load-adapters.ts";
import { convertOptions } from "../options.ts";
import { planFacts, planJson, planTables } from "../plan-view.ts";
import { withCheckpoints } from "../with-checkpoints.ts";

export const plan: Command = {
  usage: "plan <source> [target]",
  describe: "What a conversion would do, from headers alone",
  positionals: { source: "a checkpoint's directory or file", target: "where `convert` would write to" },
  options: convertOptions,
  examples: [["plan Qwen3-8B --dtype bf16", "keys, shapes, casts, files, memory and disk of Qwen3-8B → torchtitan"]],
  async run(args) {
    const [adapters, { planConversion }] = await Promise.all([loadAdapters(args), import("../../convert/plan.ts")]);
    const options = conversionOptionsOf(args, adapters);
    const target = args.text("target");
    return withCheckpoints([args.required("source")], async ([source]) =>
      planOutcome(planConversion(source!, target, options)),
    );
  },
};

export function planOutcome(planned: ConversionPlan): Outcome {
  return {
    json: planJson(planned),
    document: {
      command: "plan",
      verdict: "pass",
      headline: `${planned.from} → ${planned.to}: ${formatBytes(planned.diskBytes)} to write; nothing is written yet`,
      facts: planFacts(planned),
      checks: [],
      tables: planTables(planned),
      notes: planned.notes,
    },
  };
}
