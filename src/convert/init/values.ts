// Seeded values, each of the element that it belongs to: a hash of seed, name and index. So they are the same in whatever
// order, by whatever rank and in whatever layout they are asked for. Arithmetic alone, but for logarithms that every engine
// takes from fdlibm.
import { createHash } from "node:crypto";
import type { Role } from "./roles.ts";

/** Values of one tensor. */
export class Values {
  readonly #low: number;
  readonly #high: number;

  constructor(
    seed: string,
    name: string,
    private readonly role: Role,
  ) {
    const digest = createHash("sha256").update(`${seed}\n${name}`).digest();
    this.#low = digest.readUInt32LE(0);
    this.#high = digest.readUInt32LE(4);
  }

  /** Elements from `first` on, by their row-major index. */
  fill(first: number, target: Float32Array): void {
    const { role } = this;
    for (let i = 0; i < target.length; i++) target[i] = this.at(first + i, role);
  }

  private at(index: number, role: Role): number {
    const above = Math.imul(Math.floor(index / 2 ** 32), 0x85ebca6b);
    const a = mixed((index ^ above ^ this.#low) >>> 0);
    const b = mixed((a ^ this.#high) >>> 0);
    switch (role.kind) {
      case "normal":
        return role.mean + role.deviation * normal(a, b);
      case "constant":
        return role.value;
      case "log uniform":
        return Math.log(role.from + (role.to - role.from) * unit(a));
      case "time step": {
        const step = Math.exp(Math.log(role.from) + (Math.log(role.to) - Math.log(role.from)) * unit(a));
        return step + Math.log(-Math.expm1(-step));
      }
      default:
        throw role satisfies never;
    }
  }
}

/** A bijection of 32 bits without visible bias: https://github.com/skeeto/hash-prospector (triple32's smaller sibling). */
function mixed(x: number): number {
  let y = x ^ (x >>> 16);
  y = Math.imul(y, 0x21f0aaad);
  y ^= y >>> 15;
  y = Math.imul(y, 0x735a2d97);
  return (y ^ (y >>> 15)) >>> 0;
}

/** In [0, 1). */
const unit = (a: number): number => (a >>> 8) / 2 ** 24;

/** Four uniform numbers of 16 bits, summed: mean 0, deviation 1, and nothing beyond 3.5 of it. */
const normal = (a: number, b: number): number =>
  (((a & 0xffff) + (a >>> 16) + (b & 0xffff) + (b >>> 16) - 131_070) / 65_536) * Math.sqrt(3);
