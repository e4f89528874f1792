// Writes src/base/xxh64/kernel.ts: WebAssembly that hashes what lies in a memory which threads share, so that any of them goes
// on where another one stopped; and the same on a memory of one thread's own, into which bytes are copied in half the time.
//   node scripts/xxh64-kernel.mjs
// A state takes 96 bytes: four sums, how many bytes there were, 32 bytes that wait for more, how many of them do, a digest.
// Exports init(state), update(state, address, length) and digest(state), which changes nothing but the digest's place.
//   Cyan4973/xxHash@v0.8.3:doc/xxhash_spec.md, XXH64 with a seed of 0
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import wabt from "wabt";
import { add, constant, get, set } from "./wat.mjs";

const FEATURES = { threads: true, bulk_memory: true };

const PRIMES = [
  0x9e3779b185ebca87n,
  0xc2b2ae3d27d4eb4fn,
  0x165667b19e3779f9n,
  0x85ebca77c2b2ae63n,
  0x27d4eb2f165667c5n,
];
const prime = (number) => `(i64.const ${BigInt.asIntN(64, PRIMES[number - 1])})`;
const sums = ["a", "b", "c", "d"];
const [TOTAL, WAITING, COUNT, DIGEST] = [32, 40, 72, 80];

const binary = (op) => (a, b) => `(i64.${op} ${a} ${b})`;
const [plus, times, xor, turned, shifted] = ["add", "mul", "xor", "rotl", "shr_u"].map(binary);
const number = (n) => `(i64.const ${n})`;
const round = (sum, word) => times(turned(plus(sum, times(word, prime(2))), number(31)), prime(1));
const field = (type, at) => `(${type}.load offset=${at} ${get("state")})`;
const store = (type, at, value) => `(${type}.store offset=${at} ${get("state")} ${value})`;

const stripe = (address) =>
  sums.map((sum, i) => set(sum, round(get(sum), `(i64.load offset=${8 * i} align=1 ${address})`))).join("");
const skip = (bytes) => set("at", add(get("at"), bytes)) + set("length", `(i32.sub ${get("length")} ${bytes})`);
const whileAtLeast = (bytes, body) =>
  `(block $end${bytes} (loop $again${bytes} (br_if $end${bytes} (i32.lt_u ${get("length")} ${constant(bytes)})) ${body} ${skip(constant(bytes))} (br $again${bytes})))`;
const waitingAt = add(get("state"), constant(WAITING));

const init = `(func (export "init") (param $state i32)
  ${[plus(prime(1), prime(2)), prime(2), number(0), binary("sub")(number(0), prime(1)), number(0)]
    .map((value, i) => store("i64", 8 * i, value))
    .join("")}
  ${store("i32", COUNT, constant(0))})`;

const update = `(func (export "update") (param $state i32) (param $at i32) (param $length i32)
  (local $count i32) (local $room i32) ${sums.map((sum) => `(local $${sum} i64)`).join(" ")}
  ${store("i64", TOTAL, plus(field("i64", TOTAL), `(i64.extend_i32_u ${get("length")})`))}
  ${set("count", field("i32", COUNT))}
  ${set("room", `(i32.sub ${constant(32)} ${get("count")})`)}
  (if (i32.lt_u ${get("length")} ${get("room")}) (then
    (memory.copy ${add(waitingAt, get("count"))} ${get("at")} ${get("length")})
    ${store("i32", COUNT, add(get("count"), get("length")))}
    (return)))
  ${sums.map((sum, i) => set(sum, field("i64", 8 * i))).join("")}
  (if ${get("count")} (then
    (memory.copy ${add(waitingAt, get("count"))} ${get("at")} ${get("room")})
    ${stripe(waitingAt)}
    ${skip(get("room"))}))
  ${whileAtLeast(32, stripe(get("at")))}
  ${sums.map((sum, i) => store("i64", 8 * i, get(sum))).join("")}
  (memory.copy ${waitingAt} ${get("at")} ${get("length")})
  ${store("i32", COUNT, get("length"))})`;

const hash = (value) => set("hash", value);
const rotations = [1, 7, 12, 18];
const merged = sums
  .map((_, i) => hash(plus(times(xor(get("hash"), round(number(0), field("i64", 8 * i))), prime(1)), prime(4))))
  .join("");
const avalanche = [
  [33, 2],
  [29, 3],
]
  .map(([bits, factor]) => hash(times(xor(get("hash"), shifted(get("hash"), number(bits))), prime(factor))))
  .join("");

const digest = `(func (export "digest") (param $state i32) (local $hash i64) (local $at i32) (local $length i32)
  (if (i64.lt_u ${field("i64", TOTAL)} ${number(32)}) (then ${hash(prime(5))})
    (else ${hash(sums.map((_, i) => turned(field("i64", 8 * i), number(rotations[i]))).reduce(plus))} ${merged}))
  ${hash(plus(get("hash"), field("i64", TOTAL)))}
  ${set("at", waitingAt)}
  ${set("length", field("i32", COUNT))}
  ${whileAtLeast(8, hash(plus(times(turned(xor(get("hash"), round(number(0), `(i64.load ${get("at")})`)), number(27)), prime(1)), prime(4))))}
  ${whileAtLeast(4, hash(plus(times(turned(xor(get("hash"), times(`(i64.load32_u ${get("at")})`, prime(1))), number(23)), prime(2)), prime(3))))}
  ${whileAtLeast(1, hash(times(turned(xor(get("hash"), times(`(i64.load8_u ${get("at")})`, prime(5))), number(11)), prime(1))))}
  ${avalanche}
  ${store("i64", DIGEST, xor(get("hash"), shifted(get("hash"), number(32))))})`;

/** The module, as bytes. */
async function xxh64Kernel({ isShared }) {
  const memory = `(memory 1 65536${isShared ? " shared" : ""})`;
  const text = `(module (import "host" "memory" ${memory}) ${init} ${update} ${digest})`;
  const { parseWat } = await wabt();
  const module = parseWat("xxh64.wat", text, FEATURES);
  module.validate(FEATURES);
  return Buffer.from(module.toBinary({}).buffer);
}

export const file = fileURLToPath(new URL("../src/base/xxh64/kernel.ts", import.meta.url));

export const source = async () => `// Written by scripts/xxh64-kernel.mjs, which documents it.
// biome-ignore format: one line
export const XXH64_KERNEL = "${(await xxh64Kernel({ isShared: true })).toString("base64")}";
// biome-ignore format: one line
export const XXH64_KERNEL_UNSHARED = "${(await xxh64Kernel({ isShared: false })).toString("base64")}";
`;

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(file, await source());
