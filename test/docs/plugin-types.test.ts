// The types that the package ships let a plugin be checked, in a folder that has nothing but the package.
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { scratch } from "../helpers/scratch.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
const compile = (...args: string[]) => {
  const { status, stdout } = spawnSync(process.execPath, [tsc, ...args], { encoding: "utf8" });
  return { status, stdout };
};
const strict = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--skipLibCheck"];

const typed = `import type { AdapterKit, JsonObject, MakeAdapter, Rule } from "convert-checkpoint/adapter";

const rules = ({ rename }: AdapterKit): Rule[] => [rename("layers.{l}.w", "model.layers.{l}.w", "d")];

const graph = { none: "it is tiny" };
const make: MakeAdapter = (kit) =>
  kit.defineFamily({
    family: "tiny",
    modelTypes: ["tiny"],
    flavours: ["dense"],
    modalities: ["text"],
    probes: [],
    sources: [],
    parse: (json: JsonObject, where: string) => ({ d: new kit.ConfigReader(json, where).size("hidden_size", 3) }),
    facts: () => ({ vocabSize: 2, maxPositions: 4, dtype: null }),
    axes: ({ d }) => ({ l: 1, d }),
    math: (config) => config,
    hfConfig: (_, json) => json,
    hf: { graph },
    layouts: [{ name: "theirs", trainer: "them", rules: () => rules(kit), graph }],
  });
export default make;
`;

test("a plugin in TypeScript, and the one of the walk-through", () => {
  const folder = scratch();
  const place = join(folder, "node_modules", "convert-checkpoint");
  mkdirSync(place, { recursive: true });
  cpSync(join(root, "package.json"), join(place, "package.json"));
  const project = join(folder, "declarations.json");
  const compilerOptions = {
    emitDeclarationOnly: true,
    rootDir: root,
    outDir: join(place, "dist"),
    types: [],
  };
  const files = [join(root, "adapters", "plugin.ts")];
  writeFileSync(project, JSON.stringify({ extends: join(root, "tsconfig.json"), compilerOptions, files, include: [] }));
  expect(compile("-p", project)).toEqual({ status: 0, stdout: "" });

  const page = readFileSync(join(root, "docs", "add-a-family.md"), "utf8");
  const blocks = [...page.matchAll(/^```js olmo2\.mjs\n(.*?)^```$/gms)].map(([, code]) => code);
  const file = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const layoutPage = readFileSync(join(root, "docs", "add-a-layout.md"), "utf8");
  const [table, row] = ["vllm\\.mjs", "row"].map(
    (name) => new RegExp(`^\`\`\`js ${name}\\n(.*?)^\`\`\`$`, "ms").exec(layoutPage)!.at(1)!,
  );
  const LAST = "rules: olmoRules, graph },\n";
  const vllm = file("vllm.mjs", `${blocks.join("\n").replace(LAST, `${LAST}${row}`)}\n${table}`);
  const [tiny, olmo2] = [file("tiny.mts", typed), file("olmo2.mjs", blocks.join("\n"))];
  const otherAxes = file("axes.mts", typed.replace('"model.layers.{l}.w"', '"model.layers.{e}.w"'));
  const noFamily = file("family.mts", typed.replace('family: "tiny",\n    modelTypes', "modelTypes"));
  const [seeing] = [...page.matchAll(/^```js sees\.mjs\n(.*?)^```$/gms)].map(([, code]) => code!);
  const sees = file("sees.mjs", `${seeing}export { oneSizeProcessor };\n`);
  const noAxes = file("no-axes.mjs", `${seeing!.replace(/patchAxes.*$/m, "")}export { oneSizeProcessor };\n`);
  const [graph] = [...page.matchAll(/^```js graph\.mjs\n(.*?)^```$/gms)].map(([, code]) => code!);
  const running = blocks.join("\n").replace("hf: { graph },", "hf: { graph: hfForward },");
  const runs = file("graph.mjs", `${running}\n${graph}`);
  const noTap = file("no-tap.mjs", `${running}\n${graph!.replace('yield { name: "embed", value', "yield { value")}`);
  const modules = [tiny, olmo2, vllm, otherAxes, noFamily, sees, noAxes, runs, noTap];
  const { stdout } = compile(...strict, "--allowJs", "--checkJs", ...modules);
  const errors = stdout.split("\n").filter((line) => line.includes("error TS"));
  expect(errors.map((line) => line.replace(/^.*\//, ""))).toEqual([
    expect.stringMatching(/^axes\.mts\(3,75\): error TS2345/),
    expect.stringMatching(/^family\.mts\(7,20\): error TS2345/),
    expect.stringMatching(/^no-axes\.mjs\(3,\d+\): error TS2345: .*ImageSteps/),
    expect.stringMatching(/^no-tap\.mjs\(\d+,3\): error TS2322: .*Forward/),
  ]);
  expect(stdout).toContain("Property 'family' is missing");
});
