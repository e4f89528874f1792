// What a run's folder says of its latest step: `latest_checkpointed_iteration.txt` of Megatron-LM, slime and verl.
import { InputError } from "../base/errors.ts";
import { TRACKER_FILE } from "./file-names.ts";
import { type Folder, readText } from "./io/folder.ts";

const ITERATION = /^(?:iter_\d{7,}|release)$/;

/** The text of the tracker; null where there is none. */
export const latestStep = (folder: Folder): string | null =>
  folder.kind(TRACKER_FILE) === "file" ? readText(folder, TRACKER_FILE, 1 << 10).trim() : null;

/** Whether a folder of this name is of step `step`: `iter_0000100`, `global_step_100`, `step-100`. */
export const isOfStep = (name: string, step: string): boolean =>
  name === step || (/^\d+$/.test(step) && Number(/(?:^|\D)(\d+)$/.exec(name)?.[1] ?? Number.NaN) === Number(step));

/**
 * The folder of the iteration that Megatron's tracker names. Null where there is no tracker, or no iteration at all.
 * @throws InputError STEP_MISSING where only others are there: a copy is not complete, or a save was killed
 */
export function latestIteration(folder: Folder): string | null {
  const step = latestStep(folder);
  if (step === null) return null;
  const iterations = folder.list().filter((name) => ITERATION.test(name) && folder.kind(name) === "folder");
  const latest = iterations.find((name) => isOfStep(name, step));
  const last = iterations
    .toSorted((a, b) => a.localeCompare(b, "en", { numeric: true }))
    .findLast((name) => name !== "release");
  if (latest !== undefined || iterations.length === 0) return latest ?? null;
  throw new InputError(
    "STEP_MISSING",
    `${folder.pathOf(TRACKER_FILE)}: names a step that is not there: ${JSON.stringify(step)}`,
    {
      file: folder.pathOf(TRACKER_FILE),
      expected: `a folder ${/^\d+$/.test(step) ? `iter_${step.padStart(7, "0")}` : "of an iteration, or release"}`,
      found: iterations.slice(-4).join(", "),
      help: `copy that step again, or give the one that you mean: ${folder.pathOf(last ?? iterations[0]!)}`,
    },
  );
}
