// Parity through the command line: what a run reports, and what a file that is not right says.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parityDocument } from "../../src/report/views/parity.ts";
import { readState, type State, type Stored, writeSafetensors } from "../helpers/checkpoints.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { fixtureCase } from "../helpers/models.ts";
import { scratch } from "../helpers/scratch.ts";
import { shapeOf, stored, textOf } from "../report/stored.ts";
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

/** What the view shows of such reports is tested in test/report/views/parity.test.ts, by stored ones. */
describe("a run", () => {
  it("with known differences upstream below the limit passes, and has their share and both verdicts", async () => {
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
    expect(shapeOf(json)).toEqual(shapeOf(stored("parity-known-below")));
  });

  it("of MTP layers that differ fails, told by what does differ, and prints what its view says", async () => {
    const reports = ["r.json", "r.md"].map((name) => join(scratch(), name));
    const { code, stdout } = await parity("deepseek_v3/mtp", ...reports.flatMap((file) => ["--report", file]));
    expect(code, stdout).toBe(1);
    const json = JSON.parse(readFileSync(reports[0]!, "utf8"));
    expect(json.cause).toMatchObject({
      code: "MTP_BEFORE_NORM",
      evidence: expect.stringMatching(/^no logit .* by \d/),
    });
    expect(shapeOf(json)).toEqual(shapeOf(stored("parity-mtp")));
    expect(stdout).toBe(textOf(parityDocument(json)));
    expect(readFileSync(reports[1]!, "utf8")).toContain("| multi-token prediction agrees | ❌ failed | ");
  });
});

it("a golden that is not finite is to be recorded again", async () => {
  const { hf, golden } = fixtureCase("llama3/split");
  const copy = copyOf(golden, (state) => notFinite(state.get("logits")!));
  const { code, json } = await run(
    "parity",
    hf,
    "--golden",
    join(copy, "model.safetensors"),
    "--backend",
    "cpu",
    "--json",
  );
  expect(code).toBe(1);
  expect(json.cause).toMatchObject({ code: "NON_FINITE", fix: expect.stringMatching(/^record the golden again/) });
  expect(shapeOf(json)).toEqual(shapeOf(stored("parity-golden-nan")));
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
