// `--save-taps`: what one side computes, as a golden with hidden states. Another side is then compared with it layer by layer, on
// any machine.
import { runForwards, type Values } from "../../../numerics/driver.ts";
import type { ForwardPlan } from "../../../numerics/shapes/plan.ts";
import { UsageError } from "../../base/errors.ts";
import { GoldenFile } from "../../output/logits.ts";
import { layerOfTap } from "../parts/stretches.ts";
import { progressOf } from "./outcome.ts";
import type { ComputedOn, ParityOptions, SideReport } from "./report.ts";
import { describeSide, type Run, withRun } from "./run.ts";

/** The JSON document of `parity MODEL --save-taps FILE`. */
export interface SavedTaps {
  readonly verdict: "pass";
  readonly file: string;
  readonly tokens: number;
  readonly layers: number;
  readonly backend: ComputedOn;
  readonly peakRamBytes: number;
  readonly seconds: number;
  readonly a: SideReport;
}

export interface SaveTapsOptions extends ParityOptions {
  readonly saveTaps: string;
}

/** @throws UsageError for a second side, a golden or several inputs; InputError and EnvironmentError as a parity run does */
export async function saveTaps(options: SaveTapsOptions): Promise<SavedTaps> {
  const { b, golden } = options;
  if (b !== undefined || golden !== undefined) {
    throw new UsageError("SAVE_TAPS_USAGE", "--save-taps records one side, and compares nothing", {
      expected: "one checkpoint",
      found: b === undefined ? "a golden beside it" : "two",
      help: "save the hidden states of one side, then compare the other: --golden FILE --by layers",
    });
  }
  return await withRun(
    options,
    ({ passes }) => ({ passes }),
    async (run) => {
      const [plan] = run.passes.plan(run.passes.forwards);
      const layers = await save(run, plan!, options.saveTaps);
      return {
        verdict: "pass",
        file: options.saveTaps,
        tokens: run.inputs[0]!.input.ids_T.length,
        layers,
        backend: run.computedOn,
        peakRamBytes: process.resourceUsage().maxRSS * 1024,
        seconds: (performance.now() - run.started) / 1000,
        a: describeSide(run.sides[0]!, run.passes.sides[0]!),
      };
    },
  );
}

async function save(run: Run, plan: ForwardPlan, path: string): Promise<number> {
  const [resolved, another] = run.inputs;
  if (another !== undefined) {
    throw new UsageError("SAVE_TAPS_USAGE", "--save-taps writes a golden, which is of one input", {
      expected: "one input",
      found: String(run.inputs.length),
      help: "save the hidden states of each input in its own run",
    });
  }
  const { input } = resolved!;
  const { options, backend } = run.trial;
  const [weights] = run.passes.sides;
  const tokens = input.ids_T.length;
  const widths = plan.steps.flatMap(({ tap, tapValues }) => {
    const layer = layerOfTap(tap);
    return layer === null ? [] : [[layer, tapValues / tokens] as const];
  });
  const file = new GoldenFile(path, input.ids_T, plan.logits[1]!, new Map(widths));
  options.signal?.addEventListener("abort", () => file.discard(), { once: true });
  const side = {
    forward: run.passes.forwards[0]!,
    plan,
    weight: (key: string) => weights!.weight(key),
    has: (key: string) => weights!.has(key),
  };
  try {
    await runForwards(backend, [side], input, {
      record: (tap: string, values: Values) => {
        const layer = layerOfTap(tap);
        if (layer !== null) file.layer(layer, values);
      },
      logits: (first, [rows]) => file.logits(first, rows!),
      progress: progressOf(options, 0, plan.flops),
    });
    file.finish();
  } catch (error) {
    file.discard();
    throw error;
  }
  return widths.length;
}
