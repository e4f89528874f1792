// Words of files and reports in a card that anyone can read: no markup of theirs works, and no path of this machine is told.
import { isAbsolute } from "node:path";

/** In a paragraph or a cell of a table. */
export const inline = (text: string): string => oneLine(text).replace(/[\\`*_{}[\]<>|~#]/g, (mark) => `\\${mark}`);

/** As code: names of tensors and files, hashes. */
export function code(text: string): string {
  const fence = "`".repeat(longestRun(text) + 1);
  const [before, after] = [/^[`\s]/.test(text) ? " " : "", /[`\s]$/.test(text) ? " " : ""];
  return `${fence}${before}${oneLine(text)}${after}${fence}`;
}

/** A block of shell commands. */
export const shell = (lines: readonly string[]): string =>
  ["```sh", ...lines.map((line) => oneLine(line).replaceAll("```", "` ``")), "```"].join("\n");

const longestRun = (text: string): number => Math.max(0, ...[...text.matchAll(/`+/g)].map(([run]) => run.length));

const oneLine = (text: string): string => text.replace(/[\p{Cc}\u2028\u2029]+/gu, " ").trim();

const WORD = /[^\s,;"'`()]+/g;

/** The text with paths of disks cut to their last name: where the work was done is nobody's business. */
export const withoutPaths = (text: string): string =>
  text.replace(WORD, (word) => (isPath(word) ? placeName(word) : word));

/** `nats/token` and addresses are none. */
const isPath = (word: string): boolean =>
  !word.includes("://") && (/^(?:[~.]{0,2}[\\/]|[A-Za-z]:[\\/])./.test(word) || /[^/]\/[^/]+\//.test(word));

/** A path of a disk by its last name; a place on the Hub as it is. */
export function placeName(path: string): string {
  if (path.startsWith("hf://")) return path;
  return isAbsolute(path) || /[\\/]/.test(path) ? lastName(path) : path;
}

const lastName = (path: string): string => path.split(/[\\/]/).findLast((part) => part !== "") ?? path;
