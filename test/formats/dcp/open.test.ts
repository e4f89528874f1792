import { cpSync } from "node:fs";
import { expect, test } from "vitest";
import { openDcp } from "../../../src/formats/dcp/open.ts";
import { type Fields, PickleWriter } from "../../../src/formats/pickle/write.ts";
import { scratch } from "../../helpers/scratch.ts";
import { DCP_FIXTURES, dcpCases, expectedOthers, expectedTensors, plainTensors, sorted } from "./expected.ts";
import { edit, pickleOf, u32, withPayload, writeGood, zipOf } from "./tamper.ts";

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

test("metadata may name classes that say nothing of the tensors, as Megatron's do", () => {
  const directory = writeGood(scratch());
  edit(directory, ".metadata", (bytes) => {
    const item = "ctorch.distributed.checkpoint.planner\nWriteItem\n)\x81}b";
    const type = "ctorch.distributed.checkpoint.planner\nWriteItemType\nK\x02\x85R";
    const field = pickleOf("X", u32(15), "all_local_plans", "](", item, type, "e");
    return Buffer.concat([bytes.subarray(0, -3), field, bytes.subarray(-3)]);
  });
  const checkpoint = openDcp(directory);
  expect([...checkpoint.tensors.keys()]).toEqual(["a.weight", "b.weight"]);
  checkpoint.close();
});

test("payloads without CRC-32 are read; that they could not be checked shows once they are open", () => {
  const checkpoint = openDcp(`${DCP_FIXTURES}unchecked/ckpt`);
  checkpoint.sample?.();
  expect(checkpoint.notChecked?.()).toBe("the file was saved without CRC-32: a changed bit would not show");
  checkpoint.close();
  const checked = openDcp(`${DCP_FIXTURES}entries/ckpt`);
  checked.verify();
  expect(checked.notChecked?.()).toBeNull();
  checked.close();
});

test("a sample opens one payload of each kind, and finds what opening finds", () => {
  const bad = openDcp(withPayload(scratch(), zipOf({ "archive/data.pkl": pickleOf("\x80\x02c__main__\nX\n)\x81.") })));
  expect(() => bad.sample?.()).toThrow("its payload holds a __main__.X instead of a tensor");
  bad.close();
  const good = openDcp(`${DCP_FIXTURES}dtypes/ckpt`);
  good.sample?.();
  good.close();
});

test("an entry that cannot be looked into is a fault of that entry", () => {
  const directory = scratch();
  cpSync(`${DCP_FIXTURES}entries-unflattened/ckpt`, directory, { recursive: true });
  edit(directory, "__0_0.distcp", (bytes) =>
    Buffer.from(bytes.toString("latin1").replaceAll("_rebuild_tensor_v2", "_rebuild_qtensor\n\n"), "latin1"),
  );
  const checkpoint = openDcp(directory);
  expect(checkpoint.others.filter(({ fault }) => fault !== undefined).map(({ key }) => key)).toEqual(["model", "list"]);
  checkpoint.close();
});

test("a thousand entries that cannot be looked into are no checkpoint", () => {
  const names = Array.from({ length: 1001 }, (_, i) => `entry${i}`);
  const directory = writeGood(scratch());
  const md = "torch.distributed.checkpoint.metadata";
  edit(directory, ".metadata", () => {
    const w = new PickleWriter();
    const info: Fields<null> = [
      ["relative_path", () => w.text("__0_0.distcp")],
      ["offset", () => w.int(0)],
      ["length", () => w.int(0)],
    ];
    const entries = () =>
      w.dict(names, (name) => {
        w.text(name);
        w.build(`${md} BytesStorageMetadata`);
      });
    const places = () =>
      w.dict(names, (name) => {
        w.instance(`${md} MetadataIndex`, [["fqn", () => w.text(name)]], null);
        w.instance("torch.distributed.checkpoint.filesystem _StorageInfo", info, null);
      });
    const fields: Fields<null> = [
      ["state_dict_metadata", entries],
      ["storage_data", places],
    ];
    w.instance(`${md} Metadata`, fields, null);
    return w.end();
  });
  expect(() => openDcp(directory)).toThrow("has no zip end record");
});
