// Further runs in search of the reason: the side that did not change is not run again, unless memory says so.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { type ParityOptions, type ParityReport, runParity } from "../../src/parity/parity.ts";
import { isRoomFor } from "../../src/parity/recording.ts";
import { faulty, hfSide, nativeSide } from "../helpers/models.ts";

const folder = mkdtempSync(join(tmpdir(), "recording-"));
afterAll(() => rmSync(folder, { recursive: true }));
const file = join(folder, "ids.json");
writeFileSync(file, JSON.stringify(Array.from({ length: 40 }, (_, t) => t)));

/** The report, and the FLOPs of each run behind the first one. */
async function run(options: ParityOptions) {
  const totals: number[] = [];
  let isFurther = false;
  let before = 0;
  const report = await runParity({
    ...options,
    backend: "cpu",
    input: [
      { kind: "ids", file },
      { kind: "ids", file },
    ],
    onProgress({ label, done, total, unit }) {
      if (unit !== "FLOP") return;
      if (label === "noise floor") isFurther = true;
      else if (isFurther && (totals.length === 0 || done < before)) totals.push(total);
      before = done;
    },
  });
  return { report, totals };
}

/** What does not depend on memory and time. */
const outcome = ({ memory: _, seconds: __, peakRamBytes: ___, ...rest }: ParityReport) => rest;

describe.each([
  ["a known difference", { a: nativeSide("qwen3/yarn"), b: hfSide("qwen3/yarn") }],
  ["a known difference, the other way round", { a: hfSide("qwen3/yarn"), b: nativeSide("qwen3/yarn") }],
  ["taps that no logit shows", { a: nativeSide("deepseek_v3/mtp"), b: hfSide("deepseek_v3/mtp") }],
  ["another config", { a: nativeSide("llama3/split"), b: faulty("llama3/split", "rope-theta-default", "rope_theta") }],
] as const)("%s", (name, sides) => {
  test("runs one side again, or both where memory has no room for what the other left: with the same outcome", async () => {
    const kept = await run(sides);
    expect(kept.report.verdict).toBe("fail");
    const { plannedBytes } = kept.report.memory;
    const both = await run({ ...sides, maxRamBytes: plannedBytes - 1 });
    expect(both.report.memory.plannedBytes).toBeLessThan(plannedBytes);
    expect(outcome(both.report)).toEqual(outcome(kept.report));
    expect(kept.totals.length).toBeGreaterThan(0);
    expect(both.totals.length).toBe(kept.totals.length);
    const shares = kept.totals.map((total, i) => total / both.totals[i]!);
    // With another config of the reference, both sides run whatever was kept.
    const ofOne = shares.filter((share) => share < 1);
    expect(ofOne.length).toBe(name === "another config" ? 1 : shares.length);
    for (const share of ofOne) {
      expect(share).toBeGreaterThan(0.3);
      expect(share).toBeLessThan(0.7);
    }
  });
});

test("sides that choose each other's experts run together", async () => {
  const sides = { a: nativeSide("qwen3/yarn"), b: hfSide("qwen3/yarn") };
  const free = await run(sides);
  const pinned = await run({ ...sides, routing: "pinned" });
  expect(pinned.totals[0]! / free.totals[0]!).toBeGreaterThan(1.4);
});

test("no memory is planned for runs that cannot come", async () => {
  const good = { a: nativeSide("llama3/split"), b: hfSide("llama3/split") };
  const { report, totals } = await run(good);
  expect(totals).toEqual([]);
  const { report: within } = await run({ ...good, maxRamBytes: report.memory.plannedBytes });
  expect(within.memory).toEqual(report.memory);
});

test("a recording has its bounds", () => {
  expect(isRoomFor(1 << 30, 1e9, undefined)).toBe(true);
  expect(isRoomFor((1 << 30) + 1, 1e9, undefined)).toBe(false);
  expect(isRoomFor(1e6, 1e9, 1.001e9)).toBe(true);
  expect(isRoomFor(1e6, 1e9, 1.0009e9)).toBe(false);
});
