import { familiesDocument, families as rowsOf } from "../../../report/views/families.ts";
import type { Command } from "../../command.ts";
import { loadAdapters } from "../../load.ts";
import { adapterOptions } from "../../options.ts";

/** What is supported: one table per family. */
export const families: Command = {
  usage: "families",
  describe: "What is supported: family, layouts, encodings, formats, graphs, modalities",
  positionals: {},
  options: adapterOptions,
  examples: [["families --adapter ./my-family.mjs", "with one that is loaded from outside"]],
  async run(args) {
    return familiesDocument(rowsOf(await loadAdapters(args)));
  },
};
