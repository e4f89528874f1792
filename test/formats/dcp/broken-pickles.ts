// Hostile and damaged pickles, each of which stands once as `.metadata` and once inside a payload or a `.pt`.
import { join } from "node:path";
import { type BrokenInput, pickleOf, u32, withPayload, writeFile, zipOf } from "./tamper.ts";

interface BrokenPickle {
  readonly name: string;
  readonly code: string;
  /** @param marker a file that the pickle would create if it were executed */
  readonly pickle: (marker: string) => Uint8Array;
}

const PROTO = "\x80\x02";
const text = (value: string): Buffer => pickleOf("X", u32(Buffer.byteLength(value)), value);

export const BROKEN_PICKLES: readonly BrokenPickle[] = [
  {
    name: "calls os.system",
    code: "PICKLE_GLOBAL",
    pickle: (marker) => pickleOf(PROTO, "cposix\nsystem\n", text(`touch ${marker}`), "\x85R."),
  },
  {
    name: "calls builtins.eval",
    code: "PICKLE_GLOBAL",
    pickle: (marker) => pickleOf(PROTO, "c__builtin__\neval\n", text(`open(${JSON.stringify(marker)}, 'w')`), "\x85R."),
  },
  {
    name: "names os.system on its stack, protocol 4",
    code: "PICKLE_GLOBAL",
    pickle: (marker) => pickleOf("\x80\x04\x8c\x02os\x8c\x06system\x93", text(`touch ${marker}`), "\x85R."),
  },
  {
    name: "makes an instance with INST",
    code: "PICKLE_OPCODE",
    pickle: (marker) => pickleOf("(S'touch ", marker, "'\niposix\nsystem\n."),
  },
  {
    name: "makes an instance with OBJ",
    code: "PICKLE_OPCODE",
    pickle: (marker) => pickleOf(PROTO, "(", text(marker), "o."),
  },
  { name: "uses an extension code", code: "PICKLE_OPCODE", pickle: () => pickleOf(PROTO, "\x82\x01.") },
  { name: "calls with keywords", code: "PICKLE_TYPE", pickle: () => pickleOf("\x80\x04ctorch\nSize\n)}\x92.") },
  {
    name: "has an integer of 4 GiB",
    code: "PICKLE_NUMBER",
    pickle: () => pickleOf(PROTO, "\x8b", u32(0xffffffff), "."),
  },
  {
    name: "claims bytes of 2^64",
    code: "PICKLE_TRUNCATED",
    pickle: () => pickleOf(PROTO, "\x8e", u32(0xffffffff), u32(0xffffffff), "."),
  },
  { name: "reads an int as text", code: "PICKLE_OPCODE", pickle: () => pickleOf("I1\n.") },
  {
    name: "gives a state to a class",
    code: "PICKLE_TYPE",
    pickle: () => pickleOf(PROTO, "ctorch\nSize\n}", text("__reduce__"), "K\x01sb."),
  },
  { name: "calls what is no class", code: "PICKLE_TYPE", pickle: () => pickleOf(PROTO, text("eval"), ")R.") },
  { name: "appends to a tuple", code: "PICKLE_TYPE", pickle: () => pickleOf(PROTO, ")K\x01a.") },
  { name: "sets a key without a value", code: "PICKLE_TYPE", pickle: () => pickleOf(PROTO, "}(K\x01u.") },
  { name: "opens a million marks", code: "PICKLE_DEPTH", pickle: () => pickleOf(PROTO, "(".repeat(1_000_000)) },
  {
    name: "has a memo index of 2^32 - 1",
    code: "PICKLE_MEMO",
    pickle: () => pickleOf(PROTO, "Nr", u32(0xffffffff), "."),
  },
  { name: "refers to an empty memo", code: "PICKLE_MEMO", pickle: () => pickleOf(PROTO, "h\x07.") },
  { name: "is cut off", code: "PICKLE_TRUNCATED", pickle: () => pickleOf(PROTO, "}(", text("state_dict_metadata")) },
  {
    name: "claims a string of 4 GiB",
    code: "PICKLE_TRUNCATED",
    pickle: () => pickleOf(PROTO, "X", u32(0xffffffff), "a."),
  },
  {
    name: "claims a frame of 2^63 bytes",
    code: "PICKLE_TRUNCATED",
    pickle: () => pickleOf("\x80\x04\x95\0\0\0\0\0\0\0\x80N."),
  },
  { name: "is empty", code: "PICKLE_TRUNCATED", pickle: () => pickleOf("") },
  { name: "takes from an empty stack", code: "PICKLE_STACK", pickle: () => pickleOf(PROTO, "R.") },
  { name: "takes below a mark", code: "PICKLE_STACK", pickle: () => pickleOf(PROTO, "N(\x85.") },
  { name: "closes a mark that is not open", code: "PICKLE_STACK", pickle: () => pickleOf(PROTO, "t.") },
  { name: "ends with two values", code: "PICKLE_STACK", pickle: () => pickleOf(PROTO, "NN.") },
  { name: "has protocol 6", code: "PICKLE_PROTOCOL", pickle: () => pickleOf("\x80\x06N.") },
  {
    name: "holds text that is not UTF-8",
    code: "PICKLE_UTF8",
    pickle: () => pickleOf(PROTO, "X", u32(2), "\xc3\x28."),
  },
  { name: "names a global without end", code: "PICKLE_NAME", pickle: () => pickleOf(PROTO, "c", "a".repeat(10_000)) },
  { name: "goes on after its end", code: "PICKLE_TRAILING", pickle: () => pickleOf(PROTO, "N.N.") },
];

const inPlace = (place: string, write: (directory: string, pickle: Uint8Array) => string): BrokenInput[] =>
  BROKEN_PICKLES.map(({ name, code, pickle }) => ({
    name: `${place} ${name}`,
    code,
    write: (directory) => write(directory, pickle(join(directory, "executed"))),
  }));

export const BROKEN_PICKLE_INPUTS: readonly BrokenInput[] = [
  ...inPlace(".metadata", (directory, pickle) => writeFile(directory, ".metadata", pickle)),
  ...inPlace("payload pickle", (directory, pickle) => withPayload(directory, zipOf({ "archive/data.pkl": pickle }))),
  ...inPlace(".pt pickle", (directory, pickle) =>
    join(writeFile(directory, "file.pt", zipOf({ "file/data.pkl": pickle })), "file.pt"),
  ),
];
