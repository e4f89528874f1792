// How a run failed, in the form that the contract gives errors.
import { getSystemErrorName } from "node:util";
import { ConvertCheckpointError, type ErrorDetails } from "./errors.ts";

export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly details: ErrorDetails;
  readonly stack: string | undefined;
  /** What the command exits with (CONTRACT); 70 is a defect of ours. */
  readonly exitCode: number;
}

/** What the system says when it has no room, no permission or no descriptors left: the environment's fault, not ours. */
const SYSTEM: Readonly<Record<string, { readonly exitCode: 3 | 4; readonly help: string }>> = {
  ENOSPC: { exitCode: 4, help: "free some space on the target's disk, or choose another target" },
  EDQUOT: { exitCode: 4, help: "the quota is used up: free some space or choose another target" },
  EACCES: { exitCode: 4, help: "check the permissions of the file and of its directory" },
  EPERM: { exitCode: 4, help: "check the permissions of the file and of its directory" },
  EROFS: { exitCode: 4, help: "the file system is read-only: choose another target" },
  EMFILE: { exitCode: 4, help: "raise the limit of open files (ulimit -n)" },
  ENFILE: { exitCode: 4, help: "the system has too many open files" },
  EIO: { exitCode: 4, help: "the disk reported an error: check it (dmesg), then run again" },
  ENOMEM: { exitCode: 4, help: "free some memory, or lower --max-ram" },
  ENOENT: { exitCode: 3, help: "check the path" },
  ENOTDIR: { exitCode: 3, help: "check the path: one of its parts is a file" },
  EISDIR: { exitCode: 3, help: "check the path: it is a directory where a file is needed" },
  ELOOP: { exitCode: 3, help: "check the path: its symbolic links go round in a circle" },
  ENAMETOOLONG: { exitCode: 3, help: "use a shorter path" },
};

/**
 * Our own errors keep their fields. An error of the system gets its own name as code, and a way out. Anything else is
 * INTERNAL.
 */
export function failureOf(error: unknown): Failure {
  if (error instanceof ConvertCheckpointError) {
    const { exitCode, code, message, details, stack } = error;
    return { exitCode, code, message, details, stack };
  }
  const stack = error instanceof Error ? error.stack : undefined;
  const message = error instanceof Error ? error.message : String(error);
  const name = systemName(error);
  const known = name === undefined ? undefined : SYSTEM[name];
  if (name !== undefined && known !== undefined) {
    const file = pathOf(error);
    const details = { help: known.help, ...(file === undefined ? {} : { file }) };
    return { exitCode: known.exitCode, code: name, message, details, stack };
  }
  if (NO_MEMORY.test(message)) {
    const help =
      "free some memory, or raise the limit of addresses (ulimit -v): Node reserves some 10 GB of them for each WebAssembly memory";
    return { exitCode: 4, code: "ENOMEM", message: `no memory is left: ${message}`, details: { help }, stack };
  }
  const help = "this is a defect of convert-checkpoint: please report it, with the output of DEBUG=1 and of `doctor`";
  return { exitCode: 70, code: "INTERNAL", message: `internal error: ${message}`, details: { help }, stack };
}

/** As V8 says it of what it asked the system for. */
const NO_MEMORY =
  /^(?:WebAssembly\.\w+\(\): (?:could not allocate memory|Out of memory)|Array buffer allocation failed)/;

function systemName(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("errno" in error) || typeof error.errno !== "number") return undefined;
  return "code" in error && typeof error.code === "string" ? error.code : getSystemErrorName(error.errno);
}

const pathOf = (error: unknown): string | undefined =>
  error instanceof Error && "path" in error && typeof error.path === "string" ? error.path : undefined;
