import { formatBytes, formatSeconds, plural } from "../../report/units.ts";
import type { Validation } from "../../verify/validate.ts";
import type { Command, Outcome } from "../command.ts";
import { loadAdapters } from "../load-adapters.ts";
import { sideOptions } from "../options.ts";
import { sideOptionsOf } from "../side-options.ts";
import { check, differenceTable } from "../verdict-view.ts";
import { withCheckpoints } from "../with-checkpoints.ts";

export const validate: Command = {
  usage: "validate <path>",
  describe: "One checkpoint on its own: complete, finite, initialised, loadable",
  positionals: { path: "a checkpoint's directory or file" },
  options: sideOptions,
  examples: [["validate my-model --report validation.html", "with a page for the archive"]],
  async run(args, context) {
    const [adapters, { resolveSide }, { validate: run }] = await Promise.all([
      loadAdapters(args),
      import("../../model/sides.ts"),
      import("../../verify/validate.ts"),
    ]);
    return withCheckpoints([args.required("path")], async ([checkpoint]) => {
      const side = resolveSide(checkpoint!, sideOptionsOf(args, adapters));
      return outcome(await run(side, { onProgress: context.progress, signal: context.signal }));
    });
  },
};

function outcome(result: Validation): Outcome {
  const { verdict, family, layout, format, tensors, bytes, checks, differences, notes, seconds } = result;
  return {
    json: result,
    document: {
      command: "validate",
      verdict,
      headline:
        verdict === "pass"
          ? `valid: ${plural(tensors, "tensor")}, ${formatBytes(bytes)} (${formatSeconds(seconds)})`
          : plural(differences.length, "finding"),
      facts: [{ label: "what", value: `${family} in layout ${layout}, ${format}` }],
      checks: [
        // What is wrong with these ends the run with exit 3.
        check("container: headers, sizes, index and checksums", true),
        ...checks.map(({ name, failed }) =>
          check(name, failed === 0, failed === 0 ? undefined : plural(failed, "finding")),
        ),
      ],
      tables: [differenceTable(differences)],
      notes,
    },
  };
}
