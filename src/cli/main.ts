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

/** https://no-color.org, https://force-color.org */
function wantsColor(stream: NodeJS.WriteStream): boolean {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  if (NO_COLOR) return false;
  if (FORCE_COLOR !== undefined) return !["", "0", "false"].includes(FORCE_COLOR);
  return stream.isTTY === true && TERM !== "dumb";
}

/** Of the terminal, or what somebody says that a pipe is to have. */
const columns = process.stdout.columns ?? (Number.parseInt(process.env.COLUMNS ?? "", 10) || undefined);

async function main(): Promise<void> {
  process.exitCode = await runCli(process.argv.slice(2), {
    stdout: (text) => process.stdout.write(text),
    stderr: (text) => process.stderr.write(text),
    stderrStream: process.stderr,
    columns,
    stdoutColor: wantsColor(process.stdout),
    stderrColor: wantsColor(process.stderr),
    debug,
    signals,
  });
  // Work that was left as it was must not keep the process.
  if (signals.signal.aborted) process.exit();
}

// The bundle is no module that could wait for it.
void main();
