import { ConvertCheckpointError, EnvironmentError, InputError } from "../base/errors.ts";

type Fault = readonly [code: string, problem: string, help: string];

const FULL: Fault = ["DISK_FULL", "no space is left", "free some space, or write to another disk"];
const DENIED: Fault = ["PERMISSION_DENIED", "permission denied", "check the permissions of the target's folder"];

const FAULTS: Readonly<Record<string, Fault>> = {
  ENOSPC: FULL,
  EDQUOT: ["DISK_QUOTA", "the disk quota is used up", FULL[2]],
  EFBIG: ["FILE_TOO_LARGE", "the file system takes no file of this size", "write smaller shards, or to another disk"],
  EACCES: DENIED,
  EPERM: DENIED,
  EROFS: ["READ_ONLY", "the file system is read-only", "write to another disk"],
  EMFILE: ["TOO_MANY_FILES", "too many files are open", "raise the limit (ulimit -n)"],
};

/** The error of a failed write, as one of ours; errors that are already ours stay as they are. */
export function writeError(error: unknown, path: string): unknown {
  if (error instanceof ConvertCheckpointError || !(error instanceof Error) || !("code" in error)) return error;
  const code = String(error.code);
  const details = { file: path, cause: error };
  if (code === "ENOTDIR" || code === "ENAMETOOLONG") {
    return new InputError("TARGET_PATH_INVALID", `${path}: cannot be created: ${error.message}`, {
      ...details,
      help: "choose another target path",
    });
  }
  if (!("syscall" in error)) return error;
  const fault = FAULTS[code] ?? ["WRITE_FAILED", `writing failed: ${error.message}`, "check the disk that holds it"];
  const [name, problem, help] = fault;
  return new EnvironmentError(name, `${path}: ${problem}`, { ...details, help });
}

/** Runs file system calls that write; their errors become ours. */
export function writing<T>(path: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw writeError(error, path);
  }
}
