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
      noTTYOutput: stream.isTTY !== true,
      notTTYSchedule: 2000,
      format: (options, params, payload) =>
        Format.Formatter({ ...options, format: LINE }, params, payload).slice(0, (stream.columns ?? Infinity) - 1),
    },
    Presets.rect,
  );
}

/** One bar for the steps one after the other. */
function stepView(bar: SingleBar): ProgressView {
  let step: { readonly label: string; readonly begin: number; readonly first: number } | undefined;
  return {
    show(event) {
      const { label, done, total } = event;
      if (step?.label !== label) {
        if (step !== undefined) bar.stop();
        step = { label, begin: performance.now(), first: done };
        bar.start(total, done, payload(event, 0));
      } else {
        bar.setTotal(total);
        const seconds = (performance.now() - step.begin) / 1e3;
        bar.update(done, payload(event, seconds > 0 ? (done - step.first) / seconds : 0));
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
