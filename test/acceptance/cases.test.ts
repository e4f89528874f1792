// Every fixture through the built command, against what torchtitan and transformers themselves made of it.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { fixtureCases } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";
import { byKey, hashes, run } from "./command.ts";

const convert = (from: string, to: string, ...options: string[]): void => {
  const { code, stderr } = run("convert", from, to, "--no-fsync", ...options);
  expect(code, stderr).toBe(0);
};

describe.each(fixtureCases)("$name", ({ natives, hfs, native, hf, layout, toHf, fromHf, golden }) => {
  test.each(Object.entries(natives))("%s → HF: the tensors of torchtitan's to_hf, bit for bit", (_, from) => {
    const target = join(scratch(), "hf");
    convert(from, target, "--config", hf);
    expect(hashes(target)).toEqual([...toHf].sort(byKey));
  });

  test.each(Object.entries(hfs))(
    "%s → DCP: the tensors of torchtitan's from_hf, and the same files back",
    (_, from) => {
      const directory = scratch();
      const [there, raw, back] = [join(directory, "dcp"), join(directory, "raw"), join(directory, "hf")];
      convert(from, there, "--to", layout);
      convert(there, raw, "--to", "raw", "--format", "safetensors");
      expect(hashes(raw)).toEqual([...fromHf].sort(byKey));
      convert(there, back);
      expect(readdirSync(back).sort()).toEqual(readdirSync(from).sort());
      for (const name of readdirSync(from))
        expect(readFileSync(join(back, name)).equals(readFileSync(join(from, name))), name).toBe(true);
    },
  );

  test("roundtrip passes on both sides", () => {
    expect(run("roundtrip", hf).json.verdict).toBe("pass");
    expect(run("roundtrip", native, "--config", hf).json.verdict).toBe("pass");
  });

  test("on the CPU in f64, logits are those of transformers in f64", () => {
    const { code, json } = run("parity", hf, "--golden", golden, "--backend", "cpu");
    expect(code).toBe(0);
    expect(json.metrics.klMeanNats).toBeLessThan(1e-13);
    expect(json.metrics.top1).toBe(1);
  });

  test("torchtitan's checkpoint and transformers' agree in logits", () => {
    const { code, json } = run("parity", native, hf, "--config", hf, "--accept-known");
    expect(code).toBe(0);
    expect(json.metrics.tokens).toBeGreaterThanOrEqual(512);
    if (json.knownDifferences.length === 0) expect(json.metrics.klMeanNats).toBeLessThan(1e-10);
  });
});
