// The manual page, in the man macros that groff and mandoc read: made of what `--help` is made of, so that both say the same.
import type { Options } from "yargs";
import type { Command } from "../command.ts";
import { commands } from "../commands.ts";
import { sharedOptions } from "../options.ts";
import { EXIT_CODES, formsOf, NAME, nameOf, PATHS, PURPOSE } from "../usage.ts";

const ENVIRONMENT: readonly (readonly [name: string, meaning: string])[] = [
  ["HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE", "the Hub, as its Python client takes them"],
  ["HTTPS_PROXY, HTTP_PROXY, NO_PROXY", "the way to the Hub"],
  [
    "VK_DRIVER_FILES",
    "the Vulkan driver that WebGPU computes on, where a machine has several: the path of its .json file",
  ],
  ["NO_COLOR, FORCE_COLOR, COLUMNS", "how text is shown"],
  ["GITHUB_STEP_SUMMARY", "a file that reports are added to, where --report names it"],
  ["DEBUG", "with 1, errors have a stack trace"],
];

/** @param version of the package; @param of the commands it is about */
export function manPage(version: string, of: readonly Command[] = commands): string {
  return [
    `.TH ${NAME.toUpperCase()} 1 "" "${NAME} ${version}" "User Commands"`,
    section("NAME"),
    `${escaped(NAME)} \\- ${escaped(PURPOSE.replace(/^./, (c) => c.toLowerCase()).replace(/\.$/, ""))}`,
    section("SYNOPSIS"),
    ...of.flatMap((command, i) => [...(i > 0 ? [".br"] : []), ...synopses(command)]),
    section("DESCRIPTION"),
    escaped(PURPOSE),
    ".PP",
    escaped(PATHS),
    ".PP",
    escaped(
      `${NAME} <command> --help prints what stands below of a command; ${NAME} completion, a script that completes.`,
    ),
    section("COMMANDS"),
    ...of.flatMap(commandPage),
    section("OPTIONS OF EVERY COMMAND"),
    ...Object.entries(sharedOptions).flatMap(option),
    ...option(["help", { alias: "h", type: "boolean", describe: "Show what a command takes" }]),
    ...option(["version", { alias: "v", type: "boolean", describe: "Show the version" }]),
    section("EXIT STATUS"),
    ...EXIT_CODES.flatMap(([code, meaning]) => item(String(code), meaning)),
    section("ENVIRONMENT"),
    ...ENVIRONMENT.flatMap(([name, meaning]) => item(name, meaning)),
    "",
  ].join("\n");
}

const section = (title: string): string => `.SH ${title}`;

/** How it is called; `$0` stands for the first form without its word. */
function synopses(command: Command): string[] {
  const forms = formsOf(command);
  const words = (form: string) => (form === "$0" ? (forms[0] ?? "").slice(nameOf(command).length + 1) : form);
  return forms.flatMap((form, i) => [...(i > 0 ? [".br"] : []), `.B ${escaped(NAME)}`, escaped(words(form))]);
}

function commandPage(command: Command): string[] {
  const { describe, positionals, options, examples } = command;
  return [
    `.SS ${escaped(nameOf(command))}`,
    ...synopses(command),
    ".PP",
    escaped(describe),
    ...Object.entries(positionals).flatMap(([name, about]) => item(name, about)),
    ...Object.entries(options).flatMap(option),
    ...examples.flatMap(([line, about]) => [".PP", `${escaped(about)}:`, ".br", `.B ${escaped(`${NAME} ${line}`)}`]),
  ];
}

function option([name, about]: readonly [string, Options]): string[] {
  const aliases = [about.alias ?? []].flat();
  const names = [name, ...aliases].toSorted((a, b) => a.length - b.length).map((each) => dashed(each));
  const takes = about.type === "boolean" ? "" : ` ${about.choices === undefined ? "VALUE" : about.choices.join("|")}`;
  return item(`${names.join(", ")}${takes}`, about.describe ?? "");
}

const dashed = (name: string): string => (name.length === 1 ? `-${name}` : `--${name}`);

const item = (head: string, text: string): string[] => [".TP", `.B ${escaped(head)}`, escaped(text)];

/** Text that no line of which is taken for a request, and no character for another one. */
function escaped(text: string): string {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll(/[^\n\x20-\x7e]/gu, (c) => `\\[u${c.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}]`)
    .replaceAll(/^[.']/gm, "\\&$&");
}
