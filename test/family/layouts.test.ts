// Layouts are rows: what they say of themselves, and that no code asks for their names.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { describe, expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { bound, defaultTarget, tableLayout, throughTable } from "../../src/family/family.ts";
import { graphsOf, layoutNamed, layoutsOf } from "../../src/family/layout.ts";
import { isRanked } from "../../src/table/rule.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const NAMES = new Set(adapters.flatMap((adapter) => layoutsOf(adapter).map(({ name }) => name)));

/** Where a name that a user or a record gives is looked up. */
const LOOK_UPS = ["src/family/layout.ts", "src/model/detect.ts", "src/model/recognise.ts", "src/convert/route.ts"];

const EQUALITIES = new Set([
  ts.SyntaxKind.EqualsEqualsToken,
  ts.SyntaxKind.EqualsEqualsEqualsToken,
  ts.SyntaxKind.ExclamationEqualsToken,
  ts.SyntaxKind.ExclamationEqualsEqualsToken,
]);
const TEXT_METHODS = /^(startsWith|endsWith|includes|indexOf|match|search|localeCompare)$/;

const isSide = (node: ts.Expression): boolean => /(^|\.)side$/.test(node.getText());
const isName = (node: ts.Expression): boolean => ts.isStringLiteralLike(node) && NAMES.has(node.text);
const isLayoutName = (node: ts.Expression): boolean =>
  /(^|[.!?])(layout|to|from|native)\??\.name$/.test(node.getText());

/** Comparisons of names of layouts in a source text, as it has them. */
function comparisons(text: string): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isBinaryExpression(node) && EQUALITIES.has(node.operatorToken.kind)) {
      const { left, right } = node;
      const isOfNames = (isName(left) && !isSide(right)) || (isName(right) && !isSide(left));
      if (isOfNames || isLayoutName(left) || isLayoutName(right)) found.push(node.getText());
    }
    if (ts.isCaseClause(node) && isName(node.expression) && !isSide(node.parent.parent.expression)) {
      found.push(node.expression.getText());
    }
    if (ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression)) {
      const { expression, name } = node.expression;
      const asks = TEXT_METHODS.test(name.text);
      if (asks && (/(^|\.)layout(\.name)?$/.test(expression.getText()) || node.arguments.some(isName)))
        found.push(node.getText());
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile("source.ts", text, ts.ScriptTarget.Latest, true));
  return found;
}

describe("no code compares names of layouts", () => {
  test.each([
    'layout === "hf"',
    'if (side.layout.name !== "hf") go();',
    '"torchtitan-0.2" === layout',
    'const early = layout.startsWith("torchtitan-2026");',
    "const fused = layout.name.endsWith(suffix);",
    'layouts.includes("torchtitan") ? 1 : 2',
    'switch (layout) { case "vllm": break; }',
    "a.layout.name === b.layout.name",
  ])("the check finds %s", (text) => {
    expect(comparisons(text)).toHaveLength(1);
  });

  test.each(['layout.side === "hf"', 'side !== "hf"', 'switch (side) { case "hf": break; }', "isSameLayout(a, b)"])(
    "and passes %s",
    (text) => {
      expect(comparisons(text)).toEqual([]);
    },
  );

  const files = ["src", "adapters"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name) => `${folder}/${name}`),
  );

  test("in src and adapters, outside the places where a given name is looked up", () => {
    expect(files.length).toBeGreaterThan(250);
    const found = files
      .filter((file) => !LOOK_UPS.includes(file))
      .map((file) => [file, comparisons(read(file))] as const);
    expect(found.filter(([, texts]) => texts.length > 0)).toEqual([]);
  });

  test("nor there with a name of its own", () => {
    for (const file of LOOK_UPS) expect(comparisons(read(file)).filter((text) => /["'`]/.test(text))).toEqual([]);
  });
});

const read = (file: string): string => readFileSync(join(root, file), "utf8");

describe.each(adapters.map((adapter) => [adapter.family, adapter] as const))("%s", (_, adapter) => {
  const family = adapter.open(adapter.probes.at(-1)!, "config.json");

  test("an opened family has the layouts of its adapter, and what is said of them", () => {
    const facts = (of: typeof adapter | typeof family) =>
      layoutsOf(of).map(({ name, trainer, side, since, until, ranked, noGraph }) => {
        return { name, trainer, side, since, until, ranked, noGraph };
      });
    expect(facts(family)).toEqual(facts(adapter));
    expect(new Set(facts(adapter).map(({ name }) => name)).size).toBe(facts(adapter).length);
    for (const { name } of facts(adapter)) expect(layoutNamed(family, name)).toBe(bound(family, { name }));
    expect(layoutNamed(family, "raw")).toBeUndefined();
    expect(() => bound(family, { name: "raw" })).toThrow(RangeError);
  });

  test("the first is where Hugging Face files go: torchtitan's, else a trainer's; every other one goes to hf", () => {
    const { hf, layouts } = family;
    const trainers = layouts.map(({ trainer }) => trainer);
    const engines: readonly string[] = ["vllm"];
    const [wanted] = trainers.includes("torchtitan")
      ? ["torchtitan"]
      : trainers.filter((each) => !engines.includes(each));
    expect(defaultTarget(family, hf)).toBe(layouts[0]);
    expect(trainers[0]).toBe(wanted);
    for (const layout of layouts) expect(defaultTarget(family, layout)).toBe(hf);
  });

  test("one table opens Hugging Face's files, and each native layout has its own", () => {
    const { hf, layouts } = family;
    const opener = tableLayout(family, hf);
    expect(layouts).toContain(opener);
    expect(throughTable(family, hf)).toBe(opener);
    for (const layout of layouts) {
      expect([tableLayout(family, layout), throughTable(family, layout)]).toEqual([layout, hf]);
    }
  });

  test("a revision begins before it ends", () => {
    for (const { name, trainer, since, until } of adapter.layouts) {
      if (trainer !== "torchtitan") continue;
      const dayOf = (revision: string) => (revision === "0.2.0" ? "2025-10-17" : revision);
      expect(dayOf(since!), name).toMatch(/^\d{4}-\d\d-\d\d$/);
      expect(until === undefined || dayOf(since!) < until, name).toBe(true);
    }
  });

  test("its rules say how ranks lie where the row says that it is ranked, and a graph is there or a reason", () => {
    const trainers = new Set(family.layouts.filter(({ noGraph }) => noGraph === null).map(({ trainer }) => trainer));
    const expected = ["hf", ...[...trainers].map((trainer) => `a ${trainer} layout`)].join(" or ");
    for (const layout of family.layouts) {
      expect([layout.name, isRanked(layout.rules())]).toEqual([layout.name, layout.ranked]);
      if (layout.noGraph === null) continue;
      expect(layout.noGraph.length).toBeGreaterThan(20);
      expect(() => layout.forward()).toThrow(
        expect.objectContaining({
          code: "NO_GRAPH",
          message: `${adapter.family}: there is no forward graph of layout ${layout.name}`,
          details: expect.objectContaining({ expected, found: layout.name }),
        }),
      );
    }
    expect(graphsOf(adapter)).toEqual(["native", "hf"]);
  });
});
