// Progress on stderr: a bar with bytes done, rate and time left of the step under way.
import type { SingleBar } from "cli-progress";
import { formatBytes, formatSeconds } from "../report/units.ts";
import type { ProgressEvent } from "./command.ts";

/** Where progress goes: stderr. */
export type TerminalStream = NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };

export interface ProgressView {
  show(event: ProgressEvent): void;
  stop(): void;
}

const SILENT: ProgressView = { show() {}, stop() {} };

/** The library is loaded with the first event: short runs never need it. */
export function progressView(on: boolean, stream: TerminalStream): ProgressView {
  if (!on) return SILENT;
  if (stream.isTTY !== true) return lineView(stream);
  let bar: ProgressView | undefined;
  let loading = false;
  let stopped = false;
  const load = async () => {
    loading = true;
    const opened = await openBar(stream);
    if (!stopped) bar = stepView(opened);
  };
  return {
    show(event) {
      if (bar !== undefined) bar.show(event);
      else if (!loading) void load();
    },
    stop() {
      stopped = true;
      bar?.stop();
    },
  };
}

const LINE = "{label} {bar} {percentage}%  {bytes}  {rate}  {left}";

async function openBar(stream: TerminalStream): Promise<SingleBar> {
  // CommonJS: a bundle has its names on the default alone.
  const { Format, Presets, SingleBar } = (await import("cli-progress")).default;
  return new SingleBar(
    {
      stream,
      // A signal may end the process at any time, so the terminal keeps its cursor and its wrapping.
      hideCursor: false,
      linewrap: true,
      clearOnComplete: true,
      format: (options, params, payload) =>
        Format.Formatter({ ...options, format: LINE }, params, payload).slice(0, (stream.columns ?? Infinity) - 1),
    },
    Presets.rect,
  );
}

const LINE_MS = 2000;

/** A line every two seconds, and one at the end of each step: a log keeps all that is written to it. */
function lineView(stream: TerminalStream): ProgressView {
  let step: Step | undefined;
  let last: ProgressEvent | undefined;
  let shown = Number.NEGATIVE_INFINITY;
  const write = (event: ProgressEvent) => {
    const { label, bytes, rate, left } = payload(event, step === undefined ? 0 : rateOf(step, event));
    const percent = Math.floor((100 * event.done) / Math.max(event.total, 1));
    stream.write(`${label} ${percent}%  ${bytes}  ${rate}  ${left}`.trimEnd() + "\n");
    shown = performance.now();
    last = undefined;
  };
  const end = () => {
    if (last !== undefined) write(last);
  };
  return {
    show(event) {
      if (step?.label !== event.label) {
        end();
        step = { label: event.label, begin: performance.now(), first: event.done };
        shown = Number.NEGATIVE_INFINITY;
      }
      if (performance.now() - shown >= LINE_MS) write(event);
      else last = event;
    },
    stop: end,
  };
}

/** What is measured of a step under way. */
interface Step {
  readonly label: string;
  readonly begin: number;
  readonly first: number;
}

function rateOf({ begin, first }: Step, { done }: ProgressEvent): number {
  const seconds = (performance.now() - begin) / 1e3;
  return seconds > 0 ? (done - first) / seconds : 0;
}

/** One bar for the steps one after the other. */
function stepView(bar: SingleBar): ProgressView {
  let step: Step | undefined;
  return {
    show(event) {
      const { label, done, total } = event;
      if (step?.label !== label) {
        if (step !== undefined) bar.stop();
        step = { label, begin: performance.now(), first: done };
        bar.start(total, done, payload(event, 0));
      } else {
        bar.setTotal(total);
        bar.update(done, payload(event, rateOf(step, event)));
      }
    },
    stop() {
      if (step !== undefined) bar.stop();
    },
  };
}

function payload({ label, done, total, unit }: ProgressEvent, rate: number) {
  const amount = (n: number) => (unit === undefined ? formatBytes(n) : `${(n / 1e9).toPrecision(3)} G${unit}`);
  return {
    label,
    bytes: `${amount(done)} of ${amount(total)}`,
    rate: rate > 0 ? `${amount(rate)}/s` : "",
    left: rate > 0 ? `${formatSeconds((total - done) / rate)} left` : "",
  };
}
