import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { EnvironmentError } from "../base/errors.ts";
import type { ReportDocument } from "../report/document.ts";
import { rendererFor } from "../report/report.ts";
import { renderText } from "../report/text.ts";
import type { Arguments } from "./arguments.ts";
import type { Command, Context, Outcome } from "./command.ts";
import { type Failure, failureDocument, failureJson, failureOf, failureText } from "./fail.ts";
import { progressView } from "./progress.ts";
import type { TerminalStream } from "./progress-view.ts";

/** Where a run prints. */
export interface Io {
  stdout(text: string): void;
  stderr(text: string): void;
  readonly stderrStream: TerminalStream;
  readonly columns: number;
  readonly stdoutColor: boolean;
  readonly stderrColor: boolean;
  readonly debug: boolean;
  readonly signal: AbortSignal;
}

type Report = (document: ReportDocument, json: unknown) => void;

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
    signal: io.signal,
  };
  const begin = performance.now();
  let outcome: Outcome;
  try {
    outcome = await command.run(args, context);
  } catch (error) {
    view.stop();
    const failure = failureOf(error);
    printFailure(failure, json, color, io);
    for (const report of reports) report(failureDocument(name, failure), failureJson(failure));
    return failure.exitCode;
  }
  view.stop();
  const document = { seconds: (performance.now() - begin) / 1e3, ...outcome.document };
  if (json) io.stdout(`${JSON.stringify(outcome.json, null, 2)}\n`);
  else context.print(renderText(document, { color: context.color }));
  for (const report of reports) report(document, outcome.json);
  return document.verdict === "pass" ? 0 : 1;
}

export function printFailure(failure: Failure, json: boolean, color: boolean, io: Io): void {
  io.stderr(failureText(failure, color && io.stderrColor, io.debug));
  if (json) io.stdout(`${JSON.stringify(failureJson(failure), null, 2)}\n`);
}

function reportWriter(file: string): Report {
  const render = rendererFor(file);
  return (document, json) => {
    try {
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, render(document, json));
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
