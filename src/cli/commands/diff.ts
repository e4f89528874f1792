import { formatBytes, formatSeconds, plural } from "../../report/units.ts";
import type { Diff } from "../../verify/diff.ts";
import type { Difference } from "../../views/difference.ts";
import type { Command, Outcome } from "../command.ts";
import { loadAdapters } from "../load-adapters.ts";
import { pairOptions } from "../options.ts";
import { sideOptionsOf } from "../side-options.ts";
import { check, differenceTable } from "../verdict-view.ts";
import { withCheckpoints } from "../with-checkpoints.ts";

export const diff: Command = {
  usage: "diff <a> <b>",
  describe: "Compare tensor by tensor, across layouts",
  positionals: { a: "a checkpoint's directory or file", b: "another one" },
  options: pairOptions,
  examples: [
    ["diff outputs/checkpoint/step-1000 my-model --config my-model", "what a trainer saved against what was converted"],
  ],
  async run(args, context) {
    const [adapters, { diff: compare }] = await Promise.all([loadAdapters(args), import("../../verify/diff.ts")]);
    return withCheckpoints([args.required("a"), args.required("b")], async ([a, b]) =>
      outcome(
        await compare(a!, b!, {
          a: sideOptionsOf(args, adapters, "a"),
          b: sideOptionsOf(args, adapters, "b"),
          onProgress: context.progress,
          signal: context.signal,
        }),
      ),
    );
  },
};

function outcome(result: Diff): Outcome {
  const { verdict, tensors, bytes, differences, keys, seconds } = result;
  const none = (kinds: readonly Difference["kind"][]) => !differences.some(({ kind }) => kinds.includes(kind));
  const place = ({ path, family, layout, format }: Diff["a"]) =>
    `${path} (${family ?? "unknown family"}, ${layout ?? "keys as they are"}, ${format})`;
  return {
    json: result,
    document: {
      command: "diff",
      verdict,
      headline:
        verdict === "pass"
          ? `equal: ${plural(tensors, "tensor")}, ${formatBytes(bytes)}, bit for bit (${formatSeconds(seconds)})`
          : `${plural(differences.length, "difference")} in ${plural(tensors, "common tensor")}`,
      facts: [
        { label: "a", value: place(result.a) },
        { label: "b", value: place(result.b) },
        { label: "keys of", value: keys },
      ],
      checks: [
        check("same tensors", none(["missing", "extra"])),
        check("same shapes", none(["shape"])),
        check("same dtypes", none(["dtype"])),
        check("same values", none(["values"])),
        check("ties and buffers as they should be", none(["tie", "dropped"])),
      ],
      tables: [differenceTable(differences)],
      notes: [],
    },
  };
}
