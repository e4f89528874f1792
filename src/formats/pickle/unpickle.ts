import { Machine, type UnpickleOptions } from "./machine.ts";
import { OPCODES, opcodeName } from "./opcodes.ts";
import { PickleDict, PickleList, type PickleTuple, type PickleValue } from "./value.ts";

type Step = (m: Machine) => void;

/** One for all: nothing is ever added to a tuple. */
const NOTHING: PickleTuple = [];

const STEPS: Readonly<Record<number, Step | undefined>> = {
  [OPCODES.PROTO]: (m) => m.protocol(m.u8()),
  [OPCODES.FRAME]: (m) => m.frame(),
  [OPCODES.MARK]: (m) => m.mark(),
  [OPCODES.NONE]: (m) => m.push(null),
  [OPCODES.NEWTRUE]: (m) => m.push(true),
  [OPCODES.NEWFALSE]: (m) => m.push(false),
  [OPCODES.BININT1]: (m) => m.push(m.u8()),
  [OPCODES.BININT2]: (m) => m.push(m.u16()),
  [OPCODES.BININT]: (m) => m.push(m.i32()),
  [OPCODES.LONG1]: (m) => m.push(m.long(m.u8())),
  [OPCODES.LONG4]: (m) => m.push(m.long(m.u32())),
  [OPCODES.BINFLOAT]: (m) => m.push(m.f64()),
  [OPCODES.SHORT_BINUNICODE]: (m) => m.push(m.text(m.u8())),
  [OPCODES.BINUNICODE]: (m) => m.push(m.text(m.u32())),
  [OPCODES.BINUNICODE8]: (m) => m.push(m.text(m.u64())),
  [OPCODES.SHORT_BINBYTES]: (m) => m.push(m.slice(m.u8())),
  [OPCODES.BINBYTES]: (m) => m.push(m.slice(m.u32())),
  [OPCODES.BINBYTES8]: (m) => m.push(m.slice(m.u64())),
  [OPCODES.BYTEARRAY8]: (m) => m.push(m.slice(m.u64())),
  [OPCODES.EMPTY_SET]: (m) => m.set("set", []),
  [OPCODES.ADDITEMS]: (m) => m.append(m.sinceMark()),
  [OPCODES.FROZENSET]: (m) => m.set("frozenset", m.sinceMark()),
  [OPCODES.EMPTY_DICT]: (m) => m.pushNew(new PickleDict()),
  [OPCODES.EMPTY_LIST]: (m) => m.pushNew(new PickleList()),
  [OPCODES.EMPTY_TUPLE]: (m) => m.push(NOTHING),
  [OPCODES.TUPLE1]: (m) => m.tuple(1),
  [OPCODES.TUPLE2]: (m) => m.tuple(2),
  [OPCODES.TUPLE3]: (m) => m.tuple(3),
  [OPCODES.TUPLE]: (m) => m.pushNew(m.sinceMark()),
  [OPCODES.APPEND]: (m) => m.append([m.pop()]),
  [OPCODES.APPENDS]: (m) => m.append(m.sinceMark()),
  [OPCODES.SETITEM]: (m) => m.setItem(),
  [OPCODES.SETITEMS]: (m) => m.setItems(m.sinceMark()),
  [OPCODES.BINPUT]: (m) => m.put(m.u8()),
  [OPCODES.LONG_BINPUT]: (m) => m.put(m.u32()),
  [OPCODES.MEMOIZE]: (m) => m.memoize(),
  [OPCODES.BINGET]: (m) => m.get(m.u8()),
  [OPCODES.LONG_BINGET]: (m) => m.get(m.u32()),
  [OPCODES.GLOBAL]: (m) => m.global(m.line(), m.line()),
  [OPCODES.STACK_GLOBAL]: (m) => m.stackGlobal(),
  [OPCODES.REDUCE]: (m) => m.make(),
  [OPCODES.NEWOBJ]: (m) => m.make(),
  [OPCODES.NEWOBJ_EX]: (m) => m.makeWithKeywords(),
  [OPCODES.BUILD]: (m) => m.build(),
  [OPCODES.BINPERSID]: (m) => m.persistent(),
};

/**
 * Reads one pickle of `bytes` from `begin`, without running any of it. Time and memory are linear in its length.
 * `end` is the position after its STOP.
 * @throws InputError for an opcode outside the list, a global that runs code, a truncated pickle, or one that no pickler writes.
 */
export function unpickle(bytes: Uint8Array, options: UnpickleOptions, begin = 0): { value: PickleValue; end: number } {
  const machine = new Machine(bytes, begin, options);
  for (;;) {
    const code = machine.u8();
    if (code === OPCODES.STOP) return { value: machine.result(), end: machine.position };
    const step = STEPS[code];
    if (step === undefined) {
      throw machine.refuse("PICKLE_OPCODE", `the pickle uses opcode ${opcodeName(code)}, which no checkpoint needs`);
    }
    step(machine);
  }
}
