import fs from "node:fs";
import { dirname } from "node:path";
import { ConvertCheckpointError, EnvironmentError, InputError } from "../base/errors.ts";

type Failure = (path: string, cause: Error) => EnvironmentError;

const lacking =
  (code: string, problem: string, help: string): Failure =>
  (path, cause) =>
    new EnvironmentError(code, `${path}: ${problem}`, { file: path, cause, help });

const SPACE = "free some space, or write to another disk";
const denied = lacking("PERMISSION_DENIED", "permission denied", "check the permissions of the target's folder");

/** By the code of the system's error. */
const FAILURES: Readonly<Record<string, Failure>> = {
  ENOSPC: lacking("DISK_FULL", "no space is left", SPACE),
  EDQUOT: lacking("DISK_QUOTA", "the disk quota is used up", SPACE),
  EFBIG: lacking(
    "FILE_TOO_LARGE",
    "the file system takes no file of this size",
    "write smaller shards, or to another disk",
  ),
  EACCES: denied,
  EPERM: denied,
  EROFS: lacking("READ_ONLY", "the file system is read-only", "write to another disk"),
  EMFILE: lacking("TOO_MANY_FILES", "too many files are open", "raise the limit (ulimit -n)"),
};

/** The error of a failed write, as one of ours; errors that are already ours stay as they are. */
export function writeError(error: unknown, path: string): unknown {
  if (error instanceof ConvertCheckpointError || !(error instanceof Error) || !("code" in error)) return error;
  const code = String(error.code);
  if (code === "ENOTDIR" || code === "ENAMETOOLONG") {
    return new InputError("TARGET_PATH_INVALID", `${path}: cannot be created: ${error.message}`, {
      file: path,
      cause: error,
      help: "choose another target path",
    });
  }
  if (!("syscall" in error)) return error;
  const failure =
    FAILURES[code] ?? lacking("WRITE_FAILED", `writing failed: ${error.message}`, "check the disk that holds it");
  return failure(path, error);
}

/** Runs file system calls that write; their errors become ours. */
export function writing<T>(path: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw writeError(error, path);
  }
}

/** A folder, and those above it, within `writing`. Gives the first that was made. */
export function makeFolders(path: string): string | undefined {
  try {
    return fs.mkdirSync(path, { recursive: true });
  } catch (error) {
    // Node says ENOENT of whatever kept it from making one of several: one alone says what.
    let first = path;
    while (!fs.existsSync(dirname(first))) first = dirname(first);
    if (!fs.existsSync(first)) fs.mkdirSync(first);
    throw error;
  }
}
