// Pictures of a report, as what they show: numbers and names. `svg.ts` draws them, on a page for people only.

/** What every picture has. */
interface Picture {
  readonly title: string;
  /** What it shows and what to look for, in a sentence or two: a reader who does not see it is told the same. */
  readonly about: string;
}

/** Numbers along positions or steps. */
export interface LinesPlot extends Picture {
  readonly kind: "lines";
  readonly x: {
    readonly label: string;
    /** Names of x = 0, 1, 2, …, where these are steps and no numbers. */
    readonly names?: readonly string[];
  };
  readonly y: { readonly label: string; readonly isLog: boolean };
  readonly series: readonly {
    readonly name: string;
    readonly as: "line" | "dots";
    readonly points: readonly (readonly [x: number, y: number])[];
  }[];
  /** Horizontal lines: a limit, a noise floor. */
  readonly levels: readonly { readonly name: string; readonly y: number }[];
  /** The one x to look at. */
  readonly marked?: { readonly x: number; readonly name: string };
}

/** Pairs of numbers that should be equal. */
export interface ScatterPlot extends Picture {
  readonly kind: "scatter";
  readonly x: { readonly label: string };
  readonly y: { readonly label: string };
  readonly series: readonly { readonly name: string; readonly pairs: readonly (readonly [x: number, y: number])[] }[];
}

/** Named amounts, a bar each, or one for each series beneath each other. */
export interface BarsPlot extends Picture {
  readonly kind: "bars";
  readonly x: { readonly label: string; readonly isLog?: boolean; readonly as: "share" | "bytes" | "number" };
  readonly series: readonly string[];
  /** Values in the order of the series; null where one has none. */
  readonly groups: readonly { readonly name: string; readonly values: readonly (number | null)[] }[];
}

/** One number beside its limit, on a log axis. */
export interface MarginPlot extends Picture {
  readonly kind: "margin";
  readonly unit: string;
  readonly value: number;
  readonly limit: number;
  /** What rounding alone makes. */
  readonly floor: number | null;
}

export type Plot = LinesPlot | ScatterPlot | BarsPlot | MarginPlot;
