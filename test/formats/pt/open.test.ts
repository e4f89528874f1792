import { expect, test } from "vitest";
import { openTorchFile } from "../../../src/formats/pt/open.ts";
import {
  DCP_FIXTURES,
  expectedOthers,
  expectedTensors,
  plainTensors,
  sorted,
  torchFileCases,
} from "../dcp/expected.ts";

test("there is a case for every way of saving", () => {
  expect(torchFileCases).toEqual(
    expect.arrayContaining([
      "pt-dtypes",
      "pt-legacy",
      "pt-ordered",
      "pt-protocol-4",
      "pt-shared",
      "pt-shared-legacy",
      "pt-zip",
    ]),
  );
});

for (const name of torchFileCases) {
  test(`${name}: every tensor that torch saved, bit for bit`, () => {
    const expected = sorted(expectedTensors(name));
    const file = openTorchFile(`${DCP_FIXTURES}${name}/file.pt`);
    expect(file.format).toBe("pt");
    expect(expected.length).toBeGreaterThan(1);
    expect(sorted(plainTensors(file))).toEqual(expected);
    expect(sorted(plainTensors(file, 5))).toEqual(expected);
    expect(file.others.map(({ key }) => key).sort()).toEqual(expectedOthers(name));
    file.verify();
    file.close();
  });
}

test("entries that are no tensors say what they are", () => {
  const file = openTorchFile(`${DCP_FIXTURES}pt-zip/file.pt`);
  const kinds = Object.fromEntries(file.others.map(({ key, kind }) => [key, kind]));
  expect(kinds).toEqual({
    "args.bytes": "bytes",
    "args.flags": "list",
    "args.lr": "number",
    "args.name": "string",
    "args.seed": "number",
    empty: "dict",
    "layers.1.1": "string",
    "optimizer.param_groups": "list",
  });
  expect(file.paths?.get("optimizer.state.0.exp_avg")).toEqual(["optimizer", "state", "0", "exp_avg"]);
  file.close();
});

test("a zip file without any CRC-32 is read, and says so; one zero among them is a fault", () => {
  const checked = openTorchFile(`${DCP_FIXTURES}pt-zip/file.pt`);
  expect(checked.notChecked?.()).toBeNull();
  checked.close();
  const legacy = openTorchFile(`${DCP_FIXTURES}pt-legacy/file.pt`);
  expect(legacy.notChecked?.()).toBeNull();
  legacy.close();
  const unchecked = openTorchFile(`${DCP_FIXTURES}pt-unchecked/file.pt`);
  expect(unchecked.notChecked?.()).toBe("the file was saved without CRC-32: a changed bit would not show");
  unchecked.close();
});
