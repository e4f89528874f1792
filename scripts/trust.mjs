// Makes mutants of the fixtures, tries every check on them and on good pairs, and writes docs/trust.md; fails where a fault
// is missed, mislocated or misnamed beyond the limits, or a good pair is refused.
// node scripts/trust.mjs [--faults N] [--seed N] [--only TEXT [--merge]] [--processes N] [--dry-run]
// A whole run keeps its rows beside the build. --merge puts those that --only tries again in their place, and the page says so.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { build } from "esbuild";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
const { values } = parseArgs({
  options: {
    faults: { type: "string", default: "3" },
    controls: { type: "string", default: "4" },
    seed: { type: "string", default: "1" },
    only: { type: "string", default: "" },
    merge: { type: "boolean", default: false },
    processes: { type: "string", default: "2" },
    "dry-run": { type: "boolean", default: false },
  },
});

// Two folders below the root, as the helpers that it holds look for fixtures from where they stand.
const home = join("dist", "trust");
mkdirSync(home, { recursive: true });
await build({
  entryPoints: { main: "test/trust/main.ts", report: "test/trust/report.ts" },
  outdir: home,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  platform: "node",
  format: "esm",
  packages: "external",
  logLevel: "warning",
});

const began = Date.now();
const folder = mkdtempSync(join(tmpdir(), "trust-rows-"));
const count = Math.min(2, Number(values.processes));
const outs = Array.from({ length: count }, (_, index) => join(folder, `${index}.jsonl`));
const codes = await Promise.all(
  outs.map(
    (out, index) =>
      new Promise((resolve) => {
        const [faults, controls, seed] = [values.faults, values.controls, values.seed].map(Number);
        const part = { index, of: count, out, faults, controls, seed, only: values.only, pairs: true };
        const child = spawn(process.execPath, [join(home, "main.mjs"), JSON.stringify(part)], { stdio: "inherit" });
        child.on("exit", (code) => resolve(code ?? 1));
      }),
  ),
);
const lines = outs.flatMap((out) =>
  readFileSync(out, "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line)),
);
rmSync(folder, { recursive: true });
if (codes.some((code) => code !== 0)) throw new Error("a process failed: see above");

const { page, problems } = await import(pathToFileURL(join(home, "report.mjs")).href);
const tried = { plan: lines[0]?.plan, rows: placed("row"), pairs: placed("pair"), again: [] };
const seconds = (Date.now() - began) / 1000;
const kept = join(home, "rows.json");
const isWhole = values.only === "";
const merged = values.merge && !isWhole ? mergedWith(tried) : { ...tried, seconds };
const found = { ...merged, rows: merged.rows.map(([, row]) => row), pairs: merged.pairs.map(([, pair]) => pair) };
const text = page({ ...found, seed: values.seed });
if (isWhole || values.merge) writeFileSync(kept, JSON.stringify(merged));
if (values["dry-run"] || (!isWhole && !values.merge)) process.stdout.write(text);
else writeFileSync("docs/trust.md", text);
const wrong = problems(found);
for (const each of wrong) console.error(`trust: ${each}`);
process.exit(wrong.length === 0 ? 0 : 1);

/** Rows or pairs with their places in the selection, in its order. */
function placed(kind) {
  const own = lines.flatMap((line) => (line[kind] === undefined ? [] : [[line.at, line[kind]]]));
  return own.toSorted(([a], [b]) => a - b);
}

/** The last whole run with these in place of its own. */
function mergedWith({ plan, rows, pairs }) {
  const last = existsSync(kept) ? JSON.parse(readFileSync(kept, "utf8")) : null;
  if (last === null)
    throw new Error(`${kept}: there are no rows of a whole run to merge with: run it without --only first`);
  if (plan !== last.plan) throw new Error("the last whole run tried other mutants: run it without --only again");
  const over = (old, fresh) => [...new Map([...old, ...fresh]).entries()].toSorted(([a], [b]) => a - b);
  const again = [...new Set([...last.again, values.only])];
  return { ...last, rows: over(last.rows, rows), pairs: over(last.pairs, pairs), again };
}
