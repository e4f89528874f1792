// Errors of a file as such, whatever its format.
import { EnvironmentError, InputError } from "../../base/errors.ts";

export const fileMissing = (file: string, cause?: unknown): InputError =>
  new InputError("FILE_MISSING", `${file}: is missing`, {
    file,
    help: "copy the whole checkpoint again; a part of it is not there",
    ...(cause === undefined ? {} : { cause }),
  });

/** Of a pipe, a device or a folder: opening a pipe would wait for its writer, a device may have no end. */
export const notAFile = (file: string): InputError =>
  new InputError("NOT_A_FILE", `${file}: is not a regular file`, {
    file,
    expected: "a regular file, or a link to one",
    help: "put a regular file in its place",
  });

/** The size or the time is no longer the one on opening. */
export const fileChanged = (file: string, what: string, expected: string, found: string): InputError =>
  new InputError("FILE_CHANGED", `${file}: ${what}`, {
    file,
    expected,
    found,
    help: "run again when nothing else writes to the file",
  });

export const textTooLarge = (file: string, byteLength: number, limit: number): InputError =>
  new InputError("TEXT_TOO_LARGE", `${file}: has ${byteLength} bytes, more than any file of its kind`, {
    file,
    expected: `at most ${limit} bytes`,
    found: `${byteLength} bytes`,
    help: "check that this is the file that its name says, or fetch it again",
  });

export const textNotUtf8 = (file: string, cause: unknown): InputError =>
  new InputError("TEXT_NOT_UTF8", `${file}: is not valid UTF-8`, {
    file,
    help: "restore the file from where the model came from",
    cause,
  });

const ABSENT: readonly string[] = ["ENOENT", "ENOTDIR", "ENAMETOOLONG", "ELOOP"];

const codeOf = (cause: unknown): string => (cause instanceof Error && "code" in cause ? String(cause.code) : "");

/** Whether a call of the file system failed because nothing has that name. */
export const isAbsence = (cause: unknown): boolean => ABSENT.includes(codeOf(cause));

/** The error of a failed file system call. @param doing what could not be done */
export function fileFault(file: string, doing: string, cause: unknown): InputError | EnvironmentError {
  if (isAbsence(cause)) return fileMissing(file, cause);
  return new EnvironmentError("FILE_UNREADABLE", `${file}: ${doing} (${codeOf(cause)})`, {
    file,
    help: "check the permissions of the file, and the disk or network that holds it",
    cause,
  });
}

/** What a call of the file system gives, with its failures in words. */
export function orRefuse<T>(file: string, call: () => T): T {
  try {
    return call();
  } catch (cause) {
    throw fileFault(file, "cannot be opened", cause);
  }
}
