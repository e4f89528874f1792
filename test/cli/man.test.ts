// The manual page says what `--help` says, in a form that no reader takes for anything else.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { Command } from "../../src/cli/command.ts";
import { commands } from "../../src/cli/commands.ts";
import { sharedOptions } from "../../src/cli/options.ts";
import { manPage } from "../../src/cli/pages/man.ts";

/** What a reader shows: requests gone, escapes read. */
const shown = (page: string): string =>
  page
    .split("\n")
    .map((line) => (/^\.(SH|SS|B) /.test(line) ? line.replace(/^\.\w+ /, "") : line.startsWith(".") ? "" : line))
    .join("\n")
    .replaceAll(/\\\[u([0-9A-F]{4,})\]/g, (_, code: string) => String.fromCodePoint(Number.parseInt(code, 16)))
    .replaceAll("\\&", "")
    .replaceAll("\\-", "-")
    .replaceAll("\\e", "\\");

const page = manPage("1.2.3");
const text = shown(page);
const nameOf = ({ usage }: Command) => [usage].flat()[0]!.split(" ")[0]!;

test.each(commands.map((command) => [nameOf(command), command] as const))("%s is told whole", (name, command) => {
  const from = text.indexOf(`\n${name}\nconvert-checkpoint`);
  expect(from).toBeGreaterThan(0);
  const next = commands[commands.indexOf(command) + 1];
  const own = text.slice(from, next && text.indexOf(`\n${nameOf(next)}\nconvert-checkpoint`));
  expect(own).toContain(`\n${command.describe}\n`);
  for (const [key, about] of Object.entries(command.positionals)) expect(own).toContain(`\n${key}\n${about}\n`);
  for (const [key, about] of Object.entries(command.options)) {
    const [head = "", said] = own.split("\n").flatMap((line, i, all) => {
      return line.split(/[ ,]+/).includes(`--${key}`) && all[i + 1] === about.describe ? [line, all[i + 1]] : [];
    });
    expect(said, key).toBe(about.describe);
    for (const choice of about.choices ?? []) expect(head).toContain(String(choice));
    for (const alias of [about.alias ?? []].flat()) expect(head).toMatch(new RegExp(`(^|, )--?${alias}\\b`));
  }
  for (const [line, about] of command.examples) expect(own).toContain(`\n${about}:\n\nconvert-checkpoint ${line}`);
});

test("calls without the word of the first command, shared options, exit codes and the version stand in it", () => {
  expect(text).toMatch(
    /SYNOPSIS\nconvert-checkpoint\nconvert <source> <target>\n\nconvert-checkpoint\n<source> <target>\n/,
  );
  for (const key of [...Object.keys(sharedOptions), "help", "version"]) expect(text).toContain(`--${key}`);
  for (const code of [0, 1, 2, 3, 4, 70]) expect(text).toMatch(new RegExp(`\n${code}\n\\S`));
  expect(page).toMatch(/^\.TH CONVERT-CHECKPOINT 1 "" "convert-checkpoint 1\.2\.3" /);
});

test("no text is taken for a request, and no character is lost", () => {
  const describe = ".so of a file\n'tis a quote, C:\\new, 2 − 1 → 1, 😀";
  const made = { ...commands[0]!, usage: "x <y>", describe, positionals: {}, options: {}, examples: [] };
  const hostile = manPage("1", [made]);
  expect(hostile).toMatch(/^[\x20-\x7e\n]*$/);
  for (const line of hostile.split("\n")) expect(line).toMatch(/^(\.(TH|SH|SS|PP|TP|B|br)( |$)|[^.'])|^$/);
  expect(shown(hostile)).toContain(describe);
});

test("npm installs it", () => {
  const { man, files } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  expect(man).toBe("./dist/man/convert-checkpoint.1");
  expect(files).toContain("dist");
});
