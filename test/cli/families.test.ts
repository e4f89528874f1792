// What is supported, as people and programs read it.
import { expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { nativeNames } from "../helpers/layouts.ts";
import { run } from "./command.ts";

test("each family has its layouts, encodings, flavours, modalities and graphs, in lines that fit a terminal", async () => {
  const { code, stdout } = await run("families", "--no-color");
  expect(code).toBe(0);
  expect(Math.max(...stdout.split("\n").map((line) => line.length))).toBeLessThanOrEqual(100);
  const blocks = new Map(stdout.split("\n\n").map((block) => [block.split("\n", 1)[0], block]));
  for (const adapter of adapters) {
    const block = blocks.get(adapter.family) ?? "";
    for (const name of ["model_type", "flavours", "modalities", "layouts", "encodings", "graphs"])
      expect(block).toMatch(new RegExp(`^${name} `, "m"));
    for (const item of [
      ...nativeNames(adapter),
      ...adapter.modelTypes,
      ...adapter.flavours,
      ...(adapter.encodings ?? []),
    ])
      expect(block).toContain(item);
  }
});

test("as JSON, a family lists the same", async () => {
  const { json } = await run("families", "--json");
  for (const [i, adapter] of adapters.entries()) {
    const { family, layouts, modalities, flavours, encodings = [] } = adapter;
    expect(json.families[i]).toMatchObject({
      family,
      layouts: ["hf", ...nativeNames(adapter)],
      nativeLayouts: layouts.map(({ name, trainer, noGraph }) => ({ name, trainer, graph: noGraph === null, noGraph })),
      graphs: ["native", "hf"],
      modalities,
      flavours,
      encodings,
    });
  }
});

test("no family claims a modality that its inputs refuse: a video has more frames than a grid may have", () => {
  for (const { family, modalities } of adapters) {
    expect(["text", "image"], family).toEqual(expect.arrayContaining([...modalities]));
    expect(modalities, family).toContain("text");
  }
});
