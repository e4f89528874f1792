import yargs, { type Argv } from "yargs";
import { VERSION } from "../base/version.ts";
import "../hub/serve.ts";
import { withAcceptances } from "./accept-known.ts";
import { Arguments } from "./arguments.ts";
import type { Command } from "./command.ts";
import { commands } from "./commands.ts";
import { sharedOptions } from "./options.ts";
import { type Io, refuseCall, runCommand } from "./run.ts";
import {
  EXIT_CODES,
  formsOf,
  inOptions,
  misspeltCommand,
  NAME,
  nameOf,
  PATHS,
  PURPOSE,
  shortHelp,
  usageError,
} from "./usage.ts";

const EPILOGUE = `${PATHS}\nExit codes: ${EXIT_CODES.map(([code, meaning]) => `${code} ${meaning}`).join(" · ")}`;

interface Selection {
  readonly command: Command;
  readonly name: string;
  readonly values: Readonly<Record<string, unknown>>;
}

/** Parses `argv`, runs the command it names and returns the exit code. Never throws. */
export async function runCli(argv: readonly string[], io: Io): Promise<number> {
  if (argv.length === 0) {
    // A question of a person's, and a mistake of a script's: answered, and wrong usage all the same.
    io.stderr(`error[USAGE]: no command and no source given\n\n${shortHelp()}\n\nhelp: ${NAME} --help says more\n`);
    return 2;
  }
  try {
    const selection = await parse(withAcceptances(inOptions(argv)), io);
    if (selection === undefined) return 0;
    const { source } = selection.values;
    const misspelt = typeof source === "string" && source === argv[0] ? misspeltCommand(source) : undefined;
    if (misspelt !== undefined) throw misspelt;
    const { command, name, values } = selection;
    return await runCommand({ command, name, args: new Arguments(values), argv }, io);
  } catch (error) {
    return refuseCall(error, argv, io);
  }
}

/** What the script of `completion` asks with. */
const COMPLETIONS = "--get-yargs-completions";

/** Of a parser of its own: one with a default command takes the word for its source. */
async function completionScript(): Promise<string> {
  let script = "";
  const parser = yargs().scriptName(NAME).completion("completion").exitProcess(false);
  await parser.parseAsync(["completion"], {}, (_error: unknown, _argv: unknown, output: string) => {
    script = output;
  });
  return script;
}

/** Undefined where `--help` or `--version` was asked for, and printed. */
async function parse(argv: readonly string[], io: Io): Promise<Selection | undefined> {
  let selection: Selection | undefined;
  let shown = "";
  const parser = yargs()
    .scriptName(NAME)
    .locale("en")
    .parserConfiguration({
      "boolean-negation": false,
      "camel-case-expansion": false,
      "dot-notation": false,
      "parse-numbers": false,
      "parse-positional-numbers": false,
      "strip-aliased": true,
    })
    .usage(`${PURPOSE}\n\n$0 <source> <target>   or   $0 <command> …`)
    .options(sharedOptions)
    .epilogue(EPILOGUE)
    .version(VERSION)
    .alias("version", "v")
    .help()
    .alias("help", "h")
    .strict()
    .demandCommand(1, "no command and no source given")
    .wrap(Math.min(io.columns ?? 100, 110))
    .exitProcess(false)
    .fail((message: string | null, error: Error | undefined) => {
      // No command runs inside yargs: what it throws itself is wrong usage, too.
      throw usageError(message ?? error?.message ?? "wrong usage", argv);
    });
  if (argv.length === 1 && argv[0] === "completion") {
    io.stdout(`${await completionScript()}\n`);
    return undefined;
  }
  // A source may have that name.
  if (argv.some((arg) => ["-h", "--help", COMPLETIONS].includes(arg)))
    parser.completion("completion", "Print a script for bash or zsh that completes commands and options");
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
  const { describe, positionals, options, examples } = command;
  const name = nameOf(command);
  parser.command(
    [...formsOf(command)],
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
