// Draws the pictures of a report as SVG. Colours are the page's variables, so that one picture serves light and dark.
import type { Markish, PlotOptions } from "@observablehq/plot";
import { visible } from "../escape.ts";
import { clipped } from "../fit.ts";
import { plural } from "../units.ts";
import { library, type SvgElement } from "./library.ts";
import type { BarsPlot, LinesPlot, MarginPlot, Plot, ScatterPlot } from "./plot.ts";
import { amountName, type LogRange, logRange, powerName } from "./scale.ts";

/** Wide enough for half a page on a desk, and for all of a telephone's without its text growing too small. */
const WIDTH = 480;
const FONT = 13;
const NAME = 44;

export const SERIES = ["var(--series-1)", "var(--series-2)", "var(--series-3)"] as const;
const colour = (i: number): string => SERIES[i % SERIES.length]!;

const name = (text: string, length = NAME): string => visible(clipped(text, length));

/** What a reader has to know of a drawing besides what it is meant to show; null where there is nothing. */
export function drawingNote(plot: Plot): string | null {
  if (plot.kind === "bars") {
    const more = plot.groups.length - BARS;
    return more > 0 ? `${plural(more, "more group")} not drawn: the JSON report has all.` : null;
  }
  if (plot.kind !== "lines" || !plot.y.isLog) return null;
  const { low } = rangeOf(plot);
  const below = plot.series.reduce((sum, { points }) => sum + points.filter(([, y]) => y < low).length, 0);
  return below === 0
    ? null
    : `${plural(below, "point")} of less than ${powerName(low)}, or of 0, ${below === 1 ? "stands" : "stand"} on the axis.`;
}

const rangeOf = ({ series, levels }: LinesPlot): LogRange =>
  logRange([...series.flatMap(({ points }) => points.map(([, value]) => value)), ...levels.map((level) => level.y)]);

/** The `<svg>` of a picture. Throws where a number is none: whoever makes a picture leaves these out. */
export function drawn(plot: Plot): string {
  const { document } = library();
  const svg = figure(plot);
  svg.removeAttribute("class");
  svg.removeAttribute("font-family");
  svg.setAttribute("role", "img");
  for (const style of svg.querySelectorAll("style")) style.remove();
  for (const element of svg.querySelectorAll("*")) slim(element);
  for (const [tag, text] of [
    ["desc", plot.about],
    ["title", plot.title],
  ] as const) {
    const child = document.createElementNS("http://www.w3.org/2000/svg", tag);
    child.textContent = visible(text);
    svg.prepend(child);
  }
  return svg.outerHTML;
}

function figure(plot: Plot): SvgElement {
  switch (plot.kind) {
    case "lines":
      return plotted(linesPlot(plot));
    case "scatter":
      return plotted(scatter(plot));
    case "bars":
      return plotted(bars(plot));
    case "margin":
      return plotted(margin(plot));
    default:
      throw plot satisfies never;
  }
}

function plotted(options: PlotOptions): SvgElement {
  const { plot, document } = library();
  return plot.plot({ document, width: WIDTH, marginTop: 22, style: { fontSize: `${FONT}px` }, ...options });
}

const NUMBERS = /^(?:d|transform|c[xy]|[xy][12]?|r|width|height)$/;

/** A tenth of a pixel is all that shows; names of marks for a screen reader repeat what the description says. */
function slim(element: SvgElement): void {
  for (const { name: attribute, value } of [...element.attributes]) {
    if (attribute === "aria-label") element.removeAttribute(attribute);
    else if (NUMBERS.test(attribute)) {
      element.setAttribute(
        attribute,
        value.replace(/-?\d+\.\d+(?:e-?\d+)?/g, (x: string) => `${Math.round(Number(x) * 10) / 10}`),
      );
    }
  }
}

function linesPlot(lines: LinesPlot): PlotOptions {
  const { plot } = library();
  const { x, y, series, levels, marked } = lines;
  const range = y.isLog ? rangeOf(lines) : null;
  const shown = (value: number) => (range === null ? value : Math.max(value, range.low));
  const last = series.reduce((most, { points }) => Math.max(most, points.at(-1)?.[0] ?? 0), 0);
  const end = Math.max(last, 1);
  const marks: Markish[] = [
    plot.gridY({ ticks: range === null ? 5 : [...range.ticks], stroke: "var(--grid)", strokeOpacity: 1 }),
    ...levels.flatMap((level) => [plot.ruleY([shown(level.y)], { stroke: "var(--level)", strokeDasharray: "5 3" })]),
    ...(marked === undefined
      ? []
      : [plot.ruleX([marked.x], { stroke: "var(--mark)", strokeWidth: 1.5, strokeDasharray: "2 2" })]),
    ...series.map(({ as, points }, i) => {
      const data = points.map(([at, value]) => [at, shown(value)] as const);
      return as === "line"
        ? plot.line(data, { stroke: colour(i), strokeWidth: 1.75 })
        : plot.dot(data, { fill: colour(i), stroke: "none", r: points.length > 100 ? 1.6 : 3 });
    }),
    ...levelNames(lines, range, end),
    ...(marked === undefined ? [] : [markName(marked, end)]),
  ];
  return {
    height: 280,
    marginLeft: 52,
    marginBottom: x.names === undefined ? 40 : 14 + longest(x.names) * 0.5 * FONT,
    x: {
      label: name(x.label),
      labelArrow: "none",
      labelAnchor: "center",
      domain: [0, end],
      ...(x.names === undefined ? { ticks: 6 } : stepTicks(x.names)),
    },
    y: {
      label: name(y.label),
      labelArrow: "none",
      ...(range === null
        ? { ticks: 5 }
        : {
            type: "log" as const,
            domain: [range.low, range.high],
            ticks: range.ticks,
            tickFormat: (value: number) => powerName(value),
          }),
    },
    marks,
  };
}

/** Where a level's name can stand: above its line or below it, at the right end or the left. */
const STANDS = [
  { dy: -7, isLeft: false },
  { dy: 9, isLeft: false },
  { dy: -7, isLeft: true },
  { dy: 9, isLeft: true },
] as const;

/** Names of levels that are close to each other stand apart, each on a ground that keeps it readable over dots. */
function levelNames({ levels }: LinesPlot, range: LogRange | null, end: number): Markish[] {
  const taken: { readonly at: number; readonly isLeft: boolean }[] = [];
  return levels.map(({ name: text, y }) => {
    const value = range === null ? y : Math.max(y, range.low);
    const height = range === null ? 0 : LINES_HEIGHT * shareOf(value, range);
    const stand =
      STANDS.find(({ dy, isLeft }) =>
        taken.every((other) => other.isLeft !== isLeft || Math.abs(other.at - (height - dy)) >= FONT + 2),
      ) ?? STANDS[0];
    taken.push({ at: height - stand.dy, isLeft: stand.isLeft });
    return library().plot.text([[stand.isLeft ? 0 : end, value]], {
      text: () => name(text),
      textAnchor: stand.isLeft ? "start" : "end",
      dx: stand.isLeft ? 4 : 0,
      dy: stand.dy,
      fill: "var(--level)",
      stroke: "var(--ground)",
      strokeWidth: 4,
    });
  });
}

function markName({ x, name: text }: NonNullable<LinesPlot["marked"]>, end: number): Markish {
  const isLeft = x < end / 2;
  return library().plot.text([[x]], {
    x: (d: readonly number[]) => d[0],
    // Above the axis, where the errors before it are: those behind it are far above.
    frameAnchor: isLeft ? "bottom" : "top",
    text: () => name(text),
    textAnchor: isLeft ? "start" : "end",
    dx: isLeft ? 5 : -5,
    dy: isLeft ? -8 : 8,
    fill: "var(--mark)",
    stroke: "var(--ground)",
    strokeWidth: 4,
    fontWeight: 600,
  });
}

/** Of the frame, about. */
const LINES_HEIGHT = 200;
const STEPS = 14;
const STEP_NAME = 18;

const longest = (names: readonly string[]): number =>
  names.reduce((most, { length }) => Math.max(most, Math.min(length, STEP_NAME)), 0);

/** Names of steps stand on end; of many, every so many has one. */
function stepTicks(names: readonly string[]) {
  const apart = Math.max(1, Math.ceil(names.length / STEPS));
  const ticks = [...names.keys()].filter((i) => i % apart === 0);
  return {
    ticks,
    tickFormat: (i: number) => name(names[i] ?? "", STEP_NAME),
    tickRotate: -55,
  };
}

function scatter({ x, y, series }: ScatterPlot): PlotOptions {
  const { plot } = library();
  const values = series.flatMap(({ pairs }) => pairs.flat());
  const [low, high] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
  const pad = (high - low) * 0.03 || 1;
  const domain = [low - pad, high + pad] as const;
  return {
    height: 380,
    marginLeft: 52,
    marginBottom: 40,
    x: { label: name(x.label), labelArrow: "none", labelAnchor: "center", domain: [...domain], ticks: 6 },
    y: { label: name(y.label), labelArrow: "none", domain: [...domain], ticks: 6 },
    marks: [
      plot.gridX({ ticks: 6, stroke: "var(--grid)", strokeOpacity: 1 }),
      plot.gridY({ ticks: 6, stroke: "var(--grid)", strokeOpacity: 1 }),
      plot.line(
        domain.map((end) => [end, end]),
        { stroke: "var(--level)", strokeDasharray: "5 3" },
      ),
      ...series.map(({ pairs }, i) =>
        plot.dot(pairs, { stroke: colour(i), strokeWidth: 1.3, r: i === 0 ? 1.8 : 2.6, fill: "none" }),
      ),
    ],
  };
}

const BAR = 15;
const BARS = 40;

function bars({ x, series, groups }: BarsPlot): PlotOptions {
  const { plot } = library();
  const shown = groups.slice(0, BARS);
  const rows = shown.flatMap(({ name: group, values }, g) =>
    values.flatMap((value, s) => (value === null ? [] : [{ group, value, s, y: g * (series.length + 0.7) + s }])),
  );
  const range = x.isLog ? logRange(rows.map(({ value }) => value)) : null;
  const begin = range?.low ?? 0;
  const largest = rows.reduce((most, { value }) => Math.max(most, value), 0) || 1;
  const bottom = shown.length * (series.length + 0.7) - 0.7;
  const widest = shown.reduce((most, group) => Math.max(most, name(group.name, 30).length), 4);
  return {
    height: 22 + bottom * BAR + 42,
    marginLeft: Math.min(210, 12 + widest * FONT * 0.56),
    marginRight: 62,
    marginBottom: 40,
    x: {
      label: name(x.label),
      labelArrow: "none",
      labelAnchor: "center",
      domain: range === null ? [0, largest] : [range.low, range.high],
      ...(range === null ? { ticks: 4 } : { type: "log" as const, ticks: range.ticks.filter((_, i) => i % 2 === 0) }),
      tickFormat: (value: number) => (range === null ? amountName(value, x.as) : powerName(value)),
    },
    y: { axis: null, domain: [bottom, 0] },
    marks: [
      plot.rect(rows, {
        x1: () => begin,
        x2: (row: { value: number }) => Math.max(row.value, begin),
        y1: (row: { y: number }) => row.y,
        y2: (row: { y: number }) => row.y + 0.86,
        fill: (row: { s: number }) => colour(row.s),
      }),
      plot.text(rows, {
        x: (row: { value: number }) => Math.max(row.value, begin),
        y: (row: { y: number }) => row.y + 0.43,
        text: (row: { value: number }) => amountName(row.value, x.as),
        textAnchor: "start",
        dx: 4,
        fill: "currentColor",
      }),
      plot.text(shown, {
        x: () => begin,
        y: (_: unknown, g: number) => g * (series.length + 0.7) + (series.length - 0.14) / 2,
        text: (group: { name: string }) => name(group.name, 30),
        textAnchor: "end",
        dx: -7,
        fill: "currentColor",
      }),
      plot.ruleX([begin], { stroke: "var(--level)" }),
    ],
    color: { type: "identity" },
  };
}

/** From what rounding makes to the limit and beyond, the value a dot on it. */
function margin({ unit, value, limit, floor }: MarginPlot): PlotOptions {
  const { plot } = library();
  const range = logRange([value, limit, ...(floor === null ? [] : [floor])]);
  const at = Math.max(value, range.low);
  const isOver = !(value <= limit);
  const tone = isOver ? "var(--bad)" : "var(--good)";
  const labels = [
    { x: limit, text: "limit", dy: -20, fill: "currentColor" },
    { x: at, text: "this run", dy: 17, fill: tone },
    ...(floor !== null && floor > range.low && shareOf(limit, range) - shareOf(floor, range) > 0.2
      ? [{ x: floor, text: "rounding", dy: -20, fill: "var(--level)" }]
      : []),
  ];
  return {
    height: 116,
    marginLeft: 40,
    marginRight: 40,
    marginTop: 14,
    marginBottom: 40,
    x: {
      type: "log",
      domain: [range.low, range.high],
      ticks: [...range.ticks],
      tickFormat: (x: number) => powerName(x),
      label: name(unit),
      labelArrow: "none",
      labelAnchor: "center",
    },
    y: { axis: null, domain: [-1, 1] },
    marks: [
      plot.ruleY([0], { stroke: "var(--grid)", strokeWidth: 8 }),
      plot.ruleY([0], { x1: Math.min(at, limit), x2: Math.max(at, limit), stroke: tone, strokeWidth: 8 }),
      plot.ruleX([limit], { y1: -0.45, y2: 0.45, stroke: "currentColor", strokeWidth: 2.5 }),
      ...(floor !== null && floor > range.low
        ? [plot.ruleX([floor], { y1: -0.45, y2: 0.45, stroke: "var(--level)", strokeDasharray: "3 2" })]
        : []),
      plot.dot([[at, 0]], { r: 6, fill: tone, stroke: "var(--ground)", strokeWidth: 1.5 }),
      ...labels.map(({ x, text, dy, fill }) =>
        plot.text([[x, 0]], { text: () => text, dy, fill, textAnchor: anchorOf(x, range) }),
      ),
    ],
  };
}

const shareOf = (x: number, { low, high }: LogRange): number => Math.log(x / low) / Math.log(high / low);

function anchorOf(x: number, range: LogRange): "start" | "middle" | "end" {
  const share = shareOf(x, range);
  return share < 0.08 ? "start" : share > 0.92 ? "end" : "middle";
}
