import type { Check } from "../../base/check.ts";
import type { ConfigDifference } from "../../family/config-differences.ts";
import type { Cause } from "../../faults/cause.ts";
import type { Diff } from "../../verify/diff.ts";
import type { Difference } from "../../views/difference.ts";
import { castWords } from "../../views/rounding.ts";
import type { Diagnosis, ReportDocument } from "../document.ts";
import { formatBytes, formatSeconds, plural } from "../units.ts";
import { check, differenceTable } from "./differences.ts";

export function diffDocument(result: Diff): ReportDocument {
  const { verdict, differences, keys, notes, cast } = result;
  const none = (kinds: readonly Difference["kind"][]) => !differences.some(({ kind }) => kinds.includes(kind));
  const place = ({ path, family, layout, format }: Diff["a"]) =>
    `${path} (${family ?? "unknown family"}, ${layout ?? "keys as they are"}, ${format})`;
  return {
    title: "diff",
    data: result,
    verdict,
    headline: headline(result),
    diagnoses: result.causes.map(diagnosisOf),
    facts: [
      { label: "a", value: place(result.a) },
      { label: "b", value: place(result.b) },
      { label: "keys of", value: keys },
      ...(cast === null
        ? []
        : [{ label: "types", value: `${castWords(cast.types)}${cast.asked ? ", a compared as cast" : ""}` }]),
      ...(result.configDifferences?.length ? [{ label: "configs", value: configWords(result.configDifferences) }] : []),
    ],
    checks: [
      check("same tensors", none(["missing", "extra"])),
      check("same shapes", none(["shape"])),
      ...(cast?.asked
        ? [check("b is exactly the rounding of a", none(["dtype", "values"]), castWords(cast.types))]
        : [check("same dtypes", none(["dtype"])), check("same values", none(["values"]))]),
      check("ties and buffers as they should be", none(["tie", "dropped"])),
      ...configCheck(result),
      ...result.notChecked,
    ],
    tables: [differenceTable(differences)],
    notes,
  };
}

/** More places are in the table. */
const PLACES = 12;

function diagnosisOf({ code, tensors, explanation, evidence, fix }: Cause): Diagnosis {
  const more = tensors.length - PLACES;
  const places = [...tensors.slice(0, PLACES), ...(more > 0 ? [`and ${more} more`] : [])];
  return { code, cause: explanation, evidence, places, fixes: [fix] };
}

function headline({ verdict, tensors, bytes, differences, cast, configDifferences, seconds }: Diff): string {
  if (verdict === "fail") return `${plural(differences.length, "difference")} in ${plural(tensors, "common tensor")}`;
  const size = `${plural(tensors, "tensor")}, ${formatBytes(bytes)}`;
  const equal = cast?.asked
    ? `equal after the cast ${castWords(cast.types)}: b is exactly the rounding of a, bit for bit: ${size}`
    : `equal: ${size}, bit for bit`;
  const configs = configDifferences?.length ? `; but the configs differ: ${configWords(configDifferences)}` : "";
  return `${equal} (${formatSeconds(seconds)})${configs}`;
}

/** Configs that differ are no failed check: what is compared is tensors. */
function configCheck({ configDifferences, configsNotCompared }: Diff): Check[] {
  const name = "the configs give the same mathematics";
  if (configDifferences?.length) return [];
  return [
    configDifferences === null
      ? { name, status: "not checked", detail: configsNotCompared ?? "" }
      : { name, status: "passed" },
  ];
}

const SHOWN = 4;

function configWords(differences: NonNullable<Diff["configDifferences"]>): string {
  const words = differences
    .slice(0, SHOWN)
    .map((each) => `${each.field} ${valueIn("a", each)} | ${valueIn("b", each)}`);
  const more = differences.length - SHOWN;
  return `${words.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

function valueIn(side: "a" | "b", { absent, ...values }: ConfigDifference): string {
  if (absent?.in === side) return absent.default === undefined ? "absent" : `absent (${value(absent.default)})`;
  return value(values[side]);
}

function value(of: unknown): string {
  const text = JSON.stringify(of);
  return text.length <= 40 ? text : `${text.slice(0, 39)}…`;
}
