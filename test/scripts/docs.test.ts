// What pages say of the code is written from the code, and the check finds what is not up to date.
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { scratch } from "../helpers/scratch.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const PAGES = ["README.md", "docs/architecture.md", "docs/errors.md", "docs/numerics.md"];
const BLOCKS = ["families", "imports", "errors", "findings", "causes", "known differences", "known sizes", "versions"];

const script = (folder: string, ...args: string[]) =>
  spawnSync(process.execPath, [join(root, "scripts", "docs.mjs"), "--in", folder, ...args], { encoding: "utf8" });

function copiedPages(): string {
  const folder = scratch();
  mkdirSync(join(folder, "docs"));
  for (const page of PAGES) cpSync(join(root, page), join(folder, page));
  return folder;
}

test("the table of families is written from the registry, and the check sees a change", () => {
  const folder = copiedPages();
  const file = join(folder, "README.md");
  expect(script(folder, "README.md")).toMatchObject({ status: 0, stderr: "" });
  const written = readFileSync(file, "utf8");
  for (const { family, layouts } of adapters) {
    const row = written.split("\n").find((line) => line.startsWith(`| \`${family}\` |`));
    for (const { name } of layouts) expect(row).toContain(`\`${name}\``);
  }
  const without = new Set(adapters.flatMap(({ layouts }) => layouts.filter(({ noGraph }) => noGraph !== null)));
  const [sentence] = /^Every layout has a forward graph, .* but these: .*$/m.exec(written) ?? [""];
  const named = [...sentence.matchAll(/(?<=these.*)`([^`]+)`/g)].map(([, name]) => name);
  expect(new Set(named)).toEqual(new Set([...without].map(({ name }) => name)));
  expect(script(folder, "--check", "README.md")).toMatchObject({ status: 0, stderr: "" });
  expect(readFileSync(file, "utf8")).toBe(written);
  writeFileSync(file, written.replace("| `llama3` |", "| `llama4` |"));
  expect(script(folder, "--check", "README.md")).toMatchObject({
    status: 1,
    stderr: expect.stringContaining("npm run fix"),
  });
});

/** The text between the markers of a block. */
const BLOCK = /(?<=<!-- ([\w ]+): written by scripts\/docs\.mjs -->\n).*?(?=<!-- \/\1 -->)/gs;

test("every block is long and has every code, and the check sees a change in each", () => {
  // That these pages are what the code says, lint holds.
  const written = PAGES.flatMap((page) => readFileSync(join(root, page), "utf8").match(BLOCK) ?? []);
  expect(written).toHaveLength(BLOCKS.length);
  for (const block of written) expect(block.length).toBeGreaterThan(400);
  expect(literalsWithout(written.join("\n"))).toEqual([]);
  const folder = copiedPages();
  for (const page of PAGES) {
    const file = join(folder, page);
    writeFileSync(
      file,
      readFileSync(file, "utf8").replaceAll(BLOCK, (block) => `${block}\n`),
    );
  }
  const { status, stderr } = script(folder, "--check");
  expect(status).toBe(1);
  for (const name of BLOCKS)
    expect(stderr).toContain(`its block "${name}" is not what the code says; run \`npm run fix\``);
});

test("known differences are those of families that know their codes, each told of each family once or more", () => {
  const written = readFileSync(join(root, "docs/numerics.md"), "utf8");
  const block = written.match(BLOCK)?.find((each) => each.includes("| code | difference |")) ?? "";
  const told = block.split("\n").flatMap((line) => {
    const [, code = "", families = ""] = /^\| `(\w+)` \| .* \| (.*) \|$/.exec(line) ?? [];
    return [...families.matchAll(/`([^`]+)`/g)].map(([, family]) => `${family} ${code}`);
  });
  const known = adapters.flatMap(({ family, known: codes = [] }) => codes.map(({ code }) => `${family} ${code}`));
  expect(new Set(told)).toEqual(new Set(known));
});

/** What looks like a code and is none: element types, opcodes of pickles, variables, codes of Node.js, a key; notes of `inspect`. */
const NO_CODES = new Set([
  "CONVERT_CHECKPOINT_SUBGROUP_MATRICES",
  "DCP_SHARDING_INFO",
  "EMPTY_SET",
  "ERR_MODULE_NOT_FOUND",
  "F8_E4M3",
  "F8_E4M3FNUZ",
  "F8_E5M2",
  "F8_E5M2FNUZ",
  "GITHUB_STEP_SUMMARY",
  "HEADER_NOT_CANONICAL",
  "HF_ENDPOINT",
  "HF_HUB_DOWNLOAD_TIMEOUT",
  "HF_HUB_OFFLINE",
  "HF_TOKEN",
  "HUGGING_FACE_HUB_TOKEN",
  "MODULE_NOT_FOUND",
  "NEWOBJ_EX",
  "NEXT_BUFFER",
  "NO_CHECKSUMS",
  "POP_MARK",
  "READONLY_BUFFER",
  "ROPE_THETA_TWICE",
  "SHORT_BINSTRING",
  "TRANSFORMERS_OFFLINE",
  "VK_DRIVER_FILES",
]);

/** Codes of the sources that are not in `pages`. */
function literalsWithout(pages: string): string[] {
  const sources = ["src", "adapters", "numerics"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name) => readFileSync(join(root, folder, name), "utf8")),
  );
  const literals = sources.flatMap((text) =>
    [...text.matchAll(/"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)"/g)].map(([, code]) => code!),
  );
  return [...new Set(literals)].filter((code) => !NO_CODES.has(code) && !pages.includes(`| \`${code}\` |`)).toSorted();
}

test("an error has the exit code of its class, and the words that its helpers put together", () => {
  const rows = readFileSync(join(root, "docs/errors.md"), "utf8").split("\n");
  for (const row of [
    "| `PICKLE_TRUNCATED` | 3 | …: the pickle ends early (byte …) |",
    "| `CHAT_TEMPLATE_USAGE` | 2 | --chat-template is for a --prompt |",
    "| `DISK_FULL` | 4 | …: no space is left |",
    '| `DROP_NOT_FLOAT` | 3 | "…" should hold floating-point values |',
    "| `SAFETENSORS_INDEX_EMPTY` | 3 | …: its weight_map lists no tensor |",
  ]) {
    expect(rows).toContain(row);
  }
});

test("a page without markers is refused, and stays as it is", () => {
  const folder = copiedPages();
  for (const page of PAGES) writeFileSync(join(folder, page), "# nothing\n");
  const { status, stderr } = script(folder);
  expect(status).toBe(1);
  for (const name of BLOCKS) expect(stderr).toContain(`the markers of "${name}" are missing`);
  for (const page of PAGES) expect(readFileSync(join(folder, page), "utf8")).toBe("# nothing\n");
});
