import { describe, expect, test } from "vitest";
import { checkImages } from "../../../src/parity/inputs/file.ts";
import { randomInputs } from "../../../src/parity/inputs/random.ts";

const limits = { vocabSize: 300, maxPositions: 4096 };
const vision = { patchDim: 96, mergeSize: 2, imageToken: 7, around: [9, 10], reserved: [7, 8, 9, 10] } as const;
const kinds = [
  ["tokens around an image", vision],
  ["none around it", { ...vision, around: null, reserved: [7, 8] }],
  ["patches merged by three", { ...vision, mergeSize: 3 }],
] as const;

describe.each(kinds)("a model that sees, %s", (_, taken) => {
  const { input, about } = randomInputs({}, { ...limits, vision: taken });
  const { ids_T: ids, images } = input;

  test("gets at least 512 tokens, two images of different grids among them", () => {
    expect(about).toEqual({ kind: "random", tokens: 512, seed: 0, images: 2 });
    expect(ids).toHaveLength(512);
    const [first, second] = images!.grids;
    expect(images!.grids).toHaveLength(2);
    expect(first![1] * second![2]).not.toBe(first![2] * second![1]);
    // One is wide, the other high: what mistakes rows for columns shows.
    expect(first![1]).toBeLessThan(first![2]);
    expect(second![1]).toBeGreaterThan(second![2]);
    expect(images!.pixels).toHaveLength(images!.patches * taken.patchDim);
    expect(() => checkImages(ids, images, taken, "random")).not.toThrow();
  });

  test("has text before, between and behind the images, with nothing reserved in it", () => {
    const text = ids.map((id) => !(taken.reserved as readonly number[]).includes(id));
    const runs = text.filter((isText, i) => isText && (i === 0 || !text[i - 1])).length;
    expect(runs).toBe(3);
    const merged = images!.grids.map(([t, h, w]) => (t * h * w) / taken.mergeSize ** 2);
    const around = taken.around === null ? 0 : 2;
    expect(text.filter((isText) => !isText)).toHaveLength(merged[0]! + merged[1]! + 2 * around);
    if (taken.around) expect(ids.filter((id) => id === taken.around[0])).toHaveLength(2);
  });

  test("meets both edges of the vocabulary, and a run of one token", () => {
    expect(ids.slice(0, 2)).toEqual([0, 299]);
    expect(new Set(ids.slice(64, 96)).size).toBe(1);
    expect(Math.max(...ids)).toBe(299);
  });

  test("gets pixels that are standard normal and follow the seed", () => {
    const mean = images!.pixels.reduce((sum, x) => sum + x, 0) / images!.pixels.length;
    const square = images!.pixels.reduce((sum, x) => sum + x * x, 0) / images!.pixels.length;
    expect(Math.abs(mean)).toBeLessThan(0.05);
    expect(square).toBeGreaterThan(0.9);
    expect(square).toBeLessThan(1.1);
    expect(randomInputs({}, { ...limits, vision: taken }).input).toEqual(input);
    expect(randomInputs({ seed: 1 }, { ...limits, vision: taken }).input.images!.pixels).not.toEqual(images!.pixels);
  });
});

test("edges that are reserved give way to ids that text can have", () => {
  const reserved = { ...vision, imageToken: 299, reserved: [299, 0], around: null };
  const { ids_T: ids } = randomInputs({}, { ...limits, vision: reserved }).input;
  expect(ids.slice(0, 2)).toEqual([1, 1]);
  expect(ids).not.toContain(0);
});

test("a context without room for images is said to be so", () => {
  const { input, about } = randomInputs({}, { vocabSize: 12, maxPositions: 30, vision });
  expect(input.images).toBeUndefined();
  expect(about).toMatchObject({ tokens: 30, note: "the model's context is 30 tokens: no room for images" });
  for (const id of vision.reserved) expect(input.ids_T).not.toContain(id);
});
