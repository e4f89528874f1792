// Run by the tests in a process of its own, to be killed: node child.mjs <options in JSON>
import childProcess from "node:child_process";
import fs from "node:fs";
import { join } from "node:path";
import { executeOutput } from "../../src/output/execute.ts";
import { plannedFiles, produceBytes, STEP } from "./execute-plan.ts";

export interface ChildOptions {
  readonly target: string;
  /** Size of the plan. */
  readonly bytes: number;
  /** Whether the target is one file. */
  readonly isFile?: boolean;
  readonly resume?: boolean;
  readonly force?: boolean;
  /** Dies when so many bytes are done. */
  readonly killAt?: number;
  /** Dies before its so-manieth call that changes names on the disk, from 1; prints how many there were where it lives. */
  readonly killBefore?: number;
  /** Dies with the first file deleted of what was replaced. */
  readonly killInDeletion?: boolean;
  /** Whether two names can be exchanged at once. */
  readonly canExchange?: boolean;
}

const options: ChildOptions = JSON.parse(process.argv[2] ?? "");
const die = (): void => {
  process.kill(process.pid, "SIGKILL");
};

let calls = 0;
function count<T extends unknown[], R>(call: (...args: T) => R): (...args: T) => R {
  return (...args) => {
    calls += 1;
    if (calls === options.killBefore) die();
    return call(...args);
  };
}

const { rmSync } = fs;
const { spawnSync } = childProcess;
fs.renameSync = count(fs.renameSync);
fs.appendFileSync = count(fs.appendFileSync);
fs.rmSync = count((path: fs.PathLike, how?: fs.RmOptions) => {
  if (options.killInDeletion && `${path}`.includes("/gone-")) {
    fs.unlinkSync(join(`${path}`, fs.readdirSync(path)[0] ?? ""));
    die();
  }
  rmSync(path, how);
});
Object.assign(childProcess, { spawnSync: options.canExchange === false ? () => ({}) : count(spawnSync) });

const { target, bytes, isFile = false, resume = false, force = false, killAt = Number.POSITIVE_INFINITY } = options;
const files = plannedFiles(bytes);
await executeOutput({
  files: isFile ? files.slice(0, 1) : files,
  produce: produceBytes,
  ...(isFile ? { targetFile: target } : { targetDir: target }),
  force,
  stepBytes: STEP,
  resume,
  onProgress({ bytes: done }) {
    if (done >= killAt) die();
  },
});
process.stdout.write(`${calls}`);
