import type { JoinedConversion } from "../../convert/parts/finalize.ts";
import type { PartConversion } from "../../convert/parts/part.ts";
import { numbersText, type PartState, type PlanState, unfinishedText } from "../../output/parts/survey.ts";
import type { ReportDocument, Table } from "../document.ts";
import { formatBytes, formatSeconds, plural } from "../units.ts";
import { convertDocument, notCheckedCheck } from "./convert.ts";

const DURABLE = "the disk had everything before it counted as done";

/** The document of `convert --part`. */
export function partDocument(result: PartConversion): ReportDocument {
  const { part, to, files, hashed, durable, seconds, peakRamBytes, notes } = result;
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  const taken = `in ${formatSeconds(seconds)} (${formatBytes(bytes / Math.max(seconds, 1e-3))}/s, ${formatBytes(peakRamBytes)} of memory)`;
  return {
    title: "convert",
    data: result,
    verdict: "pass",
    outcome: { word: part.wasDone ? "done before" : "written", isWarning: false },
    headline: [
      `${to.path}: part ${part.number} of ${part.of}`,
      formatBytes(bytes),
      part.wasDone ? `by ${part.host}` : taken,
    ].join(", "),
    facts: [
      { label: "next", value: `\`convert-checkpoint finalize ${to.path}\`, once all ${part.of} parts are there` },
    ],
    checks: [
      { name: "the source is the one that was planned, and whole, as far as this part read it", status: "passed" },
      ...notCheckedCheck(result.notChecked),
      { name: "the seal's share of this part", status: "passed", detail: plural(hashed, "tensor") },
      durable ? { name: DURABLE, status: "passed" } : { name: DURABLE, status: "not checked", detail: "--no-fsync" },
    ],
    tables: [
      {
        title: "Written",
        columns: [
          { name: "file" },
          { name: "from byte", align: "right" },
          { name: "bytes", align: "right" },
          { name: "xxh64" },
        ],
        rows: files.map(({ name, begin, bytes: size, xxh64 }) => [name, `${begin}`, formatBytes(size), xxh64]),
      },
    ],
    notes,
  };
}

/** The document of `finalize`. */
export function joinedDocument(result: JoinedConversion): ReportDocument {
  const { parts, readAgain, to } = result;
  const document = convertDocument(result);
  const name = "the bytes on disk are those that the parts wrote";
  return {
    ...document,
    title: "finalize",
    outcome: { word: "complete", isWarning: document.outcome?.isWarning ?? false },
    headline: `${document.headline.replace(/, in [^,]*$/, "")}, of ${plural(parts.length, "part")}`,
    checks: [
      { name: "all parts are there, and of one plan", status: "passed", detail: plural(parts.length, "part") },
      readAgain
        ? { name, status: "passed", detail: "all of them were read again" }
        : { name, status: "not checked", detail: `${to.path} has more than is read again unasked: --verify reads all` },
      ...document.checks,
    ],
    tables: [
      {
        title: "Parts",
        columns: [
          { name: "part", align: "right" },
          { name: "machine" },
          { name: "bytes", align: "right" },
          { name: "time", align: "right" },
          { name: "memory", align: "right" },
        ],
        rows: parts.map(({ number, host, bytes, seconds, peakRamBytes }) => [
          `${number}`,
          host,
          formatBytes(bytes),
          formatSeconds(seconds),
          formatBytes(peakRamBytes),
        ]),
        most: 50,
      },
      ...document.tables,
    ],
  };
}

/** The JSON document of `finalize --dry-run`. */
export interface PartsListing {
  /** `fail` where a part is missing. */
  readonly verdict: "pass" | "fail";
  readonly path: string;
  readonly plans: readonly {
    readonly plan: string;
    readonly of: number;
    readonly parts: readonly { readonly number: number; readonly state: PartState["state"] }[];
  }[];
}

export function partsDocument(path: string, plans: readonly PlanState[]): ReportDocument {
  const unfinished = plans.map(({ parts }) => unfinishedText(parts));
  const isWhole = plans.length === 1 && unfinished[0] === null;
  return {
    title: "finalize",
    data: {
      verdict: isWhole ? "pass" : "fail",
      path,
      plans: plans.map(({ plan, of, parts }) => ({
        plan,
        of,
        parts: parts.map(({ number, state }) => ({ number, state })),
      })),
    } satisfies PartsListing,
    verdict: isWhole ? "pass" : "fail",
    headline: `${path}: ${plans.map(describePlan).join("; of another plan: ")}`,
    facts: [],
    checks: [
      isWhole
        ? { name: "all parts are there, and of one plan", status: "passed" }
        : {
            name: "all parts are there, and of one plan",
            status: "failed",
            detail: plans.map(describePlan).join("; "),
          },
    ],
    tables: plans.map(partsTable),
    notes: [],
  };
}

const describePlan = ({ of, parts }: PlanState): string => {
  const done = parts.filter(({ state }) => state === "done");
  const rest = unfinishedText(parts);
  return `${done.length} of ${plural(of, "part")} done${rest === null ? "" : ` (${rest})`}`;
};

const partsTable = ({ plan, parts }: PlanState): Table => ({
  title: `Parts of plan ${plan.slice(0, 12)}`,
  columns: [{ name: "parts" }, { name: "what" }],
  rows: (["done", "running", "stopped", "missing"] as const).flatMap((state) => {
    const those = parts.filter((part) => part.state === state);
    return those.length === 0 ? [] : [[numbersText(those), state]];
  }),
});
