import { standingDocument } from "../../../report/views/parity/standing.ts";
import { parityDocument } from "../../../report/views/parity.ts";
import { joinedDocument, partsDocument } from "../../../report/views/parts.ts";
import type { Command } from "../../command.ts";
import { flag } from "../../options.ts";

/** Looks at what lies beside the target alone: neither the source nor a plan is needed. */
export const finalize: Command = {
  usage: "finalize <target>",
  describe: "Join and check the parts that `convert --part i/n` made, or `parity --part i/n`",
  positionals: { target: "the target that the parts were made for, or the folder of a parity's" },
  options: {
    verify: flag("Read all bytes again and compare them with what the parts wrote; up to 8 GB that is done unasked"),
    force: flag("Replace a target that is a checkpoint; nothing else is ever replaced"),
    "no-fsync": flag("Do not wait until the disk has everything"),
    "dry-run": flag("Only tell which parts are there, of a parity also what each found; exit 1 where one is missing"),
  },
  examples: [
    ["finalize initial-weights", "once convert … --part 1/16 to --part 16/16 have run, on any machine"],
    ["finalize proof", "once parity … --part 1/16 --into proof to --part 16/16 have run: one verdict"],
  ],
  async run(args, context) {
    const target = args.required("target");
    const { holdsParity } = await import("../../../parity/parts/folder.ts");
    if (holdsParity(target)) {
      const { joinParity, standingAt } = await import("../../../parity/parts/join.ts");
      if (!args.flag("dry-run")) return parityDocument(joinParity(target));
      const { whole, standing } = standingAt(target);
      return whole === null ? standingDocument(standing) : parityDocument(whole);
    }
    const { finalize: join, partsAt } = await import("../../../convert/parts/finalize.ts");
    if (args.flag("dry-run")) return partsDocument(target, partsAt(target) ?? []);
    const result = await join(target, {
      force: args.flag("force"),
      fsync: !args.flag("no-fsync"),
      verify: args.flag("verify"),
      sha256: context.hasDocument,
      onProgress: context.progress,
      signal: context.holdSignals(),
    });
    return joinedDocument(result);
  },
};
