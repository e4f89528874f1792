import { formatBytes, formatSeconds, plural } from "../../report/units.ts";
import type { RoundTrip } from "../../verify/roundtrip.ts";
import type { Command, Outcome } from "../command.ts";
import { loadAdapters } from "../load-adapters.ts";
import { sideOptions, text } from "../options.ts";
import { sideOptionsOf } from "../side-options.ts";
import { check, differenceTable } from "../verdict-view.ts";
import { withCheckpoints } from "../with-checkpoints.ts";

export const roundtrip: Command = {
  usage: "roundtrip <source>",
  describe: "There and back in bounded memory, bit for bit, with hashes",
  positionals: { source: "a checkpoint's directory or file" },
  options: { to: text("Layout to go through [the other side's]"), ...sideOptions },
  examples: [["roundtrip Qwen3-8B", "Hugging Face → torchtitan → Hugging Face, nothing is written"]],
  async run(args, context) {
    const [adapters, { resolveSide }, { roundtrip: run }] = await Promise.all([
      loadAdapters(args),
      import("../../model/sides.ts"),
      import("../../verify/roundtrip.ts"),
    ]);
    const to = args.text("to");
    return withCheckpoints([args.required("source")], async ([source]) => {
      const side = resolveSide(source!, sideOptionsOf(args, adapters));
      return outcome(await run(side, { to, onProgress: context.progress, signal: context.signal }));
    });
  },
};

function outcome(result: RoundTrip): Outcome {
  const { verdict, family, layout, via, tensors, bytes, differences, hashes, files, notes, seconds } = result;
  const way = `${layout} → ${via} → ${layout}`;
  return {
    json: result,
    document: {
      command: "roundtrip",
      verdict,
      headline:
        verdict === "pass"
          ? `${way}: ${plural(tensors, "tensor")}, ${formatBytes(bytes)}, came back bit for bit (${formatSeconds(seconds)})`
          : `${way}: ${plural(differences.length, "difference")}`,
      facts: [
        { label: "family", value: family },
        { label: "way", value: way },
      ],
      checks: [
        check("every tensor came back bit for bit", differences.length === 0, plural(tensors, "tensor")),
        ...files.map(({ name, xxh64, same }) => check(`${name} came back byte for byte`, same, `xxh64 ${xxh64}`)),
      ],
      tables: [
        differenceTable(differences),
        {
          title: "Hashes",
          columns: [{ name: "tensor" }, { name: "xxh64" }],
          rows: hashes.map(({ key, xxh64 }) => [key, xxh64]),
        },
      ],
      notes: [...notes, "a round trip proves that the conversion can be undone, not that it is right: see `parity`"],
    },
  };
}
