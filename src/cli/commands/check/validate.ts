import { validateDocument } from "../../../report/views/validate.ts";
import type { Command } from "../../command.ts";
import { loadAdapters, withCheckpoints } from "../../load.ts";
import { sideOptions, sideOptionsOf } from "../../options.ts";

export const validate: Command = {
  usage: "validate <path>",
  describe: "One checkpoint on its own: complete, finite, initialised, loadable",
  positionals: { path: "a checkpoint's directory or file" },
  options: sideOptions,
  examples: [["validate my-model --report validation.html", "with a page for the archive"]],
  async run(args, context) {
    const [adapters, { openModel }, { validate: run }] = await Promise.all([
      loadAdapters(args),
      import("../../../model/model.ts"),
      import("../../../verify/validate.ts"),
    ]);
    return withCheckpoints([args.required("path")], async ([checkpoint]) => {
      const model = openModel(checkpoint!, sideOptionsOf(args, adapters));
      return validateDocument(await run(model, { onProgress: context.progress, signal: context.signal }));
    });
  },
};
