// Lists that are read off the sources: error codes with what they say, and known upstream differences.
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import ts from "typescript";

const CODE = /^[A-Z][A-Z0-9]*(_[A-Z0-9]+)+$/;
const EXITS = { UsageError: 2, InputError: 3, EnvironmentError: 4 };

function* sourceFiles(root, folder) {
  for (const entry of readdirSync(join(root, folder), { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.name.endsWith(".ts") || entry.name.endsWith(".d.ts")) continue;
    yield {
      name: relative(root, path),
      source: ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.Latest, true),
    };
  }
}

function* descendants(node) {
  for (const child of node.getChildren()) {
    yield child;
    yield* descendants(child);
  }
}

/** A text as it stands, with `…` where it depends on the case; undefined for what is no text. */
function textOf(node, constants = new Map()) {
  if (node === undefined) return undefined;
  if (ts.isStringLiteralLike(node)) return node.text;
  if (ts.isIdentifier(node)) return constants.get(node.text);
  if (!ts.isTemplateExpression(node)) return undefined;
  const spans = node.templateSpans.map(
    ({ expression, literal }) => (textOf(expression, constants) ?? "…") + literal.text,
  );
  return node.head.text + spans.join("");
}

/** Texts that a file gives names to. */
function constantsOf(source) {
  const constants = new Map();
  for (const node of descendants(source)) {
    if (!ts.isVariableDeclaration(node) || !ts.isIdentifier(node.name)) continue;
    const text = textOf(node.initializer, constants);
    if (text !== undefined) constants.set(node.name.text, text);
  }
  return constants;
}

const calleeOf = (node) =>
  (ts.isCallExpression(node) || ts.isNewExpression(node)) && ts.isIdentifier(node.expression)
    ? node.expression.text
    : undefined;

/** Every code, with the exit code of its class and what its message says first, by code. */
export function errorCodes(root) {
  const codes = new Map();
  for (const { source } of ["src", "adapters", "numerics"].flatMap((folder) => [...sourceFiles(root, folder)])) {
    for (const node of descendants(source)) {
      const callee = calleeOf(node);
      const list =
        callee === undefined ? (ts.isArrayLiteralExpression(node) ? node.elements : []) : (node.arguments ?? []);
      const at = list.findIndex((argument) => ts.isStringLiteral(argument) && CODE.test(argument.text));
      if (at < 0 || at > 2) continue;
      const exit = EXITS[callee] ?? (callee === undefined ? 4 : 3);
      const code = list[at].text;
      const says = list
        .slice(at + 1)
        .map((node) => textOf(node))
        .find((text) => text !== undefined);
      const known = codes.get(code) ?? { code, exits: new Set(), says: [] };
      known.exits.add(exit);
      if (says !== undefined && !known.says.includes(says)) known.says.push(says);
      codes.set(code, known);
    }
  }
  return [...codes.values()].toSorted((a, b) => (a.code < b.code ? -1 : 1));
}

/** What the graphs of trainers' layouts compute otherwise than transformers, by code and words. */
export function knownDifferences(root) {
  const rows = new Map();
  for (const { name, source } of sourceFiles(root, "adapters")) {
    const constants = constantsOf(source);
    for (const node of descendants(source)) {
      if (!ts.isObjectLiteralExpression(node)) continue;
      const fields = new Map(
        node.properties
          .filter(ts.isPropertyAssignment)
          .map((field) => [field.name.getText(), textOf(field.initializer, constants)]),
      );
      if (!["code", "explanation", "source", "fix"].every((field) => fields.has(field))) continue;
      const row = {
        code: fields.get("code"),
        explanation: fields.get("explanation"),
        fix: fields.get("fix"),
        source: fields.get("source"),
      };
      const key = `${row.code} ${row.explanation}`;
      const family = name.split("/")[1];
      rows.set(key, { ...row, families: [...(rows.get(key)?.families ?? []), family] });
    }
  }
  return [...rows.values()].toSorted((a, b) => (a.code < b.code ? -1 : a.code > b.code ? 1 : 0));
}
