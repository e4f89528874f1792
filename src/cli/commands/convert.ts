import type { Conversion } from "../../convert/convert.ts";
import type { ConversionPlan } from "../../convert/plan.ts";
import { renderFacts } from "../../report/text.ts";
import { formatBytes, formatSeconds } from "../../report/units.ts";
import type { Command, Outcome } from "../command.ts";
import { conversionOptionsOf } from "../convert-options.ts";
import { loadAdapters } from "../load-adapters.ts";
import { convertOptions, flag } from "../options.ts";
import { keptTable, leftOutTable, planFacts } from "../plan-view.ts";
import { withCheckpoints } from "../with-checkpoints.ts";
import { planOutcome } from "./plan.ts";

export const convert: Command = {
  usage: ["convert <source> <target>", "$0"],
  describe: "Convert a checkpoint; the direction follows from the source",
  positionals: {
    source: "a checkpoint's directory or file",
    target: "what to write: *.safetensors, *.pt and *.pth are files, any other is a directory",
  },
  options: {
    ...convertOptions,
    resume: flag("Continue what a killed run of the same conversion left"),
    force: flag("Replace a target that is a checkpoint, once the new one is complete; nothing else is ever replaced"),
    "no-fsync": flag("Do not wait until the disk has everything"),
    "dry-run": flag("Only show the plan"),
  },
  examples: [
    ["outputs/checkpoint/step-1000 model --config Qwen3-8B", "what torchtitan saved → a model for transformers"],
    ["Qwen3-8B initial-weights", "a Hugging Face model → DCP for torchtitan"],
    ["convert step-1000 step-1000.safetensors --to raw", "another container, keys and bits as they are"],
  ],
  async run(args, context) {
    const [adapters, { planConversion }, { convert: execute }, { checkTarget }] = await Promise.all([
      loadAdapters(args),
      import("../../convert/plan.ts"),
      import("../../convert/convert.ts"),
      import("../../output/safe-target.ts"),
    ]);
    const options = conversionOptionsOf(args, adapters);
    const target = args.required("target");
    return withCheckpoints([args.required("source")], async ([source]) => {
      const plan = planConversion(source!, target, options);
      if (args.flag("dry-run")) return planOutcome(plan);
      const force = args.flag("force");
      checkTarget(target, { force, reads: plan.reads });
      context.print(`${renderFacts(planFacts(plan), { color: context.color })}\n\n`);
      const result = await execute(plan, {
        resume: args.flag("resume"),
        force,
        fsync: !args.flag("no-fsync"),
        onProgress: context.progress,
        signal: context.signal,
      });
      return outcome(result, plan);
    });
  },
};

function outcome(result: Conversion, plan: ConversionPlan): Outcome {
  const { to, tensors, bytes, casts, kept, dropped, ties, files, peakRamBytes, seconds, notes } = result;
  const written = files.reduce((sum, file) => sum + file.bytes, 0);
  return {
    json: result,
    document: {
      command: "convert",
      verdict: "pass",
      headline: `${to.path}: ${tensors} tensors, ${formatBytes(bytes)}, in ${formatSeconds(seconds)} (${formatBytes(written / Math.max(seconds, 1e-3))}/s, ${formatBytes(peakRamBytes)} of memory)`,
      facts: [],
      checks: [
        {
          name: "every tensor has its place",
          status: "pass",
          detail: `${plan.mapping.source.tensors.size} → ${tensors}`,
        },
        ...ties.map(({ alias, of }) => ({ name: `${alias} equals ${of}`, status: "pass" as const })),
      ],
      tables: [
        {
          title: "Casts",
          columns: [
            { name: "tensor" },
            { name: "from" },
            { name: "to" },
            { name: "largest relative error", align: "right" },
          ],
          rows: casts.map(({ key, from, to: dtype, maxRelativeError }) => [
            key,
            from,
            dtype,
            maxRelativeError === null ? "not measured" : maxRelativeError.toExponential(2),
          ]),
        },
        keptTable(kept),
        leftOutTable(dropped),
        {
          title: "Files",
          columns: [{ name: "name" }, { name: "bytes", align: "right" }, { name: "xxh64" }],
          rows: files.map(({ name, bytes: size, xxh64 }) => [name, formatBytes(size), xxh64]),
        },
      ],
      notes,
    },
  };
}
