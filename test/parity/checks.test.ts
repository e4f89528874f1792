// What a run did not see is not checked, and its headline says so: for each check a run that could not tell, and one that could.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { openModel } from "../../src/model/model.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import type { ParityOptions, ParityReport } from "../../src/parity/parity.ts";
import { runParity } from "../../src/parity/parity.ts";
import { parityDocument } from "../../src/report/views/parity.ts";
import { bytesOf, familyOf, fixtureCase, hfSide, mutated, nativeSide, type TestModel } from "../helpers/models.ts";
import { scratch } from "../helpers/scratch.ts";

const ids = (...numbers: number[]): string => {
  const file = join(scratch(), "ids.json");
  writeFileSync(file, JSON.stringify(numbers));
  return file;
};
const upTo = (n: number) => Array.from({ length: n }, (_, i) => i + 1);

const run = (a: ParityOptions["a"], b: ParityOptions["b"], numbers = upTo(40), options: Partial<ParityOptions> = {}) =>
  runParity({ a, b, backend: "cpu", input: { kind: "ids", file: ids(...numbers) }, ...options });

const check = (report: ParityReport, name: RegExp) => report.checks.find((each) => name.test(each.name));
const headline = (report: ParityReport): string => parityDocument(report).headline;

/** The side with the lowest bit of a byte of a tensor's first value changed, or of that of one of its rows. */
function nudged(side: TestModel, key: string, row = 0, byte = 0): TestModel {
  const { shape, byteLength } = side.source.tensors.get(key)!;
  const bytes = bytesOf(side.checkpoint, key);
  const at = (byteLength / shape[0]!) * row + byte;
  bytes[at] = bytes[at]! ^ 1;
  return mutated(side, { [key]: { bytes } });
}

describe("one config for both sides", () => {
  const split = fixtureCase("llama3/split");
  const open = (path: string, options: { config?: string; ownConfig?: string } = {}) =>
    openModel(openCheckpoint(path), { adapters, ...options });
  /** The native side with a config of its own. */
  let own = "";
  beforeAll(() => {
    own = join(mkdtempSync(join(tmpdir(), "checks-")), "own");
    cpSync(split.native, own, { recursive: true });
    cpSync(join(split.hf, "config.json"), join(own, "config.json"));
  });
  afterAll(() => rmSync(join(own, ".."), { recursive: true }));

  test("is not checked, whichever side has none, and the headline says whose weights are the same", async () => {
    const report = await run(open(split.native, { config: split.hf }), open(split.hf));
    expect(report.verdict).toBe("pass");
    expect(check(report, /configs/)).toMatchObject({
      status: "not checked",
      detail: expect.stringMatching(/^a has no config of its own, \S*config\.json was used for both: --golden /),
    });
    expect(headline(report)).toMatch(/^the same weights under the config given: mean KL /);
    const { a, b } = report.configs;
    expect(a).toMatchObject({ path: join(split.hf, "config.json"), origin: "given" });
    expect(b).toMatchObject({ origin: "own", sha256: a?.sha256 });
    const turned = await run(open(split.hf), open(split.native, { config: split.hf }));
    expect(check(turned, /configs/)?.detail).toMatch(/^b has no config of its own/);
    const neither = await run(open(split.native, { config: split.hf }), open(split.native, { config: split.hf }));
    expect(check(neither, /configs/)?.detail).toMatch(/^neither side has a config of its own/);
  });

  test("so it is where that of one side is given for the other alone", async () => {
    const report = await run(open(split.native, { ownConfig: split.hf }), open(split.hf));
    expect(check(report, /configs/)).toMatchObject({ status: "not checked" });
  });

  test("is checked where each has its own", async () => {
    const report = await run(open(own), open(split.hf));
    expect(check(report, /configs/)).toMatchObject({ status: "passed" });
    expect(headline(report)).toMatch(/^the same model: mean KL /);
  });
});

describe("an input that is too short", () => {
  test("of one token tells nothing of positions", async () => {
    const report = await run(nativeSide("llama3/split"), hfSide("llama3/split"), [5]);
    expect(check(report, /positions/)).toMatchObject({
      status: "not checked",
      detail: expect.stringMatching(/^1 token: position 0/),
    });
    expect(headline(report)).toMatch(/^the same on this input, on 1 token alone: /);
    const longer = await run(nativeSide("llama3/split"), hfSide("llama3/split"));
    expect(check(longer, /positions/)?.status).toBe("passed");
  });

  test.each([
    ["gpt_oss/bf16", /^a window of \d+ tokens: not reached by 3 tokens/],
    ["llama4/split", /^chunks of \d+ tokens: not reached by 3 tokens/],
    ["hf_dense/phi3-longrope-bf16", /the long factors of RoPE: not reached by 3 tokens/],
  ])("%s does not reach its windows", async (name, detail) => {
    const report = await run(nativeSide(name), hfSide(name), upTo(3));
    expect(check(report, /windows/)).toMatchObject({
      status: "not checked",
      detail: expect.stringMatching(detail),
    });
    expect(headline(report)).toMatch(/not reached/);
    const longer = await run(nativeSide(name), hfSide(name), [...upTo(30), ...upTo(30), ...upTo(30), ...upTo(45)]);
    expect(check(longer, /windows/)?.status).toBe("passed");
  });
});

test("families say what else only long inputs show", () => {
  const llama4 = fixtureCase("llama4/split");
  const { text_config } = JSON.parse(readFileSync(join(llama4.hf, "config.json"), "utf8"));
  const tuned = familyOf(llama4, { text_config: { ...text_config, attn_temperature_tuning: true, floor_scale: 64 } });
  expect(tuned.longOnly?.()).toEqual([{ what: "the temperature of queries from position 64 on", tokens: 63 }]);
  expect(familyOf(llama4).longOnly?.()).toEqual([]);
  expect(familyOf(fixtureCase("hf_dense/ministral3-bf16")).longOnly?.()).toMatchObject([
    { what: "the growth of queries" },
  ]);
});

describe("experts that no token chose", () => {
  const name = "qwen3_moe/untied";

  test("are named, and the headline counts them", async () => {
    const report = await run(nativeSide(name), hfSide(name), [1]);
    expect(report.verdict).toBe("pass");
    const found = check(report, /expert/);
    expect(found).toMatchObject({
      status: "not checked",
      detail: expect.stringMatching(/^\d+ of \d+ experts never chosen: layers\.\d+: /),
    });
    expect(headline(report)).toMatch(/; \d+ of \d+ experts not run: /);
    expect(report.experts?.layers[0]?.notChosen.a).toEqual(report.experts?.layers[0]?.notChosen.b);
  });

  test.each([name, "qwen3_5_moe/text"])(
    "%s: fail a run where their weights differ, in separate and in stacked tensors",
    async (moe) => {
      const side = hfSide(moe);
      const good = await run(nativeSide(moe), side, [1]);
      const { name: layer, notChosen } = good.experts!.layers[0]!;
      const [expert] = notChosen.a;
      const experts = `model.layers.${layer.split(".")[1]}.mlp.experts.`;
      const isOwn = (each: string) => each.includes(`${experts}${expert}.`) || each.includes(`${experts}down_proj`);
      const key = [...side.source.tensors.keys()].find((each) => isOwn(each.replace("model.language_model", "model")))!;
      const changed = nudged(side, key, key.endsWith("experts.down_proj") ? expert : 0);
      const report = await run(nativeSide(moe), changed, [1]);
      expect(report.metrics.klMeanNats).toBe(good.metrics.klMeanNats);
      expect(report.findings.map(({ code }) => code)).toEqual(["WEIGHTS_NOT_RUN"]);
      expect(report.weights?.different).toMatchObject([{ key, notRun: { why: "expert" } }]);
      expect(headline(report)).toMatch(/^NOT shown to be the same model: .* experts not run/);
      const given = await run(nativeSide(moe), changed, [1], { maxKlNats: 1e-6 });
      expect(given.verdict).toBe("pass");
      expect(headline(given)).toMatch(/^the same on this input.*differs in bits/);
    },
  );
});

describe("a vision tower without images", () => {
  test("is not checked, and a fault in it fails", async () => {
    const name = "qwen3_vl/tied";
    // Without the id of an image's token.
    const text = upTo(40).filter((id) => id !== 7);
    const report = await run(nativeSide(name), hfSide(name), text);
    expect(check(report, /tower/)).toMatchObject({ status: "not checked" });
    expect(headline(report)).toMatch(/^the same on this input, text path only: /);
    const broken = await run(nativeSide(name), nudged(hfSide(name), "model.visual.blocks.0.attn.proj.weight"), text);
    expect(broken.findings).toMatchObject([{ code: "WEIGHTS_NOT_RUN" }]);
    expect(headline(broken)).toMatch(/^NOT shown to be the same model: .*text path only/);
  });
});

describe("weights bit for bit", () => {
  const embedding = "model.embed_tokens.weight";

  test("of rows that no id picks are told apart from those that run, and fail nothing", async () => {
    const side = hfSide("llama3/split");
    const row = (n: number) => nudged(side, embedding, n);
    const unread = await run(nativeSide("llama3/split"), row(0));
    expect(unread.verdict).toBe("pass");
    expect(unread.weights?.different).toEqual([{ key: embedding, notRun: { why: "row", rows: [0] } }]);
    expect(check(unread, /^weights/)?.status).toBe("not checked");
    expect(check(unread, /every row/)?.detail).toMatch(/^40 of 263 rows read; 1 of the others differs/);
    expect(headline(unread)).toMatch(
      /^the same on this input, 1 tensor differs in bits \(model\.embed_tokens\.weight\): /,
    );
    const read = await run(nativeSide("llama3/split"), row(3));
    expect(read.weights?.different).toEqual([{ key: embedding, notRun: null }]);
    expect(check(read, /^weights/)).toMatchObject({ status: "passed", detail: `20 of 21; not: ${embedding}` });
    expect(headline(read)).toMatch(/^the same on this input, 1 tensor differs in bits/);
  });

  test("are not there in a golden: not checked, and the headline is of its logits", async () => {
    const { golden } = fixtureCase("llama3/split");
    const report = await runParity({ a: hfSide("llama3/split"), golden, backend: "cpu" });
    expect(report.weights).toBeNull();
    expect(check(report, /^weights/)?.status).toBe("not checked");
    expect(headline(report)).toMatch(/^the golden's logits: mean KL /);
  });
});

test("multi-token prediction that one side lacks is not compared, and its tensors are counted", async () => {
  const name = "deepseek_v3/mtp";
  const side = hfSide(name);
  const mtp = [...side.source.tensors.keys()].filter((key) => key.startsWith("model.layers.2."));
  const without = mutated(side, Object.fromEntries(mtp.map((key) => [key, null])));
  const report = await run(nativeSide(name), without);
  expect(check(report, /multi-token/)).toMatchObject({
    status: "not checked",
    detail: expect.stringMatching(/^36 tensors of it in a alone/),
  });
  expect(check(report, /same tensors/)).toMatchObject({ status: "not checked" });
  expect(report.weights?.onlyIn.a).toHaveLength(36);
  expect(headline(report)).toMatch(
    /^the same on this input, multi-token prediction not compared; 36 tensors in a alone: /,
  );
  const both = await run(nativeSide(name), side);
  expect(check(both, /multi-token/)?.status).toBe("failed");
});

describe("a failed run without a cause", () => {
  const name = "llama3/split";
  const { golden } = fixtureCase(name);
  const key = "model.layers.0.self_attn.o_proj.weight";
  const beside = async (a: TestModel) => runParity({ a, golden, backend: "cpu" });

  test("beside a golden looks at the side alone, and names what a trained model does not have", async () => {
    const side = hfSide(name);
    const zeros = mutated(side, { [key]: { bytes: new Uint8Array(side.source.tensors.get(key)!.byteLength) } });
    const report = await beside(zeros);
    expect(report).toMatchObject({ verdict: "fail", cause: null, firstDivergence: null });
    expect(report.nextSteps).toEqual([
      expect.stringMatching(
        /^on its own, a has values .*: "model\.layers\.0\.self_attn\.o_proj\.weight": all 3240 elements are 0/,
      ),
      expect.stringMatching(/^the cause is unknown: /),
      expect.stringMatching(/^record hidden states/),
    ]);
  });

  test("says what else to try where the side shows nothing", async () => {
    const side = hfSide(name);
    const other = bytesOf(side.checkpoint, key.replace("0", "1"));
    const report = await beside(mutated(side, { [key]: { bytes: other } }));
    expect(report.cause).toBeNull();
    expect(report.nextSteps.join("\n")).toMatch(
      /^on its own, a shows nothing: .*\ngive another checkpoint .*\ncheck that the golden /,
    );
    expect(parityDocument(report).diagnoses).toEqual([
      {
        code: null,
        cause: expect.any(String),
        places: [],
        fixes: report.nextSteps,
      },
    ]);
    expect((await beside(side)).nextSteps).toEqual([]);
  });
});

test("a difference below the limit that rounding does not explain is told, with its place", async () => {
  const side = hfSide("qwen3/split");
  const key = "model.layers.1.self_attn.k_norm.weight";
  const report = await run(nativeSide("qwen3/split"), nudged(side, key, 0, 1));
  expect(report.verdict).toBe("pass");
  expect(report.metrics.klMeanNats).toBeGreaterThan(1e-12);
  expect(report.beyondRounding).toMatchObject({ tap: "layers.1.attn", tensors: [key] });
  expect(parityDocument(report).notes.join("\n")).toMatch(
    /more than rounding: .* most is added at layers\.1\.attn .*k_norm\.weight differ in bits/,
  );
  expect((await run(nativeSide("qwen3/split"), side)).beyondRounding).toBeNull();
});
