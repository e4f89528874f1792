import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { openSafetensors } from "../../../src/formats/safetensors/open.ts";
import type { ForwardProgress } from "../../../src/parity/forward/outcome.ts";
import { readPrompts } from "../../../src/parity/inputs/several.ts";
import { readIntegers } from "../../../src/parity/inputs/tensors.ts";
import { type ParityReport, runParity } from "../../../src/parity/parity.ts";
import { bytesOf, fixtureCase, hfSide, mutated, nativeSide } from "../../helpers/models.ts";
import { recorded } from "../../helpers/tensors.ts";

const folder = mkdtempSync(join(tmpdir(), "several-inputs-"));
afterAll(() => rmSync(folder, { recursive: true }));
const backend = "cpu";

function ids(name: string, values: readonly number[]) {
  const file = join(folder, name);
  writeFileSync(file, JSON.stringify(values));
  return { kind: "ids", file } as const;
}

const long = ids(
  "long.json",
  Array.from({ length: 70 }, (_, i) => (i * 7) % 40),
);
const [short, single] = [ids("short.json", [5, 9, 2, 6]), ids("single.json", [90])];
const [a, b] = [nativeSide("llama3/split"), hfSide("llama3/split")];

describe("several inputs", () => {
  test("each runs on its own: what one would give alone it gives among others", async () => {
    const other = hfSide("llama3/split", { rms_norm_eps: 1e-3 });
    const alone: ParityReport[] = [];
    for (const input of [short, long, single]) alone.push(await runParity({ a: other, b, input, backend }));
    const together = await runParity({ a: other, b, input: [short, long, single], backend });
    expect(together.inputs).toMatchObject({ kind: "ids", tokens: 75, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(together.inputs.prompts).toEqual(
      alone.map(({ metrics, inputs }) => ({
        kind: "ids",
        source: inputs.source,
        sha256: inputs.sha256,
        tokens: inputs.tokens,
        klMeanNats: metrics.klMeanNats,
        klMaxNats: metrics.klMaxNats,
        top1: metrics.top1,
      })),
    );
    const sum = alone.reduce((total, { metrics }) => total + metrics.klMeanNats * metrics.tokens, 0);
    expect(sum).toBeGreaterThan(1e-6);
    expect(together.metrics.klMeanNats).toBeCloseTo(sum / 75, 15);
    expect(together.nextTokens).toEqual(alone[2]!.nextTokens);
    expect(together.firstDivergence!.tap).toBe(alone[1]!.firstDivergence!.tap);
  });

  test("pass together, and one input has no list", async () => {
    expect(await runParity({ a, b, input: [short, long], backend })).toMatchObject({ verdict: "pass", findings: [] });
    expect((await runParity({ a, b, input: [short], backend })).inputs).toEqual({
      kind: "ids",
      tokens: 4,
      // Of 5, 9, 2, 6 as little-endian I64.
      sha256: "12c627d00d5c51798e6ead6eb5819493641a14c8c915321ec59f39ae589ab8ed",
      source: short.file,
    });
  });

  test("a fault that only one of them meets fails, and shows in its line", async () => {
    const key = "model.embed_tokens.weight";
    const bytes = bytesOf(b.checkpoint, key);
    // The row of token 90, which only the last input has.
    const row = bytes.length / b.family.vocabSize;
    bytes.subarray(90 * row, 91 * row).reverse();
    const broken = mutated(b, { [key]: { bytes } });
    expect(await runParity({ a, b: broken, input: [short, long], backend })).toMatchObject({ verdict: "pass" });
    const report = await runParity({ a, b: broken, input: [short, single, long], backend });
    expect(report).toMatchObject({ verdict: "fail", firstDivergence: { tap: "embed" } });
    expect(report.positions.worst).toMatchObject({ prompt: 1, position: 0 });
    const [first, second, third] = report.inputs.prompts!;
    expect(second!.klMeanNats).toBeGreaterThan(1e-3);
    expect(Math.max(first!.klMeanNats, third!.klMeanNats)).toBeLessThan(1e-13);
  });

  test("a NaN is named with its input", async () => {
    const key = "model.embed_tokens.weight";
    const bytes = bytesOf(b.checkpoint, key);
    const row = bytes.length / b.family.vocabSize;
    bytes.subarray(90 * row, 91 * row).fill(0xff);
    const report = await runParity({ a, b: mutated(b, { [key]: { bytes } }), input: [short, single], backend });
    expect(report.findings[0]).toMatchObject({
      code: "NON_FINITE",
      message: expect.stringContaining("at position 0 of input 2"),
    });
  });

  test("text beside images: the tower is exercised by one of them, and a fault in it shows there", async () => {
    const vl = hfSide("qwen3_vl/tied");
    const seen = { kind: "inputs", file: fixtureCase("qwen3_vl/tied").inputs! } as const;
    const text = await runParity({ a: vl, b: vl, input: [short], backend });
    expect(text.unexercisedTensors.length).toBeGreaterThan(0);
    const both = await runParity({ a: vl, b: vl, input: [short, seen], backend });
    expect(both).toMatchObject({ verdict: "pass", unexercisedTensors: [], inputs: { images: 2 } });
    expect(both.inputs.prompts!.map(({ images }) => images)).toEqual([undefined, 2]);
    const key = "model.visual.blocks.0.attn.proj.weight";
    const broken = mutated(vl, { [key]: { bytes: new Uint8Array(bytesOf(vl.checkpoint, key).length) } });
    const report = await runParity({ a: broken, b: vl, input: [short, seen], backend });
    expect(report).toMatchObject({ verdict: "fail", firstDivergence: { tap: expect.stringMatching(/^vision\.0/) } });
    expect(report.inputs.prompts![0]!.klMeanNats).toBe(0);
    expect(report.inputs.prompts![1]!.klMeanNats).toBeGreaterThan(1e-6);
  });

  test("saved logits are those of all, with the row where each begins", async () => {
    const saveLogits = join(folder, "logits.safetensors");
    const { metrics } = await runParity({ a, b, input: [short, long, single], backend, saveLogits });
    expect(recorded(saveLogits, "logits_a").shape[0]).toBe(75);
    const file = openSafetensors(saveLogits);
    expect(readIntegers(file, "starts")).toEqual([0, 4, 74]);
    expect(readIntegers(file, "input_ids").slice(0, 5)).toEqual([5, 9, 2, 6, 0]);
    file.close();
    const read = (key: string) => [...recorded(saveLogits, key).values];
    const [A, B] = [read("logits_a"), read("logits_b")];
    expect(Math.max(...A.map((x, i) => Math.abs(x - B[i]!)))).toBe(metrics.maxAbsDiff);
    const alone = join(folder, "alone.safetensors");
    await runParity({ a, b, input: long, backend, saveLogits: alone });
    const vocab = A.length / 75;
    expect(A.slice(4 * vocab, 74 * vocab)).toEqual([...recorded(alone, "logits_a").values]);
  });

  test("progress counts the FLOPs of all", async () => {
    const seen: { done: number; total: number }[] = [];
    // Where the machine is slow, steps that count bytes are told as well.
    const onProgress = (event: ForwardProgress) => void (event.unit === "FLOP" && seen.push(event));
    await runParity({ a, b, input: [short, long], backend, onProgress });
    expect(seen).not.toEqual([]);
    expect(new Set(seen.map(({ total }) => total)).size).toBe(1);
    expect(seen.at(-1)!.done).toBe(seen.at(-1)!.total);
    expect(seen.every(({ done }, i) => i === 0 || done >= seen[i - 1]!.done)).toBe(true);
  });

  test("an id that the model has no row for is refused, whichever input has it", async () => {
    const beyond = ids("beyond.json", [1, 4000]);
    await expect(runParity({ a, b, input: [short, beyond], backend })).rejects.toMatchObject({
      code: "ID_OUT_OF_RANGE",
      exitCode: 3,
    });
  });

  test("a golden is of one", async () => {
    const { golden } = fixtureCase("llama3/split");
    const inputs = { kind: "inputs", file: golden } as const;
    await expect(runParity({ a: b, golden, input: [inputs, inputs], backend })).rejects.toMatchObject({
      code: "PARITY_USAGE",
      exitCode: 2,
    });
  });
});

describe("a file of prompts", () => {
  const prompts = (name: string, text: string) => {
    const file = join(folder, name);
    writeFileSync(file, text);
    return file;
  };

  test("is JSON, or text of one a line", () => {
    expect(readPrompts(prompts("a.json", '["one\\ntwo", " "]'))).toEqual(["one\ntwo", " "]);
    expect(readPrompts(prompts("a.txt", "one\r\n\n  two\n@three"))).toEqual(["one", "  two", "@three"]);
  });

  test.each([
    ["b.json", "[]", "an empty array"],
    ["b.json", '["a", ""]', '"" at index 1'],
    ["b.json", '["a", 1]', "1 at index 1"],
    ["b.json", "{}", "object"],
    ["b.json", "null", "null"],
    ["b.txt", "\n \n", "no line with text"],
  ])("%s of %j is refused", (name, text, found) => {
    const file = prompts(name, text);
    expect(() => readPrompts(file)).toThrow(
      expect.objectContaining({
        code: "PROMPTS_INVALID",
        exitCode: 3,
        details: expect.objectContaining({ file, found }),
      }),
    );
  });

  test("that is not JSON, or not there, is refused", () => {
    expect(() => readPrompts(prompts("c.json", "one"))).toThrow(expect.objectContaining({ code: "JSON_INVALID" }));
    expect(() => readPrompts(join(folder, "none.txt"))).toThrow(expect.objectContaining({ code: "NOT_FOUND" }));
  });
});
