import yargs, { type Argv } from "yargs";
import { UsageError } from "../base/errors.ts";
import { VERSION } from "../base/version.ts";
import { Arguments, notOneOf } from "./arguments.ts";
import type { Command } from "./command.ts";
import { commands } from "./commands/commands.ts";
import { commandFailure } from "./fail.ts";
import { sharedOptions } from "./options.ts";
import { type Io, printFailure, runCommand } from "./run.ts";

const EPILOGUE = `A path is a directory or a file: safetensors, sharded safetensors, torch DCP, .pt/.pth.
Exit codes: 0 done, every check held · 1 a check failed · 2 wrong usage · 3 input not acceptable · 4 environment lacks something · 70 internal error`;

interface Selection {
  readonly command: Command;
  readonly name: string;
  readonly values: Readonly<Record<string, unknown>>;
}

/** Parses `argv`, runs the command it names and returns the exit code. Never throws. */
export async function runCli(argv: readonly string[], io: Io): Promise<number> {
  try {
    const selection = await parse(argv, io);
    if (selection === undefined) return 0;
    return await runCommand(selection.command, selection.name, new Arguments(selection.values), io);
  } catch (error) {
    const failure = commandFailure(error);
    printFailure(failure, argv.includes("--json"), !argv.includes("--no-color"), io);
    return failure.exitCode;
  }
}

/** Undefined where `--help` or `--version` was asked for, and printed. */
async function parse(argv: readonly string[], io: Io): Promise<Selection | undefined> {
  let selection: Selection | undefined;
  let shown = "";
  const parser = yargs()
    .scriptName("convert-checkpoint")
    .locale("en")
    .parserConfiguration({
      "boolean-negation": false,
      "camel-case-expansion": false,
      "dot-notation": false,
      "parse-numbers": false,
      "parse-positional-numbers": false,
      "strip-aliased": true,
    })
    .usage(
      "Convert model checkpoints between trainers' native layouts and Hugging Face, and prove that nothing changed.\n\n$0 <source> <target>   or   $0 <command> …",
    )
    .options(sharedOptions)
    .epilogue(EPILOGUE)
    .version(VERSION)
    .help()
    .strict()
    .demandCommand(1, "no command and no source given")
    .wrap(Math.min(io.columns, 110))
    .exitProcess(false)
    .fail((message: string | null, error: Error | undefined) => {
      // No command runs inside yargs: what it throws itself is wrong usage, too.
      throw usageError(message ?? error?.message ?? "wrong usage", argv);
    });
  for (const command of commands)
    register(parser, command, (chosen) => {
      selection = chosen;
    });
  await parser.parseAsync([...argv], {}, (_error: unknown, _argv: unknown, output: string) => {
    shown = output;
  });
  if (shown !== "") {
    io.stdout(`${shown}\n`);
    return undefined;
  }
  return selection;
}

function register(parser: Argv, command: Command, select: (selection: Selection) => void): void {
  const { usage, describe, positionals, options, examples } = command;
  const forms = typeof usage === "string" ? [usage] : usage;
  const name = forms[0]?.split(" ")[0] ?? "";
  parser.command(
    [...forms],
    describe,
    (sub) => {
      for (const [key, about] of Object.entries(positionals)) sub.positional(key, { type: "string", describe: about });
      sub.options({ ...options });
      for (const [line, about] of examples) sub.example(`$0 ${line}`, about);
      return sub;
    },
    (values) => select({ command, name, values }),
  );
}

function usageError(message: string, argv: readonly string[]): UsageError {
  const help = "see convert-checkpoint --help, or convert-checkpoint <command> --help";
  const [, option, value, choices] = /^ {2}Argument: (.*?), Given: "(.*?)".*, Choices: (.*)$/m.exec(message) ?? [];
  if (option !== undefined && value !== undefined && choices !== undefined) {
    return notOneOf(
      option,
      value,
      [...choices.matchAll(/"(.*?)"/g)].map(([, name = ""]) => name),
    );
  }
  const [, unknown] = /^Unknown arguments?: (.*)$/.exec(message) ?? [];
  if (unknown === undefined) {
    const words = message.replace(/^./, (c) => c.toLowerCase()).replace("non-option arguments", "arguments");
    return new UsageError("USAGE", words.trim(), { help });
  }
  // yargs names options and positionals alike.
  const names = unknown.split(", ").map((name) => {
    const option = argv.find((arg) => arg.startsWith("-") && arg.replace(/^--?/, "").split("=", 1)[0] === name);
    return option === undefined ? `argument "${name}"` : `option ${option.split("=", 1)[0]}`;
  });
  return new UsageError("USAGE", `unknown ${[...new Set(names)].join(", ")}`, { found: unknown, help });
}
