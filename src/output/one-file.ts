// One small file that a command was asked to write: it appears whole, and replaces nothing but its own kind.
import fs from "node:fs";
import { basename, dirname, join } from "node:path";
import { InputError } from "../base/errors.ts";
import { failExists } from "./safe-target.ts";
import { writing } from "./staging-errors.ts";

export interface OneFile {
  readonly path: string;
  readonly text: string;
  readonly force: boolean;
  /** What it is, for messages. */
  readonly noun: string;
  /** Whether what stands there is of its kind: `force` replaces that, and nothing else. */
  readonly isOfKind: (text: string) => boolean;
}

/** Throws as `writeOneFile`, for what shows before there is a text. */
export function checkOneFile({ path, force, noun, isOfKind }: Omit<OneFile, "text">): void {
  const stats = writing(path, () => fs.lstatSync(path, { throwIfNoEntry: false }));
  if (stats === undefined) {
    if (fs.existsSync(dirname(path))) return;
    throw new InputError("NOT_FOUND", `${path}: its directory does not exist`, {
      file: path,
      help: `create the directory, or write the ${noun} elsewhere`,
    });
  }
  const isReplaceable = stats.isFile() && stats.size < MOST_BYTES && isOfKind(fs.readFileSync(path, "utf8"));
  if (!isReplaceable) {
    throw new InputError("TARGET_UNSAFE", `${path}: stands there, and is no ${noun}`, {
      file: path,
      expected: `a path that does not exist, or a ${noun}`,
      found: stats.isDirectory() ? "a directory" : stats.isFile() ? "another file" : "no regular file",
      help: "choose another name",
    });
  }
  if (!force)
    failExists(path, `choose another name, or replace the ${noun} with --force`, "a path that does not exist");
}

const MOST_BYTES = 1 << 28;

/** Throws InputError TARGET_EXISTS, TARGET_UNSAFE, NOT_FOUND; EnvironmentError where the disk does not take it. */
export function writeOneFile(file: OneFile): void {
  checkOneFile(file);
  const { path, text } = file;
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.tmp`);
  try {
    writing(path, () => {
      fs.writeFileSync(temporary, text, { flag: "wx", flush: true });
      fs.renameSync(temporary, path);
    });
  } finally {
    fs.rmSync(temporary, { force: true });
  }
}
