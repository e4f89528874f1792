import { expect, test } from "vitest";
import { openDcp } from "../../../src/formats/dcp/open.ts";
import { DCP_FIXTURES, dcpCases, expectedOthers, expectedTensors, plainTensors, sorted } from "./expected.ts";

test("there is a case for every way of saving", () => {
  expect(dcpCases).toEqual(
    expect.arrayContaining([
      "dtypes",
      "file-per-item",
      "fsdp",
      "fsdp-tp",
      "grid",
      "hsdp",
      "nested",
      "no-collectives",
      "strided",
    ]),
  );
});

for (const name of dcpCases) {
  test(`${name}: every tensor that torch saved, bit for bit`, () => {
    const expected = sorted(expectedTensors(name));
    const checkpoint = openDcp(`${DCP_FIXTURES}${name}/ckpt`);
    expect(checkpoint.format).toBe("dcp");
    expect(expected.length).toBeGreaterThan(1);
    expect(sorted(plainTensors(checkpoint))).toEqual(expected);
    // Pieces that begin and end inside elements, rows and chunks.
    expect(sorted(plainTensors(checkpoint, 7))).toEqual(expected);
    expect(checkpoint.others.map(({ key }) => key).sort()).toEqual(expectedOthers(name));
    checkpoint.verify();
    checkpoint.close();
  });
}

test("names keep the path they had in the state dict", () => {
  const checkpoint = openDcp(`${DCP_FIXTURES}nested/ckpt`);
  expect(checkpoint.paths?.get("model.up.weight")).toEqual(["model", "up.weight"]);
  expect(checkpoint.paths?.get("blocks.1.w")).toEqual(["blocks", 1, "w"]);
  checkpoint.close();
});

test("a closed checkpoint can't be read", () => {
  const checkpoint = openDcp(`${DCP_FIXTURES}grid/ckpt`);
  checkpoint.close();
  expect(() => checkpoint.read("plain", 0, new Uint8Array(4))).toThrow("closed");
});
