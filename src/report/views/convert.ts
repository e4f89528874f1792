import type { Check } from "../../base/check.ts";
import type { Conversion } from "../../convert/convert.ts";
import { RECORD_NAME } from "../../formats/file-names.ts";
import type { Fact, ReportDocument } from "../document.ts";
import { formatBytes, formatSeconds, plural } from "../units.ts";
import { mergeChecks, mergeFacts, mergeTables } from "./merge/merged.ts";
import { keptTable, leftOutTable, placesCheck, waivedWords } from "./plan.ts";

/** Whether the data are those that were saved; shown where the files cannot tell. */
export const notCheckedCheck = (notChecked: string | null): Check[] =>
  notChecked === null ? [] : [{ name: "CRC-32 of the source", status: "not checked", detail: notChecked }];

/** Files that nobody read again have no hash. */
type Converted = Omit<Conversion, "files"> & {
  readonly files: readonly (Omit<Conversion["files"][number], "xxh64"> & { readonly xxh64: string | null })[];
};

export function convertDocument(result: Converted): ReportDocument {
  const { to, tensors, bytes, casts, kept, dropped, waived, ties, files, peakRamBytes, seconds, notes } = result;
  const hasSha256 = files.some(({ sha256 }) => sha256 !== undefined);
  const written = files.reduce((sum, file) => sum + file.bytes, 0);
  return {
    title: "convert",
    data: result,
    verdict: "pass",
    outcome: { word: "written", isWarning: waived.length > 0 },
    headline: [
      `${to.path}: ${to.layout} layout, ${to.format}`,
      plural(tensors, "tensor"),
      formatBytes(bytes),
      ...waivedWords(waived),
      `in ${formatSeconds(seconds)} (${formatBytes(written / Math.max(seconds, 1e-3))}/s, ${formatBytes(peakRamBytes)} of memory)`,
    ].join(", "),
    facts: [...mergeFacts(result.merged), ...sealFacts(result)],
    checks: [
      placesCheck(result),
      { name: "the source is the one that was planned, and whole", status: "passed" },
      ...notCheckedCheck(result.notChecked),
      ...ties.map(({ alias, of }) => ({ name: `${alias} equals ${of}`, status: "passed" as const })),
      ...castChecks(casts),
      ...mergeChecks(result.merged),
      ...(result.isUnsealed === true ? [UNSEALED] : []),
      ...companionChecks(result),
      result.durable
        ? { name: "the disk had everything before it got its name", status: "passed" }
        : { name: "the disk had everything before it got its name", status: "not checked", detail: "--no-fsync" },
    ],
    tables: [
      ...mergeTables(result.merged),
      {
        title: "Casts",
        columns: [
          { name: "tensor" },
          { name: "from" },
          { name: "to" },
          { name: "largest relative error", align: "right" },
        ],
        rows: casts.map((cast) => [cast.key, cast.from, cast.to, errorText(cast)]),
      },
      keptTable(kept),
      leftOutTable(dropped),
      {
        title: "Files",
        columns: [
          { name: "name" },
          { name: "bytes", align: "right" },
          { name: "xxh64" },
          ...(hasSha256 ? [{ name: "sha256" }] : []),
        ],
        rows: files.map(({ name, bytes: size, xxh64, sha256 }) => [
          name,
          formatBytes(size),
          xxh64 ?? "not read",
          ...(hasSha256 ? [sha256 ?? "none"] : []),
        ]),
      },
    ],
    notes,
  };
}

/** Nobody can tell later whether the target still is this model. */
const UNSEALED: Check = { name: "the seal of the target", status: "not checked", detail: "--no-seal" };

function sealFacts({ seal }: Pick<Conversion, "seal">): Fact[] {
  if (seal === null) return [];
  const { root, config, roundingOf } = seal;
  return [
    { label: "root", value: root },
    ...(config === null ? [] : [{ label: "config", value: config }]),
    ...(roundingOf === null ? [] : [{ label: "rounding of", value: roundingOf.root }]),
  ];
}

/** What would become infinite, or zero as a whole, ends the run with an error. */
function castChecks(casts: Conversion["casts"]): Check[] {
  const name = "casts: finite values stay finite, and no tensor becomes zero";
  if (casts.length === 0) return [];
  const [measured, all] = [casts.filter(({ maxRelativeError }) => maxRelativeError !== null), casts.length];
  if (measured.length === all) return [{ name, status: "passed", detail: plural(all, "tensor") }];
  const earlier = `${measured.length} of ${plural(all, "tensor")}: an earlier run, which this one continued, wrote the others`;
  return [{ name, status: "not checked", detail: earlier }];
}

/** What transformers and the way back need beside the weights. */
function companionChecks({ files, merged }: Converted): Check[] {
  const isThere = (wanted: string) => files.some(({ name }) => name === wanted);
  const config = { name: "a config goes along", status: "passed", detail: "config.json" } as const;
  const without = "none was written: a config has no place beside this target";
  return [
    isThere("config.json") ? config : { ...config, status: "not checked", detail: without },
    ...(isThere(RECORD_NAME)
      ? [
          {
            name:
              merged === undefined
                ? "what only the source knows is kept for the way back"
                : "what was merged, and what only the source knows, is kept beside the weights",
            status: "passed",
            detail: RECORD_NAME,
          } as const,
        ]
      : []),
  ];
}

function errorText({ maxRelativeError, vanished }: Conversion["casts"][number]): string {
  if (maxRelativeError === null) return "not measured";
  const error = maxRelativeError.toExponential(2);
  return vanished ? `${error}, ${plural(vanished, "value")} became 0` : error;
}
