// The section that a pushed model has in its card: what it was made of, what was verified of it, what was not, how to repeat it.
import { VERSION } from "../../base/version.ts";
import type { Evidence } from "../evidence/bind.ts";
import { failedLines, notVerifiedLines, verifiedLines } from "./claims.ts";
import type { CardModel, CardSeal } from "./model.ts";
import { commandOf, type Origin, originOf, recordedOrigin } from "./origin.ts";
import { code, inline, shell } from "./text.ts";

export interface CardFacts {
  readonly model: CardModel;
  /** Where it goes, as `hf://owner/name`; null where a card is written without a push. */
  readonly repository: string | null;
  readonly evidence: readonly Evidence[];
}

const TOOL = "[convert-checkpoint](https://www.npmjs.com/package/convert-checkpoint)";

/** The same text for the same facts: a push that changes nothing else changes no card. */
export function cardSection({ model, repository, evidence }: CardFacts): string {
  const origin = originOf(evidence);
  const failed = failedLines(evidence);
  return [
    "## Conversion",
    origin === null
      ? `What ${TOOL} ${VERSION} found out about these files.`
      : `These weights were written by ${TOOL} ${inline(origin.version)}. What it found out about them:`,
    table(rowsOf(model, origin)),
    ...(failed.length === 0 ? [] : ["### Failed", failed.join("\n")]),
    "### Verified",
    verifiedLines(model, evidence).join("\n"),
    "### Not verified",
    notVerifiedLines(model, evidence).join("\n"),
    "### How to repeat it",
    repeated(model, repository, origin),
  ].join("\n\n");
}

/** Of repositories on the Hub alone: what a new card's `base_model` says. */
export const baseModelOf = (evidence: readonly Evidence[]): string | null =>
  originOf(evidence)?.repository?.name ?? null;

function rowsOf({ family, layout, format, tensors, bytes, seal, record }: CardModel, origin: Origin | null): Row[] {
  const size = `${tensors.toLocaleString("en-US")} tensors, ${bytes.toLocaleString("en-US")} bytes`;
  const shape = [family, layout === null ? "keys as they are" : `layout ${layout}`, format].filter(
    (each) => each !== null,
  );
  return [
    ["source", sourceOf(origin, record)],
    ["here", inline([...shape, size].join(", "))],
    ...(seal === null ? [] : sealRows(seal)),
    ...(origin?.changes ?? []).map(([label, value]): Row => [label, inline(value)]),
  ];
}

type Row = readonly [label: string, markdown: string];

const table = (rows: readonly Row[]): string =>
  ["| | |", "| --- | --- |", ...rows.map(([label, markdown]) => `| ${label} | ${markdown} |`)].join("\n");

function sourceOf(origin: Origin | null, record: CardModel["record"]): string {
  if (origin !== null) return sourceWords(origin);
  if (record === null) return "not known: no report of the conversion was given";
  return `${sourceWords(recordedOrigin(record))}, as the record beside the weights says`;
}

function sourceWords({ path, repository, layout, format }: Omit<Origin, "version" | "command" | "changes">): string {
  const rest = `, layout ${inline(layout)}, ${inline(format)}`;
  if (repository === null) return `${code(path)}, not on the Hub${rest}`;
  const { name, commit } = repository;
  const link = `[${inline(name)}](https://huggingface.co/${name}${commit === null ? "" : `/tree/${commit}`})`;
  return `${link}, ${commit === null ? "at no commit that is known" : `commit ${code(commit)}`}${rest}`;
}

function sealRows({ root, config, roundingOf }: CardSeal): Row[] {
  return [
    ["seal", `root ${code(root)}`],
    ...(config === null ? [] : [["config", `mathematics ${code(config)}`] as const]),
    ...(roundingOf === null
      ? []
      : [["rounding of", `root ${code(roundingOf.root)}, to ${roundingOf.dtypes.join(", ")}`] as const]),
  ];
}

function repeated({ seal, name }: CardModel, repository: string | null, origin: Origin | null): string {
  const place = repository ?? name;
  const lines = [
    ...(origin === null ? [] : [commandOf(origin)]),
    ...(seal === null ? [] : [`npx convert-checkpoint@${VERSION} seal ${place} model.seal.json   # root ${seal.root}`]),
    `npx convert-checkpoint@${VERSION} check ${place}`,
  ];
  const what =
    seal === null
      ? ""
      : "\n\nThe root is the same in any layout and container that holds this model, so that `match` finds it in yours: `npx convert-checkpoint match YOURS model.seal.json`.";
  return shell(lines) + what;
}
