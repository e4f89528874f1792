// What a conversion was asked for, in words: people compare options, machines what comes of them.
import type { Format } from "../../formats/checkpoint.ts";
import type { SizeOptions } from "../outputs.ts";
import type { RouteOptions } from "../route.ts";

type Asked = RouteOptions & SizeOptions & { readonly format?: Format | undefined; readonly seal?: boolean | undefined };

/** As on the command line. */
export function askedFor(options: Asked): Readonly<Record<string, string>> {
  const {
    to,
    format,
    dtype = [],
    encoding,
    maxShardSize,
    ranks,
    allowDrop = [],
    buffers = true,
    seal = true,
    optimizer = false,
    family,
    layout,
    config,
    vocabularyMultiple,
  } = options;
  const all = {
    to,
    format,
    dtype: dtype.join(", "),
    encoding,
    "max-shard-size": maxShardSize,
    ranks,
    "allow-drop": allowDrop.join(", "),
    "make-vocab-size-divisible-by": vocabularyMultiple,
    family,
    layout,
  };
  const given = Object.entries(all).filter(([, value]) => value !== undefined && value !== "");
  const path = typeof config === "string" ? config : config?.path;
  return {
    ...Object.fromEntries(given.map(([name, value]) => [`--${name}`, `${value}`])),
    ...(buffers ? {} : { "--no-buffers": "given" }),
    ...(seal ? {} : { "--no-seal": "given" }),
    ...(optimizer ? { "--optimizer": "given" } : {}),
    ...(path === undefined ? {} : { "--config": path }),
  };
}
