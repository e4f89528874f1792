import type { Options } from "yargs";
import type { ReportDocument } from "../report/document.ts";
import type { Arguments } from "./arguments.ts";

/** A step of work under way; `total` is 0 where it is not known. */
export interface ProgressEvent {
  readonly label: string;
  readonly done: number;
  readonly total: number;
  /** Bytes unless given. */
  readonly unit?: "FLOP";
}

export interface Context {
  /** Text for people, at once; dropped with --json and --quiet. */
  print(text: string): void;
  progress(event: ProgressEvent): void;
  /** Whether a document is asked for, in JSON or as a report: hashes that only it tells of are wanted then. */
  readonly hasDocument: boolean;
  /** Writes a report beside those of --report, when the command has ended. Throws UsageError for a name of no format. */
  report(target: string): void;
  readonly color: boolean;
  /** The command line, quoted as a shell takes it. */
  readonly command: string;
  /** Aborted by SIGINT, SIGTERM and SIGHUP while they are held. */
  readonly signal: AbortSignal;
  /** For work that leaves something to be put in order: until the command ends, a signal aborts `signal`, and no more. */
  holdSignals(): AbortSignal;
}

export interface Command {
  /** Name and positionals, e.g. `convert <source> <target>`; a list where the command has a second form. */
  readonly usage: string | readonly string[];
  readonly describe: string;
  readonly positionals: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, Options>>;
  readonly examples: readonly (readonly [command: string, description: string])[];
  /** Loads what it needs when it runs: `--help` must not wait for it. What it returns is printed. */
  run(args: Arguments, context: Context): Promise<ReportDocument>;
}
