import type { Cleaned, Leftover } from "../../output/leftovers.ts";
import type { Outcome, ReportDocument, Table } from "../document.ts";
import { formatBytes, plural } from "../units.ts";

/** The JSON document of `clean`. */
export interface Cleaning {
  /** `fail` where something stays. */
  readonly verdict: "pass" | "fail";
  readonly path: string;
  /** `done` and `reason` are null where nothing was to be done but to look. */
  readonly leftovers: readonly (Leftover & Pick<Partial<Cleaned>, "done" | "reason">)[];
}

/** Where nothing was to be done but to look. */
const looked = (found: number): Outcome => ({ word: found === 0 ? "nothing left" : "listed", isWarning: found > 0 });

export function cleanDocument(path: string, leftovers: Cleaning["leftovers"]): ReportDocument {
  const kept = leftovers.filter(({ done }) => done === "kept");
  const verdict = kept.length === 0 ? "pass" : "fail";
  return {
    title: "clean",
    data: { verdict, path, leftovers } satisfies Cleaning,
    verdict,
    ...(leftovers.every(({ done }) => done === undefined) ? { outcome: looked(leftovers.length) } : {}),
    headline: headlineOf(path, leftovers),
    facts: [],
    checks: leftovers.flatMap(({ path: home, done, reason }) =>
      done === undefined
        ? []
        : [
            {
              name: `${home}: ${done}`,
              status: done === "kept" ? "failed" : "passed",
              ...(reason ? { detail: reason } : {}),
            },
          ],
    ),
    tables: leftovers.some(({ done }) => done === undefined) ? [leftoverTable(leftovers)] : [],
    notes: [],
  };
}

function headlineOf(path: string, leftovers: Cleaning["leftovers"]): string {
  if (leftovers.length === 0) return `${path}: nothing is left of earlier runs`;
  const done = leftovers.filter((each) => each.done === "removed" || each.done === "restored");
  const isLooking = leftovers.every((each) => each.done === undefined);
  const chosen = isLooking ? leftovers : done;
  const bytes = formatBytes(chosen.reduce((sum, each) => sum + each.bytes, 0));
  if (isLooking) return `${path}: ${plural(leftovers.length, "unfinished output")}, ${bytes}`;
  const restored = done.filter((each) => each.done === "restored").length;
  const back = restored === 0 ? "" : `; ${plural(restored, "former target")} put back`;
  const stays = leftovers.length - done.length;
  return `${path}: removed ${plural(done.length, "unfinished output")}, ${bytes}${back}${stays === 0 ? "" : `; ${stays} kept`}`;
}

export function leftoverTable(leftovers: readonly Leftover[]): Table {
  return {
    title: "Unfinished outputs",
    columns: [{ name: "folder" }, { name: "bytes", align: "right" }, { name: "what" }],
    rows: leftovers.map((each) => [each.path, formatBytes(each.bytes), describe(each)]),
  };
}

/** What it is, and what can be done with it. */
export function describe({ state, target, resumableBytes, former, process, parts }: Leftover): string {
  switch (state) {
    case "running":
      return parts !== null ? `parts of ${target}: ${parts}` : `process ${process} is writing ${target}`;
    case "foreign":
      return "not made by this tool";
    case "unfinished": {
      if (parts !== null) return `parts of ${target}: ${parts}; \`finalize\` joins them`;
      const held = former === null ? "" : "; holds what stood there before";
      return `of ${target}; ${formatBytes(resumableBytes)} can be continued with --resume${held}`;
    }
    default:
      throw state satisfies never;
  }
}

/** One line for each, with the way out. */
export const leftoverNotes = (leftovers: readonly Leftover[]): string[] =>
  leftovers.map((each) =>
    each.state === "unfinished"
      ? `unfinished output ${each.path} (${formatBytes(each.bytes)}): ${describe(each)}, \`clean\` removes it`
      : `unfinished output ${each.path} (${formatBytes(each.bytes)}): ${describe(each)}`,
  );
