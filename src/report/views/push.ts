import type { Check } from "../../base/check.ts";
import { isJsonObject } from "../../base/json.ts";
import { CARD_NAME } from "../../push/card/section.ts";
import type { Change, FileChange } from "../../push/difference.ts";
import type { Push } from "../../push/push.ts";
import type { CardWritten } from "../../push/write-card.ts";
import type { Fact, ReportDocument, Table } from "../document.ts";
import { formatBytes, formatSeconds, plural } from "../units.ts";

export function pushDocument(result: Push): ReportDocument {
  const { repository, commit, created, pullRequest, parent, dryRun, changes, notes } = result;
  return {
    title: "push",
    data: result,
    verdict: "pass",
    outcome: { word: dryRun ? "planned" : commit === null ? "the same" : "pushed", isWarning: false },
    headline: headlineOf(result),
    facts: [
      { label: "repository", value: repository },
      ...(created === null ? [] : [{ label: "made for this", value: created }]),
      ...(parent === null ? [] : [{ label: "it was at", value: parent }]),
      ...(commit === null ? [] : [{ label: "commit", value: commit.id }]),
      ...(pullRequest === null ? [] : [{ label: "pull request", value: pullRequest }]),
      ...sealFacts(result),
    ],
    checks: pushChecks(result),
    tables: [changesTable(changes)],
    notes,
  };
}

/** A push behind a conversion: what is told beside what the conversion tells. */
export function withPush(document: ReportDocument, push: Push): ReportDocument {
  return {
    ...document,
    data: { ...document.data, push },
    headline: `${document.headline}; ${headlineOf(push)}`,
    facts: [
      ...document.facts,
      ...(push.commit === null ? [] : [{ label: "pushed as", value: `${push.repository}, commit ${push.commit.id}` }]),
      ...(push.pullRequest === null ? [] : [{ label: "pull request", value: push.pullRequest }]),
    ],
    checks: [...document.checks, ...pushChecks(push)],
    tables: [...document.tables, changesTable(push.changes)],
    notes: [...document.notes, ...push.notes],
  };
}

/** A card behind a conversion, whose README.md is no longer the one that was copied. */
export function withCard(document: ReportDocument, { file, notes }: CardWritten): ReportDocument {
  const data: { readonly files?: unknown } = document.data;
  const files = Array.isArray(data.files) ? data.files.filter((each) => !isCard(each)) : [];
  const note = `${file}: our section of the model card`;
  return { ...document, data: { ...data, files, card: file }, notes: [...document.notes, note, ...notes] };
}

const isCard = (file: unknown): boolean => isJsonObject(file) && file.name === CARD_NAME;

export const cardDocument = (result: CardWritten): ReportDocument => ({
  title: "push --card",
  data: result,
  verdict: "pass",
  outcome: { word: "written", isWarning: false },
  headline: `${result.file}: our section of the model card (${formatSeconds(result.seconds)}); nothing was pushed`,
  facts: sealFacts(result),
  checks: sealChecks(result),
  tables: [],
  notes: result.notes,
});

const WORDS: Readonly<Record<Change, string>> = {
  added: "added",
  replaced: "replaced",
  deleted: "deleted",
  section: "our section",
  kept: "kept",
  same: "the same",
};
/** What changes stands first. */
const ORDER: readonly Change[] = ["deleted", "replaced", "section", "added", "kept", "same"];

/** What a push would do, for people, a line a file. */
export const changesText = (changes: readonly FileChange[]): string =>
  sorted(changes)
    .map(
      ({ path, change, bytes, remoteBytes }) => `  ${WORDS[change].padEnd(12)} ${path}  ${sizes(bytes, remoteBytes)}`,
    )
    .join("\n");

const changesTable = (changes: readonly FileChange[]): Table => ({
  title: "Files in the repository",
  columns: [{ name: "change" }, { name: "path" }, { name: "bytes", align: "right" }],
  rows: sorted(changes).map(({ path, change, bytes, remoteBytes }) => [WORDS[change], path, sizes(bytes, remoteBytes)]),
  most: 40,
});

const sorted = (changes: readonly FileChange[]): FileChange[] =>
  changes.toSorted((a, b) => ORDER.indexOf(a.change) - ORDER.indexOf(b.change));

const sizes = (bytes: number | null, remoteBytes: number | null): string => {
  if (bytes === null) return remoteBytes === null ? "" : formatBytes(remoteBytes);
  return remoteBytes === null || remoteBytes === bytes
    ? formatBytes(bytes)
    : `${formatBytes(remoteBytes)} → ${formatBytes(bytes)}`;
};

function headlineOf({
  repository,
  commit,
  pullRequest,
  dryRun,
  changes,
  sentBytes,
  thereBytes,
  seconds,
}: Push): string {
  const counts = ORDER.flatMap((kind) => {
    const count = changes.filter(({ change }) => change === kind).length;
    return count === 0 || kind === "section" ? [] : [`${count} ${WORDS[kind]}`];
  });
  if (dryRun) return `${repository}: ${counts.join(", ")}; nothing was pushed`;
  if (commit === null) return `${repository} holds all of it: nothing to push`;
  const there = thereBytes === 0 ? "" : `, ${formatBytes(thereBytes)} were there`;
  const how = pullRequest === null ? `commit ${commit.id.slice(0, 12)}` : `pull request ${pullRequest}`;
  return `${repository}: ${how}, ${counts.join(", ")}, ${formatBytes(sentBytes)} sent${there} in ${formatSeconds(seconds)}`;
}

function pushChecks(push: Push): Check[] {
  const { confirmed, changes, dryRun } = push;
  const name = "the repository holds what was pushed, by the hash of each file";
  const pushed = changes.filter(({ change }) => change !== "kept" && change !== "deleted");
  const files = plural(pushed.length, "file");
  return [
    confirmed
      ? { name, status: "passed", detail: files }
      : { name, status: "not checked", detail: dryRun ? "--dry-run" : "its list does not show it yet" },
    ...sealChecks(push),
  ];
}

function sealChecks({ seal, evidence }: Pick<Push, "seal" | "evidence">): Check[] {
  const name = "the files are the model of the root in the card";
  const reports: Check[] =
    evidence.length === 0
      ? [{ name: "reports on this model", status: "not checked", detail: "none was given: --evidence FILE" }]
      : [{ name: "reports on this model", status: "passed", detail: plural(evidence.length, "report") }];
  return [
    seal === null ? { name, status: "not checked", detail: "no seal was computed" } : { name, status: "passed" },
    ...reports,
  ];
}

const sealFacts = ({ seal }: Pick<Push, "seal">): Fact[] =>
  seal === null
    ? []
    : [{ label: "root", value: seal.root }, ...(seal.config === null ? [] : [{ label: "config", value: seal.config }])];
