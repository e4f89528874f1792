// One kind of argument for one kind of thing. TypeScript holds it; this tells those who do without.
import { UsageError } from "../base/errors.ts";

const HELP = {
  path: "give the path of a directory or file",
  Checkpoint: "open it first: openCheckpoint(path); a model's is model.checkpoint",
  Model: "open it first: openModel(openCheckpoint(path), { adapters })",
  plan: "make one first: planConversion(checkpoint, target, { adapters })",
} as const;

type Kind = keyof typeof HELP;

const has = (value: object, ...names: readonly string[]): boolean => names.every((name) => name in value);

/** What a value is by its fields; else its type, in words. */
function kindOf(value: unknown): string {
  if (typeof value === "string") return "path";
  if (typeof value !== "object" || value === null) return value === null ? "null" : typeof value;
  if (has(value, "folder", "file", "path")) return "path";
  if (has(value, "tensors", "read", "folder")) return "Checkpoint";
  if (has(value, "checkpoint", "family", "layout")) return "Model";
  return has(value, "mappings", "target", "files") ? "plan" : "object";
}

/** @throws UsageError ARGUMENT_KIND where `value` is not what `call` takes */
export function checkArgument(call: string, takes: Kind, value: unknown): void {
  const found = kindOf(value);
  if (found === takes) return;
  throw new UsageError("ARGUMENT_KIND", `${call}() takes a ${takes}, and was given ${withArticle(found)}`, {
    expected: `a ${takes}`,
    found: withArticle(found),
    help: HELP[takes],
  });
}

/** @throws UsageError ARGUMENT_KIND where options name no families */
export function checkAdapters(call: string, options: unknown): void {
  const isObject = typeof options === "object" && options !== null;
  if (isObject && "adapters" in options && Array.isArray(options.adapters)) return;
  throw new UsageError("ARGUMENT_KIND", `${call}() takes options with the families that may be met, and has none`, {
    expected: "{ adapters: [ … ] }",
    found: isObject ? "no list of that name" : kindOf(options),
    help: 'import { adapters } from "convert-checkpoint" and give { adapters }, or what loadAdapters gives',
  });
}

const withArticle = (kind: string): string =>
  kind in HELP ? `a ${kind}` : kind === "undefined" || kind === "null" ? "nothing" : `of type ${kind}`;
