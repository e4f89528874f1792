// What `parity` compares on, from its options.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { InputError, UsageError } from "../base/errors.ts";
import { directoryOf } from "../model/config-files.ts";
import type { PromptRequest } from "../parity/inputs/prompt.ts";
import type { InputRequest } from "../parity/inputs/read.ts";
import type { NextTokens } from "../parity/next-tokens.ts";
import type { Arguments } from "./arguments.ts";

/** Empty where nothing is asked for. Options of one kind only. */
export async function inputsOf(
  args: Arguments,
  paths: readonly string[],
): Promise<readonly InputRequest[] | undefined> {
  const [ids, inputs, prompts] = [args.list("ids"), args.list("inputs"), args.list("prompt")];
  const list = args.text("prompts");
  const tokens = args.count("tokens");
  const given = [
    ids.length > 0 && "--ids",
    inputs.length > 0 && "--inputs",
    prompts.length > 0 && "--prompt",
    list && "--prompts",
    tokens && "--tokens",
  ].filter(Boolean);
  if (given.length > 1) {
    throw new UsageError("INPUT_TWICE", `${given.join(" and ")} exclude each other`, {
      found: given.join(", "),
      help: "give one of them",
    });
  }
  if (prompts.length === 0 && list === undefined) checkPromptOptions(args, given.join());
  if (ids.length > 0) return ids.map((file) => ({ kind: "ids", file }));
  if (inputs.length > 0) return inputs.map((file) => ({ kind: "inputs", file }));
  if (prompts.length > 0 || list !== undefined) return promptsOf(args, paths, prompts, list);
  return tokens === undefined ? undefined : [{ kind: "random", tokens }];
}

async function promptsOf(
  args: Arguments,
  paths: readonly string[],
  given: readonly string[],
  list: string | undefined,
): Promise<readonly InputRequest[]> {
  const options = {
    kind: "prompt",
    tokenizer: tokenizerOf(args, paths),
    chat: args.flag("chat-template"),
    images: args.list("image"),
    processors: placesOf(args, paths),
  } as const;
  const prompts: readonly PromptRequest[] = given.map((text) => ({ ...options, text }));
  if (list === undefined) return prompts;
  const { readPrompts } = await import("../parity/inputs/several.ts");
  return readPrompts(list).map((text) => ({ ...options, text, literal: true }));
}

/** Of options that say something of a prompt there has to be one. */
function checkPromptOptions(args: Arguments, given: string): void {
  const fail = (code: string, option: string, help: string): never => {
    throw new UsageError(code, `${option} is for a --prompt`, { found: given || "no --prompt", help });
  };
  if (args.flag("chat-template")) {
    fail("CHAT_TEMPLATE_USAGE", "--chat-template", "give the text with --prompt, or leave out --chat-template");
  }
  if (args.list("image").length > 0) {
    fail("IMAGE_USAGE", "--image", "give the text with --prompt, or pixels and ids together with --inputs");
  }
}

/** Directories where companions of the models may lie. */
const placesOf = (args: Arguments, paths: readonly string[]): string[] =>
  [...paths, args.text("config")].filter((path) => path !== undefined).map((path) => directoryOf(path));

/** Null where there is none. */
export function tokenizerBeside(args: Arguments, paths: readonly string[]): string | null {
  const given = args.text("tokenizer");
  if (given !== undefined) return given;
  return placesOf(args, paths).find((directory) => existsSync(join(directory, "tokenizer.json"))) ?? null;
}

function tokenizerOf(args: Arguments, paths: readonly string[]): string {
  const found = tokenizerBeside(args, paths);
  if (found !== null) return found;
  throw new InputError("TOKENIZER_MISSING", "no tokenizer.json beside the checkpoints", {
    expected: "tokenizer.json",
    found: `none beside ${paths.join(", ")}`,
    help: "give it with --tokenizer PATH, or compare on --ids",
  });
}

/** Text of the tokens that a report names; none without a tokenizer that can tell. */
export async function tokenTexts(next: NextTokens, path: string | null): Promise<ReadonlyMap<number, string>> {
  if (path === null) return new Map();
  const { openTokenizer } = await import("../parity/inputs/tokenizer.ts");
  const ids = [...next.a, ...next.b].map(({ id }) => id);
  try {
    const { tokenizer } = await openTokenizer(path);
    return new Map(ids.map((id) => [id, tokenizer.decode([id])]));
  } catch {
    return new Map();
  }
}
