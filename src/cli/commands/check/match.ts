import { matchDocument } from "../../../report/views/match.ts";
import type { Command } from "../../command.ts";
import { loadAdapters, withCheckpoints } from "../../load.ts";
import { sideOptions, sideOptionsOf } from "../../options.ts";

export const match: Command = {
  usage: "match <path> <seal>",
  describe: "Whether a checkpoint, in any layout, holds the model of a seal",
  positionals: { path: "a checkpoint's directory or file", seal: "a file that `seal` wrote" },
  options: sideOptions,
  examples: [["match outputs/checkpoint/step-1000 my-model.seal.json", "without the model that was sealed"]],
  async run(args, context) {
    const [adapters, { match: compare }, { readSeal }] = await Promise.all([
      loadAdapters(args),
      import("../../../verify/identity/match.ts"),
      import("../../../verify/identity/seal-file.ts"),
    ]);
    const sealed = readSeal(args.required("seal"));
    return withCheckpoints([args.required("path")], async ([checkpoint]) =>
      matchDocument(
        await compare(checkpoint!, sealed, {
          ...sideOptionsOf(args, adapters),
          onProgress: context.progress,
          signal: context.signal,
        }),
      ),
    );
  },
};
