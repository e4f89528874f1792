// Writes what pages say of the code, from the code; with --check, fails where a page is not up to date.
//   node scripts/docs.mjs [--check] [--in FOLDER] [PAGE…]      pages of FOLDER, by default all of this repository
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import { errorCodes, faultCodes, findingCodes, knownDifferences } from "./code-lists.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values, positionals } = parseArgs({
  options: { check: { type: "boolean", default: false }, in: { type: "string", default: root } },
  allowPositionals: true,
});

const cell = (text) => text.replaceAll("|", "\\|");
const code = (text) => `\`${text}\``;
const table = (head, rows) => [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");

/** What the sources as they are now make of the families: no build has to come before. @param contents of a module that exports `table` */
async function madeOfFamilies(contents) {
  const { outputFiles } = await build({
    stdin: {
      contents,
      resolveDir: root,
    },
    bundle: true,
    format: "esm",
    platform: "node",
    write: false,
    logLevel: "warning",
  });
  const bundle = Buffer.from(outputFiles[0].contents).toString("base64");
  const { table } = await import(`data:text/javascript;base64,${bundle}`);
  return table;
}

const familiesTable = () =>
  madeOfFamilies(`
    import { adapters } from "./adapters/registry.ts";
    import { familiesMarkdown } from "./src/report/views/families.ts";
    export const table = familiesMarkdown(adapters);`);

async function versionsTable() {
  const changes = await madeOfFamilies(`
    import { adapters } from "./adapters/registry.ts";
    export const table = adapters.flatMap(({ family, changes = [] }) => changes.map((change) => ({ ...change, family })));`);
  return table(
    ["code", "family", "of", "up to", "does", "from", "does"],
    changes.map(({ code: name, family, project, lastBefore, release, day, before, after, permalink }) => [
      code(name),
      code(family),
      project,
      lastBefore,
      cell(before),
      `[${release ?? day}](${permalink})`,
      cell(after),
    ]),
  );
}

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
    errorCodes(root).map(({ code: name, exits, says }) => [
      code(name),
      [...exits].toSorted().join(", "),
      cell(says ?? ""),
    ]),
  );

const findingsTable = () =>
  table(
    ["code", "says"],
    findingCodes(root).map(({ code: name, says }) => [code(name), cell(says)]),
  );

const causesTable = () =>
  table(
    ["code", "of a", "says", "what to do"],
    faultCodes(root).map(({ code: name, of, says, mend }) => [code(name), of, cell(says), cell(mend)]),
  );

/** Families whose layouts have a difference: they know its code, and their code reaches the file that tells it. */
async function differencesTable() {
  const folders = readdirSync(join(root, "adapters")).filter((name) =>
    existsSync(join(root, "adapters", name, "index.ts")),
  );
  const indexOf = (folder) => `adapters/${folder}/index.ts`;
  const known = await madeOfFamilies(`
    ${folders.map((folder, i) => `import * as m${i} from "./${indexOf(folder)}";`).join("\n")}
    const codesOf = (module) => Object.values(module).flatMap(({ family, known = [] }) => known.map(({ code }) => [family, code]));
    export const table = [${folders.map((_, i) => `codesOf(m${i})`)}];`);
  const reached = await Promise.all(folders.map((folder) => filesBehind(indexOf(folder))));
  const familiesOf = (name, files) =>
    folders.flatMap((_, i) =>
      files.some((file) => reached[i].has(file))
        ? known[i].flatMap(([family, each]) => (each === name ? [family] : []))
        : [],
    );
  return table(
    ["code", "difference", "what to do", "families"],
    knownDifferences(root).map(({ code: name, explanation, source, fix, files }) => [
      code(name),
      `[${cell(explanation)}](${source})`,
      cell(fix),
      familiesOf(name, files).map(code).join(", "),
    ]),
  );
}

/** A module, and all that it imports. */
async function filesBehind(module) {
  const options = { bundle: true, format: "esm", platform: "node", write: false, metafile: true, logLevel: "warning" };
  const { metafile } = await build({ entryPoints: [join(root, module)], absWorkingDir: root, ...options });
  return new Set(Object.keys(metafile.inputs));
}

/** How far known differences go, and what accepts them. */
async function knownTable() {
  const known = await madeOfFamilies(`
    import { adapters } from "./adapters/registry.ts";
    export const table = adapters.flatMap(({ family, known = [] }) => known.map((each) => ({ ...each, family })));`);
  const codes = grouped(known);
  return table(
    ["code", "measured, in nats/token", "accepted by", "families"],
    [...codes]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, [first, ...more]]) => [
        code(name),
        cell(first.measured),
        first.smallKlNats === undefined
          ? code(`--accept-known=${name}`)
          : `${code("--accept-known")}, up to ${first.smallKlNats}`,
        [first, ...more].map(({ family }) => code(family)).join(", "),
      ]),
  );
}

function grouped(known) {
  const codes = new Map();
  for (const each of known) codes.set(each.code, [...(codes.get(each.code) ?? []), each]);
  return codes;
}

/** What stands between the markers of each page, by their names. */
const PAGES = {
  "README.md": { families: familiesTable },
  "docs/architecture.md": { imports: importsPicture },
  "docs/errors.md": { errors: errorsTable, findings: findingsTable, causes: causesTable },
  "docs/numerics.md": { "known differences": differencesTable, "known sizes": knownTable, versions: versionsTable },
};

const complaints = [];

/** The form of gate files, for editors. */
async function gateSchema() {
  const page = "docs/schema/gate.schema.json";
  const schema = await madeOfFamilies(`export { GATE_SCHEMA as table } from "./src/gate/file/schema.ts";`);
  const biome = `${root}node_modules/.bin/biome`;
  const text = execFileSync(biome, ["format", `--stdin-file-path=${page}`], {
    cwd: root,
    input: JSON.stringify(schema),
    encoding: "utf8",
  });
  const file = join(root, page);
  if (existsSync(file) && readFileSync(file, "utf8") === text) return;
  if (values.check) complaints.push(`${page} is not what the code says; run \`npm run fix\``);
  else writeFileSync(file, text);
}

for (const page of positionals.length > 0 ? positionals : Object.keys(PAGES)) {
  const blocks = PAGES[page];
  if (blocks === undefined) throw new Error(`${page}: no page with blocks; they are ${Object.keys(PAGES).join(", ")}`);
  const file = join(values.in, page);
  const text = readFileSync(file, "utf8");
  let current = text;
  for (const [name, make] of Object.entries(blocks)) {
    const [begin, end] = [`<!-- ${name}: written by scripts/docs.mjs -->\n`, `<!-- /${name} -->`];
    const [from, to] = [current.indexOf(begin), current.indexOf(end)];
    if (from < 0 || to < from) {
      complaints.push(`${page}: the markers of "${name}" are missing`);
      continue;
    }
    const before = current;
    current = `${current.slice(0, from)}${begin}\n${await make()}\n\n${current.slice(to)}`;
    if (values.check && current !== before) {
      complaints.push(`${page}: its block "${name}" is not what the code says; run \`npm run fix\``);
    }
  }
  if (!values.check && current !== text) writeFileSync(file, current);
}
if (values.in === root && positionals.length === 0) await gateSchema();
for (const complaint of complaints) console.error(complaint);
process.exit(complaints.length > 0 ? 1 : 0);
