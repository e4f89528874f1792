import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { EnvironmentError } from "../base/errors.ts";
import type { Failure } from "../base/failure.ts";
import { restoreTarget } from "../output/swap.ts";
import type { ReportDocument } from "../report/document.ts";
import { visible } from "../report/escape.ts";
import { renderJson } from "../report/json.ts";
import { rendererFor } from "../report/renderers.ts";
import { renderText } from "../report/text.ts";
import { failureDocument, failureJson, failureText } from "../report/views/failure.ts";
import type { Arguments } from "./arguments.ts";
import type { Command, Context } from "./command.ts";
import { commandFailure } from "./fail.ts";
import { progressView, type TerminalStream } from "./progress.ts";
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
export async function runCommand(command: Command, name: string, args: Arguments, io: Io): Promise<number> {
  const json = args.flag("json");
  const quiet = args.flag("quiet") || json;
  const color = !args.flag("no-color");
  const reports = args.list("report").map(reportWriter);
  const view = progressView(args.flag("progress") || (io.stderrStream.isTTY === true && !quiet), io.stderrStream);
  const context: Context = {
    print: (text) => {
      if (!quiet) io.stdout(text);
    },
    progress: (event) => view.show(event),
    color: color && io.stdoutColor,
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
  let document: ReportDocument;
  try {
    if (name !== "clean") await restoreNamed(args);
    document = await command.run(args, context);
  } catch (error) {
    settle();
    const failure = commandFailure(error);
    printFailure(failure, json, color, io);
    for (const report of reports) report(failureDocument(name, failure));
    return failure.exitCode;
  }
  settle();
  document = { seconds: (performance.now() - begin) / 1e3, ...document };
  if (json) io.stdout(renderJson(document));
  else if (quiet && document.verdict !== "pass") io.stderr(`${visible(document.headline)}\n`);
  else context.print(document.printed ?? renderText(document, { color: context.color, columns: io.columns }));
  for (const report of reports) report(document);
  return document.verdict === "pass" ? 0 : 1;
}

/** Whatever names a place that may be read. */
const PLACES = [
  "source",
  "path",
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

/** Puts right what a killed run left of a place before it is read. */
async function restoreNamed(args: Arguments): Promise<void> {
  for (const place of PLACES.flatMap((each) => args.list(each))) await restoreTarget(place);
}

export function printFailure(failure: Failure, json: boolean, color: boolean, io: Io): void {
  io.stderr(failureText(failure, { color: color && io.stderrColor }, io.debug));
  if (json) io.stdout(renderJson({ data: failureJson(failure) }));
}

function reportWriter(file: string): (document: ReportDocument) => void {
  const render = rendererFor(file);
  return (document) => {
    try {
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, render(document));
    } catch (cause) {
      throw new EnvironmentError("REPORT_UNWRITABLE", `--report ${file}: ${causeOf(cause)}`, {
        file,
        help: "name a path that can be written",
        cause,
      });
    }
  };
}

const causeOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));
