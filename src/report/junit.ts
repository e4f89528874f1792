import type { Check } from "../base/check.ts";
import { diagnosisFacts } from "./diagnosis.ts";
import type { Diagnosis, Fact, ReportDocument, Section } from "./document.ts";
import { visibleLines } from "./escape.ts";
import { evidenceFacts, filesTable } from "./evidence.ts";
import type { Header } from "./header.ts";

interface Counts {
  readonly tests: number;
  readonly failures: number;
  readonly errors: number;
  readonly skipped: number;
}

/**
 * JUnit XML as CI systems read it: a suite for the report and one for each of its sections, in it one test case a check, or one
 * for the run itself where it has none.
 */
export function renderJunit(document: ReportDocument): string {
  const { sections = [], seconds = 0, header } = document;
  const suites = [
    // A report that only gathers its sections is no test of its own.
    ...(sections.length === 0 || document.checks.length > 0 ? [document] : []),
    ...sections,
  ];
  const counts = suites.map((suite) => countsOf(casesOf(suite), suite.verdict));
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="convert-checkpoint" ${totals(counts, SUMS)} time="${seconds.toFixed(3)}">`,
    ...suites.flatMap((suite) => suiteLines(suite, header)),
    "</testsuites>",
    "",
  ].join("\n");
}

const casesOf = ({ title, verdict, headline, checks }: Section): readonly Check[] =>
  checks.length > 0 ? checks : [{ name: title, status: verdict === "pass" ? "passed" : "failed", detail: headline }];

/** JUnit knows failures (a check did not hold) and errors (it could not be made). */
function countsOf(cases: readonly Check[], verdict: Section["verdict"]): Counts {
  const count = (status: Check["status"]) => cases.filter((each) => each.status === status).length;
  const [failed, skipped] = [count("failed"), count("not checked")];
  const isError = verdict === "error";
  return { tests: cases.length, failures: isError ? 0 : failed, errors: isError ? failed : 0, skipped };
}

/** The schema of Jenkins' plugin, which others check by as well, has no `skipped` for all suites together. */
const SUMS = ["tests", "failures", "errors"] as const;

function totals(counts: readonly Counts[], names: readonly (keyof Counts)[]): string {
  const sum = (name: keyof Counts) => counts.reduce((total, each) => total + each[name], 0);
  return names.map((name) => `${name}="${sum(name)}"`).join(" ");
}

function suiteLines(suite: Section | ReportDocument, header: Header | undefined): string[] {
  const { title, verdict, headline, facts, notes, seconds = 0 } = suite;
  const cases = casesOf(suite);
  const counts = totals([countsOf(cases, verdict)], [...SUMS, "skipped"]);
  // In UTC, to the second, without a zone: as the schema of Ant, the first writer of such files, asks for.
  const begun = header === undefined ? "" : ` timestamp="${header.time.slice(0, 19)}"`;
  const outcome = "outcome" in suite && suite.outcome !== undefined ? suite.outcome.word : verdict;
  // Labels of the header that facts have, too, say more.
  const ofHeader = header === undefined ? [] : headerFacts(header);
  const own = facts.filter(({ label }) => !ofHeader.some((each) => each.label === label));
  const properties = [{ label: "verdict", value: outcome }, ...own, ...ofHeader];
  return [
    `  <testsuite name="${escapeXml(title)}" ${counts} time="${seconds.toFixed(3)}"${begun}>`,
    "    <properties>",
    ...properties.map(({ label, value }) => `      <property name="${escapeXml(label)}" value="${escapeXml(value)}"/>`),
    "    </properties>",
    ...cases.map(
      (each, i) => `    ${testCase(each, suite, cases.findIndex(({ status }) => status === "failed") === i)}`,
    ),
    `    <system-out>${escapeXml([headline, ...notes].join("\n"))}</system-out>`,
    "  </testsuite>",
  ];
}

const headerFacts = (header: Header): Fact[] => [
  ...evidenceFacts(header),
  ...filesTable(header).rows.map(([path = "", bytes, hash]) => ({ label: `file ${path}`, value: `${bytes}, ${hash}` })),
];

/** @param isFirst of those that failed: it carries what is known of the reason */
function testCase({ name, status, detail = "" }: Check, suite: Section, isFirst: boolean): string {
  const { title, verdict, diagnoses = [] } = suite;
  const open = `<testcase classname="${escapeXml(title)}" name="${escapeXml(name)}"`;
  if (status === "passed") return `${open}/>`;
  if (status === "not checked") return `${open}><skipped message="${escapeXml(detail)}"/></testcase>`;
  const element = verdict === "error" ? "error" : "failure";
  const code = diagnoses[0]?.code;
  const type = code == null ? "" : ` type="${escapeXml(code)}"`;
  const reasons = isFirst ? diagnoses.map(reasonOf) : [];
  const text = [detail, ...reasons].filter((each) => each !== "").join("\n\n");
  return `${open}><${element}${type} message="${escapeXml(detail)}">${escapeXml(text)}</${element}></testcase>`;
}

const reasonOf = (diagnosis: Diagnosis): string =>
  diagnosisFacts(diagnosis)
    .map(({ label, value }) => (label === "" ? value : `${label}: ${value}`))
    .join("\n");

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "\n": "&#10;",
};

/** Characters that XML 1.0 §2.2 leaves out become U+FFFD: no escape can hold them. */
const escapeXml = (text: string): string =>
  visibleLines(text.replace(/[^\P{Cc}\t\n]|\p{Cs}|[\ufffe\uffff]/gu, "\ufffd")).replace(
    /[&<>"\n]/g,
    (c) => ENTITIES[c] ?? c,
  );
