// Writes what docs say of the code, from the code; with --check, fails where a page is not up to date.
//   node scripts/docs.mjs [--check]
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { errorCodes, knownDifferences } from "./code-lists.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values } = parseArgs({ options: { check: { type: "boolean" } } });

const cell = (text) => text.replaceAll("|", "\\|");
const table = (head, rows) => [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");

/** Rooms and who imports whom, by dependency-cruiser, as a Mermaid flowchart. */
function importsPicture() {
  const cruiser = `${root}node_modules/.bin/depcruise`;
  const rooms = "(src/[^/]+|adapters|numerics)";
  const args = ["--include-only", `^${rooms}/`, "--collapse", `^${rooms}(?=/)`, "--output-type", "mermaid"];
  const config = ["--config", ".dependency-cruiser.cjs", "src", "adapters", "numerics"];
  const picture = execFileSync(cruiser, [...args, ...config], { cwd: root, encoding: "utf8" });
  return `\`\`\`mermaid\n${picture.trim()}\n\`\`\``;
}

const errorsTable = () =>
  table(
    ["code", "exit", "says"],
    errorCodes(root).map(({ code, exits, says }) => [
      `\`${code}\``,
      [...exits].toSorted().join(", "),
      cell(says[0] ?? ""),
    ]),
  );

const differencesTable = () =>
  table(
    ["code", "difference", "what to do", "families"],
    knownDifferences(root).map(({ code, explanation, source, fix, families }) => [
      `\`${code}\``,
      `[${cell(explanation)}](${source})`,
      cell(fix),
      families.map((family) => `\`${family}\``).join(", "),
    ]),
  );

const BLOCKS = [
  ["docs/architecture.md", "imports", importsPicture],
  ["docs/errors.md", "errors", errorsTable],
  ["docs/numerics.md", "known differences", differencesTable],
];

let stale = 0;
for (const [file, name, make] of BLOCKS) {
  const text = readFileSync(`${root}${file}`, "utf8");
  const [begin, end] = [`<!-- ${name}: written by scripts/docs.mjs -->\n`, `<!-- /${name} -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) {
    console.error(`${file}: the markers of "${name}" are missing`);
    process.exit(1);
  }
  const current = `${text.slice(0, from)}${begin}\n${make()}\n\n${text.slice(to)}`;
  if (current === text) continue;
  if (values.check) {
    console.error(`${file}: its block "${name}" is not what the code says; run \`npm run fix\``);
    stale++;
  } else writeFileSync(`${root}${file}`, current);
}
process.exit(stale > 0 ? 1 : 0);
