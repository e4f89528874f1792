// Lists that are read off the sources: error codes with what they say, what parity names, and known upstream differences.
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import ts from "typescript";

const CODE = /^[A-Z][A-Z0-9_]{2,}$/;
/** Exit code by error class: src/base/errors.ts. */
const EXITS = { UsageError: 2, InputError: 3, EnvironmentError: 4 };

function sourceNames(root, folder) {
  const entries = readdirSync(join(root, folder), { recursive: true, withFileTypes: true });
  const names = entries.map((entry) => join(entry.parentPath, entry.name));
  return names.filter((name) => name.endsWith(".ts") && !name.endsWith(".d.ts")).toSorted();
}

const sourceFiles = (root, folder) =>
  sourceNames(root, folder).map((path) => ({
    name: relative(root, path),
    source: ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.Latest, true),
  }));

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
    ({ expression, literal }) => (textOf(expression, constants) ?? choice(expression) ?? "…") + literal.text,
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

/** The literals that an expression can be. */
function literals(node) {
  if (ts.isStringLiteral(node)) return [node.text];
  if (ts.isConditionalExpression(node)) return [node.whenTrue, node.whenFalse].flatMap(literals);
  return [];
}

/** Follows error codes from where they are written to the error class, through the helpers that they are passed to. */
class Tracer {
  constructor(root) {
    const { config } = ts.readConfigFile(join(root, "tsconfig.json"), ts.sys.readFile);
    const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
    const names = ["src", "adapters", "numerics"].flatMap((folder) => sourceNames(root, folder));
    this.program = ts.createProgram(names, { ...options, noEmit: true });
    this.checker = this.program.getTypeChecker();
    this.calls = names
      .flatMap((name) => [...descendants(this.program.getSourceFile(name))])
      .filter((node) => ts.isCallExpression(node) || ts.isNewExpression(node));
  }

  /**
   * What a text says, `…` standing for what depends on the case; undefined where all of it does.
   * @param texts of the parameters in scope, by their symbols
   */
  text(node, texts = new Map()) {
    if (node === undefined) return undefined;
    if (ts.isStringLiteralLike(node)) return node.text;
    if (ts.isTemplateExpression(node)) {
      const spans = node.templateSpans.map(
        ({ expression, literal }) => (this.text(expression, texts) ?? "…") + literal.text,
      );
      const whole = (node.head.text + spans.join("")).replaceAll(/…{2,}/g, "…");
      return /\p{L}/u.test(whole) ? whole : undefined;
    }
    if (ts.isConditionalExpression(node)) {
      const [one, other] = [node.whenTrue, node.whenFalse].map((each) => this.text(each, texts));
      // Not of an article.
      return [one, other].every((text) => /\p{L}{3}/u.test(text ?? "")) ? `${one} or ${other}` : undefined;
    }
    if (!ts.isIdentifier(node)) return undefined;
    const symbol = this.checker.getSymbolAtLocation(node);
    if (texts.has(symbol)) return texts.get(symbol);
    const declaration = symbol?.valueDeclaration;
    const isConstant = declaration !== undefined && ts.isVariableDeclaration(declaration);
    return isConstant ? this.text(declaration.initializer, texts) : undefined;
  }

  /**
   * The exit code and the message of the error that a call makes; undefined where it makes none.
   * @param at which argument is the code
   */
  error(node, at, texts = new Map(), seen = new Set()) {
    const list = node.arguments ?? [];
    const said = list.map((argument) => this.text(argument, texts));
    if (ts.isNewExpression(node)) {
      const exit = EXITS[node.expression.getText()];
      return exit === undefined ? undefined : { exit, says: said[at + 1] };
    }
    const { declaration } = this.checker.getResolvedSignature(node) ?? {};
    if (declaration?.body === undefined || seen.has(declaration)) return undefined;
    const parameters = declaration.parameters.map(({ name }) => this.checker.getSymbolAtLocation(name));
    const code = parameters[at];
    const inner = new Map(parameters.map((symbol, i) => [symbol, said[i]]));
    const called = [declaration.body, ...descendants(declaration.body)].flatMap((node) => {
      if (!ts.isCallExpression(node) && !ts.isNewExpression(node)) return [];
      const at = (node.arguments ?? []).findIndex(
        (argument) => ts.isIdentifier(argument) && this.checker.getSymbolAtLocation(argument) === code,
      );
      if (code === undefined || at < 0) return [];
      const error = this.error(node, at, inner, new Set([...seen, declaration]));
      return error === undefined ? [] : [error];
    });
    return called[0];
  }

  /** Codes that an error class takes from a value whose type names them: faults that are listed before one is thrown. */
  typed() {
    return this.calls.flatMap((node) => {
      const exit = ts.isNewExpression(node) ? EXITS[node.expression.getText()] : undefined;
      const [code] = node.arguments ?? [];
      if (exit === undefined || code === undefined || ts.isStringLiteral(code)) return [];
      const type = this.checker.getTypeAtLocation(code);
      const members = type.isUnion() ? type.types : [type];
      return members.flatMap((member) => (member.isStringLiteral() ? [{ code: member.value, exit, node }] : []));
    });
  }

  /** What the message says where the function that makes the error gets it from its callers: of the first of them. */
  saidByCallers(node, at) {
    let maker = node.parent;
    while (maker !== undefined && !ts.isFunctionLike(maker)) maker = maker.parent;
    const name = maker?.name ?? (maker && ts.isVariableDeclaration(maker.parent) ? maker.parent.name : undefined);
    if (name === undefined) return undefined;
    const parameters = maker.parameters.map(({ name }) => this.checker.getSymbolAtLocation(name));
    for (const call of this.calls) {
      const { expression } = call;
      const called = ts.isPropertyAccessExpression(expression) ? expression.name.text : expression.getText();
      if (called !== name.getText() || this.checker.getResolvedSignature(call)?.declaration !== maker) continue;
      const texts = (call.arguments ?? []).map((argument) => this.text(argument));
      const says = this.error(node, at, new Map(parameters.map((symbol, i) => [symbol, texts[i]])))?.says;
      if (says !== undefined) return says;
    }
    return undefined;
  }
}

/** Every code of an error, with the exit codes of its classes and what its message says first, by code. */
export function errorCodes(root) {
  const tracer = new Tracer(root);
  const codes = new Map();
  const add = (code, exit, says) => {
    const known = codes.get(code) ?? { code, exits: new Set(), says: undefined };
    known.exits.add(exit);
    known.says ??= says;
    codes.set(code, known);
  };
  const written = tracer.calls.flatMap((node) =>
    [...(node.arguments ?? []).entries()].flatMap(([at, argument]) =>
      literals(argument).flatMap((code) => (CODE.test(code) ? [{ node, at, code }] : [])),
    ),
  );
  for (const { node, at, code } of written) {
    const error = tracer.error(node, at);
    if (error !== undefined) add(code, error.exit, error.says);
  }
  for (const { code, exit, node } of tracer.typed()) {
    const source = node.getSourceFile();
    const said = written.filter((call) => call.code === code && call.at === 0 && call.node.getSourceFile() === source);
    add(
      code,
      exit,
      said.map((call) => tracer.text(call.node.arguments[1])).find((text) => text !== undefined),
    );
  }
  for (const { node, at, code } of written) {
    const known = codes.get(code);
    if (known !== undefined) known.says ??= tracer.saidByCallers(node, at);
  }
  return [...codes.values()].toSorted((a, b) => (a.code < b.code ? -1 : 1));
}

/** One of two words, `holds/computes`. */
const choice = (node) =>
  ts.isConditionalExpression(node) && ts.isStringLiteral(node.whenTrue) && ts.isStringLiteral(node.whenFalse)
    ? `${node.whenTrue.text}/${node.whenFalse.text}`
    : undefined;

/** What a function of a fault says: its text, or those that it chooses from. */
function wordsOf(node) {
  if (ts.isConditionalExpression(node)) return [node.whenTrue, node.whenFalse].flatMap(wordsOf);
  if (ts.isParenthesizedExpression(node)) return wordsOf(node.expression);
  if (ts.isStringLiteralLike(node)) return [node.text];
  if (ts.isTemplateExpression(node)) {
    const spans = node.templateSpans.map(({ expression, literal }) => (choice(expression) ?? "…") + literal.text);
    return [node.head.text + spans.join("")];
  }
  if (ts.isBlock(node)) {
    return [...descendants(node)].flatMap((part) =>
      ts.isReturnStatement(part) && part.expression !== undefined ? wordsOf(part.expression) : [],
    );
  }
  return [];
}

const objectsIn = (source) => [...descendants(source)].filter(ts.isObjectLiteralExpression);

const fieldsOf = (object) =>
  new Map(
    object.properties.flatMap((field) => {
      const value = ts.isPropertyAssignment(field) ? field.initializer : ts.isMethodDeclaration(field) ? field : null;
      return value === null ? [] : [[field.name.getText(), value]];
    }),
  );

/** The catalogue of src/faults by code: what each says of a tensor or a model, and its mend. */
export function faultCodes(root) {
  const faults = sourceFiles(root, "src/faults").flatMap(({ source }) =>
    objectsIn(source).flatMap((object) => {
      const { code, words, mend, of } = Object.fromEntries(fieldsOf(object));
      // What undoes a fault has its code, too, and is none of the catalogue.
      if (code === undefined || !ts.isStringLiteral(code) || words === undefined || mend === undefined) return [];
      if (of === undefined) return [];
      const [says, way] = [words, mend].map(({ body }) => wordsOf(body).join("; or: "));
      return [{ code: code.text, of: of.text, says, mend: way }];
    }),
  );
  return [...faults, ...causesOf(root)].toSorted((a, b) => (a.code < b.code ? -1 : 1));
}

/** Causes that are no fault of a checkpoint: what `parity` finds of a golden. */
function causesOf(root) {
  const sources = ["src/parity/verdict/causes", "src/parity/hypotheses"].flatMap((room) =>
    sourceFiles(root, room).map(({ source }) => source),
  );
  return sources.flatMap(objectsIn).flatMap((object) => {
    const { code, explanation, fix } = Object.fromEntries(fieldsOf(object));
    if (code === undefined || !ts.isStringLiteral(code)) return [];
    return [{ code: code.text, of: "golden", says: textOf(explanation) ?? "…", mend: textOf(fix) ?? "…" }];
  });
}

/** What `parity` finds wrong: the codes of `findings`, with their words. */
export const findingCodes = (root) => [
  ...findingsIn(root, "src/parity/verdict", "findings.ts"),
  ...findingsIn(root, "src/report/views/merge", "check-merge.ts"),
];

function findingsIn(root, folder, file) {
  const [{ source }] = sourceFiles(root, folder).filter(({ name }) => name.endsWith(`/${file}`));
  const constants = constantsOf(source);
  return objectsIn(source).flatMap((object) => {
    const { code, message, cause } = Object.fromEntries(fieldsOf(object));
    if (code === undefined || !ts.isStringLiteral(code)) return [];
    // A shorthand `message` is the constant declared just before it.
    const text = message ?? cause;
    const said = text === undefined ? constantBefore(source, object, constants) : textOf(text, constants);
    return [{ code: code.text, says: said.replaceAll(/…{2,}/g, "…") }];
  });
}

function constantBefore(source, object, constants) {
  const before = [...descendants(source)].filter(
    (node) => ts.isVariableDeclaration(node) && node.name.getText() === "message" && node.end < object.pos,
  );
  return textOf(before.at(-1).initializer, constants);
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
      rows.set(key, { ...row, files: [...(rows.get(key)?.files ?? []), name] });
    }
  }
  return [...rows.values()].toSorted((a, b) => (a.code < b.code ? -1 : a.code > b.code ? 1 : 0));
}
