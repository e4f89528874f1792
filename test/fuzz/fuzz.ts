// Runs cases one after the other. A case ends in a reading or in a refusal on purpose, soon and in little memory: anything
// else is a defect.
import { ConvertCheckpointError } from "../../src/base/errors.ts";
import { caseOf } from "./mutate.ts";
import type { Parser } from "./parsers.ts";

/** Of one case. The heap has a limit of its own, that of the worker. */
const MOST_MS = 1000;
const MOST_BYTES = 400e6;
/** A busy machine delays any case: one that is slow is slow every time. */
const TRIES = 3;

export interface Failure {
  readonly index: number;
  readonly what: string;
}

export interface Tally {
  readonly cases: number;
  readonly read: number;
  /** By code of the refusal. */
  readonly refused: ReadonlyMap<string, number>;
  readonly failures: readonly Failure[];
}

/** What is wrong with how a case ends; else its refusal, or null where it is read. */
export function judge(parser: Parser, bytes: Buffer): { readonly wrong?: string; readonly code: string | null } {
  let fastest = Number.POSITIVE_INFINITY;
  let code: string | null = null;
  for (let tries = 0; tries < TRIES && fastest > MOST_MS; tries++) {
    const before = process.memoryUsage().arrayBuffers;
    const begin = performance.now();
    try {
      code = null;
      parser.read(bytes);
    } catch (error) {
      if (!(error instanceof ConvertCheckpointError) || error.exitCode === 4) return { wrong: told(error), code: null };
      code = error.code;
    }
    fastest = Math.min(fastest, performance.now() - begin);
    const held = process.memoryUsage().arrayBuffers - before;
    if (held > MOST_BYTES) return { wrong: `takes ${held} bytes of buffers`, code };
  }
  return fastest > MOST_MS ? { wrong: `takes ${Math.round(fastest)} ms`, code } : { code };
}

const told = (error: unknown): string =>
  error instanceof Error ? `${error.name}: ${error.message}`.slice(0, 300) : `throws ${String(error)}`;

export interface FuzzOptions {
  readonly seed: number;
  /** Number of the first case. */
  readonly from: number;
  /** Asked before each case. */
  readonly goesOn: (index: number) => boolean;
  readonly mostFailures?: number;
}

export function fuzz(parser: Parser, { seed, from, goesOn, mostFailures = 10 }: FuzzOptions): Tally {
  const refused = new Map<string, number>();
  const failures: Failure[] = [];
  let [index, read] = [from, 0];
  for (; failures.length < mostFailures && goesOn(index); index++) {
    const { wrong, code } = judge(parser, caseOf(parser.good, parser.mutations, [seed, index]));
    if (wrong !== undefined) failures.push({ index, what: wrong });
    else if (code === null) read += 1;
    else refused.set(code, (refused.get(code) ?? 0) + 1);
  }
  return { cases: index - from, read, refused, failures };
}
