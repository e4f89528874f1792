// Every broken or hostile DCP folder and torch file that we know of. Shared with the tests of the command line.
import { mkdirSync, renameSync, rmSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { PickleWriter } from "../../../src/formats/pickle/write.ts";
import { BROKEN_PICKLE_INPUTS } from "./broken-pickles.ts";
import {
  type BrokenInput,
  edit,
  payloadZip,
  pickleOf,
  tensorPickle,
  withMetadata,
  withPayload,
  writeFile,
  writeGood,
  writeTensor,
  zipOf,
} from "./tamper.ts";

export type { BrokenInput } from "./tamper.ts";

const flip = (bytes: Buffer, at: number): Buffer => {
  bytes[at] = bytes[at]! ^ 0x10;
  return bytes;
};

/** Where the central directory entry of a record begins. */
const centralEntry = (bytes: Buffer, record: string): number => bytes.lastIndexOf(record) - 46;

const FOLDERS: readonly BrokenInput[] = [
  {
    name: "no .metadata",
    code: "DCP_UNFINISHED",
    write: (directory) => {
      rmSync(join(writeGood(directory), ".metadata"));
      return directory;
    },
  },
  {
    name: ".metadata.tmp only",
    code: "DCP_UNFINISHED",
    write: (directory) => {
      renameSync(join(writeGood(directory), ".metadata"), join(directory, ".metadata.tmp"));
      return directory;
    },
  },
  {
    name: "a file is missing",
    code: "FILE_MISSING",
    write: (directory) => {
      rmSync(join(writeGood(directory), "__1_0.distcp"));
      return directory;
    },
  },
  {
    name: "a file is truncated",
    code: "DCP_FILE_TRUNCATED",
    write: (directory) => {
      truncateSync(join(writeGood(directory), "__1_0.distcp"), 700);
      return directory;
    },
  },
  {
    name: "a folder in place of a file",
    code: "NOT_A_FILE",
    write: (directory) => {
      rmSync(join(writeGood(directory), "__1_0.distcp"));
      mkdirSync(join(directory, "__1_0.distcp"));
      return directory;
    },
  },
  {
    name: "ranks that disagree on a shape",
    code: "DCP_RANKS_DIFFER",
    write: (directory) => {
      withMetadata(directory, () => ({ shape: [8, 3] }));
      renameSync(join(directory, ".metadata"), join(directory, "__1.metadata"));
      withMetadata(directory, () => ({}));
      renameSync(join(directory, ".metadata"), join(directory, "__0.metadata"));
      return directory;
    },
  },
];

const described = (name: string, code: string, change: Parameters<typeof withMetadata>[1]): BrokenInput => ({
  name,
  code,
  write: (directory) => withMetadata(directory, change),
});

const METADATA: readonly BrokenInput[] = [
  described("a hole between chunks", "DCP_CHUNK_HOLE", () => ({ shape: [5, 3] })),
  described("no chunks at all", "DCP_CHUNK_HOLE", () => ({ chunks: [] })),
  described("chunks that overlap", "DCP_CHUNK_OVERLAP", (_, payload) => ({
    chunks: [
      { offsets: [0, 0], sizes: [3, 3], payload },
      { offsets: [2, 0], sizes: [2, 3], payload },
    ],
  })),
  described("an overlap and a hole of one size", "DCP_CHUNK_OVERLAP", (_, payload) => ({
    chunks: [
      { offsets: [0, 0], sizes: [2, 3], payload },
      { offsets: [1, 0], sizes: [2, 3], payload },
    ],
  })),
  described("a chunk that leaves its tensor", "DCP_CHUNK_BOUNDS", (_, payload) => ({
    chunks: [{ offsets: [1, 0], sizes: [4, 3], payload }],
  })),
  described("a chunk of another rank", "DCP_CHUNK_BOUNDS", (_, payload) => ({
    chunks: [{ offsets: [0], sizes: [12], payload }],
  })),
  described("two chunks at one offset", "DCP_INDEX", (_, payload) => ({
    chunks: [
      { offsets: [0, 0], sizes: [4, 3], payload },
      { offsets: [0, 0], sizes: [4, 3], payload },
    ],
  })),
  described("two tensors in the same bytes", "DCP_PAYLOAD_OVERLAP", (tensor) => [tensor, { ...tensor, key: "copy" }]),
  described("one name twice", "DCP_INDEX", (tensor) => [tensor, tensor]),
  described("a path with ..", "DCP_PATH", (tensor, payload) => ({
    chunks: [{ ...tensor.chunks[0]!, payload: { ...payload, file: "../__0_0.distcp" } }],
  })),
  described("a path with .. further in", "DCP_PATH", (tensor, payload) => ({
    chunks: [{ ...tensor.chunks[0]!, payload: { ...payload, file: "ranks/../../__0_0.distcp" } }],
  })),
  described("an absolute path", "DCP_PATH", (tensor, payload) => ({
    chunks: [{ ...tensor.chunks[0]!, payload: { ...payload, file: "/etc/passwd" } }],
  })),
  described("an absolute path of Windows", "DCP_PATH", (tensor, payload) => ({
    chunks: [{ ...tensor.chunks[0]!, payload: { ...payload, file: "C:\\secret" } }],
  })),
  described("an empty path", "DCP_PATH", (tensor, payload) => ({
    chunks: [{ ...tensor.chunks[0]!, payload: { ...payload, file: "" } }],
  })),
  described("a dtype that the payload does not have", "DCP_PAYLOAD_DTYPE", () => ({ dtype: "I32" })),
  described("a shape that the payload does not have", "DCP_PAYLOAD_SHAPE", (tensor) => ({
    shape: [2, 6],
    chunks: [{ ...tensor.chunks[0]!, sizes: [2, 6] }],
  })),
  described("a negative size", "DCP_ENTRY", () => ({ shape: [-4, 3] })),
  described("a negative chunk size", "DCP_CHUNKS", (tensor) => ({
    chunks: [{ ...tensor.chunks[0]!, sizes: [-4, -3] }],
  })),
  described("a negative offset in a file", "DCP_STORAGE_INFO", (tensor, payload) => ({
    chunks: [{ ...tensor.chunks[0]!, payload: { ...payload, offset: -1 } }],
  })),
  described("an offset beyond the file", "DCP_FILE_TRUNCATED", (tensor, payload) => ({
    chunks: [{ ...tensor.chunks[0]!, payload: { ...payload, offset: 2 ** 40 } }],
  })),
  described("more elements than can be counted", "DCP_SHAPE", (tensor) => ({
    shape: [2 ** 40, 2 ** 40],
    chunks: [{ ...tensor.chunks[0]!, sizes: [2 ** 40, 2 ** 40] }],
  })),
  described("a payload cut short by its length", "ZIP_END_MISSING", (tensor, payload) => ({
    chunks: [{ ...tensor.chunks[0]!, payload: { ...payload, length: payload.length - 1 } }],
  })),
];

const inPayload = (name: string, code: string, zip: () => Uint8Array): BrokenInput => ({
  name,
  code,
  write: (directory) => withPayload(directory, zip()),
});

const PAYLOADS: readonly BrokenInput[] = [
  {
    name: "one bit of a tensor flipped",
    code: "CRC_MISMATCH",
    write: (directory) =>
      edit(writeGood(directory), "__0_0.distcp", (bytes) => flip(bytes, bytes.indexOf(Buffer.from([11, 48, 85])) + 5)),
  },
  {
    name: "one bit of a payload's pickle flipped",
    code: "CRC_MISMATCH",
    write: (directory) => edit(writeGood(directory), "__0_0.distcp", (bytes) => flip(bytes, bytes.indexOf("storage"))),
  },
  inPayload("strides beyond the storage", "TENSOR_PICKLE", () => payloadZip(tensorPickle({ strides: [4, 1] }))),
  inPayload("an offset beyond the storage", "TENSOR_PICKLE", () => payloadZip(tensorPickle({ offset: 1 }))),
  inPayload("negative strides", "TENSOR_PICKLE", () => payloadZip(tensorPickle({ strides: [-3, 1] }))),
  inPayload("fewer strides than sizes", "TENSOR_PICKLE", () => payloadZip(tensorPickle({ strides: [1] }))),
  inPayload("a size that overflows", "TENSOR_PICKLE", () =>
    payloadZip(tensorPickle({ shape: [2 ** 32, 2 ** 32], strides: [0, 0] })),
  ),
  inPayload("a storage larger than any file", "TENSOR_PICKLE", () => payloadZip(tensorPickle({ count: 2 ** 53 - 1 }))),
  inPayload("a storage class without a dtype here", "DTYPE_UNSUPPORTED", () =>
    payloadZip(tensorPickle({ storageClass: "torch QInt8Storage" })),
  ),
  inPayload("a storage class that is none", "TENSOR_PICKLE", () =>
    payloadZip(tensorPickle({ storageClass: "torch nn" })),
  ),
  inPayload("a negation that was put off", "TENSOR_PICKLE", () =>
    payloadZip(
      tensorPickle({
        metadata: (w) =>
          w.dict(["neg"], (name) => {
            w.text(name);
            w.bool(true);
          }),
      }),
    ),
  ),
  inPayload("a storage that is missing", "STORAGE_MISSING", () => payloadZip(tensorPickle({ storageKey: "1" }))),
  inPayload("a storage of another size", "STORAGE_SIZE", () => payloadZip(tensorPickle(), new Uint8Array(52))),
  inPayload("a number in place of a tensor", "DCP_PAYLOAD", () => payloadZip(pickleOf("\x80\x02K\x07."))),
  inPayload("big-endian data", "BYTE_ORDER", () =>
    zipOf({ "archive/data.pkl": tensorPickle(), "archive/byteorder": "big", "archive/data/0": new Uint8Array(48) }),
  ),
  inPayload("a deflated record", "ZIP_COMPRESSED", () => {
    const zip = payloadZip(tensorPickle());
    zip.writeUInt16LE(8, centralEntry(zip, "archive/data/0") + 10);
    return zip;
  }),
  inPayload("an encrypted record", "ZIP_COMPRESSED", () => {
    const zip = payloadZip(tensorPickle());
    zip.writeUInt16LE(0x801, centralEntry(zip, "archive/data/0") + 8);
    return zip;
  }),
  inPayload("two different sizes of a record", "ZIP_SIZE", () => {
    const zip = payloadZip(tensorPickle());
    zip.writeUInt32LE(47, centralEntry(zip, "archive/data/0") + 20);
    return zip;
  }),
  inPayload("a record beyond the file", "ZIP_BOUNDS", () => {
    const zip = payloadZip(tensorPickle());
    zip.writeUInt32LE(1 << 30, centralEntry(zip, "archive/data/0") + 42);
    return zip;
  }),
  inPayload("a record without local header", "ZIP_LOCAL_HEADER", () => {
    const zip = payloadZip(tensorPickle());
    zip.writeUInt32LE(1, centralEntry(zip, "archive/data/0") + 42);
    return zip;
  }),
  inPayload("a damaged zip directory", "ZIP_DIRECTORY", () => {
    const zip = payloadZip(tensorPickle());
    return flip(zip, centralEntry(zip, "archive/data/0"));
  }),
  inPayload("a zip directory outside the file", "ZIP_DIRECTORY_BOUNDS", () => {
    const zip = payloadZip(tensorPickle());
    zip.writeBigUInt64LE(2n ** 40n, zip.length - 22 - 20 - 56 + 48);
    return zip;
  }),
  inPayload("a zip64 end record elsewhere", "ZIP_END64", () => {
    const zip = payloadZip(tensorPickle());
    zip.writeBigUInt64LE(3n, zip.length - 22 - 20 + 8);
    return zip;
  }),
  inPayload("a zip number beyond 2^53", "ZIP_NUMBER", () => {
    const zip = payloadZip(tensorPickle());
    zip.writeBigUInt64LE(2n ** 60n, zip.length - 22 - 20 - 56 + 40);
    return zip;
  }),
  inPayload("a zip without pickle", "TORCH_NO_PICKLE", () => zipOf({ "archive/data/0": new Uint8Array(48) })),
  inPayload("two pickles", "TORCH_NO_PICKLE", () =>
    zipOf({ "a/data.pkl": tensorPickle(), "b/data.pkl": tensorPickle() }),
  ),
  inPayload("bytes that are no zip", "ZIP_END_MISSING", () => Buffer.alloc(500, 7)),
];

const inTorchFile = (name: string, code: string, bytes: () => Uint8Array): BrokenInput => ({
  name,
  code,
  write: (directory) => join(writeFile(directory, "file.pt", bytes()), "file.pt"),
});

const zipped = (pickle: Uint8Array): Buffer => zipOf({ "file/data.pkl": pickle, "file/data/0": new Uint8Array(48) });

/** Forty tuples of two, each twice the one before: 2^40 values in some 200 bytes. */
const laughs = (): Buffer =>
  pickleOf("\x80\x02K\x01", ...Array.from({ length: 40 }, (_, i) => pickleOf("q", i, "h", i, "\x86")), ".");

const LEGACY_MAGIC = "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
const LEGACY_HEAD = `${LEGACY_MAGIC}\x80\x02M\xe9\x03.`;
const LEGACY_SYSTEM = "\x80\x02}X\x0d\0\0\0little_endian\x88s.";

function twoTensors(first: string, second: readonly string[]): Uint8Array {
  const w = new PickleWriter();
  const nest = (path: readonly string[]): void => {
    const [name, ...rest] = path;
    if (name === undefined) writeTensor(w, {});
    else
      w.dict([name], (key) => {
        w.text(key);
        nest(rest);
      });
  };
  w.dict([[first], second], ([name, ...rest]) => {
    w.text(name!);
    nest(rest);
  });
  return w.end();
}

const TORCH_FILES: readonly BrokenInput[] = [
  inTorchFile("a billion laughs", "PICKLE_EXPANSION", () => zipped(laughs())),
  inTorchFile("a hundred thousand nested tuples", "PICKLE_NESTING", () =>
    zipped(pickleOf("\x80\x02)", "\x85".repeat(100_000), ".")),
  ),
  inTorchFile("a list that holds itself", "PICKLE_NESTING", () => zipped(pickleOf("\x80\x02]q\0h\0a."))),
  inTorchFile("two values of one name", "DUPLICATE_NAME", () => zipped(twoTensors("a.b", ["a", "b"]))),
  inTorchFile("a storage without a tensor", "NO_TENSORS", () => zipped(pickleOf("\x80\x02K\x01Q."))),
  inTorchFile("an object that holds a tensor", "OBJECT_HOLDS_TENSORS", () =>
    zipped(pickleOf("\x80\x02c__main__\nM\n)\x81}X\x01\0\0\0w", tensorPickle().subarray(2, -1), "sb.")),
  ),
  inTorchFile("a tensor of a class of its own", "TENSOR_SUBCLASS", () =>
    zipped(
      pickleOf(
        "\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\n",
        "c__main__\nSub\n))tR.",
      ),
    ),
  ),
  inTorchFile("the CRC-32 of the data taken out", "CRC_MISMATCH", () => {
    const bytes = payloadZip(tensorPickle());
    bytes.writeUInt32LE(0, centralEntry(bytes, "archive/data/0") + 16);
    return bytes;
  }),
  inTorchFile("the CRC-32 of the pickle alone left", "CRC_MISMATCH", () => {
    const bytes = payloadZip(tensorPickle());
    for (const record of ["byteorder", "data/0", "version"])
      bytes.writeUInt32LE(0, centralEntry(bytes, `archive/${record}`) + 16);
    return bytes;
  }),
  inTorchFile("a TorchScript program", "TORCH_SCRIPT", () =>
    zipOf({ "file/data.pkl": pickleOf("\x80\x02)."), "file/constants.pkl": pickleOf("\x80\x02).") }),
  ),
  inTorchFile("no format of torch's", "TORCH_FORMAT", () => Buffer.from("hello, world")),
  inTorchFile("an empty file", "TORCH_FORMAT", () => Buffer.alloc(0)),
  inTorchFile("a cut-off zip file", "ZIP_END_MISSING", () => zipped(tensorPickle()).subarray(0, 300)),
  inTorchFile("a pickle of someone else", "TORCH_MAGIC", () => pickleOf("\x80\x02K\x01.")),
  inTorchFile("a legacy file of another protocol", "TORCH_PROTOCOL", () => pickleOf(LEGACY_MAGIC, "\x80\x02K\x05.")),
  inTorchFile("a legacy file of a big-endian machine", "BYTE_ORDER", () =>
    pickleOf(LEGACY_HEAD, LEGACY_SYSTEM.replace("\x88", "\x89")),
  ),
  inTorchFile("a legacy file that calls os.system", "PICKLE_GLOBAL", () =>
    pickleOf(LEGACY_HEAD, LEGACY_SYSTEM, "\x80\x02cposix\nsystem\n."),
  ),
  inTorchFile("a legacy file cut off in a pickle", "PICKLE_TRUNCATED", () =>
    pickleOf(LEGACY_HEAD, LEGACY_SYSTEM, "\x80\x02}"),
  ),
  inTorchFile("a legacy file cut off in its data", "TORCH_TRUNCATED", () =>
    pickleOf(
      LEGACY_HEAD,
      LEGACY_SYSTEM,
      tensorPickle(),
      "\x80\x02]X\x01\0\0\x000a.",
      "\x0c\0\0\0\0\0\0\0",
      Buffer.alloc(47),
    ),
  ),
  inTorchFile("a legacy file with more than its data", "TORCH_TRAILING", () =>
    pickleOf(
      LEGACY_HEAD,
      LEGACY_SYSTEM,
      tensorPickle(),
      "\x80\x02]X\x01\0\0\x000a.",
      "\x0c\0\0\0\0\0\0\0",
      Buffer.alloc(49),
    ),
  ),
  inTorchFile("a legacy file with a storage of nobody's", "TORCH_KEYS", () =>
    pickleOf(LEGACY_HEAD, LEGACY_SYSTEM, "\x80\x02}.", "\x80\x02]X\x01\0\0\x000a."),
  ),
  inTorchFile("a legacy file without its storage", "STORAGE_MISSING", () =>
    pickleOf(LEGACY_HEAD, LEGACY_SYSTEM, tensorPickle(), "\x80\x02]."),
  ),
  {
    name: "one bit of a .pt flipped",
    code: "CRC_MISMATCH",
    write: (directory) => {
      const data = new Uint8Array(48).fill(7);
      const zip = zipOf({ "file/data.pkl": tensorPickle(), "file/data/0": data });
      return join(writeFile(directory, "file.pt", flip(zip, zip.indexOf(data) + 5)), "file.pt");
    },
  },
];

/** DCP folders, and torch files, by what is wrong with them. */
export const BROKEN_INPUTS: readonly BrokenInput[] = [
  ...FOLDERS,
  ...METADATA,
  ...PAYLOADS,
  ...TORCH_FILES,
  ...BROKEN_PICKLE_INPUTS,
];
