// The checkpoints of a page, each opened once.
import { InputError } from "../base/errors.ts";
import { failureOf } from "../base/failure.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { inFolder, type Location } from "../formats/io/folder.ts";
import { type Model, type ModelOptions, openModel } from "../model/model.ts";
import { openCheckpoint } from "../model/open.ts";
import { asHf, type HfView } from "../views/as-hf.ts";

export type SideName = "a" | "b";

/** A checkpoint that was read, and how it is to be opened anew by whoever compares checkpoints. */
export interface OpenSide {
  readonly path: string;
  readonly checkpoint: Checkpoint;
  readonly model: Model;
  /** As `hf` has it; what is wrong with it are the mapping's faults. */
  readonly view: HfView;
  readonly options: ModelOptions;
  /** Whether it has no config of its own and is read with the other side's. */
  readonly hasOthersConfig: boolean;
}

/** A checkpoint that cannot be read, and why. */
export interface ClosedSide {
  readonly path: string;
  readonly error: unknown;
}

export type Side = OpenSide | ClosedSide;

export const isOpen = (side: Side): side is OpenSide => "model" in side;

export interface SideRequest {
  readonly path: string;
  readonly options: ModelOptions;
}

/** Opens checkpoints, hands them to `use`, and closes them. Throws the first one's error where none can be read. */
export async function withSides<T>(
  requests: readonly SideRequest[],
  use: (sides: readonly Side[]) => Promise<T>,
): Promise<T> {
  const closing: Checkpoint[] = [];
  try {
    const first = requests.map((request) => openSide(request, closing));
    const sides = first.map((side, i) => (isOpen(side) ? side : withOthersConfig(side, requests[i]!, first, closing)));
    if (!sides.some(isOpen)) throw sides.map((side) => (isOpen(side) ? null : side.error)).find(Boolean);
    return await use(sides);
  } finally {
    for (const checkpoint of closing) checkpoint.close();
  }
}

function openSide({ path, options }: SideRequest, closing: Checkpoint[]): Side {
  try {
    const checkpoint = openCheckpoint(path);
    closing.push(checkpoint);
    const model = openModel(checkpoint, options);
    return {
      path,
      checkpoint,
      model,
      view: asHf(model, { tolerate: true, mixedDtypes: true }),
      options,
      hasOthersConfig: false,
    };
  } catch (error) {
    if (failureOf(error).exitCode !== 3) throw error;
    return { path, error };
  }
}

/** Trainers write no config, and keys alone do not tell every family: the other side's serves a side that has none. */
function withOthersConfig(
  side: ClosedSide,
  { path, options }: SideRequest,
  all: readonly Side[],
  closing: Checkpoint[],
): Side {
  const [other] = all.filter(isOpen);
  if (other === undefined || !(side.error instanceof InputError)) return side;
  const again = openSide({ path, options: { ...options, config: configOf(other.model) } }, closing);
  if (isOpen(again)) return { ...again, hasOthersConfig: true };
  return side.error.code === "CONFIG_MISSING" ? again : side;
}

const configOf = ({ stored: { config } }: Model): Location => inFolder(config.folder, config.name);
