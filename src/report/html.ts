import type { Check } from "../base/check.ts";
import type { ReportDocument, Section } from "./document.ts";
import { type Block, fitted } from "./fit.ts";
import { checkBlock, diagnosisBlock, evidenceBlocks, factBlock, noteBlock, tableBlock, text } from "./html/blocks.ts";
import { escaped, LIMITS } from "./html/escaped.ts";
import { Figures, type PartFigures } from "./html/figures.ts";
import { STYLE } from "./html/style.ts";
import { anchorOf, summaryBlock } from "./html/summary.ts";

/**
 * One page without scripts or outside resources: it opens from an artifact store as it is. A reader who was not there gets the
 * verdict, then cause, place and way out, then what was checked, and numbers, pictures and lists last.
 */
export function renderHtml(document: ReportDocument): string {
  const { title, sections = [] } = document;
  const figures = new Figures();
  // What failed is drawn first: pictures may not all have room.
  const drawn = new Map([document, ...sections].toSorted(failedFirst).map((part) => [part, figures.of(part.plots)]));
  const ofPart = (part: ReportDocument | Section, level: 1 | 2, begin: string) =>
    findings(part, { level, begin, figures: drawn.get(part)! });
  const [top, ...rest] = ofPart(document, 1, "");
  const blocks = [
    top!,
    ...(sections.length > 1 ? [summaryBlock(sections, "h2")] : []),
    ...rest,
    ...(document.header === undefined ? [] : evidenceBlocks(document.header)),
    ...sections.flatMap((section, i) => ofPart(section, 2, `<div class="apart" id="${anchorOf(i)}"></div>`)),
    ...(figures.note === null ? [] : [text(`<p class="notes">${figures.note}</p>`)]),
  ];
  const head = [
    '<!doctype html><html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    `<title>${escaped(title)}: ${escaped(badgeOf(document).word)}</title><style>${STYLE}</style></head><body><main>\n`,
  ].join("\n");
  const end = "\n</main></body></html>\n";
  const bytes = LIMITS.bytes - head.length - end.length;
  return head + fitted(blocks, { bytes, between: "\n", rest: "<p>The rest is in the JSON report.</p>" }) + end;
}

const failedFirst = (a: ReportDocument | Section, b: ReportDocument | Section): number =>
  Number(a.verdict === "pass") - Number(b.verdict === "pass");

/** Green is for what was verified. */
function badgeOf(found: ReportDocument | Section): { readonly word: string; readonly tone: string } {
  const outcome = "outcome" in found ? found.outcome : undefined;
  if (outcome === undefined) return { word: found.verdict, tone: found.verdict };
  return { word: outcome.word, tone: outcome.isWarning ? "warning" : "done" };
}

interface Place {
  /** Of the heading. */
  readonly level: 1 | 2;
  readonly begin: string;
  readonly figures: PartFigures;
}

function findings(found: ReportDocument | Section, { level, begin, figures }: Place): Block[] {
  const { title: name, headline, diagnoses = [], facts, checks, tables, notes } = found;
  const title = level === 1 ? `convert-checkpoint ${name}` : name;
  const { word, tone } = badgeOf(found);
  const [h, below] = [`h${level}`, `h${level + 1}`];
  const verdict = `<${h}>${escaped(title)} · <b>${escaped(word)}</b></${h}><p>${escaped(headline)}</p>`;
  // With the header, so that no page is cut between a verdict and its reason.
  const reasons = diagnoses.map((diagnosis) => diagnosisBlock(diagnosis, tone).begin);
  const blocks = [
    text(
      [`${begin}<header class="${tone}">${verdict}${countLine(checks)}</header>`, ...reasons, figures.beside].join(
        "\n",
      ),
    ),
  ];
  if (checks.length > 0) blocks.push(checkBlock(checks, below));
  if (facts.length > 0) blocks.push(factBlock(facts, `<${below}>Facts</${below}>`));
  if (figures.below !== "") blocks.push(text(`<${below}>Pictures</${below}>${figures.below}`));
  for (const table of tables) if (table.rows.length > 0) blocks.push(tableBlock(table, below));
  if (notes.length > 0) blocks.push(noteBlock(notes, below));
  return blocks;
}

/** Beside the verdict where a check could not see what it is for: it never counts as passed. */
function countLine(checks: readonly Check[]): string {
  const count = (status: Check["status"]) => checks.filter((check) => check.status === status).length;
  const missing = count("not checked");
  if (missing === 0) return "";
  const open = `<span class="not-checked"><span class="status">${missing} not checked</span></span>`;
  const failed = count("failed") > 0 ? `, ${count("failed")} failed` : "";
  return `<p class="count">Of ${checks.length} checks ${open}${failed}, ${count("passed")} passed</p>`;
}
