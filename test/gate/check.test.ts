// `check`: every block with the fault that makes it fail, what cannot be seen, and what ends a run.
import { appendFileSync, cpSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Check } from "../../src/base/check.ts";
import { run } from "../cli/command.ts";
import { flipped, readState, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted } from "../helpers/converted.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

const native = join(FIXTURES, "demo/native");
const hf = join(FIXTURES, "demo/hf");
const golden = join(FIXTURES, "demo/golden.safetensors");
const FEW = ["--backend", "cpu", "--ids", fewIds()] as const;

/** Enough to tell positions. */
function fewIds(): string {
  const file = join(mkdtempSync(join(tmpdir(), "check-")), "ids.json");
  writeFileSync(file, JSON.stringify(Array.from({ length: 33 }, (_, i) => (i * 37) % 768)));
  return file;
}

interface Page {
  readonly code: number;
  readonly checks: readonly Check[];
  // biome-ignore lint/suspicious/noExplicitAny: a test says what it expects of the document
  readonly json: any;
  of(status: Check["status"]): string[];
  detail(name: string): string;
}

async function page(...args: string[]): Promise<Page> {
  const { code, json, stderr } = await run("check", ...args, "--json");
  expect(stderr).toBe("");
  const checks: Check[] = json.checks;
  return {
    code,
    json,
    checks,
    of: (status) => checks.filter((check) => check.status === status).map(({ name }) => name),
    detail: (name) => checks.find((check) => check.name.includes(name))?.detail ?? "",
  };
}

/** A copy of the demo's HF folder. */
function copied(): string {
  const folder = join(scratch(), "model");
  cpSync(hf, folder, { recursive: true });
  return folder;
}

function edited(folder: string, name: string, edit: (text: string) => string): string {
  const file = join(folder, name);
  writeFileSync(file, edit(readFileSync(file, "utf8")));
  return folder;
}

/** The demo's weights with some changed. */
function withWeights(change: (state: ReturnType<typeof readState>) => void): string {
  const folder = copied();
  const state = readState(folder);
  change(state);
  rmSync(join(folder, "model.safetensors"));
  writeSafetensors(folder, state);
  return folder;
}

test("a pair that is the same passes in either order, and what one config hides is not checked", async () => {
  const { code, of, json, detail } = await page(native, hf, ...FEW);
  expect(of("failed")).toEqual([]);
  expect(code).toBe(0);
  expect(of("not checked")).toEqual([
    "config: the configs give the same mathematics",
    "hub: the chat template can be read",
    "hub: a model card that names the licence",
  ]);
  expect(detail("the configs give")).toContain("was used for both");
  expect(json).toMatchObject({ verdict: "pass", profile: { name: "same bytes", origin: "detected" } });
  expect(detail("no more than rounding")).toMatch(/^mean KL 0, limit 1.00e-12 nats\/token: what logits in f32 leave/);
  const turned = await page(hf, native, ...FEW);
  expect(turned.of("failed")).toEqual([]);
  expect(turned.json.a.path).toBe(hf);
});

test("one checkpoint on its own: what needs the other side is not checked, a golden is", async () => {
  const alone = await page(hf);
  expect(alone.code).toBe(0);
  expect(alone.of("not checked")).toEqual(
    expect.arrayContaining([
      "identity: weights are equal to the other side's",
      "parity: both sides give the same logits",
    ]),
  );
  expect(alone.detail("the same logits")).toContain("or a golden");
  const beside = await page(hf, "--golden", golden, "--backend", "cpu");
  expect(beside.of("passed")).toContain(`parity: ${golden}: every logit is finite`);
  const wrong = edited(copied(), "config.json", (text) => text.replace(/("rope_theta": )[\d.]+/, "$1500000.0"));
  const { code, of } = await page(wrong, "--golden", golden, "--backend", "cpu");
  expect(code).toBe(1);
  expect(of("failed")[0]).toMatch(/golden.safetensors: mean KL within its limit/);
});

test("another rope_theta fails config and parity alone; waived by name it still has to give the same logits", async () => {
  const wrong = edited(copied(), "config.json", (text) => text.replace(/("rope_theta": )[\d.]+/, "$1500000.0"));
  const { code, of, detail } = await page(hf, wrong, ...FEW);
  expect(code).toBe(1);
  const blocks = new Set(of("failed").map((name) => name.split(":")[0]));
  expect(blocks).toEqual(new Set(["config", "parity"]));
  expect(detail("the configs give")).toContain("500000");
});

test("a changed weight fails identity, and is named", async () => {
  const wrong = withWeights((state) => {
    const key = "model.layers.1.mlp.up_proj.weight";
    state.set(key, flipped(state.get(key)!, 14));
  });
  const { code, of, detail } = await page(native, wrong, ...FEW);
  expect(code).toBe(1);
  expect(of("failed")).toContain("identity: weights are equal bit for bit");
  expect(detail("identity: weights")).toContain('"model.layers.1.mlp.up_proj.weight"');
});

test("a seal stands for the other side; one of another model fails", async () => {
  const seal = join(scratch(), "demo.seal.json");
  expect((await run("seal", native, seal, "--config", hf)).code).toBe(0);
  const { code, of, json } = await page(hf, "--seal", seal, "--only", "identity");
  expect(of("failed")).toEqual([]);
  expect(code).toBe(0);
  const { root } = JSON.parse(readFileSync(seal, "utf8"));
  expect(json.seal).toEqual({ side: "a", root });
  expect((await page(native, hf, "--only", "identity")).json.seal).toEqual({ side: "b", root });
  const wrong = withWeights((state) => {
    const key = "model.layers.1.mlp.up_proj.weight";
    state.set(key, flipped(state.get(key)!, 14));
  });
  const other = await page(wrong, "--seal", seal, "--only", "identity");
  expect(other.code).toBe(1);
  expect(other.of("failed")[0]).toContain(seal);
  expect(await run("check", hf, "--seal", join(hf, "config.json"))).toMatchObject({ code: 3 });
});

test("a tensor that is missing fails ledger, identity and validate, and the other checks go on", async () => {
  const wrong = withWeights((state) => void state.delete("model.layers.1.mlp.up_proj.weight"));
  const { code, of, checks } = await page(native, wrong, ...FEW);
  expect(code).toBe(1);
  const blocks = new Set(of("failed").map((name) => name.split(":")[0]));
  expect(blocks).toEqual(new Set(["ledger", "identity", "roundtrip", "validate", "parity"]));
  expect(checks.some(({ name, status }) => name.startsWith("hub:") && status === "passed")).toBe(true);
});

test("a side that cannot be read is a failed check of the page; where none can, the run ends with exit 3", async () => {
  const broken = copied();
  writeFileSync(join(broken, "model.safetensors"), "no weights");
  const { code, checks } = await page(hf, broken, ...FEW);
  expect(code).toBe(1);
  expect(checks[0]).toMatchObject({ name: `${broken} can be read`, status: "failed" });
  expect(checks[0]?.detail).toContain("SAFETENSORS_");
  expect(checks.some(({ name, status }) => name.startsWith("validate: a") && status === "passed")).toBe(true);
  expect(await run("check", broken, broken)).toMatchObject({ code: 3 });
  expect(await run("check", broken)).toMatchObject({ code: 3 });
  expect(await run("check", hf, native, "--ids", "nowhere.json")).toMatchObject({ code: 3 });
});

test("a cast is seen from the wider side, exactly; another rounding is not it", async () => {
  const target = join(scratch(), "f32");
  await converted(native, target, { config: hf, dtype: ["f32"] });
  const { code, json, of, detail } = await page(native, target, ...FEW);
  expect(of("failed")).toEqual([]);
  expect(code).toBe(0);
  expect(json).toMatchObject({ profile: { name: "cast" }, a: { path: target }, b: { path: native } });
  expect(detail("exactly the rounding")).toContain("39 tensors");
  const state = readState(target);
  const key = "model.layers.0.self_attn.q_proj.weight";
  // The bits that BF16 keeps.
  state.set(key, flipped(state.get(key)!, 18));
  rmSync(join(target, "model.safetensors"));
  writeSafetensors(target, state);
  const wrong = await page(native, target, ...FEW);
  expect(wrong.of("failed")).toEqual(expect.arrayContaining([expect.stringMatching(/^identity: b is exactly/)]));
});

test("weights of one type that differ in their last bits pass as that, and by no more", async () => {
  const turn = (byte: number, mask: number) =>
    withWeights((state) => {
      const key = "model.layers.1.self_attn.o_proj.weight";
      const { bytes, ...rest } = state.get(key)!;
      const changed = Uint8Array.from(bytes, (value, i) => (i % 2 === byte ? value ^ mask : value));
      state.set(key, { ...rest, bytes: changed });
    });
  const near = turn(0, 1);
  expect((await page(hf, near, ...FEW)).of("failed")).toContain("identity: weights are equal bit for bit");
  const { code, of, detail } = await page(hf, near, ...FEW, "--profile", "same type");
  expect(of("failed")).toEqual([]);
  expect(code).toBe(0);
  expect(detail("the last bit of the weights")).toMatch(/limit .*: 2 × .*, measured on 64 tokens/);
  const far = await page(hf, turn(0, 64), ...FEW, "--profile", "same type");
  expect(far.of("failed")).toContain("parity: logits differ by no more than the last bit of the weights makes");
});

test.each<[string, (folder: string) => void, string]>([
  [
    "a stale shard",
    (to) => cpSync(join(to, "model.safetensors"), join(to, "model-00001-of-00002.safetensors")),
    "the index tells",
  ],
  ["pickled weights", (to) => writeFileSync(join(to, "pytorch_model.bin"), "x"), "no pickled weights"],
  ["a download that did not end", (to) => writeFileSync(join(to, "tokenizer.model.incomplete"), ""), "no file is left"],
  ["a broken tokenizer", (to) => writeFileSync(join(to, "tokenizer.json"), '{"model": '), "a tokenizer"],
  [
    "a pointer of git",
    (to) =>
      writeFileSync(join(to, "tokenizer.json"), "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
    "no pointers",
  ],
  [
    "broken generation settings",
    (to) => appendFileSync(join(to, "generation_config.json"), "}"),
    "generation settings",
  ],
  [
    "another type in the config",
    (to) => void edited(to, "config.json", (text) => text.replace("bfloat16", "float16")),
    "declares the type",
  ],
])("ready for the Hub: %s fails", async (_, spoil, name) => {
  const folder = copied();
  spoil(folder);
  const { code, of } = await page(folder, "--only", "hub");
  expect(code).toBe(1);
  expect(of("failed")).toEqual(expect.arrayContaining([expect.stringContaining(name)]));
});

test("what was required and could not be checked fails; what begins with no block is wrong usage", async () => {
  const folder = copied();
  renameSync(join(folder, "tokenizer.json"), join(scratch(), "tokenizer.json"));
  expect(await page(folder, "--only", "hub")).toMatchObject({ code: 0 });
  const { code, detail } = await page(folder, "--only", "hub", "--require", "hub: a tokenizer");
  expect(code).toBe(1);
  expect(detail("a tokenizer")).toMatch(/^required, and not checked: there is none/);
  const parity = await page(folder, "--require", "parity", "--only", "ledger,parity");
  expect(parity.of("failed")).toEqual(["parity: required"]);
  const usage = await run("check", folder, "--require", "party");
  expect(usage).toMatchObject({ code: 2, stderr: expect.stringContaining('did you mean "parity"?') });
  expect(await run("check", folder, "--only", "party")).toMatchObject({ code: 2 });
});

test("what ranks left goes to no Hub: a pair of it and its conversion passes", async () => {
  const ranks = join(FIXTURES, "ranks", "verl-fsdp2");
  const out = join(scratch(), "hf");
  await converted(ranks, out);
  const { code, of } = await page(ranks, out, "--backend", "cpu", "--tokens", "32");
  expect(of("failed")).toEqual([]);
  expect(code).toBe(0);
});
