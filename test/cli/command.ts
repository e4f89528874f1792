// Runs the command in this process, as `main.ts` does in its own.
import { PassThrough } from "node:stream";
import { runCli } from "../../src/cli/cli.ts";

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** stdout as the JSON document that it must be. */
  // biome-ignore lint/suspicious/noExplicitAny: a test says what it expects of the document
  readonly json: any;
}

export async function run(...argv: string[]): Promise<Ran> {
  let stdout = "";
  let stderr = "";
  const stream = new PassThrough();
  stream.on("data", (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const code = await runCli(argv, {
    stdout: (text) => {
      stdout += text;
    },
    stderr: (text) => {
      stderr += text;
    },
    stderrStream: stream,
    columns: undefined,
    stdoutColor: false,
    stderrColor: false,
    debug: false,
    signals: { signal: new AbortController().signal, hold() {}, release() {} },
  });
  return {
    code,
    stdout,
    stderr,
    get json() {
      return JSON.parse(stdout);
    },
  };
}
