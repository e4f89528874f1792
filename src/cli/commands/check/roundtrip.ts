import { roundtripDocument } from "../../../report/views/roundtrip.ts";
import type { Command } from "../../command.ts";
import { loadAdapters, withCheckpoints } from "../../load.ts";
import { listOptions, sideOptions, sideOptionsOf, text } from "../../options.ts";

export const roundtrip: Command = {
  usage: "roundtrip <source>",
  describe: "There and back in bounded memory, bit for bit, with hashes",
  positionals: { source: "a checkpoint's directory or file" },
  options: { to: text("Layout to go through [the other side's]"), ...sideOptions, ...listOptions },
  examples: [["roundtrip Qwen3-8B", "Hugging Face → torchtitan → Hugging Face, nothing is written"]],
  async run(args, context) {
    const [adapters, { openModel }, { roundtrip: run }] = await Promise.all([
      loadAdapters(args),
      import("../../../model/model.ts"),
      import("../../../verify/roundtrip.ts"),
    ]);
    const to = args.text("to");
    return withCheckpoints([args.required("source")], async ([source]) => {
      const model = openModel(source!, sideOptionsOf(args, adapters));
      return roundtripDocument(await run(model, { to, onProgress: context.progress, signal: context.signal }), {
        all: args.flag("all"),
      });
    });
  },
};
