// Runs one or two checkpoints forward and compares their logits: proof that a conversion is right, not only invertible.
import { InputError, UsageError } from "../base/errors.ts";
import { checkArgument } from "../model/argument-kinds.ts";
import type { ParityOptions, ParityReport } from "./forward/report.ts";
import { headOf, type Prepared, withRun } from "./forward/run.ts";
import { requestsOf } from "./inputs/several.ts";
import { cutByLayers } from "./parts/cut.ts";
import { checkRecorded } from "./parts/stretches.ts";
import type { Passes } from "./passes.ts";
import { judge } from "./verdict/judge.ts";

export type { ParityOptions, ParityReport, SideReport } from "./forward/report.ts";

/**
 * @throws UsageError for a combination that means nothing; InputError where a checkpoint, the input or the golden is not
 * acceptable; EnvironmentError where the backend or the memory asked for is not there
 */
export async function runParity(options: ParityOptions): Promise<ParityReport> {
  checkUsage(options);
  const choose = (prepared: Prepared) => ({ passes: options.byLayers ? everyLayer(prepared) : prepared.passes });
  return await withRun(options, choose, async (run) => {
    const { prompts, ...judgement } = await judge(run.trial);
    return { ...judgement, ...headOf(run, prompts) };
  });
}

function everyLayer({ passes, inputs, golden }: Prepared): Passes {
  checkRecorded(golden!);
  return passes.part(inputs, cutByLayers(inputs, { from: null, to: null }));
}

/** @throws UsageError PARITY_USAGE, InputError FAMILY_MISMATCH */
export function checkUsage({ a, b, golden, input, ...options }: ParityOptions): void {
  for (const model of b === undefined ? [a] : [a, b]) checkArgument("runParity", "Model", model);
  const fail = (message: string, help: string): never => {
    throw new UsageError("PARITY_USAGE", message, { help });
  };
  if (b === undefined && golden === undefined) fail("nothing to compare with", "give a second checkpoint or --golden");
  if (b !== undefined && golden !== undefined) {
    fail(
      "a second checkpoint and --golden exclude each other",
      "compare each checkpoint with the golden in its own run",
    );
  }
  if (golden !== undefined && options.afterCast) {
    fail("--after-cast is for two checkpoints", "compare the cast checkpoint with the one it was made of");
  }
  if (options.byLayers && golden === undefined) {
    fail(
      "by layers is beside recorded hidden states",
      "save those of one side with --save-taps FILE, then compare the other with --golden FILE --by layers",
    );
  }
  if (golden !== undefined && requestsOf(input).some(({ kind }) => kind !== "inputs")) {
    fail("a golden brings its own token ids", "leave out --ids, --prompt and --tokens");
  }
  if (golden !== undefined && requestsOf(input).length > 1) {
    fail("a golden is of one input", "compare with each golden in its own run");
  }
  if (b === undefined || a.family.family === b.family.family) return;
  throw new InputError("FAMILY_MISMATCH", `${a.family.family} and ${b.family.family} cannot be compared`, {
    file: b.checkpoint.path,
    expected: a.family.family,
    found: b.family.family,
    help: "compare two checkpoints of one model; --family settles a wrong detection",
  });
}
