import { UsageError } from "../../../base/errors.ts";
import { kindsDocument, mutateDocument } from "../../../report/views/faults/mutate.ts";
import type { Command } from "../../command.ts";
import { loadAdapters, withCheckpoints } from "../../load.ts";
import { flag, sideOptions, sideOptionsOf, text } from "../../options.ts";

export const mutate: Command = {
  usage: "mutate [good] [target]",
  describe: "Make a known fault: the same checkpoint with one thing wrong, to try a check on",
  positionals: {
    good: "a checkpoint's directory or file",
    target: "where the mutant goes, in the same layout and format",
  },
  options: {
    fault: text(
      "The kind of fault, and where: NAME or NAME:TENSOR, by Hugging Face's key, or NAME:FIELD of the config",
    ),
    list: flag("List the kinds of fault, those alone that the checkpoint has a place for where one is given"),
    seed: text("Seed of what is random in a fault [0]"),
    force: flag("Replace a target that is a checkpoint; nothing else is ever replaced"),
    ...sideOptions,
  },
  examples: [
    ["mutate --list", "all kinds of fault"],
    ["mutate my-model wrong --fault rope-k-not-permuted", "keys of one layer in the other rotary order"],
    ["mutate my-model wrong --fault rope-theta-default:rope_theta", "theta as its default"],
  ],
  async run(args, context) {
    const adapters = await loadAdapters(args);
    const options = sideOptionsOf(args, adapters);
    const good = args.text("good");
    if (args.flag("list")) {
      const { listKinds } = await import("../../../mutate/list.ts");
      const paths = good === undefined ? [] : [good];
      return withCheckpoints(paths, async ([checkpoint]) => kindsDocument(listKinds(checkpoint ?? null, options)));
    }
    const fault = args.text("fault");
    if (fault === undefined) {
      throw new UsageError("FAULT_MISSING", "which fault? --fault NAME makes one", {
        expected: "--fault NAME, or --list",
        found: "neither",
        help: "`mutate --list` shows all kinds",
      });
    }
    const { mutate: make } = await import("../../../mutate/mutate.ts");
    return withCheckpoints([args.required("good")], async ([checkpoint]) => {
      context.holdSignals();
      return mutateDocument(
        await make(checkpoint!, args.required("target"), {
          ...options,
          fault,
          seed: args.count("seed", 0),
          force: args.flag("force"),
        }),
      );
    });
  },
};
