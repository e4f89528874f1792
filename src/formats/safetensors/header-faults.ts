// What is wrong with a header, told of its file and tensor.
import { InputError } from "../../base/errors.ts";
import { JsonNumber, type JsonValue } from "../../base/strict-json.ts";

type Fault = { tensor?: string; expected?: string; found?: string; help?: string };

/** Builds the errors of one file. */
export class Faults {
  readonly #file: string;
  constructor(file: string) {
    this.#file = file;
  }

  fail(code: string, problem: string, fault: Fault = {}): never {
    const { help = "download or write the file again: no reader can use it safely", ...rest } = fault;
    const subject = fault.tensor === undefined ? this.#file : `${this.#file}: tensor ${JSON.stringify(fault.tensor)}`;
    throw new InputError(code, `${subject}: ${problem}`, { ...rest, file: this.#file, help });
  }
}

export function kindOf(value: JsonValue): string {
  if (value === null) return "null";
  if (value instanceof Map) return "an object";
  if (value instanceof JsonNumber) return `the number ${value.text}`;
  return Array.isArray(value) ? "a list" : `the ${typeof value} ${JSON.stringify(value)}`;
}
