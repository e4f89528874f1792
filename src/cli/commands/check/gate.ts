import { isAddress } from "../../../base/addresses.ts";
import { InputError } from "../../../base/errors.ts";
import { SMALLEST } from "../../../gate/file/smallest.ts";
import { readText } from "../../../parity/inputs/text-files.ts";
import { gateDocument } from "../../../report/views/gate/gate.ts";
import { backendNotes } from "../../../report/views/parity.ts";
import type { Command } from "../../command.ts";
import { adapterOptions } from "../../options.ts";
import { untilAborted } from "../../signals.ts";
import { parseSize } from "../../size.ts";

const DEFAULT = "gate.json";

/** What `check` does, for all checkpoints that a file names. */
export const gate: Command = {
  usage: "gate [file]",
  describe: "The same from a file, for CI: checkpoints, inputs, checks, limits, reports",
  positionals: { file: `what is checked, as docs/gate.md says [${DEFAULT}]` },
  options: adapterOptions,
  examples: [
    ["gate", `what ${DEFAULT} asks for`],
    ["gate release/gate.json --report junit.xml", "with a report beside those that the file names"],
  ],
  async run(args, context) {
    const [{ loadAdapters }, { parseGateFile }, { pagesOf, placeOf }, { gateReport, runGate }, { restoreTarget }] =
      await Promise.all([
        import("../../../../adapters/load.ts"),
        import("../../../gate/file/gate-file.ts"),
        import("../../../gate/file/pages.ts"),
        import("../../../gate/file/run.ts"),
        import("../../../output/swap.ts"),
      ]);
    const begin = performance.now();
    const file = args.text("file") ?? DEFAULT;
    const described = parseGateFile(textOf(file), file);
    const at = placeOf(file);
    for (const report of described.reports ?? []) {
      const target = targetOf(report, at);
      if (target !== null) context.report(target);
    }
    const adapters = await loadAdapters([...args.list("adapter"), ...(described.adapters ?? []).map(at)]);
    const pages = pagesOf(described, file, adapters, (text) => parseSize(text, "max-ram"));
    for (const { source, target } of pages) {
      for (const side of [source, target]) if (side !== undefined) await restoreTarget(side.path);
    }
    const running = runGate(pages, {
      signal: context.signal,
      onBackend: (backend) => {
        for (const note of backendNotes(backend)) context.print(`${note}\n\n`);
      },
      onProgress: (event) => context.progress({ ...event, label: event.unit === "FLOP" ? "forward" : event.label }),
    });
    const results = await untilAborted(context.signal, running);
    const report = gateReport(file, results, (performance.now() - begin) / 1e3);
    return gateDocument(report, results);
  },
};

/** @throws InputError NOT_FOUND, with a file that suffices */
function textOf(file: string): string {
  try {
    return readText(file);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    throw new InputError(error.code, error.message, {
      ...error.details,
      help: `write what is to be checked: ${SMALLEST}`,
    });
  }
}

/** What the environment calls it: nothing where it has no such name, so that a gate runs anywhere. */
function targetOf(report: string, at: (path: string) => string): string | null {
  const [, name] = /^\$\{?(\w+)\}?$/.exec(report) ?? [];
  if (name !== undefined) return process.env[name] || null;
  // Beside a gate file that is on no disk, nothing can be written.
  return report === "-" || isAddress(at(report)) ? report : at(report);
}
