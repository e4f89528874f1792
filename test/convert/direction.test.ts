// Where a conversion goes that was told only where from and where to.
import { join } from "node:path";
import { expect, it } from "vitest";
import { convertDocument } from "../../src/report/views/convert.ts";
import { readState, writeDcp } from "../helpers/checkpoints.ts";
import { converted, hashes, sorted } from "../helpers/converted.ts";
import { fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

const { hf, native } = fixture("llama3/split");
const config = join(hf, "config.json");

it("HF keys in DCP, .pt and pytorch_model.bin become a Hugging Face folder", async () => {
  const home = scratch();
  const dcp = writeDcp(join(home, "dcp"), readState(hf), { config });
  await converted(hf, join(home, "model.pt"), { to: "hf" });
  for (const source of [dcp, join(home, "model.pt")]) {
    const target = join(home, `of-${source.endsWith("dcp") ? "dcp" : "pt"}`);
    const result = await converted(source, target, { config: hf });
    expect(result.from.layout).toBe("hf");
    expect(result.to).toMatchObject({ layout: "hf", format: "safetensors" });
    expect(result.notes.join()).toContain("--to torchtitan writes the trainer's layout");
    expect(sorted(hashes(target))).toEqual(sorted(hashes(hf)));
  }
  const there = await converted(dcp, join(home, "native"), { to: "torchtitan" });
  expect(there.to).toMatchObject({ layout: "torchtitan", format: "dcp" });
  expect(there.notes.join()).not.toContain("the trainer's layout");
});

it("HF's own safetensors become torchtitan's DCP, and that comes back; the last line names what was written", async () => {
  const home = scratch();
  const there = await converted(hf, join(home, "there"));
  expect(there.to).toMatchObject({ layout: "torchtitan", format: "dcp" });
  expect(convertDocument(there).headline).toMatch(/there: torchtitan layout, dcp, \d+ tensors, /);
  const back = await converted(native, join(home, "back"), { config: hf });
  expect(convertDocument(back).headline).toMatch(/back: hf layout, safetensors, \d+ tensors, /);
});
