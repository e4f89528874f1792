// Errors on their way from one thread to another: a copy keeps neither class nor fields.
import { ConvertCheckpointError, EnvironmentError, type ErrorDetails, InputError, UsageError } from "./errors.ts";

export interface SentFailure {
  readonly exitCode: ConvertCheckpointError["exitCode"] | 70;
  readonly code: string;
  readonly message: string;
  readonly details: ErrorDetails;
  readonly stack: string | undefined;
}

export function sent(error: unknown): SentFailure {
  const stack = error instanceof Error ? error.stack : undefined;
  if (!(error instanceof ConvertCheckpointError)) {
    return {
      exitCode: 70,
      code: "",
      message: error instanceof Error ? error.message : String(error),
      details: { help: "" },
      stack,
    };
  }
  const { exitCode, code, message } = error;
  const { cause, ...details } = error.details;
  return {
    exitCode,
    code,
    message,
    details,
    stack: cause instanceof Error ? `${stack}\ncaused by ${cause.stack}` : stack,
  };
}

export function received({ exitCode, code, message, details, stack }: SentFailure): Error {
  const error = errorOf(exitCode, code, message, details);
  if (stack !== undefined) error.stack = stack;
  return error;
}

function errorOf(exitCode: SentFailure["exitCode"], code: string, message: string, details: ErrorDetails): Error {
  switch (exitCode) {
    case 2:
      return new UsageError(code, message, details);
    case 3:
      return new InputError(code, message, details);
    case 4:
      return new EnvironmentError(code, message, details);
    case 70:
      return new Error(message);
    default:
      return exitCode satisfies never;
  }
}
