#!/usr/bin/env node
import { runCli } from "./cli.ts";

// A reader that closed its end (`| head`) has what it wanted; what is left to print has no reader.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });
}

const abort = new AbortController();
let exitCode: number | undefined;
for (const [name, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const) {
  process.on(name, () => {
    // The second signal does not wait for a tidy end.
    if (exitCode !== undefined) process.exit(code);
    exitCode = code;
    abort.abort();
  });
}

const wantsColor = (stream: NodeJS.WriteStream): boolean =>
  stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== "dumb";

const code = await runCli(process.argv.slice(2), {
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
  stderrStream: process.stderr,
  columns: process.stdout.columns ?? 100,
  stdoutColor: wantsColor(process.stdout),
  stderrColor: wantsColor(process.stderr),
  debug: !["", "0", undefined].includes(process.env.DEBUG),
  signal: abort.signal,
});
process.exitCode = exitCode ?? code;
