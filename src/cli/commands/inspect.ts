import { inspectDocument } from "../../report/views/inspect.ts";
import type { Command } from "../command.ts";
import { loadAdapters, withCheckpoints } from "../load.ts";
import { sideOptions, sideOptionsOf } from "../options.ts";

/** What a path holds, from headers alone. An unknown family is an answer, not a failure. */
export const inspect: Command = {
  usage: "inspect <path>",
  describe: "What is this: format, family, layout, tensors, dtypes, ranks, problems",
  positionals: { path: "a checkpoint's directory or file" },
  options: sideOptions,
  examples: [["inspect outputs/checkpoint/step-1000", "what a trainer saved"]],
  async run(args) {
    const [adapters, { inspect: describe }] = await Promise.all([
      loadAdapters(args),
      import("../../verify/inspect.ts"),
    ]);
    return withCheckpoints([args.required("path")], async ([checkpoint]) =>
      inspectDocument(describe(checkpoint!, sideOptionsOf(args, adapters))),
    );
  },
};
