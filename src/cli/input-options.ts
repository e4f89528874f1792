// What `parity` compares on, from its options.
import { InputError, UsageError } from "../base/errors.ts";
import { locate, type PathOrLocation } from "../formats/io/disk-folder.ts";
import { type Folder, has, inFolder } from "../formats/io/folder.ts";
import type { PromptRequest } from "../parity/inputs/prompt.ts";
import type { InputRequest } from "../parity/inputs/read.ts";
import type { Arguments } from "./arguments.ts";

/** A checkpoint, as far as companions of its model are looked for beside it. */
export interface Place {
  readonly path: string;
  readonly folder: Folder;
}

/** Empty where nothing is asked for. Options of one kind only. */
export async function inputsOf(
  args: Arguments,
  checkpoints: readonly Place[],
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
  if (prompts.length > 0 || list !== undefined) return promptsOf(args, checkpoints, prompts, list);
  return tokens === undefined ? undefined : [{ kind: "random", tokens }];
}

async function promptsOf(
  args: Arguments,
  checkpoints: readonly Place[],
  given: readonly string[],
  list: string | undefined,
): Promise<readonly InputRequest[]> {
  const options = {
    kind: "prompt",
    tokenizer: tokenizerOf(args, checkpoints),
    chat: args.flag("chat-template"),
    images: args.list("image"),
    processors: foldersOf(args, checkpoints),
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

/** Where companions of the models may lie. */
function foldersOf(args: Arguments, checkpoints: readonly Place[]): Folder[] {
  const config = args.text("config");
  return [...checkpoints.map(({ folder }) => folder), ...(config === undefined ? [] : [locate(config).folder])];
}

const TOKENIZER_FILE = "tokenizer.json";

/** Null where there is none. */
export function tokenizerBeside(args: Arguments, checkpoints: readonly Place[]): PathOrLocation | null {
  const given = args.text("tokenizer");
  if (given !== undefined) return given;
  const folder = foldersOf(args, checkpoints).find((each) => has(each, TOKENIZER_FILE));
  return folder === undefined ? null : inFolder(folder, TOKENIZER_FILE);
}

function tokenizerOf(args: Arguments, checkpoints: readonly Place[]): PathOrLocation {
  const found = tokenizerBeside(args, checkpoints);
  if (found !== null) return found;
  throw new InputError("TOKENIZER_MISSING", "no tokenizer.json beside the checkpoints", {
    expected: TOKENIZER_FILE,
    found: `none beside ${checkpoints.map(({ path }) => path).join(", ")}`,
    help: "give it with --tokenizer PATH, or compare on --ids",
  });
}
