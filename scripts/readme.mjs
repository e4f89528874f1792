// Writes the README's table of families from the registry; with --check, fails where it is not up to date.
//   node scripts/readme.mjs [--check] [FILE]
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values, positionals } = parseArgs({ options: { check: { type: "boolean" } }, allowPositionals: true });
const file = positionals[0] ?? `${root}README.md`;

/** The table, by the sources as they are now: no build has to come before. */
async function familiesTable() {
  const { outputFiles } = await build({
    stdin: {
      contents: `
        import { adapters } from "./adapters/registry.ts";
        import { familiesMarkdown } from "./src/report/views/families.ts";
        export const table = familiesMarkdown(adapters);`,
      resolveDir: root,
    },
    bundle: true,
    format: "esm",
    platform: "node",
    write: false,
    logLevel: "warning",
  });
  const { table } = await import(
    `data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString("base64")}`
  );
  return table;
}

const BLOCK = /(?<=<!-- families: written by scripts\/readme\.mjs -->\n).*?(?=<!-- \/families -->)/s;

const text = readFileSync(file, "utf8");
if (!BLOCK.test(text)) {
  console.error(`${file}: the markers of the table of families are missing`);
  process.exit(1);
}
const table = `\n${await familiesTable()}\n\n`;
const current = text.replace(BLOCK, () => table);
if (values.check !== true) writeFileSync(file, current);
else if (current !== text) {
  console.error(`${file}: its table of families is not that of adapters/registry.ts; run \`npm run fix\``);
  process.exit(1);
}
