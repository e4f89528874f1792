import { formatBytes, formatCount, formatShape, plural } from "../../report/units.ts";
import type { Inspection } from "../../verify/inspect.ts";
import type { Command, Outcome } from "../command.ts";
import { loadAdapters } from "../load-adapters.ts";
import { sideOptions } from "../options.ts";
import { leftOutTable } from "../plan-view.ts";
import { sideOptionsOf } from "../side-options.ts";

/** What a path holds, from headers alone. An unknown family is an answer, not a failure. */
export const inspect: Command = {
  usage: "inspect <path>",
  describe: "What is this: format, family, layout, tensors, dtypes, ranks, problems",
  positionals: { path: "a checkpoint's directory or file" },
  options: sideOptions,
  examples: [["inspect outputs/checkpoint/step-1000", "what a trainer saved"]],
  async run(args) {
    const [{ inspect: inspectPath }, adapters] = await Promise.all([
      import("../../verify/inspect.ts"),
      loadAdapters(args),
    ]);
    return outcome(inspectPath(args.required("path"), sideOptionsOf(args, adapters)));
  },
};

function outcome(inspection: Inspection): Outcome {
  const { format, family, layout, prefix, config, files, ranks, parameters, bytes, dtypes, tensors } = inspection;
  const { others, problems } = inspection;
  const apart = new Set(others.map(({ key }) => key));
  const dtypeList = Object.entries(dtypes).map(([dtype, count]) => `${dtype} × ${formatCount(count)}`);
  return {
    json: inspection,
    document: {
      command: "inspect",
      verdict: "pass",
      headline:
        family === null
          ? `${format}, of no known family: only --to raw can convert it`
          : `${family} in layout ${layout}, as ${format}${problems.length > 0 ? `; ${plural(problems.length, "problem")}` : ""}`,
      facts: [
        {
          label: "format",
          value: `${format}, ${plural(files.length, "file")}${ranks === null ? "" : ` of ${plural(ranks, "rank")}`}`,
        },
        { label: "family", value: family ?? "unknown" },
        {
          label: "layout",
          value: layout === null ? "unknown" : prefix === "" ? layout : `${layout}, under "${prefix}"`,
        },
        { label: "config", value: config ?? "none" },
        { label: "tensors", value: formatCount(tensors.length) },
        { label: "parameters", value: formatCount(parameters) },
        { label: "bytes", value: formatBytes(bytes) },
        { label: "dtypes", value: dtypeList.join(", ") || "none" },
      ],
      checks: [],
      tables: [
        {
          title: "Tensors",
          columns: [{ name: "key" }, { name: "dtype" }, { name: "shape" }, { name: "bytes", align: "right" }],
          rows: tensors
            .filter(({ key }) => !apart.has(key))
            .map(({ key, dtype, shape, bytes: n }) => [key, dtype, formatShape(shape), formatBytes(n)]),
        },
        { ...leftOutTable(others), title: "Left alone" },
        {
          title: "Problems",
          columns: [{ name: "code" }, { name: "what" }, { name: "help" }],
          rows: problems.map(({ code, message, help }) => [code, message, help]),
        },
      ],
      notes: [],
    },
  };
}
