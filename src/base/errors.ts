/** What a person needs to act on a failure; every field but `help` is left out where it does not apply. */
export interface ErrorDetails {
  /** Key of the tensor concerned. */
  readonly tensor?: string;
  /** Path of the file concerned, as the user gave it or relative to the checkpoint. */
  readonly file?: string;
  readonly expected?: string;
  readonly found?: string;
  /** The way out: what the user can do next. */
  readonly help: string;
  readonly cause?: unknown;
}

/** Base of every failure that the library throws on purpose. `exitCode` is what the command line exits with (CONTRACT). */
export abstract class ConvertCheckpointError extends Error {
  abstract readonly exitCode: 2 | 3 | 4;
  /** Stable upper-case identifier, e.g. `SAFETENSORS_HEADER_TOO_LARGE`. */
  readonly code: string;
  readonly details: ErrorDetails;

  constructor(code: string, message: string, details: ErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.code = code;
    this.details = details;
  }
}

/** Wrong usage of a command or of an API: exit 2. */
export class UsageError extends ConvertCheckpointError {
  readonly exitCode = 2;
}

/** The input is not acceptable (malformed, unknown, missing, ambiguous, unsafe; target exists): exit 3. */
export class InputError extends ConvertCheckpointError {
  readonly exitCode = 3;
}

/** The environment lacks something asked for (no GPU, disk full, no permission, `--max-ram` impossible): exit 4. */
export class EnvironmentError extends ConvertCheckpointError {
  readonly exitCode = 4;
}
