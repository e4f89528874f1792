import { plural } from "../../report/units.ts";
import type { Command } from "../command.ts";
import { familyRow, familyTable } from "../families-view.ts";
import { loadAdapters } from "../load-adapters.ts";
import { adapterOptions } from "../options.ts";

/** What is supported: a table a family. */
export const families: Command = {
  usage: "families",
  describe: "What is supported: family, layouts, encodings, formats, graphs, modalities",
  positionals: {},
  options: adapterOptions,
  examples: [["families --adapter ./my-family.mjs", "with one that is loaded from outside"]],
  async run(args) {
    const rows = (await loadAdapters(args)).map(familyRow);
    const formats = rows[0]?.formats.join(", ") ?? "";
    return {
      json: { verdict: "pass", families: rows },
      document: {
        command: "families",
        verdict: "pass",
        headline: `${plural(rows.length, "family", "families")}, each between all formats; any checkpoint at all with --to raw`,
        facts: [{ label: "formats", value: formats }],
        checks: [],
        tables: rows.map(familyTable),
        notes: [],
      },
    };
  },
};
