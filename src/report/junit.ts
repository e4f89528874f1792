import type { Check, ReportDocument } from "./document.ts";

/** JUnit XML as CI systems read it: one test case a check, one for the command itself when it has none. */
export function renderJunit(document: ReportDocument): string {
  const cases: readonly Check[] =
    document.checks.length > 0
      ? document.checks
      : [
          {
            name: document.command,
            status: document.verdict === "pass" ? "pass" : "fail",
            detail: document.headline,
          },
        ];
  const count = (status: Check["status"]) => cases.filter((each) => each.status === status).length;
  // JUnit knows failures (a check did not hold) and errors (it could not be made).
  const broken = document.verdict === "error" ? count("fail") : 0;
  const time = (document.seconds ?? 0).toFixed(3);
  const totals = `tests="${cases.length}" failures="${count("fail") - broken}" errors="${broken}" skipped="${count("skipped")}" time="${time}"`;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="convert-checkpoint" ${totals}>`,
    `  <testsuite name="${escapeXml(document.command)}" ${totals}>`,
    "    <properties>",
    ...document.facts.map(
      ({ label, value }) => `      <property name="${escapeXml(label)}" value="${escapeXml(value)}"/>`,
    ),
    "    </properties>",
    ...cases.map((each) => `    ${testCase(each, document)}`),
    `    <system-out>${escapeXml([document.headline, ...document.notes].join("\n"))}</system-out>`,
    "  </testsuite>",
    "</testsuites>",
    "",
  ].join("\n");
}

function testCase({ name, status, detail = "" }: Check, { command, verdict }: ReportDocument): string {
  const open = `<testcase classname="${escapeXml(command)}" name="${escapeXml(name)}"`;
  if (status === "pass") return `${open}/>`;
  const element = status === "skipped" ? "skipped" : verdict === "error" ? "error" : "failure";
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
  text.replace(/[^\P{Cc}\t\n]|\p{Cs}|[\ufffe\uffff]/gu, "\ufffd").replace(/[&<>"\n]/g, (c) => ENTITIES[c] ?? c);
