import { UsageError } from "../base/errors.ts";
import type { PartNumber } from "../output/parts/place.ts";
import { parseSize } from "./size.ts";

const emptyOption = (name: string): UsageError =>
  new UsageError("OPTION_EMPTY", `--${name} needs a value`, { help: `write --${name} VALUE; see --help` });

/** The value of an option that has a fixed list of values. */
export function notOneOf(name: string, value: string, choices: readonly string[]): UsageError {
  if (value === "") return emptyOption(name);
  return new UsageError("OPTION_VALUE", `--${name} ${value}: not one of ${choices.join(", ")}`, {
    expected: choices.join(", "),
    found: value,
    help: `choose one of: ${choices.join(", ")}`,
  });
}

/** What yargs parsed, read by type. Every option arrives as text or as a flag; numbers are read here. */
export class Arguments {
  readonly #values: Readonly<Record<string, unknown>>;

  constructor(values: Readonly<Record<string, unknown>>) {
    this.#values = values;
  }

  flag(name: string): boolean {
    const value = this.#values[name];
    return (Array.isArray(value) ? value.at(-1) : value) === true;
  }

  /** Values of an option that may be given several times, in order. */
  list(name: string): string[] {
    const value = this.#values[name];
    const values = value === undefined ? [] : Array.isArray(value) ? value : [value];
    return values.map((each: unknown) => {
      if (typeof each === "string" && each !== "") return each;
      throw emptyOption(name);
    });
  }

  text(name: string): string | undefined {
    const values = this.list(name);
    if (values.length > 1) {
      throw new UsageError("OPTION_REPEATED", `--${name} is given ${values.length} times`, {
        found: values.join(", "),
        help: `give --${name} once`,
      });
    }
    return values[0];
  }

  required(name: string): string {
    const value = this.text(name);
    if (value !== undefined) return value;
    throw new UsageError("ARGUMENT_MISSING", `<${name}> is missing`, { help: "see --help" });
  }

  choice<T extends string>(name: string, choices: readonly T[]): T | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    const found = choices.find((choice) => choice === value);
    if (found !== undefined) return found;
    throw notOneOf(name, value, choices);
  }

  size(name: string): number | undefined {
    const value = this.text(name);
    return value === undefined ? undefined : parseSize(value, name);
  }

  /** A whole number of at least `least`. */
  count(name: string, least = 1): number | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    const n = /^[0-9]+$/.test(value) ? Number(value) : Number.NaN;
    if (Number.isSafeInteger(n) && n >= least) return n;
    throw new UsageError("OPTION_VALUE", `--${name} ${value}: not a whole number of at least ${least}`, {
      expected: `a whole number of at least ${least}`,
      found: value,
      help: `write --${name} ${Math.max(least, 1)}, for example`,
    });
  }

  /** `3/16`; which parts there are is for the work at hand to say. Throws UsageError PART_MALFORMED. */
  part(name: string): PartNumber | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    const [, number, of] = /^([0-9]+)\/([0-9]+)$/.exec(value.trim()) ?? [];
    if (number !== undefined && of !== undefined) return { number: Number(number), of: Number(of) };
    throw new UsageError("PART_MALFORMED", `--${name} ${value}: names no part`, {
      expected: "i/n, where the first part is 1/n and the last n/n",
      found: value,
      help: `write --${name} 1/3, for the first of three parts`,
    });
  }

  /** A finite number of at least `least`. */
  number(name: string, least: number): number | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    const x = value.trim() === "" ? Number.NaN : Number(value);
    if (Number.isFinite(x) && x >= least) return x;
    throw new UsageError("OPTION_VALUE", `--${name} ${value}: not a number of at least ${least}`, {
      expected: `a number of at least ${least}`,
      found: value,
      help: `write --${name} 1e-6, for example`,
    });
  }

  /** A share of a whole, from 0 to 1. */
  share(name: string): number | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    const x = value.trim() === "" ? Number.NaN : Number(value);
    if (x >= 0 && x <= 1) return x;
    const percent = Number(value.replace(/%$/, "").trim());
    const meant = percent > 1 && percent <= 100 ? percent / 100 : 0.99;
    throw new UsageError("OPTION_VALUE", `--${name} ${value}: not a share from 0 to 1`, {
      expected: "a number from 0 to 1",
      found: value,
      help: `write --${name} ${meant}${meant === percent / 100 ? ` for ${percent} %` : ", for example"}`,
    });
  }
}
