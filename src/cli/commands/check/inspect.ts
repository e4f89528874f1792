import { inspectDocument } from "../../../report/views/inspect.ts";
import type { Command } from "../../command.ts";
import { loadAdapters, withCheckpoints } from "../../load.ts";
import { listOptions, sideOptions, sideOptionsOf } from "../../options.ts";

/** What a path holds, from headers alone. An unknown family is an answer, not a failure. */
export const inspect: Command = {
  usage: "inspect <path>",
  describe: "What is this: format, family, layout, tensors, dtypes, ranks, problems",
  positionals: { path: "a checkpoint's directory or file" },
  options: { ...sideOptions, ...listOptions },
  examples: [["inspect outputs/checkpoint/step-1000", "what a trainer saved"]],
  async run(args) {
    const [adapters, { inspect: describe }, { leftoversAt }] = await Promise.all([
      loadAdapters(args),
      import("../../../verify/inspect.ts"),
      import("../../../output/leftovers.ts"),
    ]);
    const path = args.required("path");
    const leftovers = leftoversAt(path);
    return withCheckpoints([path], async ([checkpoint]) =>
      inspectDocument(describe(checkpoint!, sideOptionsOf(args, adapters)), leftovers, { all: args.flag("all") }),
    );
  },
};
