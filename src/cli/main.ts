#!/usr/bin/env node
import { failureText } from "../report/views/failure.ts";
import { runCli } from "./cli.ts";
import { commandFailure } from "./fail.ts";
import { processSignals } from "./signals.ts";

const debug = !["", "0", undefined].includes(process.env.DEBUG);

function die(error: unknown): never {
  const failure = commandFailure(error);
  process.stderr.write(failureText(failure, { color: false }, debug));
  process.exit(failure.exitCode);
}
process.on("uncaughtException", die);
process.on("unhandledRejection", die);

// A reader that closed its end (`| head`) has what it wanted, and a terminal that was closed shows nothing any more: what is
// left to print has no reader.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE" && error.code !== "EIO") die(error);
  });
}

const signals = processSignals();

const wantsColor = (stream: NodeJS.WriteStream): boolean =>
  stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== "dumb";

process.exitCode = await runCli(process.argv.slice(2), {
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
  stderrStream: process.stderr,
  columns: process.stdout.columns ?? 100,
  stdoutColor: wantsColor(process.stdout),
  stderrColor: wantsColor(process.stderr),
  debug,
  signals,
});
// Work that was left as it was must not keep the process.
if (signals.signal.aborted) process.exit();
