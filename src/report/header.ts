// The header of every report: what was run, when and where, and on what. It makes evidence of a report.

export interface Header {
  readonly tool: string;
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
  /** What a model was run on, where files said it; null where none did. */
  readonly inputs: { readonly files: readonly InputFile[] } | null;
  /** Every file that was read, in order of path. */
  readonly files: readonly FileRead[];
  /** The config of each side, by the side's name: `source`, `path`, `a`, `b`; none of a side without. */
  readonly configs: Readonly<Record<string, HeaderConfig>>;
}

export interface FileRead {
  /** Absolute, or an address. */
  readonly path: string;
  /** That it is of, where it lies in a repository. */
  readonly commit?: string;
  readonly bytes: number;
  /** Of all its bytes; null where no more than headers were read, or for the reason in `unhashed`. */
  readonly sha256: string | null;
  /** `header`: no more than what says where tensors lie. */
  readonly read: "header" | "content";
  readonly unhashed?: string;
}

export interface InputFile extends FileRead {
  /** That names it, or a folder that it is in: `--ids`. */
  readonly option: string;
}

export interface HeaderConfig {
  readonly path: string;
  /** Of the file's bytes. */
  readonly sha256: string;
  /** Hash of what it makes the model compute: equal for configs that mean the same; null where no family reads it. */
  readonly mathematics: string | null;
}
