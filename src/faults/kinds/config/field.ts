// Fields of config.json: where they stand, nested ones by their path, and a config with other values in some.
import { isJsonObject, type JsonObject } from "../../../base/json.ts";
import type { Sample } from "../../fault.ts";
import { type Kind, type Made, withConfig } from "../kind.ts";

/** `text_config.rope_parameters.rope_theta` */
export type FieldPath = string;

/** A value that stays as it is makes no fault. */
type Change = (value: unknown, config: JsonObject) => unknown;

/** The objects of a config that say how the language model, or the vision tower, computes. */
export type Room = "text" | "vision";

const isVisionRoom = (path: readonly string[]): boolean => path.includes("vision_config");

/** Paths of a field, wherever it stands. */
export function pathsOf(
  config: JsonObject,
  field: string,
  room: Room = "text",
  above: readonly string[] = [],
): FieldPath[] {
  return Object.entries(config).flatMap(([name, value]) => {
    const path = [...above, name];
    const own = name === field && isVisionRoom(path) === (room === "vision") ? [path.join(".")] : [];
    return [...own, ...(isJsonObject(value) && own.length === 0 ? pathsOf(value, field, room, path) : [])];
  });
}

export const valueAt = (config: JsonObject, path: FieldPath): unknown =>
  path.split(".").reduce<unknown>((value, name) => (isJsonObject(value) ? value[name] : undefined), config);

/** The object that a field stands in. */
export function objectOf(config: JsonObject, path: FieldPath): JsonObject {
  const above = path.includes(".") ? valueAt(config, path.slice(0, path.lastIndexOf("."))) : config;
  return isJsonObject(above) ? above : {};
}

/** The config with this value in this place; `undefined` takes the field out. */
export function withValue(config: JsonObject, path: FieldPath, value: unknown): JsonObject {
  const [name = "", ...below] = path.split(".");
  if (below.length === 0) {
    const { [name]: _, ...others } = config;
    return value === undefined ? others : { ...config, [name]: value };
  }
  const inner = config[name];
  return { ...config, [name]: withValue(isJsonObject(inner) ? inner : {}, below.join("."), value) };
}

export const withValues = (sample: Sample, values: Readonly<Record<FieldPath, unknown>>): Made =>
  withConfig(
    sample,
    Object.entries(values).reduce((config, [path, value]) => withValue(config, path, value), sample.config),
    Object.keys(values),
  );

interface FieldKind extends Pick<Kind, "name" | "about" | "taps" | "alsoCodes"> {
  /** All names that the field has, of which a config has one. */
  readonly field: string | readonly string[];
  readonly room?: Room;
  readonly code?: string | null;
  /** The wrong value; `KEEP` where this one cannot be wrong. `undefined` takes the field out. */
  readonly to: Change;
}

export const KEEP: unique symbol = Symbol("keep");

/** A kind that changes one field. */
export function fieldKind({ field, room = "text", to, code = "CONFIG_DIFFERS", ...kind }: FieldKind): Kind {
  const changed = (config: JsonObject, path: FieldPath): unknown => to(valueAt(config, path), objectOf(config, path));
  return {
    ...kind,
    code,
    keepsShapes: true,
    places: ({ config }) =>
      [field].flat().flatMap((name) =>
        pathsOf(config, name, room).filter((path) => {
          const value = changed(config, path);
          return value !== KEEP && JSON.stringify(value) !== JSON.stringify(valueAt(config, path));
        }),
      ),
    make: (sample, path) => withValues(sample, { [path]: changed(sample.config, path) }),
  };
}

/** For fields that are numbers. */
export const ofNumber =
  (to: (value: number, config: JsonObject) => unknown): Change =>
  (value, config) =>
    typeof value === "number" ? to(value, config) : KEEP;

/** For fields that are true or false. */
export const turnedOver: Change = (value) => (typeof value === "boolean" ? !value : KEEP);
