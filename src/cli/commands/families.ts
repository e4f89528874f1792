import { plural } from "../../report/units.ts";
import type { Command } from "../command.ts";
import { loadAdapters } from "../load-adapters.ts";
import { adapterOptions } from "../options.ts";

const FORMATS = ["safetensors", "dcp", "pt"] as const;

/** What is supported: a row a family. */
export const families: Command = {
  usage: "families",
  describe: "What is supported: family, layouts, formats, graphs, modalities",
  positionals: {},
  options: adapterOptions,
  examples: [],
  async run(args) {
    const adapters = await loadAdapters(args);
    const rows = adapters.map((adapter) => ({
      family: adapter.family,
      modelTypes: adapter.modelTypes,
      flavours: adapter.flavours,
      modalities: adapter.modalities,
      layouts: ["hf", ...adapter.layouts],
      formats: FORMATS,
      graphs: adapter.graphs,
      sources: adapter.sources,
    }));
    return {
      json: { verdict: "pass", families: rows },
      document: {
        command: "families",
        verdict: "pass",
        headline: `${plural(rows.length, "family", "families")}; any checkpoint at all with --to raw`,
        facts: [{ label: "formats", value: FORMATS.join(", ") }],
        checks: [],
        tables: [
          {
            title: "Families",
            columns: ["family", "model_type", "flavours", "modalities", "layouts", "graphs"].map((name) => ({ name })),
            rows: rows.map(({ family, modelTypes, flavours, modalities, layouts, graphs }) => [
              family,
              modelTypes.join(", "),
              flavours.join(", "),
              modalities.join(", "),
              layouts.join(", "),
              graphs.join(", ") || "none yet",
            ]),
          },
        ],
        notes: [],
      },
    };
  },
};
