// A gate: the page of each checkpoint that a file names, with one backend, and the verdict over all of them.
import type { Check } from "../../base/check.ts";
import { InputError } from "../../base/errors.ts";
import { type Failure, failureOf } from "../../base/failure.ts";
import { SharedBackend } from "../../parity/backend.ts";
import { check } from "../check.ts";
import type { CheckReport } from "../report.ts";
import type { CheckOptions } from "../work.ts";

/** What is asked of one checkpoint. */
export interface GatePage extends Omit<CheckOptions, "shared" | "signal" | "onProgress" | "onBackend"> {
  readonly name: string;
}

export type GateResult =
  | { readonly name: string; readonly report: CheckReport }
  /** It could not be read. */
  | { readonly name: string; readonly failure: Failure };

/** The JSON document of `gate`. */
export interface GateReport {
  readonly verdict: "pass" | "fail";
  /** Path of the gate file. */
  readonly file: string;
  /** One a checkpoint. */
  readonly checks: readonly Check[];
  readonly checkpoints: readonly (
    | ({ readonly name: string } & CheckReport)
    | { readonly name: string; readonly verdict: "error"; readonly error: Pick<Failure, "code" | "message"> }
  )[];
  readonly seconds: number;
}

export interface GateOptions extends Pick<CheckOptions, "signal" | "onProgress" | "onBackend"> {
  /** Told before each page. */
  readonly onPage?: (name: string) => void;
}

/**
 * One after the other; one that cannot be read fails, and the others go on.
 * @throws InputError where none can be read; what `check` throws for wrong usage and for a lack of the environment
 */
export async function runGate(pages: readonly GatePage[], options: GateOptions = {}): Promise<GateResult[]> {
  const { onPage, ...steps } = options;
  const shared = new SharedBackend();
  const results: GateResult[] = [];
  try {
    for (const { name, ...page } of pages) {
      onPage?.(name);
      results.push(await resultOf(name, { ...page, ...steps, shared }));
    }
  } finally {
    await shared.close();
  }
  return results;
}

async function resultOf(name: string, options: CheckOptions): Promise<GateResult> {
  try {
    return { name, report: await check(options) };
  } catch (error) {
    const failure = failureOf(error);
    if (failure.exitCode !== 3) throw error;
    return { name, failure };
  }
}

/** Passes where every page does. Throws the first failure where nothing could be read. */
export function gateReport(file: string, results: readonly GateResult[], seconds: number): GateReport {
  const [first] = results;
  if (first !== undefined && results.every((result) => "failure" in result)) throw unreadable(results);
  return {
    verdict: results.every((result) => "report" in result && result.report.verdict === "pass") ? "pass" : "fail",
    file,
    checks: results.map(checkOf),
    checkpoints: results.map((result) =>
      "report" in result
        ? { name: result.name, ...result.report }
        : {
            name: result.name,
            verdict: "error",
            error: { code: result.failure.code, message: result.failure.message },
          },
    ),
    seconds,
  };
}

function unreadable(results: readonly GateResult[]): InputError {
  const [first] = results.flatMap((result) => ("failure" in result ? [result.failure] : []));
  const { code, message, details } = first!;
  return new InputError(code, message, details);
}

function checkOf(result: GateResult): Check {
  if ("failure" in result) return { name: result.name, status: "failed", detail: result.failure.message };
  const { checks, verdict } = result.report;
  const failed = checks.filter(({ status }) => status === "failed");
  const held = checks.filter(({ status }) => status === "passed").length;
  return verdict === "pass"
    ? { name: result.name, status: "passed", detail: `${held} checks held` }
    : { name: result.name, status: "failed", detail: failed.map(({ name }) => name).join("; ") };
}
