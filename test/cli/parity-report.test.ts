// What a person reads of a parity run, and what a file that is not right says.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { outcome } from "../../src/cli/parity-view.ts";
import { readState, type State, type Stored, writeSafetensors } from "../helpers/checkpoints.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { fixtureCase } from "../helpers/models.ts";
import { scratch } from "../helpers/scratch.ts";
import { run } from "./command.ts";

function parity(name: string, ...args: string[]) {
  const { native, hf } = fixtureCase(name);
  return run("parity", native, hf, "--config", hf, "--backend", "cpu", ...args);
}

const copyOf = (path: string, change: (state: State) => void): string => {
  const state = readState(path);
  change(state);
  return writeSafetensors(join(scratch(), "copy"), state);
};

/** Makes one element NaN. */
const notFinite = ({ bytes }: Stored): void =>
  new DataView(bytes.buffer, bytes.byteOffset).setFloat32(400, Number.NaN, true);

describe("known differences upstream", () => {
  it("are shown below the limit, too, with their share and both verdicts", async () => {
    const { code, json } = await parity("qwen3_vl_moe/bf16", "--json");
    expect(code).toBe(0);
    expect(json).toMatchObject({
      verdict: "pass",
      verdictWithoutKnown: "pass",
      knownDifferences: [{ code: "VISION_MERGER_GELU" }],
      cause: null,
    });
    const { klMeanNats } = json.metrics;
    expect(klMeanNats).toBeLessThan(1e-8);
    expect(json.klMeanNatsWithoutKnown).toBeLessThan(1e-12);
    expect(json.knownDifferences[0].klMeanNats).toBeCloseTo(klMeanNats, 12);
    const { stdout } = await parity("qwen3_vl_moe/bf16");
    expect(stdout).toMatch(/^Known differences upstream\ncode .*\nVISION_MERGER_GELU +\d\.\d\de-9 /m);
    expect(stdout).toMatch(/^✓ the same with known upstream differences undone: mean KL \d\.\d\de-1\d$/m);
    expect(stdout).toMatch(/\nthe same model: .*\n$/);
  });

  it("are not looked for where rounding explains all", async () => {
    const { json } = await parity("qwen3_moe/untied", "--json");
    expect(json).toMatchObject({ verdict: "pass", knownDifferences: [], klMeanNatsWithoutKnown: null });
  });

  it("fail, and the last line says how to let them pass", async () => {
    const { code, stdout } = await parity("qwen3_vl/tied", "--max-kl", "1e-9");
    expect(code).toBe(1);
    expect(stdout).toMatch(/^✗ mean KL at most .*\n✓ the same with known upstream differences undone: /m);
    expect(stdout).toMatch(/\nNOT the same model: .* by known .* alone \(VISION_MERGER_GELU\); --accept-known .*\n$/);
    const accepted = await parity("qwen3_vl/tied", "--max-kl", "1e-9", "--accept-known");
    expect(accepted.code).toBe(0);
    expect(accepted.stdout).toMatch(
      /\nthe same model but for known upstream differences \(VISION_MERGER_GELU\): .*\n$/,
    );
  });

  it("of MTP layers move no logit: told by what does differ, also when they are accepted", async () => {
    const { code, stdout, json } = await parity("deepseek_v3/mtp", "--json");
    expect(code, stdout).toBe(1);
    expect(json.cause).toMatchObject({
      code: "MTP_BEFORE_NORM",
      evidence: expect.stringMatching(/^no logit .* by \d/),
    });
    const accepted = await parity("deepseek_v3/mtp", "--accept-known");
    expect(accepted.code).toBe(0);
    expect(accepted.stdout).toMatch(/\nthe same model but for known upstream differences \(MTP_BEFORE_NORM\)/);
  });
});

describe("checks", () => {
  it("that held are listed with those that failed", async () => {
    const { hf } = fixtureCase("llama3/split");
    const { stdout } = await parity("llama3/split", "--min-top1", "0.99");
    expect(stdout).toMatch(/^✓ top-1 agreement at least 99\.00 %: 100 %\n✓ every logit is finite$/m);
    expect(stdout).toMatch(/^✓ the configs give the same mathematics$/m);
    const config = join(scratch(), "config.json");
    writeFileSync(
      config,
      readFileSync(join(hf, "config.json"), "utf8").replace('"rms_norm_eps": 1e-05', '"rms_norm_eps": 2e-05'),
    );
    const other = await parity("llama3/split", "--config-b", config);
    expect(other.code).toBe(1);
    expect(other.stdout).toMatch(/^✗ the configs give the same mathematics: .*normEps$/m);
    expect(other.stdout).toMatch(/^✓ tied tensors are equal$/m);
  });

  it("of a golden are of one side; one that is not finite is to be recorded again", async () => {
    const { hf, golden } = fixtureCase("llama3/split");
    const file = join(
      copyOf(golden, (state) => notFinite(state.get("logits")!)),
      "model.safetensors",
    );
    const { code, json } = await run("parity", hf, "--golden", file, "--backend", "cpu", "--json");
    expect(code).toBe(1);
    expect(json.cause).toMatchObject({ code: "NON_FINITE", fix: expect.stringMatching(/^record the golden again/) });
    const { stdout } = await run("parity", hf, "--golden", file, "--backend", "cpu");
    expect(stdout).toMatch(/^✗ every logit is finite: .* at position 0 is NaN; 1 position has such logits$/m);
    expect(stdout).not.toContain("the configs");
  });
});

describe("experts", () => {
  it("that differ have a line a layer; none that agree", async () => {
    const { stdout } = await parity("deepseek_v3/mtp");
    expect(stdout).toMatch(/^routing +166 of 1,024 choices of experts \(each token at 2 layers\) differ, made by a /m);
    expect(stdout).toMatch(/^Experts by layer\nlayer .*\nmtp\.0 +512 +166 +8\.\d\de-1\n\n/m);
    const agreed = await parity("qwen3_moe/untied");
    expect(agreed.stdout).toMatch(
      /^routing +0 of 1,024 choices .* differ; the closest made by a margin of \d\.\d\de-5$/m,
    );
    expect(agreed.stdout).not.toContain("Experts by layer");
  });

  it("that are pinned cannot differ, and the report does not say that they agree", async () => {
    const { stdout } = await parity("qwen3_moe/untied", "--routing", "pinned");
    expect(stdout).toMatch(/^routing +pinned, b takes those of a: 1,024 choices .*, the closest made by a margin of /m);
  });
});

describe("numbers", () => {
  it("a KL that f64 cannot tell from 0 is 0", async () => {
    const { json: report } = await parity("llama3/split", "--json");
    report.positions.bands[0].klMeanNats = -1e-16;
    const { document } = outcome(report, new Map());
    expect(document.tables[0]!.rows[0]!.slice(0, 2)).toEqual(["0", "0"]);
  });

  it("of NaN are no probabilities; the weight that has one is named", async () => {
    const { native, hf } = fixtureCase("llama3/split");
    const key = "model.layers.1.mlp.up_proj.weight";
    const copy = copyOf(hf, (state) => notFinite(state.get(key)!));
    const sides = [native, copy, "--config", hf, "--backend", "cpu"];
    const { code, stdout } = await run("parity", ...sides);
    expect(code).toBe(1);
    expect(stdout).not.toContain("NaN %");
    expect(stdout).not.toContain("Likeliest next tokens");
    const { json } = await run("parity", ...sides, "--json");
    expect(json.cause).toMatchObject({ code: "NON_FINITE", tensors: [key] });
  });

  it("names a few of the tensors of a step, and all in JSON", async () => {
    const { stdout } = await parity("qwen3_vl/tied", "--localise");
    expect(stdout).toMatch(/^note: first difference at .* that step read (\S+, ){3}\S+ and 8 more tensors$/m);
    const { json } = await parity("qwen3_vl/tied", "--localise", "--json");
    expect(json.firstDivergence.tensors).toHaveLength(12);
  });
});

describe("a file that is not right", () => {
  const ids = (text: string): string => {
    const file = join(scratch(), "ids.json");
    writeFileSync(file, text);
    return file;
  };

  it("of ids beyond the vocabulary is named, and so is which of several inputs", async () => {
    const file = ids("[1, 2, 99999]");
    const message = "token id 99999 at position 2 has no row in the embedding";
    const one = await parity("llama3/split", "--ids", file, "--json");
    expect(one.code).toBe(3);
    expect(one.json.error).toMatchObject({ code: "ID_OUT_OF_RANGE", file, message });
    const second = await parity("llama3/split", "--ids", ids("[1]"), "--ids", file, "--json");
    expect(second.json.error).toMatchObject({ code: "ID_OUT_OF_RANGE", file, message: `input 2: ${message}` });
    const golden = join(FIXTURES, "demo/golden.safetensors");
    const other = await run("parity", fixtureCase("llama3/split").hf, "--golden", golden, "--json");
    expect(other.json.error).toMatchObject({ code: "ID_OUT_OF_RANGE", file: golden });
  });

  it("of JSON that ends early says so", async () => {
    const { code, json } = await parity("llama3/split", "--ids", ids("[1, 2,"), "--json");
    expect(code).toBe(3);
    expect(json.error).toMatchObject({ code: "JSON_INVALID", found: expect.stringMatching(/JSON/) });
  });

  const grids = "image_grid_thw";
  it.each<[string, (state: State) => void, string, string]>([
    ["pixels without grids", (state) => state.delete(grids), grids, "no tensor of that name"],
    ["grids without pixels", (state) => state.delete("pixel_values"), "pixel_values", "no tensor of that name"],
    ["two images, one grid", (state) => firstGrid(state), "pixel_values", "56"],
    ["no ids", (state) => state.delete("input_ids"), "input_ids", "no tensor of that name"],
    ["a pixel that is NaN", (state) => notFinite(state.get("pixel_values")!), "pixel_values", "NaN in patch 1"],
  ])("%s", async (_, change, tensor, found) => {
    const file = join(copyOf(fixtureCase("qwen3_vl/tied").inputs!, change), "model.safetensors");
    const { code, json } = await parity("qwen3_vl/tied", "--inputs", file, "--json");
    expect(code).toBe(3);
    expect(json.error).toMatchObject({ code: "INPUTS_INVALID", file, tensor, found });
    expect(json.error.message).toContain(`"${tensor}": found ${found}, expected `);
  });

  function firstGrid(state: State): void {
    const grid = state.get(grids)!;
    state.set(grids, { ...grid, shape: [1, 3], bytes: grid.bytes.slice(0, 24) });
  }
});
