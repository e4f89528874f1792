import { mkdtempSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openSafetensors } from "../../../src/formats/safetensors/open.ts";
import { planSafetensorsAgain } from "../../../src/formats/safetensors/write.ts";
import { goodSharded, INDEX, rawFile, writeAll } from "./broken.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "safetensors-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const b16 = '{"dtype":"BF16","shape":[2],"data_offsets":[4,8]}';
const f32 = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}';

function open(path: string) {
  const checkpoint = openSafetensors(path);
  const read = (key: string, begin: number, end: number) => {
    const target = Buffer.alloc(end - begin);
    checkpoint.read(key, begin, target);
    return target.toString();
  };
  checkpoint.verify();
  return { checkpoint, read, keys: [...checkpoint.tensors.keys()] };
}

describe("a file", () => {
  it("gives tensors in the order of their data, and any range of bytes", () => {
    writeAll(folder, { "x.safetensors": rawFile(`{"b":${b16},"a":${f32}}`, "abcdefgh") });
    const { checkpoint, read, keys } = open(join(folder, "x.safetensors"));
    expect(keys).toEqual(["a", "b"]);
    expect(checkpoint.tensors.get("b")).toEqual({ key: "b", dtype: "BF16", shape: [2], byteLength: 4 });
    expect([read("a", 0, 4), read("b", 0, 4), read("b", 1, 3), read("b", 4, 4)]).toEqual(["abcd", "efgh", "fg", ""]);
    expect(() => read("b", 1, 5)).toThrow(RangeError);
    expect(() => read("c", 0, 1)).toThrow(RangeError);
    checkpoint.close();
  });

  it("is not canonical with other order, padding or metadata spelling, and is still written again as it was", () => {
    const headers = [
      `{"b":${b16},"a":${f32}}`,
      `{"a":${f32},"b":${b16}}\n\t `,
      `{"a":${f32}, "b":${b16}}`,
      `{"a":${f32},"b":${b16},"__metadata__":{"x":"y"}}`,
      `{"__metadata__":null,"a":${f32},"b":${b16}}`,
      `{"__metadata__":{"10":"x","9":"y"},"a":${f32},"b":${b16}}`,
      `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"extra":[1.5]},"b":${b16}}`,
    ];
    for (const text of headers) {
      const path = join(folder, "model.safetensors");
      const bytes = rawFile(text, "abcdefgh");
      writeFileSync(path, bytes);
      const { checkpoint } = open(path);
      const origin = checkpoint.safetensors ?? expect.fail();
      expect(origin.files[0]).toMatchObject({ canonical: false, header: text });
      const [file] = planSafetensorsAgain([...checkpoint.tensors.values()], origin);
      const [header, ...rest] = file?.parts ?? [];
      expect(header?.kind === "bytes" && Buffer.from(header.bytes)).toEqual(bytes.subarray(0, -8));
      expect(rest.map((part) => part.kind === "tensor" && part.key)).toEqual(["a", "b"]);
      checkpoint.close();
    }
  });

  it("keeps metadata, awkward keys included", () => {
    const metadata = '{"format":"pt","__proto__":"x","":"é"}';
    writeAll(folder, { "model.safetensors": rawFile(`{"__metadata__":${metadata}}`.padEnd(64)) });
    const { checkpoint } = open(folder);
    expect(JSON.stringify(checkpoint.safetensors?.files[0]?.metadata)).toBe(metadata);
    checkpoint.close();
  });

  it("may hold a shape beyond 2^53 elements before a zero", () => {
    const shape = `{"dtype":"F32","shape":[1099511627776,1048576,0],"data_offsets":[0,0]}`;
    writeAll(folder, { "model.safetensors": rawFile(`{"a":${shape}}`) });
    const { checkpoint } = open(folder);
    expect(checkpoint.tensors.get("a")?.byteLength).toBe(0);
    checkpoint.close();
  });

  it("that shrinks after opening is an error that names it", () => {
    writeAll(folder, { "model.safetensors": rawFile(`{"a":${f32},"b":${b16}}`, "abcdefgh") });
    const { checkpoint, read } = open(folder);
    truncateSync(join(folder, "model.safetensors"), 120);
    expect(() => read("b", 0, 4)).toThrow(/model\.safetensors: the file became shorter/);
    checkpoint.close();
  });
});

describe("a directory", () => {
  it("with shards: tensors of all files, the index kept as text", () => {
    writeAll(folder, goodSharded);
    for (const path of [folder, join(folder, INDEX)]) {
      const { checkpoint, read, keys } = open(path);
      expect(keys).toEqual(["a", "b"]);
      expect([read("a", 0, 4), read("b", 2, 4)]).toEqual(["1234", "34"]);
      expect(checkpoint.path).toBe(path);
      expect(checkpoint.safetensors?.index).toEqual({ name: INDEX, text: readFileSync(join(folder, INDEX), "utf8") });
      expect(checkpoint.safetensors?.files.map(({ keys }) => keys)).toEqual([["a"], ["b"]]);
      checkpoint.close();
    }
  });

  // A link may lead out of the folder, a name in the index may not: the cache is the user's own, an index is downloaded.
  it("whose shards are links, as in the cache of huggingface_hub", () => {
    writeAll(folder, goodSharded);
    const index = '{"weight_map":{"a":"part.safetensors"}}';
    writeAll(folder, { "blobs/1": rawFile(`{"a":${f32}}`, "link"), [`snapshot/${INDEX}`]: index });
    symlinkSync("../blobs/1", join(folder, "snapshot/part.safetensors"));
    const { checkpoint, read } = open(join(folder, "snapshot"));
    expect(read("a", 0, 4)).toBe("link");
    checkpoint.close();
  });

  it.each([
    ["model.safetensors before other names", ["model.safetensors", "x.safetensors", "y.safetensors"]],
    ["the only file of another name", ["x.safetensors"]],
    ["a shard that is the only one of one", ["model-00001-of-00001.safetensors"]],
  ])("%s", (_, names) => {
    writeAll(folder, Object.fromEntries(names.map((name, i) => [name, rawFile(`{"t${i}":${f32}}`, "1234")])));
    const { checkpoint, keys } = open(folder);
    expect(keys).toEqual(["t0"]);
    checkpoint.close();
  });

  it.each([
    ["an index before files of other names", goodSharded],
    ["an index whose only shard is the single file", { [INDEX]: '{"weight_map":{"a":"model.safetensors"}}' }],
  ])("%s", (_, files) => {
    const file = rawFile(`{"a":${f32}}`, "1234");
    const single = files === goodSharded ? "consolidated.safetensors" : "model.safetensors";
    writeAll(folder, { ...files, [single]: file });
    const { checkpoint } = open(folder);
    expect(checkpoint.safetensors?.index?.name).toBe(INDEX);
    checkpoint.close();
  });
});
