// The pictures of a page, within a share of its size: they go before any row of a table does.
import type { Plot } from "../plots/plot.ts";
import { drawingNote, drawn, SERIES } from "../plots/svg.ts";
import { escaped } from "./escaped.ts";

export interface PartFigures {
  /** Beside the verdict. */
  readonly beside: string;
  readonly below: string;
}

const isMargin = ({ kind }: Plot): boolean => kind === "margin";

/** Bytes of all pictures of a page. */
const ROOM = 500_000;

export class Figures {
  private room = ROOM;
  private leftOut = 0;

  /** The pictures of one part of the page; fewer where the page has no room for more. */
  of(plots: readonly Plot[] = []): PartFigures {
    // How far from the limit belongs to the verdict; the others come behind the numbers.
    const [first, others] = [plots.filter(isMargin), plots.filter((plot) => !isMargin(plot))];
    return { beside: this.join(first), below: this.join(others) };
  }

  private join(plots: readonly Plot[]): string {
    const figures = plots.flatMap((plot) => this.figure(plot));
    return figures.length === 0 ? "" : `<div class="plots">${figures.join("\n")}</div>`;
  }

  /** What is to be said of those that are not there. */
  get note(): string | null {
    if (this.leftOut === 0) return null;
    return `${this.leftOut} pictures are left out for the size of the page: the JSON report has their numbers.`;
  }

  private figure(plot: Plot): string[] {
    const html = this.room > 0 ? figure(plot) : "";
    if (html === "" || html.length > this.room) {
      this.leftOut++;
      return [];
    }
    this.room -= html.length;
    return [html];
  }
}

function figure(plot: Plot): string {
  const caption = `<figcaption><strong>${escaped(plot.title)}</strong>${keysOf(plot)}</figcaption>`;
  const about = [plot.about, drawingNote(plot)].filter((sentence) => sentence !== null).join(" ");
  return `<figure class="${plot.kind}">${caption}${drawn(plot)}<p>${escaped(about)}</p></figure>`;
}

/** Which colour is what, where there are several. */
function keysOf(plot: Plot): string {
  const names =
    plot.kind === "lines"
      ? plot.series.map(({ name, as }) => ({ name, shape: as }))
      : plot.kind === "scatter"
        ? plot.series.map(({ name }) => ({ name, shape: "dots" }))
        : plot.kind === "bars"
          ? plot.series.map((name) => ({ name, shape: "dots" }))
          : [];
  if (names.length < 2) return "";
  return names
    .map(({ name, shape }, i) => {
      const mark = `<i${shape === "line" ? ' class="line"' : ""} style="--key: ${SERIES[i % SERIES.length]}"></i>`;
      return `<span class="key">${mark}${escaped(name)}</span>`;
    })
    .join("");
}
