// Parts of a parity, joined: the document of one run, whatever it is divided by, on any backend; and what is no part of it.
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { recalculated } from "../../../src/faults/edit.ts";
import type { ParityOptions, ParityReport } from "../../../src/parity/forward/report.ts";
import { saveTaps } from "../../../src/parity/forward/save-taps.ts";
import type { InputRequest } from "../../../src/parity/inputs/read.ts";
import { runParity } from "../../../src/parity/parity.ts";
import { joinParity, standingAt } from "../../../src/parity/parts/join.ts";
import { type PartOptions, runPart } from "../../../src/parity/parts/run-part.ts";
import { partDocument } from "../../../src/report/views/parity/part.ts";
import { fixtureCase, hfSide, mutated, nativeSide } from "../../helpers/models.ts";

const folder = mkdtempSync(join(tmpdir(), "parity-parts-"));
afterAll(() => rmSync(folder, { recursive: true }));
let folders = 0;
const place = () => join(folder, `${folders++}`);

type Divided = ParityOptions & Pick<PartOptions, "by">;

/** Runs every part, the last one first, as machines may. */
async function inParts(options: Divided, of: number, into = place()) {
  const seen: Awaited<ReturnType<typeof runPart>>[] = [];
  for (let number = of; number >= 1; number--) {
    seen.unshift(await runPart({ ...options, part: { number, of }, into }));
  }
  return { seen, report: joinParity(into), into };
}

/** What a document says of the models: neither how long it took, nor where. */
function figures({ parts, seconds, peakRamBytes, memory, ...rest }: ParityReport): unknown {
  return JSON.parse(JSON.stringify(rest));
}

const ids = (tokens: number, seed: number): InputRequest => ({
  kind: "list",
  ids: Array.from({ length: tokens }, (_, i) => (i * i * 7 + 13 * seed * i + seed) % 90),
});

describe("by tokens, the document of three parts is that of one run, to the last bit:", () => {
  test.each([
    ["llama3/rope-scaled", "cpu", [ids(70, 1)]],
    ["qwen3_moe/untied", "cpu", [ids(40, 1), ids(90, 2)]],
    ["qwen3_moe/untied", "wasm", [ids(40, 1), ids(9, 2), ids(50, 3), ids(60, 4)]],
    ["qwen3_moe/untied", "webgpu", [ids(100, 1)]],
    ["deepseek_v3/fp8", "cpu", [ids(64, 5)]],
    ["gpt_oss/mxfp4", "wasm", [ids(80, 2), ids(33, 1)]],
    ["qwen3/yarn", "cpu", [ids(60, 3)]],
  ] as const)("%s on %s", async (name, backend, input) => {
    const options = { a: nativeSide(name), b: hfSide(name), backend, input, localise: true };
    const { report } = await inParts({ ...options, by: "tokens" }, 3);
    expect(figures(report)).toEqual(figures(await runParity(options)));
    expect(report.parts?.map(({ part }) => part)).toEqual([1, 2, 3]);
  });

  test("images are in one part", async () => {
    const name = "qwen3_vl/tied";
    const input = [{ kind: "inputs", file: fixtureCase(name).inputs! } as const, ids(50, 1)];
    const options = { a: nativeSide(name), b: hfSide(name), backend: "cpu" as const, input };
    const { report, seen } = await inParts({ ...options, by: "tokens" }, 3);
    expect(figures(report)).toEqual(figures(await runParity(options)));
    expect(seen.map(({ covers }) => covers)).toEqual([
      expect.stringMatching(/^tokens 0 to \d+ of input 1$/),
      "tokens 0 to 31 of input 2",
      "tokens 32 to 49 of input 2",
    ]);
  });
});

const NAME = "qwen3/split";

async function recordedTaps(name: string): Promise<string> {
  const saved = join(folder, `${name.replaceAll("/", "-")}.safetensors`);
  if (!existsSync(saved)) await saveTaps({ a: hfSide(name), saveTaps: saved, backend: "cpu", input: ids(60, 1) });
  return saved;
}

describe("by layers, parts say what one run by layers says:", () => {
  test.each([
    [NAME, 3, "cpu"],
    ["deepseek_v3/fp8", 2, "wasm"],
    ["qwen3_moe/untied", 2, "webgpu"],
    ["qwen3/yarn", 2, "cpu"],
  ] as const)("%s in %d on %s", async (name, of, backend) => {
    const options = { a: nativeSide(name), golden: await recordedTaps(name), backend };
    const { report, seen } = await inParts({ ...options, by: "layers" }, of);
    expect(figures(report)).toEqual(figures(await runParity({ ...options, byLayers: true })));
    expect(seen.map(({ metrics }) => metrics === null)).toEqual([...Array(of - 1).fill(true), false]);
  });
});

const good = hfSide(NAME);
const noisy = (key: string) =>
  mutated(good, { [key]: { bytes: recalculated(good.source, key, (x, i) => x + 0.05 * Math.sin(i)) } });

test("a wrong layer fails in the part that has it, and there alone", async () => {
  const a = noisy("model.layers.1.mlp.up_proj.weight");
  const { seen, report } = await inParts({ a, golden: await recordedTaps(NAME), backend: "cpu", by: "layers" }, 3);
  expect(seen.map(({ verdict }) => verdict)).toEqual(["pass", "fail", "pass"]);
  expect(report).toMatchObject({ verdict: "fail", firstDivergence: { tap: "layers.1.ffn", inherited: 0 } });
  expect(report.parts?.map(({ verdict, firstDivergence }) => [verdict, firstDivergence])).toEqual([
    ["pass", null],
    ["fail", "layers.1.ffn"],
    ["pass", null],
  ]);
});

test("wrong weights fail by tokens, with the cause that one run names", async () => {
  const options = {
    a: noisy("model.layers.1.mlp.up_proj.weight"),
    b: good,
    backend: "cpu" as const,
    input: [ids(60, 1)],
  };
  const [{ report }, whole] = [await inParts({ ...options, by: "tokens" }, 3), await runParity(options)];
  expect(report).toMatchObject({ verdict: "fail", metrics: whole.metrics, findings: whole.findings });
  expect(report.cause).toMatchObject({ code: whole.cause?.code, tensors: whole.cause?.tensors });
  expect(report.firstDivergence).toEqual(whole.firstDivergence);
  expect(report.parts?.every(({ verdict }) => verdict === "fail")).toBe(true);
});

test("what shows at late positions alone fails in the parts that have them", async () => {
  const [a, b] = [20, 24].map((size) => hfSide("gpt_oss/bf16", { sliding_window: size }));
  const { report } = await inParts({ a: a!, b, backend: "cpu", by: "tokens", input: [ids(64, 1)] }, 4);
  expect(report.parts?.map(({ verdict }) => verdict)).toEqual(["pass", "fail", "fail", "fail"]);
  const means = report.parts!.map(({ klMeanNats }) => klMeanNats!);
  expect(means[0]).toBeLessThan(1e-20);
  expect(report.metrics.klMeanNats).toBeCloseTo(means.reduce((sum, x) => sum + x, 0) / 4, 15);
});

describe("while parts are missing", () => {
  const other = "model.layers.1.mlp.up_proj.weight";
  const options = { a: noisy(other), b: good, backend: "cpu" as const, input: [ids(48, 1)], by: "tokens" as const };
  const part = (number: number, into: string) => runPart({ ...options, part: { number, of: 3 }, into });

  test("what those that are there found is told, the rest is not checked, and nothing passes", async () => {
    const into = place();
    const wrong = await part(3, into);
    expect(wrong).toMatchObject({ verdict: "fail", missing: [1, 2] });
    const right = await runPart({ ...options, a: good, part: { number: 2, of: 3 }, into: place() });
    expect(right).toMatchObject({ verdict: "pass", missing: [1, 3], weights: { different: [] } });
    const second = await part(2, into);
    const { whole, standing } = standingAt(into);
    expect(whole).toBeNull();
    expect(standing).toMatchObject({
      ...{ verdict: "fail", by: "tokens", of: 3, missing: [1], tokens: { compared: 32, of: 48 } },
      parts: [{ part: 1, covers: null, verdict: "not checked", klMeanNats: null }, { verdict: "fail" }, { part: 3 }],
      weights: { different: [...second.weights!.different, ...wrong.weights!.different] },
    });
    expect(() => joinParity(into)).toThrow(
      expect.objectContaining({
        code: "PARTS_MISSING",
        details: expect.objectContaining({
          found: expect.stringMatching(/^part 1 is not there; parts 2 and 3 failed: mean KL/),
        }),
      }),
    );
    await part(1, into);
    expect(standingAt(into).whole).toEqual(joinParity(into));
  });

  test("a weight that differs is no failure of the part that compares it: whether it was run, all tell", async () => {
    const embedding = "model.embed_tokens.weight";
    const unread = mutated(good, { [embedding]: { bytes: lastRowChanged(embedding) } });
    const into = place();
    const seen = await runPart({ ...options, a: unread, part: { number: 1, of: 2 }, into });
    expect(partDocument(seen).checks).toMatchObject([
      { name: "this part by itself" },
      {
        status: "not checked",
        detail: expect.stringMatching(/^1 of \d+ tensors differ \(model.embed_tokens.weight\)/),
      },
      { name: "what the other parts cover", status: "not checked", detail: "1 of 2 are there, part 2 not yet" },
      { name: "the model as a whole", status: "not checked" },
    ]);
  });
});

function lastRowChanged(key: string): Uint8Array {
  const { shape } = good.source.tensors.get(key)!;
  const from = shape.reduce((all, n) => all * n, 1) - shape[1]!;
  return recalculated(good.source, key, (x, i) => (i >= from ? x + 1 : x));
}

describe("what is no part of it:", () => {
  const options = { a: good, b: good, backend: "cpu" as const, input: [ids(48, 1)], by: "tokens" as const };
  const part = (number: number, into: string, more: Partial<PartOptions> = {}) =>
    runPart({ ...options, part: { number, of: 3 }, into, ...more });

  test("parts that are missing are named", async () => {
    const into = place();
    await part(2, into);
    const missing = {
      code: "PARTS_MISSING",
      details: expect.objectContaining({ found: "parts 1 and 3 are not there; part 2 passed" }),
    };
    expect(() => joinParity(into)).toThrow(expect.objectContaining(missing));
    expect(() => joinParity(place())).toThrow(expect.objectContaining({ code: "PARTS_NONE" }));
  });

  test.each([
    ["other inputs", { input: [ids(48, 2)] }, "another inputs"],
    ["other weights under the same headers", { a: noisy("lm_head.weight") }, "another values of a"],
    ["another limit", { maxKlNats: 1e-3 }, "another --max-kl (not given there, 0.001 here)"],
    ["another number of parts", { part: { number: 1, of: 2 } }, "another number of parts (3 there, 2 here)"],
    ["another backend", { backend: "wasm" as const }, "another --backend (cpu there, wasm here)"],
  ])("%s is another plan, before anything is computed", async (_, more, found) => {
    const into = place();
    await part(2, into);
    const before = readdirSync(into);
    await expect(part(1, into, more)).rejects.toMatchObject({ code: "PARTS_OF_ANOTHER_PLAN", details: { found } });
    expect(readdirSync(into)).toEqual(before);
  });

  test("parts of another plan that came there otherwise are named when all are joined", async () => {
    const [into, elsewhere] = [place(), place()];
    await inParts(options, 3, into);
    await part(2, elsewhere, { maxKlNats: 1e-3 });
    for (const name of readdirSync(elsewhere)) renameSync(join(elsewhere, name), join(into, name));
    expect(() => joinParity(into)).toThrow(
      expect.objectContaining({
        code: "PARTS_OF_ANOTHER_PLAN",
        message: expect.stringContaining("part 2 of 3 belongs"),
      }),
    );
  });

  test("a part that is there is not run again, and a damaged one is named", async () => {
    const { into } = await inParts(options, 3);
    expect(await part(2, into)).toMatchObject({ wasThere: true, verdict: "pass" });
    const name = readdirSync(into).find((each) => each.endsWith("part-2-of-3.json"))!;
    const text = readFileSync(join(into, name), "utf8");
    writeFileSync(join(into, name), text.slice(0, -100));
    expect(() => joinParity(into)).toThrow(expect.objectContaining({ code: "PARTS_DAMAGED" }));
    writeFileSync(join(into, name), text.replace('"equal":', '"unequal":'));
    expect(() => joinParity(into)).toThrow(expect.objectContaining({ code: "PARTS_DAMAGED" }));
  });

  test("more parts than there is to divide", async () => {
    await expect(part(1, place(), { part: { number: 1, of: 4 } })).rejects.toMatchObject({ code: "PARTS_TOO_MANY" });
    const golden = await recordedTaps(NAME);
    const layers = { a: good, b: undefined, golden, input: undefined, by: "layers" as const };
    await expect(part(1, place(), { ...layers, part: { number: 1, of: 5 } })).rejects.toMatchObject({
      code: "PARTS_TOO_MANY",
      details: { expected: expect.stringContaining("at most 4") },
    });
  });
});
