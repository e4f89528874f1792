// Reads fields of a config that came from a file: nothing is assumed about their types.
import { InputError } from "../../src/base/errors.ts";
import { isJsonObject, type JsonObject, shortened } from "../../src/base/json.ts";
import { noteDefault } from "../../src/family/defaults.ts";

export { isJsonObject } from "../../src/base/json.ts";

/**
 * Lists with an entry per layer are made while a config is read, before any tensor is looked at. The deepest published
 * transformers have 1000 layers (DeepNet, arXiv:2203.00555), language models below 200.
 */
const MOST_LAYERS = 10_000;

/**
 * Names of one function: the same class, or the same formula written in another way. ACT2FN of
 * huggingface/transformers@v5.23.0:src/transformers/activations.py
 */
const SAME_ACTIVATION: Readonly<Record<string, string>> = { swish: "silu", gelu_new: "gelu_pytorch_tanh" };

/** The one name under which an activation is known here. */
export const activationNamed = (name: string): string => SAME_ACTIVATION[name] ?? name;

/** Fields of one object of a config. Every method throws InputError INVALID_CONFIG naming the field and the file. */
export class ConfigReader {
  /** @param path where the object stands in the file, `rope_parameters.` */
  constructor(
    private readonly json: JsonObject,
    private readonly where: string,
    private readonly path = "",
    /** The whole config, of which `json` is a part. */
    private readonly root = json,
  ) {}

  has(name: string): boolean {
    return this.json[name] !== undefined && this.json[name] !== null;
  }

  isNull(name: string): boolean {
    return this.json[name] === null;
  }

  isZero(name: string): boolean {
    return this.json[name] === 0;
  }

  /** A positive integer. The fallback is for an absent field; null is refused, as transformers does. */
  size(name: string, fallback?: number): number {
    const value = this.count(name, fallback);
    return value > 0 ? value : this.fail(name, "a positive integer");
  }

  /** A number of layers. Lists with an entry for each may be made of it. */
  layers(name: string, fallback?: number): number {
    const value = this.size(name, fallback);
    return value <= MOST_LAYERS ? value : this.fail(name, `a number of layers up to ${MOST_LAYERS}`);
  }

  /** An integer that is not negative. */
  count(name: string, fallback?: number): number {
    const value = this.value(name, fallback);
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) this.fail(name, "a positive integer");
    return value;
  }

  /** A positive finite number. */
  number(name: string, fallback?: number): number {
    const value = this.value(name, fallback);
    if (typeof value !== "number" || !Number.isFinite(value) || value <= 0) this.fail(name, "a positive number");
    return value;
  }

  boolean(name: string, fallback?: boolean): boolean {
    const value = this.value(name, fallback);
    if (typeof value !== "boolean") this.fail(name, "true or false");
    return value;
  }

  string(name: string, fallback?: string): string {
    const value = this.value(name, fallback);
    if (typeof value !== "string") this.fail(name, "a string");
    return value;
  }

  list(name: string): readonly unknown[] {
    const value = this.value(name);
    if (!Array.isArray(value)) this.fail(name, "a list");
    return value;
  }

  /** Integers that are not negative. */
  counts(name: string, fallback: readonly number[]): readonly number[] {
    if (!this.has(name)) return fallback;
    return this.list(name).map((value) => {
      if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
      return this.fail(name, "a list of integers from 0 on");
    });
  }

  object(name: string): ConfigReader {
    const value = this.value(name);
    if (!isJsonObject(value)) this.fail(name, "an object");
    return new ConfigReader(value, this.where, `${this.path}${name}.`, this.root);
  }

  /** Objects of a list that is not empty. */
  objects(name: string): [ConfigReader, ...ConfigReader[]] {
    const [first, ...rest] = this.list(name).map((item, i) => {
      if (!isJsonObject(item)) this.fail(name, "a list of objects");
      return new ConfigReader(item, this.where, `${this.path}${name}.${i}.`, this.root);
    });
    return first === undefined ? this.fail(name, "a list of objects") : [first, ...rest];
  }

  isEmpty(): boolean {
    return Object.keys(this.json).length === 0;
  }

  /** The object, or one without fields where it is absent or null. */
  objectOrEmpty(name: string): ConfigReader {
    return this.has(name) ? this.object(name) : this.empty(name);
  }

  /** Stands for an object that is absent. */
  empty(name: string): ConfigReader {
    return this.standIn(name, {});
  }

  /** The default of an object that is absent. */
  standIn(name: string, json: JsonObject): ConfigReader {
    return new ConfigReader(json, this.where, `${this.path}${name}.`, this.root);
  }

  /** What `read` gives, or null where the field is absent or null. */
  optional<T>(name: string, read: (name: string) => T): T | null {
    return this.has(name) ? read.call(this, name) : null;
  }

  /** Throws InputError CONFIG_UNSUPPORTED unless the field is absent or has the one value that is supported. */
  only(name: string, supported: boolean | number | string, why: string): void {
    if (this.has(name) && this.json[name] !== supported) this.unsupported(name, JSON.stringify(supported), why);
  }

  /** As `only`, of an activation, which transformers has under several names. */
  onlyActivation(name: string, supported: string): void {
    const given = this.json[name];
    if (typeof given === "string" && activationNamed(given) === activationNamed(supported)) return;
    this.only(name, supported, "has no graph here");
  }

  unsupported(name: string, expected: string, why: string): never {
    const found = shortened(this.json[name]);
    throw new InputError("CONFIG_UNSUPPORTED", `${this.where}: "${this.path}${name}" is ${found}, which ${why}`, {
      file: this.where,
      expected,
      found,
      help: `only ${expected} can be converted and checked`,
    });
  }

  fail(name: string, expected: string): never {
    const found = shortened(this.json[name]);
    throw new InputError("INVALID_CONFIG", `${this.where}: "${this.path}${name}" must be ${expected}, found ${found}`, {
      file: this.where,
      expected,
      found,
      help: "correct the config, or give another one with --config",
    });
  }

  private value(name: string, fallback?: boolean | number | string): unknown {
    if (this.json[name] !== undefined) return this.json[name];
    if (fallback !== undefined) noteDefault(this.root, this.path + name, fallback);
    return fallback;
  }
}
