import type { Check } from "../base/check.ts";
import type { ReportDocument, Section } from "./document.ts";
import { visibleLines } from "./escape.ts";

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
  const { sections = [], seconds = 0 } = document;
  const suites = [
    // A report that only gathers its sections is no test of its own.
    ...(sections.length === 0 || document.checks.length > 0 ? [document] : []),
    ...sections,
  ];
  const counts = suites.map((suite) => countsOf(casesOf(suite), suite.verdict));
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="convert-checkpoint" ${totals(counts, seconds)}>`,
    ...suites.flatMap(suiteLines),
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

function totals(counts: readonly Counts[], seconds: number): string {
  const sum = (name: keyof Counts) => counts.reduce((total, each) => total + each[name], 0);
  const numbers = (["tests", "failures", "errors", "skipped"] as const).map((name) => `${name}="${sum(name)}"`);
  return `${numbers.join(" ")} time="${seconds.toFixed(3)}"`;
}

function suiteLines(suite: Section): string[] {
  const { title, verdict, headline, facts, notes, seconds = 0 } = suite;
  const cases = casesOf(suite);
  return [
    `  <testsuite name="${escapeXml(title)}" ${totals([countsOf(cases, verdict)], seconds)}>`,
    "    <properties>",
    ...facts.map(({ label, value }) => `      <property name="${escapeXml(label)}" value="${escapeXml(value)}"/>`),
    "    </properties>",
    ...cases.map((each) => `    ${testCase(each, suite)}`),
    `    <system-out>${escapeXml([headline, ...notes].join("\n"))}</system-out>`,
    "  </testsuite>",
  ];
}

function testCase({ name, status, detail = "" }: Check, { title, verdict }: Section): string {
  const open = `<testcase classname="${escapeXml(title)}" name="${escapeXml(name)}"`;
  if (status === "passed") return `${open}/>`;
  const element = status === "not checked" ? "skipped" : verdict === "error" ? "error" : "failure";
  return `${open}><${element} message="${escapeXml(detail)}"/></testcase>`;
}

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
