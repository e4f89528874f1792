// Runs the gate; its reports and its verdict become outputs of the step, its Markdown the summary of the job. Ends as the
// gate does.
import { spawnSync } from "node:child_process";
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { need, setOutputs } from "./outputs.mjs";

const [command, gate, folder] = [need("COMMAND"), need("GATE"), need("REPORTS")];
const reports = ["json", "xml", "html", "md"].map((format) => join(folder, `gate.${format}`));
mkdirSync(folder, { recursive: true });
// Of an earlier run they would be taken for this one's.
for (const report of reports) rmSync(report, { force: true });
const asked = reports.flatMap((report) => ["--report", report]);
const { status, signal } = spawnSync(process.execPath, [command, "gate", gate, ...asked], { stdio: "inherit" });
const code = status ?? 1;
if (signal !== null) console.error(`the gate was ended by ${signal}`);

const [json, , , markdown] = reports;
const verdict = existsSync(json) ? JSON.parse(readFileSync(json, "utf8")).verdict : "error";
const written = reports.filter((report) => existsSync(report)).map((report) => resolve(report));
setOutputs({ verdict, "exit-code": code, reports: written.join("\n") });
const summary = process.env.GITHUB_STEP_SUMMARY;
if (summary && existsSync(markdown)) appendFileSync(summary, `${readFileSync(markdown, "utf8")}\n`);
process.exit(code);
