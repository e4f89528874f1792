import { type Failure, failureOf } from "../base/failure.ts";

/** Why a run was stopped from outside: the reason that its abort signal carries. */
export class Interrupted extends Error {
  readonly signalName: string;
  readonly exitCode: number;

  /** `exitCode` as shells count: 128 and the signal's number. */
  constructor(signalName: string, exitCode: number) {
    super(`stopped by ${signalName}`);
    this.signalName = signalName;
    this.exitCode = exitCode;
  }
}

/** Whatever a command threw, or what stopped it. */
export function commandFailure(error: unknown): Failure {
  if (!(error instanceof Interrupted)) return failureOf(error);
  const { exitCode, message } = error;
  const help = "run again; with --resume from the beginning, `convert` can continue what was stopped";
  return { exitCode, code: "INTERRUPTED", message, details: { help }, stack: undefined };
}
