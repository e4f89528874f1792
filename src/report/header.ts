// The header of every report: what was run, when and where, and on what. It makes of a report evidence.
import type { FileSeen } from "../base/seen.ts";

export interface Header {
  readonly tool: "convert-checkpoint";
  readonly version: string;
  /** The command line, quoted as a shell takes it. */
  readonly command: string;
  /** When it began, in UTC: `2026-11-29T14:39:00.000Z`. */
  readonly time: string;
  readonly host: {
    /** `v22.11.0` */
    readonly node: string;
    /** `linux x64` */
    readonly platform: string;
  };
  /** Files that options name, and the token ids that were run; null where the command takes none. */
  readonly inputs: HeaderInputs | null;
  /** Every file that was read, in order of path. */
  readonly files: readonly FileSeen[];
  /** The config of each side, by the side's name: `source`, `path`, `a`, `b`; null for a side without. */
  readonly configs: Readonly<Record<string, HeaderConfig | null>>;
  /** What computed, where a forward pass ran. */
  readonly backend?: { readonly name: string; readonly adapter: string | null };
}

export interface HeaderInputs {
  /** SHA-256 of the token ids of all inputs, where ids were run. */
  readonly sha256?: string;
  readonly files: readonly FileSeen[];
}

export interface HeaderConfig {
  readonly path: string;
  /** Of the file's bytes. */
  readonly sha256: string;
  /** Of what it makes the model compute: equal for configs that mean the same; null where no family reads it. */
  readonly mathematics: string | null;
}
