// --allow-drop: what it lets go is told loudly, and a pattern that lets nothing go is told, too.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { UsageError } from "../../../src/base/errors.ts";
import { convertDocument } from "../../../src/report/views/convert.ts";
import { f32, readState, type State, writeSafetensors } from "../../helpers/checkpoints.ts";
import { converted } from "../../helpers/converted.ts";
import { tableCases } from "../../helpers/fixtures.ts";
import { scratch } from "../../helpers/scratch.ts";

const split = tableCases.find(({ family, layout }) => family === "llama3" && layout === "torchtitan")!;
const config = JSON.parse(readFileSync(join(split.hf, "config.json"), "utf8"));

/** The model beside a config of one layer less. */
function source(edit: (state: State) => void = () => undefined, layers: number = config.num_hidden_layers): string {
  const state = readState(split.hf);
  edit(state);
  const folder = writeSafetensors(join(scratch(), "source"), state);
  writeFileSync(join(folder, "config.json"), JSON.stringify({ ...config, num_hidden_layers: layers }));
  return folder;
}

const extra = (state: State) =>
  state.set(
    "model.extra.weight",
    f32([2], () => 1),
  );

const faultOf = (from: string, allowDrop: string[]): Promise<UsageError> =>
  converted(from, join(scratch(), "out"), { allowDrop }).then(
    () => Promise.reject(new Error("nothing was thrown")),
    (error: UsageError) => error,
  );

describe("a layer beyond the config's", () => {
  const last = config.num_hidden_layers - 1;
  const short = () => source(undefined, last);

  it("is no reason to offer a waiver", async () => {
    const { code, details } = await faultOf(short(), []);
    expect(code).toBe("UNKNOWN_TENSOR");
    expect(details.help).toMatch(/^the config has 3 layers, and this is of a 4th: is the config the right one/);
    expect(details.help).not.toContain("--allow-drop");
  });

  it("goes where the user says so, and no report says ✓", async () => {
    const result = await converted(short(), join(scratch(), "out"), { allowDrop: [`model.layers.${last}.*`] });
    expect(result.waived).toHaveLength(9);
    expect(result.dropped.map(({ key }) => key)).toEqual(result.waived);
    const { headline, outcome, checks } = convertDocument(result);
    expect(headline).toContain("9 tensors waived and left out");
    expect(outcome).toEqual({ word: "written", isWarning: true });
    expect(checks[0]).toEqual({
      name: "every tensor has its place",
      status: "not checked",
      detail: "30 of 39 have a place, 9 waived (--allow-drop); 39 → 30",
    });
  });
});

it("says ✓ where nothing is waived", async () => {
  const { checks, outcome } = convertDocument(await converted(source(), join(scratch(), "out")));
  expect(checks[0]).toMatchObject({ status: "passed", detail: "39 → 39" });
  expect(outcome?.isWarning).toBe(false);
});

describe("a pattern", () => {
  it.each([
    ["model.extras.weight", "model.extra.weight"],
    ["model.layer.*.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight"],
    ["model.layres.1.*", "model.layers.0."],
    ["nothing.like.it.at.all.in.here", null],
  ])("that matches nothing is wrong usage: %s", async (glob, near) => {
    const { code, exitCode, details } = await faultOf(source(extra), ["model.extra.*", glob]);
    expect([code, exitCode, details.found]).toEqual(["DROP_GLOB_UNMATCHED", 2, glob]);
    if (near === null) expect(details.help).not.toContain("nearest");
    else expect(details.help).toContain(`the nearest is "${near}`);
  });

  it("that matches tensors with a place keeps them, and a note says so", async () => {
    const { notes, waived } = await converted(source(extra), join(scratch(), "out"), {
      allowDrop: ["model.norm.weight", "model.extra.weight"],
    });
    expect(waived).toEqual(["model.extra.weight"]);
    expect(notes).toContain('"model.norm.weight" matches --allow-drop and has a place: it is kept');
    const all = await converted(source(extra), join(scratch(), "out"), { allowDrop: ["*"] });
    expect(all.waived).toEqual(["model.extra.weight"]);
    expect(all.notes.join("\n")).toMatch(/ and 38 more match --allow-drop and have a place: they are kept/);
  });

  it("over trainer state, which is left alone anyway, is no mistake", async () => {
    const folder = source((state) =>
      state.set(
        "optimizer.state.norm.weight.exp_avg",
        f32([54], () => 0),
      ),
    );
    const { waived } = await converted(folder, join(scratch(), "out"), { allowDrop: ["optimizer.*"] });
    expect(waived).toEqual([]);
  });
});
