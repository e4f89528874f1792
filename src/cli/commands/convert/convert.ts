import type { ConversionPlan } from "../../../convert/plan.ts";
import type { Kept } from "../../../output/execute.ts";
import type { PartNumber } from "../../../output/parts/place.ts";
import { renderFacts } from "../../../report/text.ts";
import { formatBytes } from "../../../report/units.ts";
import { convertDocument } from "../../../report/views/convert.ts";
import { partDocument } from "../../../report/views/parts.ts";
import { planDocument, planFacts } from "../../../report/views/plan.ts";
import type { Arguments } from "../../arguments.ts";
import type { Command, Context } from "../../command.ts";

import { Unfinished } from "../../fail.ts";
import { publicationOf, publicationOptions } from "../../hub/publication.ts";
import { loadAdapters, withSource } from "../../load.ts";
import { conversionOptionsOf, convertOptions, flag, listOptions, text } from "../../options.ts";
import { crewOf } from "../../threads/crew.ts";

const howToContinue = ({ path, bytes }: Kept, target: string): string =>
  `${formatBytes(bytes)} are kept in ${path}: the same command with --resume continues, \`clean ${target}\` removes them`;

export const convert: Command = {
  usage: ["convert <source> <target>", "$0"],
  describe: "Convert a checkpoint; the direction follows from the source",
  positionals: {
    source: "a checkpoint's directory or file",
    target: "what to write: *.safetensors, *.pt and *.pth are files, any other is a directory",
  },
  options: {
    ...convertOptions,
    ...listOptions,
    resume: flag("Continue what a killed run of the same conversion left"),
    force: flag("Replace a target that is a checkpoint, once the new one is complete; nothing else is ever replaced"),
    ...publicationOptions,
    "no-fsync": flag("Do not wait until the disk has everything"),
    part: text(
      "Write part i of n alone, such as 3/16, on any machine that sees the target's folder; `finalize` joins them",
    ),
    "dry-run": flag("Only show the plan"),
  },
  examples: [
    ["outputs/checkpoint/step-1000 model --config Qwen3-8B", "what torchtitan saved → a model for transformers"],
    ["Qwen3-8B initial-weights", "a Hugging Face model → DCP for torchtitan"],
    ["convert Qwen3-8B merged --merge-adapter my-lora", "a base with a LoRA adapter merged into it"],
    ["convert step-1000 my-model --push hf://me/my-model", "and its upload, with a model card"],
    ["convert step-1000 step-1000.safetensors --to raw", "another container, keys and bits as they are"],
  ],
  async run(args, context) {
    const [adapters, { planConversion }, { convert: execute }] = await Promise.all([
      loadAdapters(args),
      import("../../../convert/plan.ts"),
      import("../../../convert/convert.ts"),
    ]);
    const part = await partOf(args);
    const publication = await publicationOf(args, context);
    const sha256 = context.hasDocument || publication !== null;
    const asked = { ...conversionOptionsOf(args, adapters), sha256 };
    // Each part has its own machine, or its own process.
    const options = part === undefined ? asked : { ...asked, workers: 1 };
    return withSource(args, options, async (source) => {
      const plan = planConversion(source, args.required("target"), options);
      if (args.flag("dry-run")) return planDocument(plan, { all: args.flag("all") });
      if (part !== undefined) return convertOnePart(plan, part, args, context);
      await publication?.check(plan);
      let kept: Kept | null = null;
      const running = execute(plan, {
        onStart: () => context.print(`${renderFacts(planFacts(plan), { color: context.color })}\n\n`),
        resume: args.flag("resume"),
        force: args.flag("force"),
        fsync: !args.flag("no-fsync"),
        onProgress: context.progress,
        signal: context.holdSignals(),
        crew: crewOf(args, plan.target.path, options),
        onKept: (each) => {
          kept = each;
        },
      });
      const result = await running.catch((error: unknown) => {
        throw kept === null ? error : new Unfinished(error, howToContinue(kept, plan.target.path));
      });
      const document = convertDocument(result);
      return publication === null ? document : publication.carriedOut(document, plan.target.path, adapters);
    });
  },
};

/** Throws UsageError before anything is read. */
async function partOf(args: Arguments): Promise<PartNumber | undefined> {
  const part = args.part("part");
  if (part === undefined) return undefined;
  const { checkPart } = await import("../../../convert/parts/part.ts");
  checkPart(part);
  return part;
}

async function convertOnePart(plan: ConversionPlan, part: PartNumber, args: Arguments, context: Context) {
  const { convertPart } = await import("../../../convert/parts/part.ts");
  const again = `the same command${args.flag("resume") ? "" : " with --resume"} continues, \`clean ${plan.target.path}\` removes all parts`;
  const running = convertPart(plan, part, {
    onStart: () => context.print(`${renderFacts(planFacts(plan), { color: context.color })}\n\n`),
    resume: args.flag("resume"),
    force: args.flag("force"),
    fsync: !args.flag("no-fsync"),
    onProgress: context.progress,
    signal: context.holdSignals(),
  });
  const result = await running.catch((error: unknown) => {
    throw context.signal.aborted ? new Unfinished(error, again) : error;
  });
  return partDocument(result);
}
