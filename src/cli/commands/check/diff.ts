import { diffDocument } from "../../../report/views/diff.ts";
import type { Command } from "../../command.ts";
import { loadAdapters, withCheckpoints } from "../../load.ts";
import { pairOptions, sideOptionsOf } from "../../options.ts";

export const diff: Command = {
  usage: "diff <a> <b>",
  describe: "Compare tensor by tensor, across layouts",
  positionals: { a: "a checkpoint's directory or file", b: "another one" },
  options: pairOptions,
  examples: [
    ["diff outputs/checkpoint/step-1000 my-model --config my-model", "what a trainer saved against what was converted"],
    ["diff step-1000 my-model-bf16 --after-cast", "against what was converted with --dtype bf16"],
  ],
  async run(args, context) {
    const [adapters, { diff: compare }] = await Promise.all([loadAdapters(args), import("../../../verify/diff.ts")]);
    return withCheckpoints([args.required("a"), args.required("b")], async ([a, b]) =>
      diffDocument(
        await compare(a!, b!, {
          a: sideOptionsOf(args, adapters, "a"),
          b: sideOptionsOf(args, adapters, "b"),
          afterCast: args.flag("after-cast"),
          onProgress: context.progress,
          signal: context.signal,
        }),
      ),
    );
  },
};
