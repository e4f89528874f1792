import { sep } from "node:path";
import { isAddress, wholePath } from "../base/addresses.ts";
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

/** A failure whose work can be continued. */
export class Unfinished extends Error {
  /** What stopped it. */
  override readonly cause: unknown;
  /** How to go on, in words. */
  readonly help: string;

  constructor(cause: unknown, help: string) {
    super("unfinished", { cause });
    this.cause = cause;
    this.help = help;
  }
}

/** Whatever a command threw, or what stopped it. */
export function commandFailure(error: unknown): Failure {
  if (error instanceof Unfinished) {
    const failure = commandFailure(error.cause);
    const own = error.cause instanceof Interrupted ? "" : `${failure.details.help}; `;
    return { ...failure, details: { ...failure.details, help: `${own}${error.help}` } };
  }
  if (!(error instanceof Interrupted)) return failureOf(error);
  const { exitCode, message } = error;
  return { exitCode, code: "INTERRUPTED", message, details: { help: "run again" }, stack: undefined };
}

/**
 * A failure with what may explain that something is not there: parts that nobody joined look like nothing at all, and without a
 * network a repository is what the cache has of it.
 * @param places that the command was given to read
 */
export async function withSurroundings(failure: Failure, places: readonly string[]): Promise<Failure> {
  const { file } = failure.details;
  if (failure.exitCode !== 3 || file === undefined) return failure;
  const at = wholePath(file);
  const place = places.find((each) => at === wholePath(each) || at.startsWith(`${wholePath(each)}${sep}`));
  if (place === undefined) return failure;
  const notes = await (isAddress(place) ? offlineNotes() : leftThere(place));
  return { ...failure, details: { ...failure.details, help: [failure.details.help, ...notes].join("; ") } };
}

async function offlineNotes(): Promise<string[]> {
  const { offline } = (await import("../hub/settings.ts")).hubSettings();
  return offline === null
    ? []
    : [`${offline} is set, so that only what the cache has was looked at: unset it, or \`hf download\` the rest`];
}

async function leftThere(place: string): Promise<string[]> {
  const [{ leftoversAt }, { leftoverNotes }] = await Promise.all([
    import("../output/leftovers.ts"),
    import("../report/views/clean.ts"),
  ]);
  try {
    return leftoverNotes(leftoversAt(place));
  } catch {
    // What cannot be looked at explains nothing, and the failure is told as it is.
    return [];
  }
}
