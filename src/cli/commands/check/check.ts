import { UsageError } from "../../../base/errors.ts";
import { parseUpstream } from "../../../family/upstream.ts";
import { locate } from "../../../formats/io/disk-folder.ts";
import { BLOCKS, type BlockName } from "../../../gate/block.ts";
import { PROFILES } from "../../../gate/profile.ts";
import type { CheckReport } from "../../../gate/report.ts";
import { BACKEND_CHOICES, ROUTING_CHOICES } from "../../../parity/choices.ts";
import type { ReportDocument } from "../../../report/document.ts";
import { checkDocument } from "../../../report/views/gate/check.ts";
import { backendNotes } from "../../../report/views/parity.ts";
import { acceptancesIn } from "../../accept-known.ts";
import { type Arguments, notOneOf } from "../../arguments.ts";
import type { Command, Context } from "../../command.ts";
import { inputsOf, type Place, tokenizerBeside } from "../../input-options.ts";
import { loadAdapters, withCheckpoints } from "../../load.ts";
import { choice, pairOptions, sideOptionsOf, text } from "../../options.ts";
import { inputOptions, runOptions } from "../../parity-options.ts";
import { untilAborted } from "../../signals.ts";

const { "after-cast": _, ...sides } = pairOptions;

/** Everything that can be checked, on one page. */
export const check: Command = {
  usage: "check <source> [target]",
  describe: "Everything that can be checked of one checkpoint or a pair: one page, one exit code",
  positionals: { source: "a checkpoint's directory or file", target: "another one of the same model, in any layout" },
  options: {
    profile: choice("What the sides are to each other [detected]", PROFILES),
    only: text(`Look at these matters alone: ${BLOCKS.join(", ")}; repeatable`),
    require: text('Fail where this could not be checked: one of these, or "hub: a tokenizer"; repeatable'),
    golden: text("safetensors with input_ids and logits that the target is compared with; repeatable"),
    seal: text("A file that `seal` wrote: the target has to be its model"),
    base: text("The model that adapters were merged into: looks for each delta in the source, and for nothing else"),
    "merge-adapter": text("An adapter that was merged into --base; repeatable, in their order"),
    ...inputOptions,
    ...runOptions,
    ...sides,
  },
  examples: [
    ["check outputs/checkpoint/step-1000 my-model", "is this the model that was trained?"],
    ["check merged --base Qwen3-8B --merge-adapter my-lora", "is the adapter in it, once, and all else the base's?"],
    ["check my-model --golden golden.safetensors --report check.html", "one model, on a page for the archive"],
  ],
  async run(args, context) {
    if (isOfMerge(args)) return checkMerged(args, context);
    const [adapters, { check: run }, { restoreTarget }] = await Promise.all([
      loadAdapters(args),
      import("../../../gate/check.ts"),
      import("../../../output/swap.ts"),
    ]);
    const paths = [args.required("source"), args.text("target")].filter((path) => path !== undefined);
    const [, target] = paths;
    // Of the source, whoever runs commands has seen to it.
    if (target !== undefined) await restoreTarget(target);
    const places = paths.map((path) => ({ path, folder: locate(path).folder }));
    const saveLogits = args.text("save-logits");
    const signal = saveLogits === undefined ? context.signal : context.holdSignals();
    const running = run({
      source: { path: paths[0]!, options: sideOptionsOf(args, adapters, "a") },
      target: target === undefined ? undefined : { path: target, options: sideOptionsOf(args, adapters, "b") },
      profile: args.choice("profile", PROFILES),
      blocks: blocksIn(args),
      require: args.list("require"),
      goldens: args.list("golden"),
      seal: args.text("seal"),
      input: await inputsOf(args, places),
      backend: args.choice("backend", BACKEND_CHOICES),
      maxKlNats: args.number("max-kl", 0),
      minTop1: args.share("min-top1"),
      acceptKnown: acceptancesIn(args),
      maxRamBytes: args.size("max-ram"),
      upstream: parseUpstream(args.list("upstream")),
      routing: args.choice("routing", ROUTING_CHOICES),
      saveLogits,
      signal,
      onBackend: (backend) => {
        for (const note of backendNotes(backend)) context.print(`${note}\n\n`);
      },
      onProgress: (event) => context.progress({ ...event, label: event.unit === "FLOP" ? "forward" : event.label }),
    });
    const report = await untilAborted(signal, running);
    return checkDocument(report, await textsOf(args, places, report));
  },
};

const MERGE_OPTIONS = ["base", "merge-adapter"] as const;

/** Throws UsageError MERGE_USAGE where the one is given without the other, or a target with them. */
function isOfMerge(args: Arguments): boolean {
  const given = MERGE_OPTIONS.filter((name) => args.list(name).length > 0);
  if (given.length === 0) return false;
  const target = args.text("target");
  if (given.length === MERGE_OPTIONS.length && target === undefined) return true;
  throw new UsageError("MERGE_USAGE", "a merged model is checked against one base and its adapters", {
    expected: "check MERGED --base BASE --merge-adapter ADAPTER",
    found: [...(target === undefined ? [] : ["a target"]), ...given.map((name) => `--${name}`)].join(", "),
    help: "give the merged model alone, with both --base and --merge-adapter",
  });
}

async function checkMerged(args: Arguments, { progress, signal }: Context): Promise<ReportDocument> {
  const [adapters, { checkMerge }, { mergeCheckDocument }] = await Promise.all([
    loadAdapters(args),
    import("../../../verify/merge/check-merge.ts"),
    import("../../../report/views/merge/check-merge.ts"),
  ]);
  return withCheckpoints([args.required("source"), args.required("base")], async ([merged, base]) => {
    const running = checkMerge(merged!, base!, args.list("merge-adapter"), {
      base: sideOptionsOf(args, adapters, "a"),
      merged: sideOptionsOf(args, adapters, "b"),
      onProgress: progress,
      signal,
    });
    return mergeCheckDocument(await untilAborted(signal, running));
  });
}

function blocksIn(args: Arguments): readonly BlockName[] | undefined {
  const names = args.list("only").flatMap((list) => list.split(","));
  if (names.length === 0) return undefined;
  return names.map((name) => {
    const found = BLOCKS.find((block) => block === name.trim());
    if (found !== undefined) return found;
    throw notOneOf("only", name, BLOCKS);
  });
}

/** Of tokens that the report names, where a tokenizer lies beside a side. */
async function textsOf(
  args: Arguments,
  places: readonly Place[],
  { parity, goldens }: CheckReport,
): Promise<ReadonlyMap<number, string> | undefined> {
  const run = parity ?? goldens[0];
  const tokenizer = run === undefined ? null : tokenizerBeside(args, places);
  if (run === undefined || tokenizer === null) return undefined;
  const { tokenTexts } = await import("../../../parity/inputs/token-texts.ts");
  return tokenTexts(run.nextTokens, tokenizer);
}
