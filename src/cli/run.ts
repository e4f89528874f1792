import type { Failure } from "../base/failure.ts";
import { restoreTarget } from "../output/swap.ts";
import type { ReportDocument } from "../report/document.ts";
import { visible } from "../report/escape.ts";
import { renderJson } from "../report/json.ts";
import { renderText } from "../report/text.ts";
import { failureDocument, failureText } from "../report/views/failure.ts";
import type { Arguments } from "./arguments.ts";
import type { Command, Context } from "./command.ts";
import { commandFailure, withSurroundings } from "./fail.ts";
import { progressView, type TerminalStream } from "./progress.ts";
import { commandLine, Evidence } from "./reports/evidence.ts";
import { ReportTargets } from "./reports/targets.ts";
import type { Signals } from "./signals.ts";

/** Where a run prints. */
export interface Io {
  stdout(text: string): void;
  stderr(text: string): void;
  readonly stderrStream: TerminalStream;
  /** Width of the terminal that stdout is; undefined where it is none. */
  readonly columns: number | undefined;
  readonly stdoutColor: boolean;
  readonly stderrColor: boolean;
  readonly debug: boolean;
  readonly signals: Signals;
}

/** Runs a command, prints what came out and writes its reports; returns the exit code. */
export async function runCommand(
  { command, name, args, argv }: { command: Command; name: string; args: Arguments; argv: readonly string[] },
  io: Io,
): Promise<number> {
  const json = args.flag("json");
  const reports = new ReportTargets(json, io);
  for (const target of args.list("report")) reports.add(target);
  const quiet = args.flag("quiet") || json;
  const color = !args.flag("no-color");
  const hasDocument = () => json || !reports.isEmpty;
  const view = progressView(args.flag("progress") || (io.stderrStream.isTTY === true && !quiet), io.stderrStream);
  const context: Context = {
    print: (text) => {
      if (!quiet && !reports.hasStdout) io.stdout(text);
    },
    progress: (event) => view.show(event),
    report: (target) => reports.add(target),
    get hasDocument() {
      return hasDocument();
    },
    color: color && io.stdoutColor,
    command: commandLine(argv),
    signal: io.signals.signal,
    holdSignals: () => {
      io.signals.hold();
      return io.signals.signal;
    },
  };
  const settle = () => {
    view.stop();
    io.signals.release();
  };
  const begin = performance.now();
  const evidence = new Evidence(argv, hasDocument);
  const sides = Object.keys(command.positionals);
  let document: ReportDocument;
  try {
    document = await evidence.gather(async () => {
      if (name !== "clean") await restoreNamed(args);
      return command.run(args, context);
    });
  } catch (error) {
    settle();
    const failure = await withSurroundings(commandFailure(error), placesIn(args));
    const failed = { ...failureDocument(name, failure), header: await evidence.header(args, sides, false) };
    printFailure(failure, failed, json, color, io);
    reports.write(failed);
    return failure.exitCode;
  }
  const seconds = (performance.now() - begin) / 1e3;
  settle();
  const header = await evidence.header(args, sides, true);
  document = { seconds, ...document, header };
  if (json) io.stdout(renderJson(document));
  else if (quiet && document.verdict !== "pass") io.stderr(`${visible(document.headline)}\n`);
  else context.print(document.printed ?? renderText(document, { color: context.color, columns: io.columns }));
  reports.write(document);
  return document.verdict === "pass" ? 0 : 1;
}

/** Whatever names a place that may be read. */
const PLACES = [
  "source",
  "path",
  "folder",
  "a",
  "b",
  "config",
  "config-a",
  "config-b",
  "tokenizer",
  "golden",
  "ids",
  "inputs",
  "seal",
];

const placesIn = (args: Arguments): string[] => PLACES.flatMap((each) => args.list(each));

/** Puts right what a killed run left of a place before it is read. */
async function restoreNamed(args: Arguments): Promise<void> {
  for (const place of placesIn(args)) await restoreTarget(place);
}

function printFailure(failure: Failure, document: ReportDocument, json: boolean, color: boolean, io: Io): void {
  io.stderr(failureText(failure, { color: color && io.stderrColor }, io.debug));
  if (json) io.stdout(renderJson(document));
}

/** Of a call that no command could be made of. */
export async function refuseCall(error: unknown, argv: readonly string[], io: Io): Promise<number> {
  const failure = commandFailure(error);
  const header = await new Evidence(argv, () => false).header(null, [], false);
  const document = { ...failureDocument("usage", failure), header };
  printFailure(failure, document, argv.includes("--json"), !argv.includes("--no-color"), io);
  return failure.exitCode;
}
