// Wrong usage, told so that the next try is right.
import { existsSync } from "node:fs";
import { UsageError } from "../base/errors.ts";
import { nearestKey } from "../base/near.ts";
import { notOneOf } from "./arguments.ts";
import type { Command } from "./command.ts";
import { commands } from "./commands.ts";
import { sharedOptions } from "./options.ts";

export const NAME = "convert-checkpoint";
export const PURPOSE =
  "Convert model checkpoints between trainers' native layouts and Hugging Face, and prove that nothing changed.";
export const PATHS =
  "A path is a directory or a file: safetensors, sharded safetensors, torch DCP, .pt/.pth, or hf://owner/name[@revision][/folder] on the Hub.";
export const EXIT_CODES: readonly (readonly [code: number, meaning: string])[] = [
  [0, "done, every check held"],
  [1, "a check failed"],
  [2, "wrong usage"],
  [3, "input not acceptable"],
  [4, "environment lacks something"],
  [70, "internal error"],
];

/** How a command is called: most have one form. */
export const formsOf = ({ usage }: Command): readonly string[] => (typeof usage === "string" ? [usage] : usage);
export const nameOf = (command: Command): string => formsOf(command)[0]?.split(" ", 1)[0] ?? "";
/** Words that are no commands of ours but of the parser. */
const OTHER_WORDS = ["completion", "help", "version"];
const names = (): string[] => [...commands.map(nameOf), ...OTHER_WORDS];

/** `version`, `help` and `help COMMAND` as they are said in other tools. */
export function inOptions(argv: readonly string[]): readonly string[] {
  const [word, command, ...rest] = argv;
  if (rest.length > 0 || (word !== "help" && word !== "version")) return argv;
  if (command === undefined) return [`--${word}`];
  return word === "help" && names().includes(command) ? [command, "--help"] : argv;
}

/** What a call without arguments shows: the forms of a call, one a line. */
export function shortHelp(): string {
  const lines = commands.map((command) => [formsOf(command)[0] ?? "", command.describe] as const);
  const width = Math.max(...lines.map(([form]) => form.length));
  return lines.map(([form, about]) => `  ${NAME} ${form.padEnd(width)}  ${about.split(/[:;,]/, 1)[0]}`).join("\n");
}

/** The command that a call names, and `convert` where it names none. */
function commandOf(argv: readonly string[]): Command | undefined {
  const [word] = argv.filter((arg) => !arg.startsWith("-"));
  return (
    commands.find((command) => nameOf(command) === word) ?? commands.find((command) => formsOf(command).length > 1)
  );
}

/** A word in the place of a source that is none, and nearly a command. */
export function misspeltCommand(word: string): UsageError | undefined {
  if (names().includes(word) || /[\\/.~]/.test(word) || existsSync(word)) return undefined;
  const near = nearestKey(word, names());
  if (near === undefined) return undefined;
  return new UsageError("USAGE", `unknown command "${word}"`, {
    expected: names().join(", "),
    found: word,
    help: `did you mean \`${NAME} ${near}\`?`,
  });
}

/** What yargs found wrong, in our words. */
export function usageError(message: string, argv: readonly string[]): UsageError {
  const [, option, value, choices] = /^ {2}Argument: (.*?), Given: "(.*?)".*, Choices: (.*)$/m.exec(message) ?? [];
  if (option !== undefined && value !== undefined && choices !== undefined) {
    const listed = [...choices.matchAll(/"(.*?)"/g)];
    return notOneOf(
      option,
      value,
      listed.map(([, name = ""]) => name),
    );
  }
  const [first] = argv.filter((arg) => !arg.startsWith("-"));
  const misspelt = first === undefined ? undefined : misspeltCommand(first);
  if (misspelt !== undefined) return misspelt;
  const [, unknown] = /^Unknown arguments?: (.*)$/.exec(message) ?? [];
  if (unknown !== undefined) return unknownError(unknown.split(", "), argv);
  const [, empty] = /^Not enough arguments following: (.*)$/.exec(message) ?? [];
  if (empty !== undefined) {
    return new UsageError("USAGE", `--${empty} needs a value`, { help: `write --${empty} VALUE; ${moreHelp(argv)}` });
  }
  const words = message.replace(/^./, (c) => c.toLowerCase()).replace("non-option arguments", "arguments");
  return new UsageError("USAGE", words.trim(), { help: `${formHelp(argv)}; ${moreHelp(argv)}` });
}

/** The form of the command that was called. */
function formHelp(argv: readonly string[]): string {
  const command = commandOf(argv);
  return `write ${NAME} ${command === undefined ? "<command> …" : (formsOf(command)[0] ?? "")}`;
}

function moreHelp(argv: readonly string[]): string {
  const [word] = argv.filter((arg) => !arg.startsWith("-"));
  const command = commands.find((each) => nameOf(each) === word);
  return command === undefined
    ? `see ${NAME} --help, or ${NAME} <command> --help`
    : `see ${NAME} ${nameOf(command)} --help`;
}

/** Options that do not exist, or not for this command, and words too many; yargs names them alike. */
function unknownError(unknown: readonly string[], argv: readonly string[]): UsageError {
  const options: string[] = [];
  const words: string[] = [];
  for (const name of unknown) {
    const given = argv.find((arg) => arg.startsWith("--") && arg.slice(2).split("=", 1)[0] === name);
    // yargs takes `-json` for four options of a letter each.
    const short = argv.find((arg) => /^-[^-]/.test(arg) && arg.slice(1).split("=", 1)[0]?.includes(name));
    if (given !== undefined) options.push(`--${name}`);
    else if (short !== undefined && name.length <= short.length) options.push(short.split("=", 1)[0] ?? short);
    else words.push(name);
  }
  const told = [...new Set([...options.map((each) => `option ${each}`), ...words.map((each) => `argument "${each}"`)])];
  const [option] = options;
  const help = option === undefined ? `${formHelp(argv)}; quote a path that has spaces` : optionHelp(option, argv);
  return new UsageError("USAGE", `unknown ${told.join(", ")}`, { found: unknown.join(", "), help });
}

function optionHelp(option: string, argv: readonly string[]): string {
  const name = option.replace(/^-+/, "");
  const own = commandOf(argv);
  const known = { ...sharedOptions, ...own?.options };
  const aliases = Object.values(known).flatMap((about) => ("alias" in about ? [String(about.alias)] : []));
  const near = name in known ? name : nearestKey(name, [...Object.keys(known), ...aliases, "help", "version"]);
  const others = commands.filter((command) => name in command.options).map(nameOf);
  if (others.length > 0) {
    return `--${name} is an option of ${others.join(", ")}, not of ${own === undefined ? "this" : nameOf(own)}; ${moreHelp(argv)}`;
  }
  return near === undefined ? moreHelp(argv) : `did you mean --${near}? ${moreHelp(argv)}`;
}
